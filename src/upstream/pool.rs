//! A worker's connections to origins, used by one thread without a lock. The idle connection that was used last is
//! used first, so that unneeded ones age and are closed.

use super::address::{Address, OriginId};
use super::connection::{Connection, Route};
use super::stream::Stream;
use super::{h1, h2};
use crate::config::OriginProtocol;
use crate::http::timer::Clock;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Connections by origin: idle HTTP/1.1 connections, and HTTP/2 connections, which requests share.
#[derive(Debug)]
pub(super) struct Pool {
    clock: Rc<Clock>,
    /// The idle connections, indexed by [`OriginId`].
    idle: RefCell<Vec<Vec<Idle>>>,
    shared: RefCell<HashMap<OriginId, Shared>>,
}

#[derive(Debug)]
struct Idle {
    connection: h1::Connection<Stream>,
    route: Route,
    since: Instant,
}

/// The HTTP/2 connections to an origin.
#[derive(Debug)]
struct Shared {
    /// The connections, of which the first with room is used.
    connections: Vec<(h2::Connection, Route)>,
    /// The turn to make a connection.
    turn: Arc<Semaphore>,
    /// Whether the origin chose HTTP/1.1 for the latest connection.
    prefers_http1: bool,
}

impl Default for Shared {
    fn default() -> Self {
        Self { connections: Vec::new(), turn: Arc::new(Semaphore::new(1)), prefers_http1: false }
    }
}

impl Pool {
    pub(super) fn new(clock: &Rc<Clock>) -> Self {
        Self { clock: Rc::clone(clock), idle: RefCell::default(), shared: RefCell::default() }
    }

    /// Returns a connection to an origin for one more request, if there is one that is open and silent, as far as
    /// is known, and leads to an address that is not avoided.
    pub(super) fn take(&self, origin: OriginId, protocol: OriginProtocol) -> Option<(Connection, Route)> {
        if protocol == OriginProtocol::Http2
            && let Some((connection, route)) = self.share(origin, None)
        {
            return Some((Connection::Http2(connection), route));
        }
        let mut idle = self.idle.borrow_mut();
        let of_origin = idle.get_mut(origin.0)?;
        while let Some(Idle { mut connection, route, .. }) = of_origin.pop() {
            if !route.is_avoided() && connection.is_usable() {
                return Some((Connection::Http1(connection), route));
            }
        }
        None
    }

    /// Returns an HTTP/2 connection that has room and does not lead to `but`.
    pub(super) fn share(&self, origin: OriginId, but: Option<&Address>) -> Option<(h2::Connection, Route)> {
        let mut shared = self.shared.borrow_mut();
        let connections = &mut shared.get_mut(&origin)?.connections;
        // Requests in progress on a removed connection continue there.
        connections.retain_mut(|(connection, route)| !route.is_avoided() && connection.is_open());
        let is_wanted = |route: &Route| but.is_none_or(|but| but.socket != route.socket);
        let found = connections.iter().find(|(connection, route)| connection.has_room() && is_wanted(route));
        found.map(|(connection, route)| (connection.again(), Rc::clone(route)))
    }

    /// Records a new connection for which HTTP/2 was offered.
    pub(super) fn made(&self, origin: OriginId, connection: &Connection, route: &Route) {
        let mut shared = self.shared.borrow_mut();
        let of_origin = shared.entry(origin).or_default();
        match connection {
            Connection::Http1(_) => of_origin.prefers_http1 = true,
            Connection::Http2(connection) => {
                of_origin.prefers_http1 = false;
                of_origin.connections.push((connection.clone(), Rc::clone(route)));
            }
        }
    }

    /// Whether an origin has chosen HTTP/1.1 for its latest connection, so that there is nothing to share.
    pub(super) fn prefers_http1(&self, origin: OriginId) -> bool {
        self.shared.borrow().get(&origin).is_some_and(|shared| shared.prefers_http1)
    }

    /// Returns the semaphore that is held while a connection for several requests is made.
    pub(super) fn turn(&self, origin: OriginId) -> Arc<Semaphore> {
        Arc::clone(&self.shared.borrow_mut().entry(origin).or_default().turn)
    }

    /// Keeps a connection, or closes it if `limit` connections are already kept.
    pub(super) fn put(
        &self,
        origin: OriginId,
        connection: h1::Connection<Stream>,
        route: Route,
        limit: usize,
    ) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() <= origin.0 {
            idle.resize_with(origin.0 + 1, Vec::new);
        }
        let of_origin = &mut idle[origin.0];
        if of_origin.len() < limit {
            of_origin.push(Idle { connection, route, since: self.clock.now() });
        }
    }

    /// Closes the connection that has been idle for longest, whichever origin it leads to.
    pub(super) fn close_oldest(&self) {
        let mut idle = self.idle.borrow_mut();
        let first = |of_origin: &Vec<Idle>| of_origin.first().map(|idle| idle.since);
        let oldest = idle.iter_mut().filter(|of_origin| !of_origin.is_empty()).min_by_key(|list| first(list));
        let mut shared = self.shared.borrow_mut();
        let multiplexed = shared.values_mut().flat_map(|shared| {
            let idle = |(index, (connection, _)): (usize, &(h2::Connection, Route))| {
                connection.idle_since().map(|since| (since, index))
            };
            let first = shared.connections.iter().enumerate().filter_map(idle).min();
            first.map(|(since, index)| (since, index, &mut shared.connections))
        });
        match (oldest, multiplexed.min_by_key(|(since, ..)| *since)) {
            (Some(list), other) if other.as_ref().is_none_or(|other| first(list) <= Some(other.0)) => {
                list.remove(0);
            }
            (_, Some((_, index, list))) => drop(list.remove(index)),
            (_, None) => {}
        }
    }

    /// Closes the connections that have been idle for `max_idle` or were closed by their origin.
    pub(super) fn sweep(&self, max_idle: Duration) {
        let is_fresh = |since: Instant| self.clock.now().saturating_duration_since(since) < max_idle;
        for of_origin in &mut *self.idle.borrow_mut() {
            of_origin.retain_mut(|idle| is_fresh(idle.since) && idle.connection.is_usable());
        }
        for shared in self.shared.borrow_mut().values_mut() {
            shared.connections.retain_mut(|(connection, _)| {
                connection.idle_since().is_none_or(is_fresh) && connection.is_open()
            });
        }
    }
}
