//! The database's clock. All waiting of the store goes by it, so instances need not agree on the time: each converts
//! the moments of its own steady clock where they enter and leave the store. A moment is only ever used to wait or to
//! tell an age, so an error of milliseconds does not matter. What matters (leases of members) never leaves the
//! database.

use crate::store::WAITING_MS;
use std::sync::atomic::{AtomicI64, Ordering};

/// Returns a moment of the instance's steady clock, in milliseconds.
pub type TellTime = Box<dyn Fn() -> i64 + Send + Sync>;

/// Converts between the instance's steady clock and the database's.
pub(super) struct Clock {
    /// `None` in tests, whose moments count as the database's own.
    steady: Option<TellTime>,
    /// By how many milliseconds the database's clock was ahead when it was last read.
    ahead_ms: AtomicI64,
}

impl Clock {
    pub(super) fn new(steady: Option<TellTime>) -> Self {
        Self { steady, ahead_ms: AtomicI64::new(0) }
    }

    /// Returns the present moment of the instance's clock.
    pub(super) fn steady_ms(&self) -> i64 {
        self.steady.as_ref().map_or(0, |tell| tell())
    }

    /// Learns that the database's clock showed `database_ms` between these moments of the instance's.
    pub(super) fn learn(&self, (before_ms, after_ms): (i64, i64), database_ms: i64) {
        if self.steady.is_some() {
            let middle_ms = before_ms + after_ms.saturating_sub(before_ms) / 2;
            self.ahead_ms.store(database_ms.saturating_sub(middle_ms), Ordering::Relaxed);
        }
    }

    /// Converts a moment of the instance's clock. Moments that stand for no time stay as they are.
    pub(super) fn to_database(&self, ms: i64) -> i64 {
        if ms >= WAITING_MS { ms } else { ms.saturating_add(self.ahead_ms.load(Ordering::Relaxed)) }
    }

    /// Converts a moment of the database's clock. Moments that stand for no time stay as they are.
    pub(super) fn to_steady(&self, ms: i64) -> i64 {
        if ms >= WAITING_MS || ms == 0 {
            ms
        } else {
            ms.saturating_sub(self.ahead_ms.load(Ordering::Relaxed))
        }
    }

    /// Returns by how many microseconds the database's clock is ahead.
    pub(super) fn ahead_us(&self) -> i64 {
        self.ahead_ms.load(Ordering::Relaxed).saturating_mul(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_as_it_was() {
        let clock = Clock::new(Some(Box::new(|| 1_000)));
        clock.learn((1_000, 1_010), 5_005);
        assert_eq!(clock.to_database(2_000), 6_000);
        assert_eq!(clock.to_steady(6_000), 2_000);
        for special in [WAITING_MS, WAITING_MS + 500, i64::MAX] {
            assert_eq!((clock.to_database(special), clock.to_steady(special)), (special, special));
        }
        assert_eq!(clock.to_steady(0), 0, "due before everything else");
    }
}
