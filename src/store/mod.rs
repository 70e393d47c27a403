//! Where accepted purges are kept until every CDN has them. The trait is the contract: each verb is one transaction,
//! no handle leaks out, and what a verb answered is on stable storage. `contract.rs` is the test that any store must pass.
//!
//! A purge is enqueued with its items and a *send* per item. A worker claims due sends under a lease, calls the CDN, and
//! settles them; a send whose lease ran out can be claimed again, and its `attempt` is then higher: the fence that keeps a
//! late settlement from touching it.

mod sqlite;
mod types;

#[cfg(test)]
mod contract;

pub use sqlite::{OpenError, SqliteStore};
pub use types::{
    Attempt, CdnKey, ClaimedSend, EndedJob, Enqueued, Filter, JobView, NewPurge, Pause, PausedBy, PurgeView,
    QueueStatus, SendOutcome, Settlement, StoreError,
};

use std::future::Future;
use std::pin::Pin;

/// A verb's result, later.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A purge with more asked-for items than this is listed without them ([`Store::get`] has them).
pub const LISTED_ITEMS: u64 = 100;

/// A job with more items than this is bulk: the sends of smaller jobs go ahead of its own.
pub const BULK_ITEMS: usize = 1_000;

/// A store of purges. Every verb fails with [`StoreError`], and then nothing of it happened that was promised.
pub trait Store: Send + Sync {
    /// Commits a purge to stable storage. One without jobs, or whose jobs have no items, is done at once.
    fn enqueue(&self, purge: NewPurge) -> StoreFuture<'_, Enqueued>;

    /// Leases up to `limit` due sends of one CDN, until `lease_until_ms`; those of small jobs first, but while both are
    /// due a quarter is left to bulk ones so that they do not starve. A paused CDN has none.
    fn claim(
        &self,
        key: CdnKey,
        now_ms: i64,
        lease_until_ms: i64,
        limit: usize,
    ) -> StoreFuture<'_, Vec<ClaimedSend>>;

    /// Records what became of leased sends. One whose lease was taken over since (its attempt differs) is left alone.
    /// A first send that got through puts the job's repeat in the queue, if it has one. Answers which jobs this ended.
    fn settle(&self, settlement: Settlement) -> StoreFuture<'_, Vec<EndedJob>>;

    /// When this CDN next has something to claim: the earliest due time or end of a lease. None while it is paused.
    fn next_due(&self, key: CdnKey) -> StoreFuture<'_, Option<i64>>;

    /// One purge, with everything that is known of it.
    fn get(&self, id: String) -> StoreFuture<'_, Option<PurgeView>>;

    /// Purges, newest first; of each job only the last attempt, and of large requests not the items.
    fn list(&self, filter: Filter) -> StoreFuture<'_, Vec<PurgeView>>;

    /// How each CDN that ever had work stands.
    fn status(&self) -> StoreFuture<'_, Vec<QueueStatus>>;

    /// Stops (with a reason) or restarts the sending to a CDN. A person's word overrides that of the credentials, which
    /// neither replaces nor ends a person's pause.
    fn set_paused(&self, key: CdnKey, by: PausedBy, reason: Option<String>) -> StoreFuture<'_, ()>;

    /// Someone has dealt with the failed jobs of a purge; how many they were.
    fn acknowledge(&self, id: String) -> StoreFuture<'_, u64>;

    /// The failed items of a purge are due again, and the failure is forgotten; how many jobs that were.
    fn retry(&self, id: String, now_ms: i64) -> StoreFuture<'_, u64>;

    /// Ends the jobs of a purge that are under way as cancelled; which they were. Settling what was leased then does
    /// nothing.
    fn cancel(&self, id: String, now_ms: i64) -> StoreFuture<'_, Vec<EndedJob>>;

    /// Ends the leases of a former run. Called once, at start; how many they were.
    fn release_leases(&self) -> StoreFuture<'_, u64>;

    /// Removes a limited number of purges that ended before this, oldest first, and idempotency keys older than 24 h.
    /// Answers how many purges went; call again until none did. What stays: a purge with a failure that nobody
    /// acknowledged, and one that a living idempotency key names.
    fn sweep(&self, ended_before_ms: i64, now_ms: i64) -> StoreFuture<'_, u64>;

    /// Commits something small: whether the store still can.
    fn probe(&self, now_ms: i64) -> StoreFuture<'_, ()>;
}
