//! What happens, told to whoever listens at `GET /v1/events`: written once, kept in one ring for all. A listener that falls
//! behind loses the oldest, and is told how many.

pub(super) mod poll;
pub(super) mod stream;

use super::json::{Purge, rfc3339};
use super::{CdnHealth, State, sites};
use crate::config::Site;
use crate::guard::wall_ms;
use crate::purge::State as PurgeState;
use crate::store::{EndedJob, Verification};
use axum::body::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// Events that a listener may fall behind.
pub(super) const RING: usize = 1_024;

/// Where events are told.
#[derive(Debug)]
pub struct Events {
    ring: broadcast::Sender<Arc<Event>>,
    /// Whether each CDN was healthy when it was last looked at, by site and name.
    healths: Mutex<HashMap<(String, String), bool>>,
}

/// One event, ready to be sent.
#[derive(Debug)]
pub(super) struct Event {
    /// Whose it is; none: of all sites, for those who may see all.
    pub(super) site: Option<String>,
    pub(super) frame: Bytes,
}

/// `event: job`: a job has another state, or its copies were looked at. For what a CDN is being sent and what copies showed,
/// the newest purges are looked at once a second; an end is told as soon as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobEvent {
    /// The id of its purge.
    pub purge: String,
    /// The site's name.
    pub site: String,
    /// The CDN's name.
    pub cdn: String,
    /// Its state now.
    pub state: PurgeState,
    /// What the last look at the CDN's copies showed, if this is what is told.
    pub verification: Option<Verification>,
    /// How the whole purge ended, if this was the last job under way.
    pub purge_ended: Option<PurgeState>,
    /// RFC 3339.
    pub at: String,
}

/// `event: health`: whether purges to a CDN are known to get through. Told of every CDN when a stream begins, then when
/// it changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthEvent {
    /// The site's name.
    pub site: String,
    /// The CDN's name.
    pub cdn: String,
    /// Whether responses get their long TTL.
    pub healthy: bool,
    /// Why not.
    pub reasons: Vec<String>,
    /// RFC 3339.
    pub at: String,
}

/// `event: lagged`: the client read too slowly. It should look at everything again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaggedEvent {
    /// Events that passed it by, whether or not it would have been told of each.
    pub missed: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self { ring: broadcast::Sender::new(RING), healths: Mutex::default() }
    }
}

impl Events {
    /// `event: purge`: a purge was accepted, or somebody did something with it.
    pub fn purge(&self, purge: &Purge) {
        self.tell(Some(&purge.site), "purge", purge);
    }

    /// A job ended.
    pub fn job_ended(&self, job: &EndedJob) {
        self.job(&JobEvent {
            purge: job.purge.clone(),
            site: job.key.site.clone(),
            cdn: job.key.cdn.clone(),
            state: job.state,
            verification: None,
            purge_ended: job.purge_ended,
            at: rfc3339(wall_ms()),
        });
    }

    /// `event: reload`: the configuration was reloaded, or could not be. Only for those who see all sites.
    pub fn reload(&self, reload: &super::reload::ReloadEvent) {
        self.tell(None, "reload", reload);
    }

    pub(super) fn job(&self, job: &JobEvent) {
        self.tell(Some(&job.site), "job", job);
    }

    /// How every CDN stands now: what differs from the last time is told. Reasons alone may count seconds.
    pub(super) fn healths(&self, now: &[HealthEvent]) {
        let key = |health: &HealthEvent| (health.site.clone(), health.cdn.clone());
        let mut known = self.healths.lock().unwrap_or_else(PoisonError::into_inner);
        for health in now.iter().filter(|health| known.get(&key(health)) != Some(&health.healthy)) {
            self.tell(Some(&health.site), "health", health);
        }
        *known = now.iter().map(|health| (key(health), health.healthy)).collect();
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        self.ring.subscribe()
    }

    pub(super) fn has_listeners(&self) -> bool {
        self.ring.receiver_count() > 0
    }

    fn tell(&self, site: Option<&str>, name: &'static str, data: &impl Serialize) {
        if self.has_listeners() {
            // Nobody may be listening any more.
            let _ =
                self.ring.send(Arc::new(Event { site: site.map(str::to_owned), frame: frame(name, data) }));
        }
    }
}

impl HealthEvent {
    fn of(site: &str, health: CdnHealth) -> Self {
        Self {
            site: site.to_owned(),
            cdn: health.name,
            healthy: health.healthy,
            reasons: health.reasons,
            at: rfc3339(wall_ms()),
        }
    }
}

/// How every CDN stands now, in file order.
pub(super) fn healths(state: &State) -> Vec<HealthEvent> {
    let config = state.config.load();
    let of_site = |site: &Arc<Site>| {
        sites::health(state, site)
            .into_iter()
            .map(|health| HealthEvent::of(&site.name, health))
            .collect::<Vec<_>>()
    };
    config.sites.iter().flat_map(of_site).collect()
}

/// An event as the stream carries it (<https://html.spec.whatwg.org/multipage/server-sent-events.html>). JSON has no line
/// breaks of its own.
pub(super) fn frame(name: &'static str, data: &impl Serialize) -> Bytes {
    // Every event is a struct with string keys, which cannot fail.
    let data = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
