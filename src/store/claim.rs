//! How work leaves the store: the due sends, and the claim of one call's worth of them.

use super::CdnKey;
use crate::cdn::{Identity, Item, ItemKind};
use crate::purge::{Room, SendReason};

/// The urgency of a send. Each lane goes ahead of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// A send that purges the whole site and absorbs all other due sends that are no harder. `store/sqlite/absorb.rs`
    /// has an exception.
    Site,
    /// A send of a job with at most [`super::BULK_ITEMS`] items.
    Small,
    /// A send of a job with more items than that.
    Bulk,
}

/// The part of one CDN's queue that can be claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The due sends, by lane, scheduling kind and hardness. Empty while the CDN is paused, or if nothing is due.
    pub groups: Vec<DueGroup>,
    /// The first moment after the present one at which a send becomes due or a lease ends, by the steady clock. `None`
    /// while paused, or if there is none.
    pub next_ms: Option<i64>,
    /// Items that the CDN has not accepted yet, due or not.
    pub pending: u64,
}

/// Due sends of one lane, scheduling kind and hardness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueGroup {
    /// The lane.
    pub lane: Lane,
    /// The scheduling kind ([`crate::purge::scheduling_kind`]).
    pub kind: ItemKind,
    /// Whether the sends are hard.
    pub hard: bool,
    /// The number of sends, at most the number that was requested.
    pub count: usize,
    /// When the oldest send became due.
    pub oldest_ms: i64,
}

/// A request for the sends of one call.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The CDN.
    pub key: CdnKey,
    /// The CDN's identity as the claimer knows it. Nothing is claimed from the queue of another identity.
    pub identity: Identity,
    /// The present moment, by the steady clock.
    pub now_ms: i64,
    /// The end of the lease, by the steady clock.
    pub lease_until_ms: i64,
    /// Whether to claim a send of [`Lane::Site`]. Otherwise sends of the other lanes are claimed.
    pub site: bool,
    /// Whether to claim hard sends. Otherwise soft ones are claimed.
    pub hard: bool,
    /// How many different items there is room for.
    pub room: Room,
    /// The part of the room that is reserved for bulk purges while small ones are due as well, by scheduling
    /// kind. 0 means that no bulk purges are claimed.
    pub bulk: [usize; 4],
    /// Whether a call that has to be repeated is repeated with the same sends.
    pub keep_together: bool,
    /// The state of the account's buckets after this call has left.
    pub rates: Vec<SavedRate>,
}

#[cfg(test)]
impl Claim {
    /// A claim of up to `most` different hard items of any kind.
    pub(crate) fn of(key: CdnKey, now_ms: i64, lease_until_ms: i64, most: usize) -> Self {
        let room = Room { items: [most; 4], total: most, bytes: usize::MAX };
        let bulk = [0, most.div_ceil(4), 0, 0];
        let (site, hard, keep_together, rates) = (false, true, false, Vec::new());
        Self {
            key,
            identity: Identity::default(),
            now_ms,
            lease_until_ms,
            site,
            hard,
            room,
            bulk,
            keep_together,
            rates,
        }
    }
}

/// The leased sends of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The sends that the call carries, and those whose items it covers.
    pub sends: Vec<ClaimedSend>,
    /// The number of further sends that a send of [`Lane::Site`] covers. They are leased and end with it.
    pub absorbed: u64,
    /// A digest of the ids of the absorbed sends if calls are kept together. Otherwise 0.
    pub absorbed_digest: u64,
}

/// A leased send: one item that must reach its CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedSend {
    /// The id that names this send when it is settled. Never reused.
    pub id: i64,
    /// The send's job.
    pub job: i64,
    /// The item to purge.
    pub item: Item,
    /// The lane.
    pub lane: Lane,
    /// Why the send is due.
    pub reason: SendReason,
    /// The number of times the send has been claimed, including this one. This is the fence of
    /// [`super::Store::settle`].
    pub attempt: u32,
    /// When its purge was accepted, by the machine's clock. Together with the id, this distinguishes the send
    /// from those of all other stores.
    pub created_ms: i64,
    /// Since when its purge is under way, by the steady clock.
    pub since_ms: i64,
}

/// A token bucket of an account, or the silence that its CDN asked for (`delivery/account.rs`). Of two values, the
/// store keeps the later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedRate {
    /// The account.
    pub account: String,
    /// The bucket's name within the account.
    pub name: String,
    /// When the bucket is full again, or the silence ends, by the steady clock, but in microseconds.
    pub full_us: i64,
}
