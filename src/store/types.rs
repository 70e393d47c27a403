//! Purges as they go into a store and as people see them.

use crate::cdn::Identity;
use crate::purge::{JobPlan, PurgeMode, PurgeRequest, State};
use crate::rewrite::CdnType;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};

/// One call to a CDN, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When the call began, by the machine's clock.
    pub at_ms: i64,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The CDN's id of the call.
    pub request_id: Option<String>,
    /// How long the call took, in milliseconds.
    pub duration_ms: i64,
    /// The outcome: `done`, `partial`, `later`, `unproven`, `split`, `refused`, `bad-credentials` or `unreachable`.
    pub outcome: String,
    /// The CDN's message, at most 2 KiB, with secrets removed.
    pub message: String,
}

/// One CDN of one site.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CdnKey {
    /// The site's name.
    pub site: String,
    /// The CDN's name within the site.
    pub cdn: String,
}

/// A planned purge, to be committed before its 202.
#[derive(Clone, Debug)]
pub struct NewPurge {
    /// A UUID of version 7, so that ids sort by time.
    pub id: String,
    /// The site's name.
    pub site: String,
    /// The request, kept as it was received.
    pub request: PurgeRequest,
    /// The admin token's name. Each caller has its own idempotency keys.
    pub caller: String,
    /// When the purge is accepted, by the machine's clock.
    pub now_ms: i64,
    /// When the purge is accepted, by the steady clock.
    pub since_ms: i64,
    /// When the sends become due, by the steady clock (`origin_settle` later than `since_ms`).
    pub due_ms: i64,
    /// The jobs, one for each CDN.
    pub jobs: Vec<JobPlan>,
    /// The key by which a repeated call is recognised (the names of token and site, and the `Idempotency-Key`), and a
    /// hash of the body.
    pub idempotency: Option<(String, String)>,
    /// The items that are purged again when responses in flight have arrived.
    pub follow_ups: FollowUps,
}

/// The follow-up purge of a purge, which [`super::Store::arrived`] makes due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowUps {
    /// The items, by job and number of the item. Each is listed one time.
    pub items: Vec<(usize, u32)>,
    /// How long after the next start the follow-ups are due, in milliseconds, if the program ends first: the
    /// arrivals are then unknown.
    pub margin_ms: i64,
}

/// The due time of sends that wait for responses to arrive is this (the end of the year 9999) plus their margin.
pub const WAITING_MS: i64 = 253_402_300_800_000;

/// A moment of the steady clock, with the data from which a later run can derive how long ago it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// The moment, by the steady clock.
    pub steady_ms: i64,
    /// The run of the machine at this moment, or `None` if unknown.
    pub boot: Option<Boot>,
}

/// A run of the machine, from its start to its end. Its own clock runs for all that time, whatever the other
/// clock is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The id of the run.
    pub id: String,
    /// How long the machine has been running, in milliseconds, including the time in which it was suspended.
    pub up_ms: i64,
}

impl From<i64> for Now {
    /// Creates a moment about which nothing else is known.
    fn from(steady_ms: i64) -> Self {
        Self { steady_ms, boot: None }
    }
}

/// An accepted purge, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentPurge {
    /// The site's name.
    pub site: String,
    /// The latest possible moment of its acceptance, by this run's steady clock ([`super::Store::take_over`]).
    pub since_ms: i64,
    /// The request.
    pub request: PurgeRequest,
}

/// Copies without our tags in a site's CDNs of one type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UntaggedCopies {
    /// The site's name.
    pub site: String,
    /// The type of the CDNs.
    pub cdn_type: CdnType,
    /// Until when the copies may live, by the steady clock.
    pub until_ms: i64,
    /// The longest lifetime of any of the copies, in milliseconds.
    pub longest_ms: i64,
}

/// The result of an enqueue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// The purge was committed.
    Created,
    /// The idempotency key was used within 24 h for the same body. Contains the id of that purge.
    Existing(String),
    /// The idempotency key was used within 24 h for another body.
    KeyReused,
}

/// A purge as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PurgeView {
    /// The purge's id.
    pub id: String,
    /// The site's name.
    pub site: String,
    /// The combined state of its jobs. While one is under way: the first of `sending`, `retrying`, `paused` and
    /// `pending` that applies.
    pub state: State,
    /// The reason, in the caller's words.
    pub reason: Option<String>,
    /// The mode, `soft` or `hard`. If absent, each CDN's configuration applies.
    pub mode: Option<PurgeMode>,
    /// When the purge was accepted, in milliseconds since the epoch; the API prints RFC 3339.
    #[serde(skip)]
    pub created_ms: i64,
    /// When the last job ended.
    #[serde(skip)]
    pub finished_ms: Option<i64>,
    /// The number of requested items.
    pub items: u64,
    /// The request. In a list, without its items if they are more than [`super::LISTED_ITEMS`].
    pub request: PurgeRequest,
    /// The jobs, one for each CDN.
    pub jobs: Vec<JobView>,
}

/// A job as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobView {
    /// The CDN's name.
    pub cdn: String,
    /// The CDN's type.
    #[serde(rename = "type")]
    pub cdn_type: CdnType,
    /// The job's state.
    pub state: State,
    /// The number of items that the CDN gets.
    pub items: u64,
    /// Fallbacks and escalations, in words.
    pub fallback: Vec<String>,
    /// When the CDN had accepted every item.
    #[serde(skip)]
    pub accepted_ms: Option<i64>,
    /// When the CDN had reported completion, if it reports that.
    #[serde(skip)]
    pub completed_ms: Option<i64>,
    /// The result of the last check of the CDN's copies, if the job was verified.
    pub verification: Option<Verification>,
    /// When the CDN's copies were found to be fresh.
    #[serde(skip)]
    pub verified_ms: Option<i64>,
    /// When the next send, repeats included, is due by the steady clock. `None` while every send is with the
    /// CDN.
    #[serde(skip)]
    pub next_attempt_ms: Option<i64>,
    /// Whether only follow-ups are left to send, which wait for responses to arrive.
    pub waits: bool,
    /// Whether the job has failed and nobody has acknowledged this.
    pub unacknowledged: bool,
    /// The calls with the number of this job's items in each: the last 100, oldest first. In a list, only the
    /// last call.
    #[serde(skip)]
    pub attempts: Vec<(Attempt, u64)>,
}

/// The state of the CDN's copies of the pages that a job purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verification {
    /// No copy is older than the purge.
    Fresh,
    /// A copy is older than the purge.
    Stale,
    /// The copies do not reveal their age, or there is none to request.
    Unknown,
}

impl Verification {
    /// Returns the name that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }
}

/// A filter for lists of purges.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only purges of these sites; `None` means all sites.
    pub sites: Option<Vec<String>>,
    /// Only purges in this state.
    pub state: Option<State>,
    /// The most purges to return.
    pub limit: usize,
    /// Only purges with a smaller id (ids are ordered by time).
    pub before: Option<String>,
}

/// A page of the purges that match a filter, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The purges. There are fewer than requested if finding more would take too long.
    pub purges: Vec<PurgeView>,
    /// The [`Filter::before`] with which to continue, or `None` if there are no more.
    pub next: Option<String>,
}

/// The result of one step of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The number of purges that disappeared from view in this step.
    pub purges: u64,
    /// Whether there is more to remove, so that the sweep must be called again.
    pub more: bool,
}

/// The status of one CDN's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// The CDN.
    pub key: CdnKey,
    /// The CDN's identity.
    pub identity: Identity,
    /// The number of jobs under way.
    pub jobs: u64,
    /// The number of items not yet accepted (all sends except repeats).
    pub pending: u64,
    /// When the oldest job under way became due, by the steady clock.
    pub oldest_due_ms: Option<i64>,
    /// The number of failed jobs that nobody has acknowledged.
    pub failed: u64,
    /// The pause, if sending was stopped.
    pub paused: Option<Pause>,
}

impl QueueStatus {
    /// Returns the status of a CDN that never had work.
    pub fn empty(key: CdnKey) -> Self {
        Self {
            key,
            identity: Identity::default(),
            jobs: 0,
            pending: 0,
            oldest_due_ms: None,
            failed: 0,
            paused: None,
        }
    }
}

/// A queue with jobs under way that has been renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The old name.
    pub from: CdnKey,
    /// The new name.
    pub to: CdnKey,
    /// Whether no CDN of the site matches the queue, so that nothing of it is sent.
    pub orphaned: bool,
    /// The number of jobs under way.
    pub jobs: u64,
}

impl Display for Moved {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { from: CdnKey { site, cdn }, to: CdnKey { cdn: to, .. }, orphaned, jobs } = self;
        let purges = if *jobs == 1 { "purge" } else { "purges" };
        match orphaned {
            false => {
                write!(f, "{site}/{cdn}: the queue ({jobs} {purges}) moves to {to}, which is the same CDN")
            }
            true => write!(
                f,
                "{site}/{cdn}: the queue ({jobs} {purges}) belongs to a CDN that the site no longer has; it stays as {to} \
                 until it is cancelled or too old, and is sent if that CDN is configured again"
            ),
        }
    }
}

/// Why nothing is sent to a CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// The origin of the pause, which decides who may end it.
    pub by: PausedBy,
    /// The reason, in words.
    pub reason: String,
}

/// The origin of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PausedBy {
    /// A person, who will also restart the sending.
    Person,
    /// The CDN refused the credentials. The pause ends when a check of them succeeds.
    Credentials,
}

/// Why a verb failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the store cannot {verb}")]
    Database {
        /// The action that was tried.
        verb: &'static str,
        /// The cause.
        #[source]
        source: std::sync::Arc<dyn std::error::Error + Send + Sync>,
        /// Whether the data is corrupt, which no later success can repair.
        is_corrupt: bool,
        /// Whether the verb may have had its effect nevertheless: the answer to a commit was lost.
        in_doubt: bool,
    },
    /// The store's thread has ended.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Returns whether the data is corrupt, which no later success can repair.
    pub fn is_corruption(&self) -> bool {
        matches!(self, Self::Database { is_corrupt: true, .. })
    }

    /// Returns whether the verb may have had its effect nevertheless.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Database { in_doubt: true, .. })
    }
}
