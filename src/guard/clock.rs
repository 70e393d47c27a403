//! One clock for both planes: the machine's time when the program started, and steady since. Setting the machine's clock
//! moves nothing, so what began before a purge stays before it, and what waits is due when its time has passed.

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_ms: i64,
    /// When the program started, by a clock that goes on while the machine sleeps.
    booted_ms: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now(), started_ms: wall_ms(), booted_ms: booted_ms() }
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

    /// Now, for whatever waits: due times, leases and ages. Unlike that of [`Clock::now_ms`], this clock goes on while the
    /// machine is suspended, since copies at the CDNs do.
    pub fn steady_ms(&self) -> i64 {
        self.started_ms.saturating_add(booted_ms().saturating_sub(self.booted_ms))
    }

    /// A steady moment as the machine's clock shows it.
    pub fn as_wall_ms(&self, steady_ms: i64) -> i64 {
        steady_ms.saturating_add(wall_ms().saturating_sub(self.steady_ms()))
    }
}

/// Milliseconds since the machine was started, those in which it was suspended among them (clock_gettime(2)).
fn booted_ms() -> i64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    tv_sec.saturating_mul(1_000).saturating_add(tv_nsec / 1_000_000)
}

/// Which run of the machine this is, and for how long it has been going, in milliseconds; none where the system does not tell.
pub fn boot() -> Option<(String, i64)> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some((id.trim().to_owned(), booted_ms()))
}

/// The machine's clock, which somebody may set: what people are shown, and what CDNs are told.
pub fn wall_ms() -> i64 {
    milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn milliseconds(duration: Duration) -> i64 {
    // Not `as_millis`, which divides by 128 bits: every request is timed.
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    seconds.saturating_mul(1_000).saturating_add(i64::from(duration.subsec_millis()))
}
