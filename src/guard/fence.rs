//! The fence: until when this instance may give long lifetimes. An instance of a fleet must learn of every purge,
//! and the others wait for it only for the time of its lease. So it gives long lifetimes only while the lease lasts,
//! with a margin. This is decided when the head of a response is written, and not by a timer: a process that was
//! stopped for a minute must know at its first instruction that its time is over.

use super::clock::booted_ms;
use std::sync::atomic::{AtomicI64, Ordering};

/// Until when long lifetimes may be given.
#[derive(Debug)]
pub struct Fence {
    /// The moment, by the clock that keeps running while the machine is suspended; the maximum if there is no limit.
    until_ms: AtomicI64,
}

/// A fence without a limit, as for a single instance.
impl Default for Fence {
    fn default() -> Self {
        Self { until_ms: AtomicI64::new(i64::MAX) }
    }
}

/// A moment from which a lease is counted.
#[derive(Clone, Copy, Debug)]
pub struct Since(i64);

impl Since {
    /// Returns the present moment. It must be taken before the renewal is sent.
    pub fn now() -> Self {
        Self(booted_ms())
    }
}

impl Fence {
    /// Returns whether long lifetimes may be given now. Without a limit, this is one comparison.
    #[inline]
    pub fn is_open(&self) -> bool {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        until_ms == i64::MAX || booted_ms() < until_ms
    }

    /// Gives no long lifetimes from now on.
    pub fn close(&self) {
        self.until_ms.store(i64::MIN, Ordering::Relaxed);
    }

    /// Allows long lifetimes until `for_ms` milliseconds after a moment.
    pub fn open(&self, since: Since, for_ms: i64) {
        self.until_ms.store(since.0.saturating_add(for_ms), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_open_for_its_time() {
        let fence = Fence::default();
        assert!(fence.is_open(), "a single instance has none");
        fence.open(Since::now(), 60_000);
        assert!(fence.is_open());
        // The renewal was sent before the process was stopped for a minute.
        fence.open(Since(booted_ms() - 60_000), 60_000);
        assert!(!fence.is_open());
        fence.open(Since::now(), 60_000);
        fence.close();
        assert!(!fence.is_open());
    }
}
