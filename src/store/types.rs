//! Purges as they go into a store and as people see them.

use super::Attempt;
use crate::cdn::Identity;
use crate::purge::{JobPlan, PurgeMode, PurgeRequest, State};
use crate::rewrite::CdnType;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};

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
    /// What was asked for; kept as it was.
    pub request: PurgeRequest,
    /// The admin token's name; idempotency keys are the caller's own.
    pub caller: String,
    /// When it is accepted, by the machine's clock.
    pub now_ms: i64,
    /// The same, by the steady clock.
    pub since_ms: i64,
    /// Sends are due from here on, by the steady clock (`origin_settle` later than now).
    pub due_ms: i64,
    /// One per CDN.
    pub jobs: Vec<JobPlan>,
    /// The caller's `Idempotency-Key` and a hash of site and body.
    pub idempotency: Option<(String, String)>,
    /// What is purged a second time when responses that are on their way have arrived.
    pub follow_ups: FollowUps,
}

/// The follow-up purge of a purge: due when [`super::Store::arrived`] says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowUps {
    /// By job and number of the item; each once.
    pub items: Vec<(usize, u32)>,
    /// When nobody can say any more, since the program ended, it is due so many milliseconds after the next start.
    pub margin_ms: i64,
}

/// The due time of what waits for responses to arrive is this (the end of the year 9999) plus its margin.
pub const WAITING_MS: i64 = 253_402_300_800_000;

/// A moment of the steady clock, and what tells a later run how long it is ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// The moment.
    pub steady_ms: i64,
    /// The machine's run that it is in; none where that is not known.
    pub boot: Option<Boot>,
}

/// A run of the machine, from its start to its end: its own clock goes on as long as it does, whoever sets the other one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// Which run.
    pub id: String,
    /// For how long the machine has run, in milliseconds, those in which it was suspended among them.
    pub up_ms: i64,
}

impl From<i64> for Now {
    /// A moment of which nothing else is known.
    fn from(steady_ms: i64) -> Self {
        Self { steady_ms, boot: None }
    }
}

/// An accepted purge, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentPurge {
    /// The site's name.
    pub site: String,
    /// When it was accepted, at the latest, by this run's steady clock ([`super::Store::take_over`]).
    pub since_ms: i64,
    /// What was asked for.
    pub request: PurgeRequest,
}

/// Copies without our tags in the CDNs of one type of a site.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UntaggedCopies {
    /// The site's name.
    pub site: String,
    /// The type of the CDNs.
    pub cdn_type: CdnType,
    /// Until when they may live, by the steady clock.
    pub until_ms: i64,
    /// The longest lifetime that one of them had, in milliseconds.
    pub longest_ms: i64,
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

/// A purge as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PurgeView {
    /// Its id.
    pub id: String,
    /// The site's name.
    pub site: String,
    /// The sum of its jobs: while one is under way, the liveliest of `sending`, `retrying`, `paused`, `pending`.
    pub state: State,
    /// Why, in the caller's words.
    pub reason: Option<String>,
    /// `soft`, `hard`, or absent: as each CDN is configured.
    pub mode: Option<PurgeMode>,
    /// Milliseconds since the epoch; the API prints RFC 3339.
    #[serde(skip)]
    pub created_ms: i64,
    /// When the last job ended.
    #[serde(skip)]
    pub finished_ms: Option<i64>,
    /// How many items were asked for.
    pub items: u64,
    /// What was asked for; in a list without its items where they are more than [`super::LISTED_ITEMS`].
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
    /// What the last look at the CDN's copies showed, where it was verified.
    pub verification: Option<Verification>,
    /// When its copies were seen to be fresh.
    #[serde(skip)]
    pub verified_ms: Option<i64>,
    /// When the next send is due by the steady clock, the repeat among them; none while every send is with the CDN.
    #[serde(skip)]
    pub next_attempt_ms: Option<i64>,
    /// Nothing of it is left to send but follow-ups, which wait for responses to arrive.
    pub waits: bool,
    /// A failure that nobody has dealt with.
    pub unacknowledged: bool,
    /// Each call with the number of this job's items in it: oldest first, the last 100; in a list only the last.
    #[serde(skip)]
    pub attempts: Vec<(Attempt, u64)>,
}

/// What the CDN's copies of what a job purged look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verification {
    /// Not older than the purge.
    Fresh,
    /// One is older than the purge.
    Stale,
    /// They do not tell, or there is none to ask for.
    Unknown,
}

impl Verification {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Unknown => "unknown",
        }
    }
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

/// Some of the purges that a filter lets through, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The purges: fewer than asked for where finding more would take too long.
    pub purges: Vec<PurgeView>,
    /// The [`Filter::before`] with which to go on; none where there are no more.
    pub next: Option<String>,
}

/// What one step of a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Purges that nobody sees any more since this step.
    pub purges: u64,
    /// There is more to remove: sweep again.
    pub more: bool,
}

/// How one CDN's queue stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStatus {
    /// Which CDN.
    pub key: CdnKey,
    /// What that is.
    pub identity: Identity,
    /// Jobs under way.
    pub jobs: u64,
    /// Items not yet accepted (every send but repeats).
    pub pending: u64,
    /// When the oldest job that is under way became due, by the steady clock.
    pub oldest_due_ms: Option<i64>,
    /// Jobs that failed and that nobody acknowledged.
    pub failed: u64,
    /// Sending was stopped.
    pub paused: Option<Pause>,
}

impl QueueStatus {
    /// Of a CDN that never had work.
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

/// A queue with jobs under way that has another name than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// What it was called.
    pub from: CdnKey,
    /// What it is called now.
    pub to: CdnKey,
    /// No CDN of the site has it: nothing of it is sent.
    pub orphaned: bool,
    /// Jobs under way.
    pub jobs: u64,
}

impl Display for Moved {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { from: CdnKey { site, cdn }, to: CdnKey { cdn: to, .. }, orphaned, jobs } = self;
        let purges = if *jobs == 1 { "purge" } else { "purges" };
        match orphaned {
            false => {
                write!(f, "{site}/{cdn}: what waits ({jobs} {purges}) goes to {to}, which is the same CDN")
            }
            true => write!(
                f,
                "{site}/{cdn}: what waits ({jobs} {purges}) is for a CDN that the site has no more; it stays as {to} until it \
                 is cancelled or too old, and is sent if that CDN is configured again"
            ),
        }
    }
}

/// Why nothing is sent to a CDN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Who stopped it, which decides who may start it again.
    pub by: PausedBy,
    /// In words.
    pub reason: String,
}

/// Who stopped the sending to a CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PausedBy {
    /// Someone, who will start it again.
    Person,
    /// The CDN refused the credentials; ends when a check of them succeeds.
    Credentials,
}

/// Why a verb failed.
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

impl StoreError {
    /// Whether what is on the disk makes no sense any more, which no later success can mend.
    pub fn is_corruption(&self) -> bool {
        let Self::Database { source, .. } = self else { return false };
        // The extended codes have the same primary code (<https://sqlite.org/rescode.html>).
        let is_corrupt =
            |code| matches!(code, rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase);
        source.sqlite_error_code().is_some_and(is_corrupt)
            // What SQLite read without complaint, but nobody can have written.
            || matches!(
                **source,
                rusqlite::Error::FromSqlConversionFailure(..)
                    | rusqlite::Error::InvalidColumnType(..)
                    | rusqlite::Error::IntegralValueOutOfRange(..)
                    | rusqlite::Error::Utf8Error(..)
            )
    }
}
