//! One clock for both planes: it starts at the machine's time when the program starts, and is steady from then
//! on. Setting the machine's clock therefore changes nothing: what began before a purge stays before it, and
//! waiting work is due when its time has passed.

use crate::base::milliseconds;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The clock of both planes.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_ms: i64,
    /// When the program started, by a clock that keeps running while the machine is suspended.
    booted_ms: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now(), started_ms: wall_ms(), booted_ms: booted_ms() }
    }
}

impl Clock {
    /// Converts a moment to milliseconds since the epoch, rounded down.
    pub fn ms(&self, moment: Instant) -> i64 {
        match moment.checked_duration_since(self.started) {
            Some(since) => self.started_ms.saturating_add(milliseconds(since)),
            None => self.started_ms.saturating_sub(milliseconds(self.started.duration_since(moment)) + 1),
        }
    }

    /// Returns the present moment, in milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.ms(Instant::now())
    }

    /// Returns the present moment for anything that waits: due times, leases and ages. Unlike [`Clock::now_ms`],
    /// this clock keeps running while the machine is suspended, because the copies at the CDNs keep aging.
    pub fn steady_ms(&self) -> i64 {
        self.started_ms.saturating_add(booted_ms().saturating_sub(self.booted_ms))
    }

    /// Converts a steady moment to the time that the machine's clock shows.
    pub fn as_wall_ms(&self, steady_ms: i64) -> i64 {
        steady_ms.saturating_add(wall_ms().saturating_sub(self.steady_ms()))
    }
}

/// Returns the milliseconds since the machine was started, including those in which it was suspended
/// (clock_gettime(2)).
pub(super) fn booted_ms() -> i64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    tv_sec.saturating_mul(1_000).saturating_add(tv_nsec / 1_000_000)
}

/// Returns the id of this run of the machine and the milliseconds since it began, or `None` if the system does
/// not report the id.
pub fn boot() -> Option<(String, i64)> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some((id.trim().to_owned(), booted_ms()))
}

/// Returns the time of the machine's clock, which an administrator may set. People and CDNs are shown this time.
pub fn wall_ms() -> i64 {
    milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
