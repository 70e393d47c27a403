//! How work ends: the outcome of a call, and what is remembered of it.

use super::{Attempt, CdnKey, SavedRate};
use crate::cdn::Item;
use crate::purge::State;

/// The outcome of one send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The CDN accepted the item.
    Done,
    /// The send was tried in vain, and is due again at this steady moment.
    RetryAt(i64),
    /// The item will never be accepted, or its time is up.
    Failed,
    /// The item will never be accepted, but a broader one may be: [`Settlement::widen`].
    Widened,
    /// The send was not tried after all, and is due again at once.
    Unsent,
    /// The call was split. The send is due again at once, together with those of the same number and nothing
    /// else. The number is the id of one of them.
    Together(i64),
}

/// The end of one call: each send's outcome, and what is remembered of it.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// Each send's id, the attempt with which it was claimed, and its outcome. A send that absorbed others is
    /// settled alone.
    pub sends: Vec<(i64, u32, SendOutcome)>,
    /// The attempt to record with every job that had a send in the call. `None` if nothing was sent.
    pub attempt: Option<Attempt>,
    /// The broader item for each job with a [`SendOutcome::Widened`] send. Each such job gets it one time.
    pub widen: Option<Wider>,
    /// The work that continues at the CDN after it accepted the call.
    pub work: Option<NewWork>,
    /// The state of the account's buckets.
    pub rates: Vec<SavedRate>,
    /// The present moment, by the steady clock. Sends that are put back or repeated are due relative to it.
    pub now_ms: i64,
    /// The present moment, by the machine's clock: the time at which jobs and purges end.
    pub at_ms: i64,
}

/// A broader item in place of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wider {
    /// All of the site or, in place of a refused item, a URL or prefix that covers it.
    pub item: Item,
    /// The reason in words, which becomes a fallback of the job.
    pub why: String,
}

/// A work: something that a CDN accepted and will report complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWork {
    /// The CDN's name for the work.
    pub name: String,
    /// The number of items.
    pub items: u64,
    /// The number of wildcards among them.
    pub wildcards: u64,
}

/// A work that a CDN accepted and has not reported complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The id to use in [`super::Store::complete`].
    pub id: i64,
    /// When the work was accepted, by the steady clock.
    pub since_ms: i64,
    /// The CDN's name for the work, and its size.
    pub what: NewWork,
}

/// The effects of a settlement beyond its sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The jobs that ended.
    pub ended: Vec<EndedJob>,
    /// The number of jobs that were widened.
    pub widened: u64,
    /// The id of the new work, if there is one.
    pub work: Option<i64>,
}

/// A job that just ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedJob {
    /// The job's CDN.
    pub key: CdnKey,
    /// The id of the job's purge.
    pub purge: String,
    /// The final state: `done`, `failed` or `cancelled`.
    pub state: State,
    /// The final state of the purge, if this was its last job under way.
    pub purge_ended: Option<State>,
    /// Since when the purge was under way, by the steady clock.
    pub since_ms: i64,
    /// Whether the job is to be verified, if the purge states it.
    pub verify: Option<bool>,
}

/// What a former run left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// The number of leases that were ended.
    pub leases: u64,
    /// Every account's buckets.
    pub rates: Vec<SavedRate>,
}
