//! Descriptors for connections: how many each side may take, so that the rest of the program always has some.

use crate::metrics::shard::WorkerShard;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all workers together may take, and how often one of them found nothing left.
#[derive(Debug)]
pub struct Descriptors {
    clients: AtomicU64,
    origins: AtomicU64,
    /// Grows whenever somebody waits for a connection to an origin that another worker may keep idle.
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
    /// From now on so many connections of clients, and so many to origins.
    pub fn limit(&self, clients: u64, origins: u64) {
        self.clients.store(clients, Ordering::Relaxed);
        self.origins.store(origins, Ordering::Relaxed);
    }

    /// How many connections of clients there may be.
    pub fn clients(&self) -> u64 {
        self.clients.load(Ordering::Relaxed)
    }

    /// How many connections to origins there may be.
    pub(super) fn origins(&self) -> u64 {
        self.origins.load(Ordering::Relaxed)
    }

    /// Somebody waits for a connection to end.
    pub(super) fn want(&self) {
        self.wanted.fetch_add(1, Ordering::Relaxed);
    }

    /// How often somebody waited so far.
    pub(super) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Relaxed)
    }
}

/// One connection to an origin among those that are counted, from before it is made to its end.
#[derive(Debug)]
pub(super) struct Counted(Arc<WorkerShard>);

impl Counted {
    /// One more. Only on the worker's own thread, as is its end.
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

/// Whether what failed says nothing about the other end: this process, or this machine, has no more descriptors or memory.
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
