//! Decides when the next call to a CDN may leave. After a failure nothing is sent for a while: other pending sends
//! would fare no better, and are merged into the next call.

use super::backoff::backoff;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The pace of one CDN.
#[derive(Debug)]
pub(super) struct Pace(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The moment before which nothing is sent.
    until: Instant,
    /// Consecutive failures.
    failures: u32,
    /// When the last failure was counted.
    failed_at: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State { until: now, failures: 0, failed_at: now }))
    }

    /// Returns when the next call may leave; a past moment means at once.
    pub(super) fn until(&self) -> Instant {
        self.state().until
    }

    pub(super) fn is_holding(&self) -> bool {
        self.until() > Instant::now()
    }

    pub(super) fn succeeded(&self) {
        self.state().failures = 0;
    }

    /// Records that a call that began at `began` failed. Returns how long all calls wait: as long as the CDN asked
    /// for (`after`), or else the backoff.
    pub(super) fn failed(&self, began: Instant, after: Option<Duration>) -> Duration {
        let now = Instant::now();
        let mut state = self.state();
        // Calls that failed in parallel count as one failure.
        if state.failures == 0 || began >= state.failed_at {
            state.failures = state.failures.saturating_add(1);
            state.failed_at = now;
        }
        let wait = after.unwrap_or_else(|| backoff(state.failures, fastrand::f64()));
        state.until = state.until.max(now + wait);
        state.until.saturating_duration_since(now)
    }

    /// Lets pending sends leave now, on a user's request, despite failures and the CDN's own delay.
    pub(super) fn release(&self) {
        let mut state = self.state();
        (state.until, state.failures) = (Instant::now(), 0);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cdns_word_holds() {
        let pace = Pace::new();
        assert!(!pace.is_holding());
        let wait = Duration::from_secs(30);
        assert_eq!(pace.failed(Instant::now(), Some(wait)), wait);
        // Neither another failure nor a success shortens the delay.
        assert_eq!(pace.failed(Instant::now(), Some(Duration::from_secs(1))), wait);
        pace.succeeded();
        tokio::time::advance(wait - Duration::from_millis(1)).await;
        assert!(pace.is_holding());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!pace.is_holding());
    }

    #[tokio::test(start_paused = true)]
    async fn a_persons_word_counts_for_more() {
        let pace = Pace::new();
        pace.failed(Instant::now(), Some(Duration::from_secs(3_600)));
        pace.release();
        assert!(!pace.is_holding());
        assert!(pace.failed(Instant::now(), None) <= Duration::from_secs(1), "the first failure again");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_fail_together_count_once() {
        let pace = Pace::new();
        let began = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..4 {
            pace.failed(began, None);
        }
        assert_eq!(pace.state().failures, 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        pace.failed(Instant::now(), None);
        assert_eq!(pace.state().failures, 2);
        pace.succeeded();
        assert_eq!(pace.state().failures, 0);
    }
}
