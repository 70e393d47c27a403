//! Where accepted purges are kept until every CDN has them. The trait is the contract: each verb one transaction.

use crate::cdn::Item;
use crate::purge::{JobPlan, PurgeRequest, SendReason, State};
use crate::rewrite::CdnType;
use serde::Serialize;
use std::future::Future;
use std::pin::Pin;

/// A verb's result, later.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

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
    /// A UUID, ordered by time.
    pub id: String,
    /// The site's name.
    pub site: String,
    /// What was asked for; kept as it was.
    pub request: PurgeRequest,
    /// The admin token's name.
    pub caller: String,
    /// Milliseconds since the epoch.
    pub now_ms: i64,
    /// Sends are due from here on (`origin_settle` later than now).
    pub due_ms: i64,
    /// One per CDN.
    pub jobs: Vec<JobPlan>,
    /// The caller's `Idempotency-Key` and a hash of site and body.
    pub idempotency: Option<(String, String)>,
}

/// What became of an enqueue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// Committed.
    Created,
    /// The idempotency key was used within 24 h for the same body: the purge of then.
    Existing(String),
    /// The idempotency key was used within 24 h for another body.
    KeyReused,
}

/// A leased send: one item that must reach its CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedSend {
    /// Names this send when it is settled.
    pub id: i64,
    /// Of which job.
    pub job: i64,
    /// What to purge.
    pub item: Item,
    /// Why it is due.
    pub reason: SendReason,
    /// How often it has been claimed, this time included: the fence of [`Store::settle`].
    pub attempt: u32,
    /// When its purge was accepted, milliseconds since the epoch.
    pub created_ms: i64,
}

/// What became of one send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The CDN accepted it.
    Done,
    /// Try again from this moment on.
    RetryAt(i64),
    /// It will never be accepted, or its time is up.
    Failed,
}

/// One call to a CDN, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The CDN's id of the call.
    pub request_id: Option<String>,
    /// How long the call took.
    pub duration_ms: i64,
    /// `done`, `later`, `split`, `refused`, `bad-credentials` or `unreachable`.
    pub outcome: String,
    /// What the CDN said, at most 2 KiB, secrets removed.
    pub message: String,
}

/// The end of one batch: each send's outcome, and the call that decided it.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Send id, the attempt it was claimed with, and its outcome.
    pub sends: Vec<(i64, u32, SendOutcome)>,
    /// Recorded with every job that had a send in the batch.
    pub attempt: Attempt,
    /// Milliseconds since the epoch.
    pub now_ms: i64,
}

/// A purge as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PurgeView {
    /// Its id.
    pub id: String,
    /// The site's name.
    pub site: String,
    /// The sum of its jobs.
    pub state: State,
    /// Why, in the caller's words.
    pub reason: Option<String>,
    /// `soft`, `hard`, or absent: as each CDN is configured.
    pub mode: Option<crate::purge::PurgeMode>,
    /// Milliseconds since the epoch; the API prints RFC 3339.
    #[serde(skip)]
    pub created_ms: i64,
    /// When the last job ended.
    #[serde(skip)]
    pub finished_ms: Option<i64>,
    /// What was asked for.
    pub request: PurgeRequest,
    /// One per CDN.
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
    /// Where it stands.
    pub state: State,
    /// How many items the CDN gets.
    pub items: u64,
    /// Fallbacks and escalations, in words.
    pub fallback: Vec<String>,
    /// When the CDN had accepted every item.
    #[serde(skip)]
    pub accepted_ms: Option<i64>,
    /// When the CDN had reported completion, where it does.
    #[serde(skip)]
    pub completed_ms: Option<i64>,
    /// When the next send is due.
    #[serde(skip)]
    pub next_attempt_ms: Option<i64>,
    /// A failure that nobody has dealt with.
    pub unacknowledged: bool,
    /// Oldest first, the last 100.
    #[serde(skip)]
    pub attempts: Vec<(Attempt, u64)>,
}

/// Which purges to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these sites; none: all.
    pub sites: Option<Vec<String>>,
    /// Only this state.
    pub state: Option<State>,
    /// At most this many.
    pub limit: usize,
    /// Only purges with a smaller id (ids are ordered by time).
    pub before: Option<String>,
}

/// How one CDN's queue stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// Which CDN.
    pub key: CdnKey,
    /// Items not yet accepted (first sends and retries).
    pub pending: u64,
    /// When the oldest of them became due.
    pub oldest_due_ms: Option<i64>,
    /// Jobs that failed and that nobody acknowledged.
    pub failed: u64,
    /// Sending was paused, by a person or by bad credentials, with the reason.
    pub paused: Option<String>,
}

/// A store of purges.
pub trait Store: Send + Sync {
    /// Commits a purge to stable storage.
    fn enqueue(&self, purge: NewPurge) -> StoreFuture<'_, Enqueued>;

    /// Leases up to `limit` due sends of one CDN, until `lease_until_ms`; small jobs first. A paused CDN has none.
    fn claim(
        &self,
        key: CdnKey,
        now_ms: i64,
        lease_until_ms: i64,
        limit: usize,
    ) -> StoreFuture<'_, Vec<ClaimedSend>>;

    /// Records what became of leased sends. One whose lease was taken over since (its attempt differs) is left alone.
    fn settle(&self, settlement: Settlement) -> StoreFuture<'_, ()>;

    /// When the next unleased send of this CDN is due.
    fn next_due(&self, key: CdnKey) -> StoreFuture<'_, Option<i64>>;

    /// One purge.
    fn get(&self, id: String) -> StoreFuture<'_, Option<PurgeView>>;

    /// Purges, newest first.
    fn list(&self, filter: Filter) -> StoreFuture<'_, Vec<PurgeView>>;

    /// How each CDN with work, failures or a pause stands.
    fn status(&self) -> StoreFuture<'_, Vec<QueueStatus>>;

    /// Stops (with a reason) or restarts the sending to a CDN.
    fn set_paused(&self, key: CdnKey, reason: Option<String>) -> StoreFuture<'_, ()>;

    /// Ends the leases of a former run. Called once, at start.
    fn release_leases(&self) -> StoreFuture<'_, u64>;

    /// Removes purges that ended before this, and idempotency keys older than 24 h.
    fn sweep(&self, ended_before_ms: i64, now_ms: i64) -> StoreFuture<'_, u64>;
}

/// Why a verb failed. Nothing of it was committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database failed.
    #[error("the store cannot {verb}")]
    Database {
        /// What was tried.
        verb: &'static str,
        /// Why it failed.
        #[source]
        source: std::sync::Arc<rusqlite::Error>,
    },
    /// The store's thread has ended.
    #[error("the store is closed")]
    Closed,
}
