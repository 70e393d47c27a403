//! The limits that callers share.

use super::body_permits::BodyPermits;
use super::shares::Shares;
use super::throttle::Failures;
use tokio::sync::Semaphore;

/// The number of checks that one token may have waiting or running, so that other tokens get theirs.
pub(super) const CHECKS_PER_TOKEN: usize = 2;
/// The number of simultaneous streams.
pub(super) const STREAMS: usize = 32;
/// The part of the streams that one token may have.
pub(super) const STREAMS_PER_TOKEN: usize = 8;
pub(super) const STREAMS_PER_ADDRESS: usize = 16;

/// Limits that callers share, so that none of them can exhaust the process.
#[derive(Debug)]
pub struct Limits {
    /// Requests that may wait for the end of their purge at the same time. A further request is answered at once,
    /// as RFC 7240 allows for every preference.
    pub(super) waiters: Shares,
    /// Permits for large bodies in memory.
    pub(super) large_bodies: BodyPermits,
    /// Purges with all their items that are read and written as JSON at the same time.
    pub(super) whole_purges: Semaphore,
    /// Simultaneous checks of credentials.
    pub(super) credential_checks: Semaphore,
    /// Simultaneous answers to callers without a token, except for probes.
    pub(super) without_token: Semaphore,
    /// Places for calls that wait for a check.
    pub(super) checkers: Shares,
    /// Listeners to events.
    pub(super) streams: Shares,
    pub(super) failures: Failures,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiters: Shares::new(128, 32, 64),
            large_bodies: BodyPermits::default(),
            whole_purges: Semaphore::new(4),
            credential_checks: Semaphore::new(1),
            without_token: Semaphore::new(1),
            checkers: Shares::new(32, CHECKS_PER_TOKEN, 8),
            streams: Shares::new(STREAMS, STREAMS_PER_TOKEN, STREAMS_PER_ADDRESS),
            failures: Failures::default(),
        }
    }
}
