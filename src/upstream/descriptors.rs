//! File descriptors for connections: the number that each side may use, so that the rest of the program always has
//! some.

use crate::metrics::shard::WorkerShard;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The limits of all workers together, and how often one of them found no descriptor.
#[derive(Debug)]
pub struct Descriptors {
    clients: AtomicU64,
    origins: AtomicU64,
    /// A counter that grows whenever a worker waits for a connection to an origin that another worker may keep
    /// idle.
    wanted: AtomicU64,
}

impl Default for Descriptors {
    fn default() -> Self {
        Self {
            clients: AtomicU64::new(u64::MAX),
            origins: AtomicU64::new(u64::MAX),
            wanted: AtomicU64::new(0),
        }
    }
}

impl Descriptors {
    /// Sets the maximum numbers of client connections and of connections to origins.
    pub fn limit(&self, clients: u64, origins: u64) {
        self.clients.store(clients, Ordering::Relaxed);
        self.origins.store(origins, Ordering::Relaxed);
    }

    /// Returns the maximum number of client connections.
    pub fn clients(&self) -> u64 {
        self.clients.load(Ordering::Relaxed)
    }

    /// Returns the maximum number of connections to origins.
    pub(super) fn origins(&self) -> u64 {
        self.origins.load(Ordering::Relaxed)
    }

    /// Records that a worker waits for a connection to end.
    pub(super) fn want(&self) {
        self.wanted.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often a worker has waited so far.
    pub(super) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Relaxed)
    }
}

/// A connection to an origin that is counted, from before it is established until it ends.
#[derive(Debug)]
pub(super) struct Counted(Arc<WorkerShard>);

impl Counted {
    /// Counts one more connection. The value must be created and dropped on the worker's own thread.
    pub(super) fn one_more(counters: &Arc<WorkerShard>) -> Self {
        counters.origin_connections.add(1);
        Self(Arc::clone(counters))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.origin_connections.sub(1);
    }
}

/// Whether an error is not the other end's fault because this process, or this machine, has no more descriptors or
/// memory.
pub(super) fn is_our_own(error: &io::Error) -> bool {
    const OURS: [i32; 4] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| OURS.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_here_is_no_fault_of_the_origin() {
        let check = |code, ours| assert_eq!(is_our_own(&io::Error::from_raw_os_error(code)), ours, "{code}");
        check(libc::EMFILE, true);
        check(libc::ENFILE, true);
        check(libc::ENOBUFS, true);
        check(libc::ENOMEM, true);
        check(libc::ECONNREFUSED, false);
        check(libc::ENETUNREACH, false);
        assert!(!is_our_own(&io::ErrorKind::AddrNotAvailable.into()));
    }

    #[test]
    fn a_connection_counts_to_its_end() {
        let counters = Arc::<WorkerShard>::default();
        let (one, two) = (Counted::one_more(&counters), Counted::one_more(&counters));
        assert_eq!(counters.origin_connections.get(), 2);
        drop(one);
        drop(two);
        assert_eq!(counters.origin_connections.get(), 0);
    }
}
