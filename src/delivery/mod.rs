//! Delivers accepted purges to the CDNs: claim -> batch -> sign -> send -> judge -> settle.
//!
//! [`Engine`] starts everything. Each CDN of each site has two main tasks: `queue.rs` claims due sends and keeps a
//! few calls in flight (`call.rs` is the life of one), and `check.rs` checks the credentials. Both report to
//! `health.rs`, which decides whether the CDN's responses may have a long TTL. `verify.rs` reports the copies that
//! it fetched (`sample.rs`). `pace.rs` decides when the next call may be made.
//!
//! A crash loses nothing: sends that were claimed but not settled are claimed again when their lease ends, or at
//! the next start.

mod account;
mod backoff;
mod bucket;
mod call;
mod call_result;
mod check;
mod choose;
mod completion;
mod engine;
mod escalate;
mod health;
mod naming;
mod orphans;
mod owning;
mod pace;
mod queue;
mod sample;
mod take_over;
mod target;
mod targets;
mod unverified;
mod verify;
mod watch;

#[cfg(test)]
mod tests;

pub use backoff::backoff;
pub use engine::{CdnStatus, Engine, MakeAdapter, Parts};
pub use naming::queue_names;
pub use take_over::take_over;
pub use target::Orphan;

use crate::base::{milliseconds, with_causes};
use crate::cdn::Reply;
use crate::store::{Boot, CdnKey, EndedJob, Verification};
use bytes::Bytes;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Sends a call to a CDN.
pub trait Transport: Send + Sync {
    /// Sends `request` and reads the reply. The future may be dropped at any moment.
    fn send(&self, request: http::Request<Bytes>) -> Sending<'_>;
}

impl Transport for crate::cdn::Sender {
    fn send(&self, request: http::Request<Bytes>) -> Sending<'_> {
        Box::pin(async move { self.send(request).await.map_err(|error| Unreachable::of(&error)) })
    }
}

/// A reply in the future.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Reply, Unreachable>> + Send + 'a>>;

/// The CDN's reply is missing or incomplete, so what the CDN did is unknown. The text contains no secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

impl Unreachable {
    /// Describes an error with all its causes.
    pub fn of(error: &dyn Error) -> Self {
        Self(with_causes(error))
    }
}

/// Receives what happens in the engine, for metrics. The methods run on the engine's tasks and must not block.
pub trait Observer: Send + Sync {
    /// A call that carried `items` items to a CDN ended. `outcome` is the same as in an attempt.
    fn call(&self, _key: &CdnKey, _outcome: &'static str, _took: Duration, _items: u64) {}

    /// A job ended `took` after its purge was accepted.
    fn job_ended(&self, _job: &EndedJob, _took: Duration) {}

    /// A job's pages were verified at the CDN, `took` after its purge was accepted.
    fn verified(&self, _key: &CdnKey, _seen: Verification, _took: Duration) {}

    /// `jobs` jobs were widened, because an item was refused or because the CDN's rate is too low for them.
    fn widened(&self, _key: &CdnKey, _jobs: u64) {}

    /// The state of a CDN's queue: jobs that have not ended, and the age of the oldest (zero if there is none).
    fn queue(&self, _key: &CdnKey, _jobs: u64, _oldest: Duration) {}

    /// Whether sending to a CDN is paused, and how many of its failed jobs are not acknowledged.
    fn standing(&self, _key: &CdnKey, _paused: bool, _failed: u64) {}

    /// `jobs` jobs wait for a CDN that the site no longer has (0: none are left), and `failed` failed ones are not
    /// acknowledged.
    fn orphan(&self, _key: &CdnKey, _jobs: u64, _failed: u64) {}

    /// Whether the store works.
    fn store(&self, _healthy: bool) {}

    /// The configuration no longer has a CDN of this name, so nothing more is reported of it.
    fn gone(&self, _key: &CdnKey) {}

    /// Whether the CDN is healthy.
    fn health(&self, _key: &CdnKey, _healthy: bool) {}
}

/// Ignores everything.
impl Observer for () {}

/// Returns the time in milliseconds since the epoch.
pub type TellTime = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Identifies the current boot of the machine, if that is known.
pub type TellBoot = Arc<dyn Fn() -> Option<Boot> + Send + Sync>;
