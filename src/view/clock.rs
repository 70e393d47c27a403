//! One clock for both planes: the machine's time when the program started, and steady since. Setting the machine's clock
//! moves nothing, so what began before a purge stays before it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_ms: i64,
}

impl Default for Clock {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_ms: milliseconds(since) }
    }
}

impl Clock {
    /// A moment in milliseconds since the epoch, rounded down.
    pub fn ms(&self, moment: Instant) -> i64 {
        match moment.checked_duration_since(self.started) {
            Some(since) => self.started_ms.saturating_add(milliseconds(since)),
            None => self.started_ms.saturating_sub(milliseconds(self.started.duration_since(moment)) + 1),
        }
    }

    /// Now.
    pub fn now_ms(&self) -> i64 {
        self.ms(Instant::now())
    }
}

fn milliseconds(duration: Duration) -> i64 {
    // Not `as_millis`, which divides by 128 bits: every request is timed.
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    seconds.saturating_mul(1_000).saturating_add(i64::from(duration.subsec_millis()))
}
