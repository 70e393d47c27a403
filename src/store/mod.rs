//! The store, which keeps accepted purges until every CDN has them. The trait is the contract: each verb is one
//! transaction, no handle leaks out, and an answered verb is on stable storage. `contract/` is the test that every
//! store must pass.
//!
//! A purge is enqueued with its items and a *send* per item. A delivery task (`delivery/queue.rs`) claims due sends
//! under a lease, calls the CDN, and settles them. A send whose lease ran out can be claimed again. Its `attempt` is
//! then higher, which is the fence that keeps a late settlement from touching it.
//!
//! Several instances may share a store. Then their moments are converted where they enter and leave it, since each
//! instance has a clock of its own, and only those of the store itself can be compared.
//!
//! There are two clocks. Everything that waits uses a steady one ([`crate::guard::Clock::steady_ms`]): due
//! times, leases, ages. Times for people use the machine's own, which an administrator may set. Both count
//! milliseconds since the epoch, and each moment states its clock. A run's steady clock begins at the machine's
//! time, so the moments of a former run may lie ahead of it or behind it by any amount. [`Store::take_over`]
//! converts them.

mod claim;
mod names;
mod postgres;
mod settle;
mod sqlite;
mod stored;
mod types;
mod watched;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod model;

pub use claim::{Claim, Claimed, ClaimedSend, Due, DueGroup, Lane, SavedRate};
pub use postgres::{
    Certificates, Entry, Head, Member, Membership, PostgresError, PostgresStore, Settings, TellTime,
};
pub use settle::{EndedJob, Left, NewWork, SendOutcome, Settled, Settlement, Wider, Work};
pub use sqlite::{OpenError, SqliteStore, StoreVitals};
pub use types::{
    Attempt, Boot, CdnKey, Enqueued, Filter, FollowUps, JobView, Listed, Moved, NewPurge, Now, Pause,
    PausedBy, PurgeView, QueueStatus, RecentPurge, StoreError, Swept, UntaggedCopies, Verification,
    WAITING_MS,
};

pub use watched::{StoreHealth, Watched};

use crate::cdn::Identity;
use std::future::Future;
use std::pin::Pin;

/// The most sends of each lane, kind and hardness that [`Store::hurry`] makes due in one step, so that no verb
/// waits long for the writer.
pub const HURRIED: u64 = 5_000;

/// The future of a verb's result.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A purge with more requested items than this is listed without them ([`Store::get`] has them).
pub const LISTED_ITEMS: u64 = 100;

/// A job with more items than this is bulk: the sends of smaller jobs go ahead of its own.
pub const BULK_ITEMS: usize = 1_000;

/// A store of purges. Every verb may fail with [`StoreError`], and then none of its promised effects has
/// happened.
pub trait Store: Send + Sync {
    /// Commits a purge to stable storage. A purge without jobs, or whose jobs have no items, is done at once.
    fn enqueue(&self, purge: NewPurge) -> StoreFuture<'_, Enqueued>;

    /// Adopts the names and identities of the configured CDNs. A queue belongs to an identity
    /// ([`crate::cdn::successor`]), so it gets the name under which that identity is configured now. If no CDN
    /// of its site matches, it becomes an orphan, named after its identity. Returns the renamed queues that have
    /// jobs under way.
    fn name_queues(&self, cdns: Vec<(CdnKey, Identity)>) -> StoreFuture<'_, Vec<Moved>>;

    /// Adds follow-ups to a committed purge, because of responses that turned out to be in flight at this instance
    /// only afterwards. A job that has ended is under way again, unless it was cancelled. Returns their number.
    fn follow_up(&self, id: String, follow_ups: FollowUps) -> StoreFuture<'_, u64>;

    /// Makes the follow-ups of a purge due at this steady moment, because the responses that they wait for have
    /// arrived. Only those of this instance are concerned. Returns their number.
    fn arrived(&self, id: String, due_ms: i64) -> StoreFuture<'_, u64>;

    /// Returns the latest purges, newest first: as many as together have at most this many items, and one more.
    fn recent(&self, most_items: u64) -> StoreFuture<'_, Vec<RecentPurge>>;

    /// Returns the part of this CDN's queue that can be claimed at this steady moment. Each group is counted up
    /// to `most`.
    fn due(&self, key: CdnKey, now_ms: i64, most: usize) -> StoreFuture<'_, Due>;

    /// Leases the sends of one call: as many due sends as it has room for, and all sends that their items cover.
    /// An item that several sends share takes room one time only. Small jobs go before bulk ones. A send of
    /// [`Lane::Site`] is claimed alone and absorbs all other due sends that are no harder. Sends that are kept
    /// together are claimed together if they are first in line and there is room for them. A paused CDN has no
    /// sends to claim.
    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claimed>;

    /// Records the outcome of leased sends. The outcome of a send also ends everything that it absorbed, or makes it
    /// due again. A send whose lease was taken over meanwhile (its attempt differs) is left alone. A send that got
    /// through queues the repeat of its item, if its job has repeats.
    fn settle(&self, settlement: Settlement) -> StoreFuture<'_, Settled>;

    /// Puts a broader item ahead of everything that is due at this CDN (by the steady clock). Returns the number
    /// of jobs that it covers: 0 if such an item waits already, or if nothing is due.
    fn widen(&self, key: CdnKey, wider: Wider, now_ms: i64) -> StoreFuture<'_, u64>;

    /// Returns the works (`settle.rs`) that this CDN has accepted and not reported complete.
    fn works(&self, key: CdnKey) -> StoreFuture<'_, Vec<Work>>;

    /// Ends a work: the CDN has reported it complete (`completed_ms`, by the machine's clock), or its completion
    /// will never be known.
    fn complete(&self, work: i64, completed_ms: Option<i64>) -> StoreFuture<'_, ()>;

    /// Records the result of checking the copies of a job's purged pages, and when they were checked, by the machine's
    /// clock. If `again_ms` is given, all planned items of the job are purged again at this steady moment, as its
    /// repeat.
    fn verified(
        &self,
        key: CdnKey,
        purge: String,
        seen: (Verification, i64),
        again_ms: Option<i64>,
    ) -> StoreFuture<'_, ()>;

    /// Returns the done jobs of all CDNs whose purges ended after this moment of the machine's clock and whose
    /// copies are not verified: neither found fresh nor impossible to check. Newest first, and a limited number.
    fn unverified(&self, ended_after_ms: i64) -> StoreFuture<'_, Vec<EndedJob>>;

    /// Returns one purge, with everything that is known about it.
    fn get(&self, id: String) -> StoreFuture<'_, Option<PurgeView>>;

    /// Returns one purge as a list shows it: with only the last attempt of each job, and without the items of a
    /// large request.
    fn glance(&self, id: String) -> StoreFuture<'_, Option<PurgeView>>;

    /// Returns purges, newest first, with only the last attempt of each job and without the items of large
    /// requests. The search covers a limited number of purges, and the result states where to continue.
    fn list(&self, filter: Filter) -> StoreFuture<'_, Listed>;

    /// Returns the status of each CDN that ever had work.
    fn status(&self) -> StoreFuture<'_, Vec<QueueStatus>>;

    /// Like [`Store::status`], but for people: the call may wait for other people's reads, and no delivery task waits
    /// for it.
    fn survey(&self) -> StoreFuture<'_, Vec<QueueStatus>>;

    /// Stops (with a reason) or restarts the sending to a CDN. A person's decision overrides that of the
    /// credentials, which neither replaces nor ends a person's pause.
    fn set_paused(&self, key: CdnKey, by: PausedBy, reason: Option<String>) -> StoreFuture<'_, ()>;

    /// Makes this CDN's retries due at this steady moment at the latest, and returns the number of those made
    /// due earlier. Must be called again while this is at least [`HURRIED`]. Sends that were not tried yet keep
    /// their time, because the origin may still have the old version.
    fn hurry(&self, key: CdnKey, now_ms: i64) -> StoreFuture<'_, u64>;

    /// Marks the failed jobs of a purge as resolved, and returns their number.
    fn acknowledge(&self, id: String) -> StoreFuture<'_, u64>;

    /// Makes the failed items of a purge due again from this steady moment on, and removes the failure. Returns
    /// the number of such jobs.
    fn retry(&self, id: String, now_ms: i64) -> StoreFuture<'_, u64>;

    /// Ends the jobs of a purge that are under way as cancelled, at `at_ms` by the machine's clock, and returns
    /// them. Settling their leased sends then has no effect.
    fn cancel(&self, id: String, at_ms: i64) -> StoreFuture<'_, Vec<EndedJob>>;

    /// Takes over from a former run of this instance, and from instances that take part no more. Their leases end,
    /// and their follow-ups only wait for their margin. All moments are converted to this run's clock. If the
    /// machine has not been restarted meanwhile, the conversion is exact. Otherwise it relies on the last probe, and
    /// the time since then is unknown: waits get no longer and purges under way no older, but purges that have ended
    /// count as accepted now. Nothing is due later than `furthest_ms` (`delivery/take_over.rs`). Called at start,
    /// before anything is accepted or claimed.
    fn take_over(&self, now: Now, furthest_ms: i64) -> StoreFuture<'_, Left>;

    /// Removes purges that ended before `ended_before_ms`, oldest first, and idempotency keys older than 24 h.
    /// Both moments are by the machine's clock. Each call is a step that removes a limited number of rows, so
    /// that no verb waits long for it. Call again while there is more. A purge disappears from view before its
    /// rows do. Purges with an unacknowledged failure stay, and so do purges that a valid idempotency key names.
    fn sweep(&self, ended_before_ms: i64, now_ms: i64) -> StoreFuture<'_, Swept>;

    /// Records until when copies without our tags may live. Of the stored and the new values, the later moment
    /// and the longer lifetime stay. A stored moment more than two years after the new one is replaced, because
    /// it was written while the clock was wrong.
    fn note_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()>;

    /// Records that these copies were purged: none lives beyond the given moment, whatever was recorded before.
    /// Their longest lifetime stays.
    fn forget_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()>;

    /// Returns the known copies without our tags, by site and CDN type.
    fn untagged(&self) -> StoreFuture<'_, Vec<UntaggedCopies>>;

    /// Returns whether purges were accepted that this store does not contain, because it was restored from a
    /// backup or replaced another one.
    fn is_behind(&self) -> StoreFuture<'_, bool>;

    /// Records that the lost purges have been made up for: the store is again the one in which all purges were
    /// accepted.
    fn caught_up(&self) -> StoreFuture<'_, ()>;

    /// Commits this moment, which checks that the store still can. The next run learns from it until when this
    /// one lived.
    fn probe(&self, now: Now) -> StoreFuture<'_, ()>;
}
