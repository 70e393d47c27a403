//! How work ends: what became of a call, and what is remembered of it.

use super::{CdnKey, SavedRate};
use crate::cdn::Item;
use crate::purge::State;

/// What became of one send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The CDN accepted it.
    Done,
    /// It was tried in vain: again from this steady moment on.
    RetryAt(i64),
    /// It will never be accepted, or its time is up.
    Failed,
    /// It will never be accepted, but something broader may: [`Settlement::widen`] says what.
    Widened,
    /// It was not tried after all: due again at once.
    Unsent,
    /// Its call was split: due again at once, with those of the same number and nothing else. The number is the id of
    /// one of them.
    Together(i64),
}

/// One call to a CDN, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it began, by the machine's clock.
    pub at_ms: i64,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// The CDN's id of the call.
    pub request_id: Option<String>,
    /// How long the call took.
    pub duration_ms: i64,
    /// `done`, `partial`, `later`, `split`, `refused`, `bad-credentials` or `unreachable`.
    pub outcome: String,
    /// What the CDN said, at most 2 KiB, secrets removed.
    pub message: String,
}

/// The end of one call: each send's outcome, and what is remembered of it.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// Send id, the attempt it was claimed with, and its outcome. A send that absorbed others is settled alone.
    pub sends: Vec<(i64, u32, SendOutcome)>,
    /// Recorded with every job that had a send in the call; none if nothing was sent.
    pub attempt: Option<Attempt>,
    /// What jobs with a [`SendOutcome::Widened`] send get instead, once for each job.
    pub widen: Option<Wider>,
    /// What goes on at the CDN after it accepted the call.
    pub work: Option<NewWork>,
    /// How the account's buckets stand.
    pub rates: Vec<SavedRate>,
    /// Now, by the steady clock: what is put back or repeated is due from here on.
    pub now_ms: i64,
    /// Now, by the machine's clock: what ends has ended at this moment.
    pub at_ms: i64,
}

/// A broader item in place of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wider {
    /// All of the site; or, in place of a refused item, a URL or prefix that covers it.
    pub item: Item,
    /// In words; becomes a fallback of the job.
    pub why: String,
}

/// Something that a CDN accepted and will report complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWork {
    /// What the CDN calls it.
    pub name: String,
    /// How many items it has.
    pub items: u64,
    /// How many of them are wildcards.
    pub wildcards: u64,
}

/// Something that a CDN accepted and has not reported complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Names it in [`super::Store::complete`].
    pub id: i64,
    /// When it was accepted, by the steady clock.
    pub since_ms: i64,
    /// What it is.
    pub what: NewWork,
}

/// What a settlement changed beyond its sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The jobs that it ended.
    pub ended: Vec<EndedJob>,
    /// How many jobs were widened.
    pub widened: u64,
    /// The number of its work.
    pub work: Option<i64>,
}

/// A job that just ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedJob {
    /// Its CDN.
    pub key: CdnKey,
    /// The id of its purge.
    pub purge: String,
    /// `done`, `failed` or `cancelled`.
    pub state: State,
    /// How its purge ended, if this was the last job under way.
    pub purge_ended: Option<State>,
    /// Since when its purge was under way, by the steady clock.
    pub since_ms: i64,
    /// Whether it is to be verified, where the purge says so.
    pub verify: Option<bool>,
}

/// What a former run left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Leases that were ended.
    pub leases: u64,
    /// Every account's buckets.
    pub rates: Vec<SavedRate>,
}
