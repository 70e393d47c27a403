//! A worker's idle connections to origins. One thread, no lock; the connection used last is used first, so that
//! those not needed grow old and are closed.

use super::connect::Connection;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Idle connections by origin.
#[derive(Debug, Default)]
pub struct Pool {
    idle: RefCell<HashMap<Arc<str>, Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// An idle connection to an origin that was used within `max_idle` and is still open, as far as is known.
    pub(super) fn take(&self, key: &str, max_idle: Duration) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let of_origin = idle.get_mut(key)?;
        while let Some(Idle { connection, since }) = of_origin.pop() {
            if since.elapsed() >= max_idle {
                // Those below are older still.
                of_origin.clear();
            } else if connection.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection, or closes it where `limit` are kept already.
    pub(super) fn put(&self, connection: Connection, limit: usize) {
        let mut idle = self.idle.borrow_mut();
        let of_origin = match idle.get_mut(&connection.key) {
            Some(of_origin) => of_origin,
            None => idle.entry(Arc::clone(&connection.key)).or_default(),
        };
        if of_origin.len() < limit {
            of_origin.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes what has been idle for `max_idle` or was closed by its origin.
    pub fn sweep(&self, max_idle: Duration) {
        self.idle.borrow_mut().retain(|_, of_origin| {
            of_origin.retain(|idle| idle.since.elapsed() < max_idle && idle.connection.is_ready());
            !of_origin.is_empty()
        });
    }
}
