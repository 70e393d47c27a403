//! Polls for changes that are not reported: the health of each CDN and, while there are listeners, the state of the
//! newest purges. The delivery tasks report the end of jobs (`Events::job_ended`).

use super::JobEvent;
use super::health::healths;
use crate::admin::ask::STORE_TIMEOUT;
use crate::admin::json::rfc3339;
use crate::admin::state::State;
use crate::guard::wall_ms;
use crate::purge::State as PurgeState;
use crate::store::Filter;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The pause between two polls.
const LOOK: Duration = Duration::from_secs(1);
/// The number of purges that are polled, the newest ones.
const PURGES: usize = 50;

/// The jobs of the newest purges, by purge and CDN.
type Jobs = HashMap<(String, String), JobEvent>;

/// Polls forever.
pub(in crate::admin) async fn poll(state: Arc<State>) {
    let mut before = Jobs::default();
    loop {
        state.events.healths(&healths(&state));
        if !state.events.has_listeners() {
            before.clear();
        } else if let Some(now) = jobs(&state).await {
            tell_changes(&before, &now, &state);
            before = now;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Sends the changes. A job that was not seen before is pending, as far as listeners know.
fn tell_changes(before: &Jobs, now: &Jobs, state: &State) {
    for (key, job) in now {
        let seen = before.get(key);
        let known = seen.map_or(PurgeState::Pending, |seen| seen.state);
        let ended = matches!(job.state, PurgeState::Done | PurgeState::Failed | PurgeState::Cancelled);
        let is_verified = seen.is_some_and(|seen| seen.verification != job.verification);
        if (job.state != known && !ended) || is_verified {
            state.events.job(job);
        }
    }
}

/// Returns the jobs of the newest purges, or `None` if the store is unavailable.
async fn jobs(state: &State) -> Option<Jobs> {
    let filter = Filter { limit: PURGES, ..Filter::default() };
    let listing = state.store().ok()?.list(filter);
    let purges = tokio::time::timeout(STORE_TIMEOUT, listing).await.ok()?.ok()?.purges;
    let at = rfc3339(wall_ms());
    let jobs = purges.into_iter().flat_map(|purge| {
        let at = at.clone();
        purge.jobs.into_iter().map(move |job| {
            let event = JobEvent {
                purge: purge.id.clone(),
                site: purge.site.clone(),
                cdn: job.cdn.clone(),
                state: job.state,
                verification: job.verification,
                purge_ended: None,
                at: at.clone(),
            };
            ((purge.id.clone(), job.cdn), event)
        })
    });
    Some(jobs.collect())
}
