//! The events of `GET /v1/events`: each is serialized one time and kept in one ring for all listeners. A listener
//! that falls behind loses the oldest events, and learns how many it missed.

pub(super) mod poll;
pub(super) mod stream;

mod health;

use super::json::{Purge, rfc3339};
use super::reload::ReloadEvent;
use crate::guard::wall_ms;
use crate::purge::State as PurgeState;
use crate::store::{EndedJob, Verification};
use axum::body::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// The number of events that a listener may fall behind.
pub(super) const RING: usize = 1_024;

/// The source of events for all listeners.
#[derive(Debug)]
pub struct Events {
    ring: broadcast::Sender<Arc<Event>>,
    /// Whether each CDN was healthy at the last check, by site and name.
    healths: Mutex<HashMap<(String, String), bool>>,
}

/// An event, ready to be sent.
#[derive(Debug)]
pub(super) struct Event {
    /// The site that the event belongs to; `None` for an event of all sites, for callers that may see all of them.
    pub(super) site: Option<String>,
    pub(super) frame: Bytes,
}

/// `event: job`: the state of a job changed, or its copies were checked. The shim looks for state changes and
/// check results of the newest purges once per second. It reports the end of a job immediately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobEvent {
    /// The id of the job's purge.
    pub purge: String,
    /// The site's name.
    pub site: String,
    /// The CDN's name.
    pub cdn: String,
    /// The job's state now.
    pub state: PurgeState,
    /// The result of the last check of the CDN's copies, if there is one.
    pub verification: Option<Verification>,
    /// How the whole purge ended, if this was its last unfinished job.
    pub purge_ended: Option<PurgeState>,
    /// When the event happened, RFC 3339.
    pub at: String,
}

/// `event: health`: whether purges are known to reach a CDN. Sent for every CDN when a stream starts, then on
/// every change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthEvent {
    /// The site's name.
    pub site: String,
    /// The CDN's name.
    pub cdn: String,
    /// Whether responses get their long TTL.
    pub healthy: bool,
    /// Reasons why the CDN is not healthy.
    pub reasons: Vec<String>,
    /// When the event happened, RFC 3339.
    pub at: String,
}

/// `event: lagged`: the client read too slowly and should query all state again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LaggedEvent {
    /// The number of events that the client missed, including those that it would not have received.
    pub missed: u64,
}

impl Default for Events {
    fn default() -> Self {
        Self { ring: broadcast::Sender::new(RING), healths: Mutex::default() }
    }
}

impl Events {
    /// Sends `event: purge`: a purge was accepted, or an operator acted on it.
    pub fn purge(&self, purge: &Purge) {
        self.tell(Some(&purge.site), "purge", purge);
    }

    /// Sends the event of a job that ended.
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

    /// Sends `event: reload`: the configuration was reloaded, or could not be. Only callers that may see all sites
    /// receive it.
    pub fn reload(&self, reload: &ReloadEvent) {
        self.tell(None, "reload", reload);
    }

    pub(super) fn job(&self, job: &JobEvent) {
        self.tell(Some(&job.site), "job", job);
    }

    /// Sends an event for each CDN whose health differs from the last time. A change of the reasons alone is no
    /// event, because reasons may contain a number of seconds.
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
            // The last listener may have left in the meantime.
            let _ =
                self.ring.send(Arc::new(Event { site: site.map(str::to_owned), frame: frame(name, data) }));
        }
    }
}

/// Returns an event as the stream carries it (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
/// JSON has no line breaks of its own.
pub(super) fn frame(name: &'static str, data: &impl Serialize) -> Bytes {
    // Every event is a struct with string keys, whose serialization cannot fail.
    let data = serde_json::to_string(data).unwrap_or_default();
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
