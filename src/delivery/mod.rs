//! What brings accepted purges to the CDNs: claim -> batch -> sign -> send -> judge -> settle.
//!
//! [`Engine`] starts everything. Each CDN of each site has two tasks: `queue.rs` claims due sends and keeps a few calls
//! under way (`call.rs` is the life of one), `check.rs` checks the credentials. Both tell `health.rs` what they saw, which
//! decides whether the CDN's responses may have a long TTL, and so does `verify.rs` of the copies it saw (`sample.rs`).
//! `pace.rs` says when the next call may go out.
//!
//! Nothing is lost by a crash: what was claimed and not settled is claimed again when its lease ends, or at the next start.

mod account;
mod answer;
mod backoff;
mod bucket;
mod call;
mod check;
mod choose;
mod completion;
mod engine;
mod escalate;
mod health;
mod naming;
mod orphans;
mod pace;
mod queue;
mod sample;
mod take_over;
mod target;
mod targets;
mod verify;
mod watch;

#[cfg(test)]
mod tests;

pub use backoff::backoff;
pub use engine::{CdnStatus, Engine, MakeAdapter, Parts};
pub use naming::queue_names;
pub use orphans::Orphan;
pub use take_over::take_over;

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
    /// Sends `request` and reads its answer. To be dropped safely at any moment.
    fn send(&self, request: http::Request<Bytes>) -> Sending<'_>;
}

impl Transport for crate::cdn::Sender {
    fn send(&self, request: http::Request<Bytes>) -> Sending<'_> {
        Box::pin(async move { self.send(request).await.map_err(|error| Unreachable::of(&error)) })
    }
}

/// An answer, later.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Reply, Unreachable>> + Send + 'a>>;

/// There was no answer, or not all of it; what the CDN did is unknown. In words, without a secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(pub String);

impl Unreachable {
    /// An error with all its causes.
    pub fn of(error: &dyn Error) -> Self {
        Self(with_causes(error))
    }
}

/// Hears what happens, for metrics. Called on the engine's tasks: must not block.
pub trait Observer: Send + Sync {
    /// A call to a CDN ended (`outcome` as in an attempt) that carried this many items.
    fn call(&self, _key: &CdnKey, _outcome: &'static str, _took: Duration, _items: u64) {}

    /// A job ended, this long after its purge was accepted.
    fn job_ended(&self, _job: &EndedJob, _took: Duration) {}

    /// A look at the CDN's copies of what a job purged came to this, so long after its purge was accepted.
    fn verified(&self, _key: &CdnKey, _seen: Verification, _took: Duration) {}

    /// So many jobs were widened: an item was refused, or the CDN's rate is too low for them.
    fn widened(&self, _key: &CdnKey, _jobs: u64) {}

    /// How a CDN's queue stands: jobs under way, and the age of the oldest (zero where there is none).
    fn queue(&self, _key: &CdnKey, _jobs: u64, _oldest: Duration) {}

    /// Whether nothing is sent to a CDN, and how many of its failed jobs nobody has acknowledged.
    fn standing(&self, _key: &CdnKey, _paused: bool, _failed: u64) {}

    /// So many jobs wait for a CDN that the site has no more (0: none any more), and so many failed ones for someone to
    /// acknowledge them.
    fn orphan(&self, _key: &CdnKey, _jobs: u64, _failed: u64) {}

    /// Whether the store works.
    fn store(&self, _healthy: bool) {}

    /// Nothing more will be told of a CDN: the configuration has none of this name.
    fn gone(&self, _key: &CdnKey) {}

    /// Whether purges to a CDN are known to get through.
    fn health(&self, _key: &CdnKey, _healthy: bool) {}
}

/// Nobody listens.
impl Observer for () {}

/// Tells the time, in milliseconds since the epoch.
pub type TellTime = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Tells which run of the machine this is, where that is known.
pub type TellBoot = Arc<dyn Fn() -> Option<Boot> + Send + Sync>;
