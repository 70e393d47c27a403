//! The JSON of purges, for both ends: the handlers write it and the command line reads it.

use crate::guard::Clock;
use crate::purge::{PurgeMode, PurgeRequest, State};
use crate::rewrite::CdnType;
use crate::store::{Attempt as StoredAttempt, JobView, NewPurge, PurgeView, Verification};
use serde::{Deserialize, Serialize};

/// The number of items of each kind that an abbreviated purge shows.
const FIRST: usize = 10;

/// How much of a purge an answer shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every item and every attempt, in `GET /v1/purges/{id}`.
    Full,
    /// The first 10 items of each kind and the last attempt of each job, in every other answer. This keeps lists
    /// of bulk purges, and the answers to them, from growing to megabytes.
    Brief,
}

/// A page of purges, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Page {
    /// The purges. There may be fewer than `limit`, or none, if few of the purges that were examined match.
    pub purges: Vec<Purge>,
    /// The `cursor` of the next page. Null after the last page, however many purges are on this one.
    pub next_cursor: Option<String>,
}

/// A purge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Purge {
    /// The purge's id.
    pub id: String,
    /// The site's name.
    pub site: String,
    /// The combined state of all jobs.
    pub state: State,
    /// The reason for the purge, in the caller's words.
    pub reason: Option<String>,
    /// `soft` or `hard`; null means as configured for each CDN.
    pub mode: Option<PurgeMode>,
    /// When the purge was accepted, RFC 3339.
    pub created_at: String,
    /// When the last job ended, RFC 3339.
    pub finished_at: Option<String>,
    /// The items that were requested.
    pub items: Items,
    /// The jobs, one for each CDN.
    pub jobs: Vec<Job>,
}

/// The items that were requested, spelled as in the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Items {
    /// The number of items. In an abbreviated purge this is more than the lists hold.
    pub total: usize,
    /// URLs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Paths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Prefixes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// Whether the whole site is purged.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub everything: bool,
}

/// One purge on one CDN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Job {
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
    /// When the CDN had accepted every item, RFC 3339.
    pub accepted_at: Option<String>,
    /// When the CDN reported completion, RFC 3339. Null for CDNs that do not report it.
    pub completed_at: Option<String>,
    /// The result of the last check of the CDN's copies, if the purge is verified.
    #[serde(default)]
    pub verification: Option<Verification>,
    /// When the CDN's copies were found to be fresh, RFC 3339.
    #[serde(default)]
    pub verified_at: Option<String>,
    /// When the next attempt is (or was) due, RFC 3339.
    pub next_attempt_at: Option<String>,
    /// What the job waits for in addition to the next attempt.
    #[serde(default)]
    pub waits_for: Option<WaitsFor>,
    /// Whether the job failed and nobody has retried or acknowledged it. Until then its CDN is unhealthy.
    #[serde(default)]
    pub unacknowledged: bool,
    /// The CDN's answers, oldest first.
    pub attempts: Vec<Attempt>,
}

/// What a job waits for while it has nothing to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WaitsFor {
    /// Responses that were in flight to the CDN when the purge was accepted. After the last of them has arrived,
    /// the items that they may have brought back are purged again, and then the job is done.
    Responses,
}

/// One call to a CDN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Attempt {
    /// When the call was made, RFC 3339.
    pub at: String,
    /// The HTTP status; null if there was no answer.
    pub status: Option<u16>,
    /// The CDN's id of the call, for the CDN's support.
    pub request_id: Option<String>,
    /// The duration of the call, in milliseconds.
    pub duration_ms: i64,
    /// The number of items of the job in the call.
    pub items: u64,
    /// The outcome: `done`, `partial`, `later`, `unproven`, `split`, `refused`, `bad-credentials` or
    /// `unreachable`.
    pub outcome: String,
    /// The CDN's message, without secrets.
    pub message: String,
}

impl Purge {
    /// Returns the current state of a purge.
    pub fn of(view: &PurgeView, clock: Clock, extent: Extent) -> Self {
        Self {
            id: view.id.clone(),
            site: view.site.clone(),
            state: view.state,
            reason: view.reason.clone(),
            mode: view.mode,
            created_at: rfc3339(view.created_ms),
            finished_at: view.finished_ms.map(rfc3339),
            items: Items::of(&view.request, usize::try_from(view.items).unwrap_or(usize::MAX), extent),
            jobs: view.jobs.iter().map(|job| Job::of(job, view.created_ms, clock, extent)).collect(),
        }
    }

    /// Returns a purge at the moment of its 202, without another query to the store.
    pub fn accepted(new: &NewPurge) -> Self {
        let jobs = new.jobs.iter().map(|plan| Job {
            cdn: plan.cdn.clone(),
            cdn_type: plan.cdn_type,
            state: State::Pending,
            items: plan.items.len() as u64,
            fallback: plan.fallback.clone(),
            accepted_at: None,
            completed_at: None,
            verification: None,
            verified_at: None,
            next_attempt_at: Some(rfc3339(
                new.now_ms.saturating_add(new.due_ms.saturating_sub(new.since_ms)),
            )),
            waits_for: None,
            unacknowledged: false,
            attempts: Vec::new(),
        });
        Self {
            id: new.id.clone(),
            site: new.site.clone(),
            state: State::Pending,
            reason: new.request.reason.clone(),
            mode: new.request.mode,
            created_at: rfc3339(new.now_ms),
            finished_at: None,
            items: Items::of(&new.request, new.request.item_count(), Extent::Brief),
            jobs: jobs.collect(),
        }
    }
}

impl Items {
    pub(super) fn of(request: &PurgeRequest, total: usize, extent: Extent) -> Self {
        let shown = |items: &[String]| match extent {
            Extent::Full => items.to_vec(),
            Extent::Brief => items.iter().take(FIRST).cloned().collect(),
        };
        Self {
            total,
            urls: shown(&request.urls),
            paths: shown(&request.paths),
            tags: shown(&request.tags),
            prefixes: shown(&request.prefixes),
            everything: request.everything,
        }
    }
}

impl Job {
    fn of(view: &JobView, created_ms: i64, clock: Clock, extent: Extent) -> Self {
        // Jobs that a restart found in progress are due since the epoch so that they go first, hence the maximum.
        let next_attempt_ms = view.next_attempt_ms.map(|due_ms| clock.as_wall_ms(due_ms).max(created_ms));
        let hidden = match extent {
            Extent::Full => 0,
            Extent::Brief => view.attempts.len().saturating_sub(1),
        };
        Self {
            cdn: view.cdn.clone(),
            cdn_type: view.cdn_type,
            state: view.state,
            items: view.items,
            fallback: view.fallback.clone(),
            accepted_at: view.accepted_ms.map(rfc3339),
            completed_at: view.completed_ms.map(rfc3339),
            verification: view.verification,
            verified_at: view.verified_ms.map(rfc3339),
            next_attempt_at: next_attempt_ms.map(rfc3339),
            waits_for: view.waits.then_some(WaitsFor::Responses),
            unacknowledged: view.unacknowledged,
            attempts: view.attempts[hidden..]
                .iter()
                .map(|(attempt, items)| Attempt::of(attempt, *items))
                .collect(),
        }
    }
}

impl Attempt {
    fn of(stored: &StoredAttempt, items: u64) -> Self {
        Self {
            at: rfc3339(stored.at_ms),
            status: stored.status,
            request_id: stored.request_id.clone(),
            duration_ms: stored.duration_ms,
            items,
            outcome: stored.outcome.clone(),
            message: stored.message.clone(),
        }
    }
}

/// Returns a state as the API spells it.
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Sending => "sending",
        State::Retrying => "retrying",
        State::Paused => "paused",
        State::Done => "done",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
    }
}

/// Formats milliseconds since the epoch as RFC 3339 in UTC, with milliseconds.
pub(super) fn rfc3339(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_432_954_007), "2026-11-23T11:22:34.007Z");
        assert_eq!(rfc3339(i64::MAX), "9999-12-30T22:00:00.999Z");
    }

    #[test]
    fn states_are_spelled_as_in_json() {
        use State::{Cancelled, Done, Failed, Paused, Pending, Retrying, Sending};
        for state in [Pending, Sending, Retrying, Paused, Done, Failed, Cancelled] {
            assert_eq!(serde_json::to_value(state).unwrap(), state_word(state));
        }
    }
}
