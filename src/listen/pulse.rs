//! A thread's sign of life, for the service manager's watchdog.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time at which a thread last showed that it is not stuck.
#[derive(Debug)]
pub struct Pulse {
    started: Instant,
    /// Milliseconds since `started`.
    last: AtomicU64,
}

impl Pulse {
    /// Creates the pulse of a thread that is alive now.
    pub fn new(now: Instant) -> Self {
        Self { started: now, last: AtomicU64::new(0) }
    }

    /// Records that the thread is alive now.
    pub fn beat(&self, now: Instant) {
        let since_start = now.saturating_duration_since(self.started).as_millis();
        self.last.store(u64::try_from(since_start).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns the time since the last beat.
    pub fn age(&self, now: Instant) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        now.saturating_duration_since(self.started).saturating_sub(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_makes_it_young_again() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let pulse = Pulse::new(start);
        assert_eq!(pulse.age(start), Duration::ZERO);
        assert_eq!(pulse.age(after(7)), Duration::from_secs(7));
        pulse.beat(after(7));
        assert_eq!(pulse.age(after(7)), Duration::ZERO);
        assert_eq!(pulse.age(after(9)), Duration::from_secs(2));
        // A reader may have read its clock before the last beat.
        assert_eq!(pulse.age(after(3)), Duration::ZERO);
    }
}
