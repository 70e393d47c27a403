//! What nobody tells by itself is looked at while somebody listens: the health of each CDN, and what the newest purges are
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
    let mut seen = None;
    loop {
        while !state.events.has_listeners() {
            seen = None;
            state.events.joined.notified().await;
        }
        let now = Seen::look(&state, seen.as_ref()).await;
        // A listener was told the health when it came, and has asked for the purges: only what changes since is news.
        if let Some(before) = &seen {
            now.tell_changes(before, &state);
        }
        seen = Some(now);
        tokio::time::sleep(LOOK).await;
    }
}

/// How things stood at one look.
struct Seen {
    /// By site and CDN.
    healths: HashMap<(String, String), HealthEvent>,
    /// By purge and CDN.
    jobs: HashMap<(String, String), JobEvent>,
}

impl Seen {
    /// `before` stands for the jobs that cannot be seen now.
    async fn look(state: &State, before: Option<&Self>) -> Self {
        let mut healths = HashMap::new();
        for site in &state.config.load_full().sites {
            for health in sites::health(state, site) {
                let key = (site.name.clone(), health.name.clone());
                healths.insert(key, HealthEvent::of(&site.name, health));
            }
        }
        let jobs = jobs(state).await;
        let jobs = jobs.unwrap_or_else(|| before.map(|before| before.jobs.clone()).unwrap_or_default());
        Self { healths, jobs }
    }

    fn tell_changes(&self, before: &Self, state: &State) {
        for (key, health) in &self.healths {
            // Reasons alone may count seconds.
            if before.healths.get(key).is_none_or(|before| before.healthy != health.healthy) {
                state.events.health(health);
            }
        }
        for (key, job) in &self.jobs {
            let known = before.jobs.get(key).map_or(PurgeState::Pending, |before| before.state);
            let ended = matches!(job.state, PurgeState::Done | PurgeState::Failed | PurgeState::Cancelled);
            if job.state != known && !ended {
                state.events.job(job);
            }
        }
    }
}

/// The jobs of the newest purges; none while the store cannot tell.
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
