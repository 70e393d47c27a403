//! Where accepted purges are kept until every CDN has them. The trait is the contract: each verb is one transaction,
//! no handle leaks out, and what a verb answered is on stable storage. `contract.rs` is the test that any store must pass.
//!
//! A purge is enqueued with its items and a *send* per item. A worker claims due sends under a lease, calls the CDN, and
//! settles them; a send whose lease ran out can be claimed again, and its `attempt` is then higher: the fence that keeps a
//! late settlement from touching it.
//!
//! There are two clocks. Whatever waits goes by a steady one ([`crate::guard::Clock::steady_ms`]): due times, leases, ages. What
//! people are shown goes by the machine's own, which somebody may set. Both count milliseconds since the epoch, and each
//! moment says which it is of. A run's steady clock begins at the machine's time, so what a former run left may lie ahead of
//! it, or behind it, by any amount: [`Store::take_over`] brings it in line.

mod claim;
mod settle;
mod sqlite;
mod types;
mod watched;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod model;

pub use claim::{Claim, Claimed, ClaimedSend, Due, DueGroup, Lane, SavedRate};
pub use settle::{Attempt, EndedJob, Left, NewWork, SendOutcome, Settled, Settlement, Wider, Work};
pub use sqlite::{OpenError, SqliteStore, StoreVitals};
pub use types::{
    Boot, CdnKey, Enqueued, Filter, FollowUps, JobView, Listed, Moved, NewPurge, Now, Pause, PausedBy,
    PurgeView, QueueStatus, RecentPurge, StoreError, Swept, UntaggedCopies, Verification, WAITING_MS,
};

pub use watched::{StoreHealth, Watched};

use crate::cdn::Identity;
use std::future::Future;
use std::pin::Pin;

/// Sends of one kind that [`Store::hurry`] makes due in one step, so that nobody waits long for the writer.
pub const HURRIED: u64 = 5_000;

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

    /// What the configuration calls its CDNs from now on, and what each of them is. A queue is that of an identity
    /// ([`crate::cdn::successor`]), so it gets the name under which that is configured now; one that nobody of its site can have
    /// is an orphan and is called by its identity. Answers what has jobs under way and is called otherwise than before.
    fn name_queues(&self, cdns: Vec<(CdnKey, Identity)>) -> StoreFuture<'_, Vec<Moved>>;

    /// The responses for which the follow-ups of a purge wait have arrived: they are due from this steady moment on. How many
    /// those are.
    fn arrived(&self, id: String, due_ms: i64) -> StoreFuture<'_, u64>;

    /// The latest purges, newest first: as many as have together not more than this many items, and one more.
    fn recent(&self, most_items: u64) -> StoreFuture<'_, Vec<RecentPurge>>;

    /// What of this CDN's queue can be claimed at this steady moment; each group counted up to `most`.
    fn due(&self, key: CdnKey, now_ms: i64, most: usize) -> StoreFuture<'_, Due>;

    /// Leases what one call carries: as many due sends as it has room for, the same item counted once, small jobs before
    /// bulk ones; and whatever these items cover. A send of [`Lane::Site`] is claimed alone and absorbs all others that are
    /// due and no harder. Sends that are kept together are claimed together, if they are first in line and have room.
    /// A paused CDN has none.
    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claimed>;

    /// Records what became of leased sends, and with a send that of all that it absorbed: done with it, or else due again.
    /// One whose lease was taken over since (its attempt differs) is left alone. A send that got through puts its job's
    /// repeat in the queue, if it has one.
    fn settle(&self, settlement: Settlement) -> StoreFuture<'_, Settled>;

    /// Puts something that covers everything due at this CDN (by the steady clock) ahead of it; how many jobs that concerns.
    /// None if something of the sort waits already, or nothing is due.
    fn widen(&self, key: CdnKey, wider: Wider, now_ms: i64) -> StoreFuture<'_, u64>;

    /// What this CDN accepted and has not reported complete.
    fn works(&self, key: CdnKey) -> StoreFuture<'_, Vec<Work>>;

    /// The CDN has reported a work complete (`completed_ms`, by the machine's clock), or nobody will ever know.
    fn complete(&self, work: i64, completed_ms: Option<i64>) -> StoreFuture<'_, ()>;

    /// What a look at the copies of what a job purged showed, and when by the machine's clock. At the steady moment `again_ms` all
    /// its items are purged once more, as its repeat.
    fn verified(
        &self,
        key: CdnKey,
        purge: String,
        seen: (Verification, i64),
        again_ms: Option<i64>,
    ) -> StoreFuture<'_, ()>;

    /// The jobs of all CDNs that are done, whose purges ended after this moment of the machine's clock, and whose copies nobody
    /// has seen to be fresh or could not judge: newest first, a limited number.
    fn unverified(&self, ended_after_ms: i64) -> StoreFuture<'_, Vec<EndedJob>>;

    /// One purge, with everything that is known of it.
    fn get(&self, id: String) -> StoreFuture<'_, Option<PurgeView>>;

    /// The same as a list shows it: of each job only the last attempt, and of a large request not the items.
    fn glance(&self, id: String) -> StoreFuture<'_, Option<PurgeView>>;

    /// Purges, newest first; of each job only the last attempt, and of large requests not the items. It looks at a limited number of
    /// purges, and says where to go on.
    fn list(&self, filter: Filter) -> StoreFuture<'_, Listed>;

    /// How each CDN that ever had work stands.
    fn status(&self) -> StoreFuture<'_, Vec<QueueStatus>>;

    /// The same for people: it may wait for what others look at, and no worker waits for it.
    fn survey(&self) -> StoreFuture<'_, Vec<QueueStatus>>;

    /// Stops (with a reason) or restarts the sending to a CDN. A person's word overrides that of the credentials, which
    /// neither replaces nor ends a person's pause.
    fn set_paused(&self, key: CdnKey, by: PausedBy, reason: Option<String>) -> StoreFuture<'_, ()>;

    /// What this CDN was tried with in vain is due at this steady moment, and not later: how many they are. Call again
    /// while they are as many as [`HURRIED`]. Nothing that was not tried yet is sent sooner, since the origin may still have the old version.
    fn hurry(&self, key: CdnKey, now_ms: i64) -> StoreFuture<'_, u64>;

    /// Someone has dealt with the failed jobs of a purge; how many they were.
    fn acknowledge(&self, id: String) -> StoreFuture<'_, u64>;

    /// The failed items of a purge are due again, from this steady moment on, and the failure is forgotten; how many jobs that
    /// were.
    fn retry(&self, id: String, now_ms: i64) -> StoreFuture<'_, u64>;

    /// Ends the jobs of a purge that are under way as cancelled, now by the machine's clock; which they were. Settling what
    /// was leased then does nothing.
    fn cancel(&self, id: String, at_ms: i64) -> StoreFuture<'_, Vec<EndedJob>>;

    /// Takes over from a former run. Its leases end, and its follow-ups wait for nothing but their margin. All its moments are
    /// brought to this run's clock: exactly, if the machine has not been started in between; else as far as its last probe tells.
    /// Then nobody knows how long that is ago: what waits does not wait longer for it, and no purge grows older, but what ended
    /// counts as accepted now. Nothing is due later than `furthest_ms`, since no wait is that long. Called at start, before
    /// anything is accepted or claimed.
    fn take_over(&self, now: Now, furthest_ms: i64) -> StoreFuture<'_, Left>;

    /// Removes purges that ended before this, oldest first, and idempotency keys older than 24 h. Both moments are the
    /// machine's. Each call is a step that takes a limited number of rows, so that nobody waits long for it; call again while there is
    /// more. A purge is gone from sight before its rows are. What stays: a purge with a failure that nobody acknowledged, and
    /// one that a living idempotency key names.
    fn sweep(&self, ended_before_ms: i64, now_ms: i64) -> StoreFuture<'_, Swept>;

    /// Copies without our tags may live for so long. What is later, or longer, of what is known and this stays; but a moment
    /// more than two years after this one was written when the clock was wrong.
    fn note_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()>;

    /// Of these copies none lives longer than this, whatever was noted before: they were purged. Their longest lifetime stays.
    fn forget_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()>;

    /// What is known of copies without our tags, by site and type of CDN.
    fn untagged(&self) -> StoreFuture<'_, Vec<UntaggedCopies>>;

    /// Whether purges were accepted that this store does not know of: it was put back from a backup, or took another one's place.
    fn is_behind(&self) -> StoreFuture<'_, bool>;

    /// What was lost has been made up for: the store counts as the one that all purges were accepted in.
    fn caught_up(&self) -> StoreFuture<'_, ()>;

    /// Commits this moment: whether the store still can. With it, a next run knows until when this one lived.
    fn probe(&self, now: Now) -> StoreFuture<'_, ()>;
}
