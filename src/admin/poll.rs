//! What nobody tells by itself is looked at: the health of each CDN, and, while somebody listens, what the newest purges are
//! doing. Their ends come from the workers (`Events::job_ended`).

use super::events::{HealthEvent, JobEvent};
use super::json::rfc3339;
use super::{State, now_ms, sites};
use crate::purge::State as PurgeState;
use crate::store::Filter;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Purges that are looked at: the newest.
const PURGES: usize = 50;

/// Looks for ever.
pub(super) async fn poll(state: Arc<State>) {
    let mut before: Option<Seen> = None;
    loop {
        let now = Seen::look(&state).await;
        if let Some(before) = &before {
            now.tell_changes(before, &state);
        }
        before = Some(now);
        tokio::time::sleep(LOOK).await;
    }
}

/// How things stood at one look.
struct Seen {
    /// By site and CDN. Known before anybody listens, so that no change is missed between what a listener is told when it
    /// comes and the next look.
    healths: HashMap<(String, String), HealthEvent>,
    /// By purge and CDN; none while nobody listens, or the store cannot tell.
    jobs: Option<HashMap<(String, String), JobEvent>>,
}

impl Seen {
    async fn look(state: &State) -> Self {
        let mut healths = HashMap::new();
        for site in &state.config.load_full().sites {
            for health in sites::health(state, site) {
                let key = (site.name.clone(), health.name.clone());
                healths.insert(key, HealthEvent::of(&site.name, health));
            }
        }
        Self { healths, jobs: if state.events.has_listeners() { jobs(state).await } else { None } }
    }

    fn tell_changes(&self, before: &Self, state: &State) {
        for (key, health) in &self.healths {
            // Reasons alone may count seconds.
            if before.healths.get(key).is_none_or(|before| before.healthy != health.healthy) {
                state.events.health(health);
            }
        }
        let (Some(jobs), Some(before)) = (&self.jobs, &before.jobs) else { return };
        for (key, job) in jobs {
            let known = before.get(key).map_or(PurgeState::Pending, |before| before.state);
            let ended = matches!(job.state, PurgeState::Done | PurgeState::Failed | PurgeState::Cancelled);
            if job.state != known && !ended {
                state.events.job(job);
            }
        }
    }
}

/// The jobs of the newest purges.
async fn jobs(state: &State) -> Option<HashMap<(String, String), JobEvent>> {
    let filter = Filter { limit: PURGES, ..Filter::default() };
    let listing = state.store().ok()?.list(filter);
    let purges = tokio::time::timeout(super::STORE_TIMEOUT, listing).await.ok()?.ok()?;
    let at = rfc3339(now_ms());
    let jobs = purges.into_iter().flat_map(|purge| {
        let at = at.clone();
        purge.jobs.into_iter().map(move |job| {
            let event = JobEvent {
                purge: purge.id.clone(),
                site: purge.site.clone(),
                cdn: job.cdn.clone(),
                state: job.state,
                purge_ended: None,
                at: at.clone(),
            };
            ((purge.id.clone(), job.cdn), event)
        })
    });
    Some(jobs.collect())
}
