//! A worker's idle connections to origins. One thread, no lock; the connection used last is used first, so that
//! those not needed grow old and are closed.

use super::clock::Clock;
use super::connect::{Connection, Route};
use super::upstream::OriginId;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Idle connections by origin.
#[derive(Debug)]
pub struct Pool {
    clock: Rc<Clock>,
    /// By [`OriginId`].
    idle: RefCell<Vec<Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    route: Route,
    since: Instant,
}

impl Pool {
    pub(super) fn new(clock: &Rc<Clock>) -> Self {
        Self { clock: Rc::clone(clock), idle: RefCell::default() }
    }

    /// An idle connection to an origin that is still open and silent, as far as is known, and to an address that is not
    /// avoided.
    pub(super) fn take(&self, origin: OriginId) -> Option<(Connection, Route)> {
        let mut idle = self.idle.borrow_mut();
        let of_origin = idle.get_mut(origin.0)?;
        while let Some(Idle { mut connection, route, .. }) = of_origin.pop() {
            if !route.is_avoided() && connection.is_usable() {
                return Some((connection, route));
            }
        }
        None
    }

    /// Keeps a connection, or closes it where `limit` are kept already.
    pub(super) fn put(&self, origin: OriginId, connection: Connection, route: Route, limit: usize) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() <= origin.0 {
            idle.resize_with(origin.0 + 1, Vec::new);
        }
        let of_origin = &mut idle[origin.0];
        if of_origin.len() < limit {
            of_origin.push(Idle { connection, route, since: self.clock.now() });
        }
    }

    /// Closes what has been idle for `max_idle` or was closed by its origin.
    pub fn sweep(&self, max_idle: Duration) {
        let fresh = |idle: &Idle| self.clock.now().saturating_duration_since(idle.since) < max_idle;
        for of_origin in &mut *self.idle.borrow_mut() {
            of_origin.retain_mut(|idle| fresh(idle) && idle.connection.is_usable());
        }
    }
}
