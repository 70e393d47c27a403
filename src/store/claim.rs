//! How work leaves the store: what is due, and the claim of one call's worth of it.

use super::CdnKey;
use crate::cdn::{Identity, Item, ItemKind};
use crate::purge::{Room, SendReason};

/// How urgent a send is. Each lane goes ahead of the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// All of the site: it takes everything else that is due with it.
    Site,
    /// Of a purge with few items.
    Small,
    /// Of a purge with more items than [`super::BULK_ITEMS`].
    Bulk,
}

/// What of one CDN's queue can be claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// What may share a call; empty while the CDN is paused, or if nothing is due.
    pub groups: Vec<DueGroup>,
    /// When the next send, or the end of a lease, is due after that, by the steady clock. None while paused.
    pub next_ms: Option<i64>,
    /// Items that the CDN has not accepted yet, due or not.
    pub pending: u64,
}

/// Due sends of one lane, scheduling kind and hardness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueGroup {
    /// Their lane.
    pub lane: Lane,
    /// Their scheduling kind.
    pub kind: ItemKind,
    /// Their hardness.
    pub hard: bool,
    /// How many; not more than was asked for.
    pub count: usize,
    /// When the oldest became due.
    pub oldest_ms: i64,
}

/// What to claim: the sends of one call.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Of which CDN.
    pub key: CdnKey,
    /// What that is for the claimer: what belongs to another one is not claimed.
    pub identity: Identity,
    /// Now, by the steady clock.
    pub now_ms: i64,
    /// The claimer's until then, by the steady clock.
    pub lease_until_ms: i64,
    /// Of [`Lane::Site`]; else of the others.
    pub site: bool,
    /// Their hardness.
    pub hard: bool,
    /// How many different items.
    pub room: Room,
    /// Of the room, what is left to bulk purges while they and small ones are due, by scheduling kind; 0: no bulk.
    pub bulk: [usize; 4],
    /// A call that has to be made again is made again as it was.
    pub keep_together: bool,
    /// How the account's buckets stand when this call has left.
    pub rates: Vec<SavedRate>,
}

#[cfg(test)]
impl Claim {
    /// Up to `most` different hard items of any kind.
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

/// The sends of one call, leased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// What the call carries, and what those items cover.
    pub sends: Vec<ClaimedSend>,
    /// A send of [`Lane::Site`] covers so many others besides, which are leased and end with it.
    pub absorbed: u64,
    /// Stands for exactly those, where calls are kept together; else 0.
    pub absorbed_digest: u64,
}

/// A leased send: one item that must reach its CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedSend {
    /// Names this send when it is settled; never given out twice.
    pub id: i64,
    /// Of which job.
    pub job: i64,
    /// What to purge.
    pub item: Item,
    /// Its lane.
    pub lane: Lane,
    /// Why it is due.
    pub reason: SendReason,
    /// How often it has been claimed, this time included: the fence of [`super::Store::settle`].
    pub attempt: u32,
    /// When its purge was accepted, by the machine's clock: with the id it tells this send from those of all other stores.
    pub created_ms: i64,
    /// Since when its purge is under way, by the steady clock.
    pub since_ms: i64,
}

/// A token bucket of an account. Of two values the store keeps the later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedRate {
    /// The account.
    pub account: String,
    /// Which of its buckets.
    pub name: String,
    /// When it is full again, by the steady clock, but in microseconds.
    pub full_us: i64,
}
