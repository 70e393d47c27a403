//! The parts of the program that the admin API uses, shared by all its calls.

use super::control::{Control, Planner};
use super::feed::Events;
use super::limits::Limits;
use super::problem::{Kind, Problem};
use super::readiness::Readiness;
use super::reload::Reload;
use crate::cdn::Sender;
use crate::config::Config;
use crate::guard::Freshness;
use crate::metrics::Metrics;
use crate::store::Store;
use crate::view::OriginsView;
use arc_swap::ArcSwap;
use std::sync::{Arc, OnceLock};

/// The parts of the program that the admin API uses.
pub struct State {
    /// The current configuration. Each request takes one snapshot of it.
    pub config: Arc<ArcSwap<Config>>,
    /// The store; empty as long as it cannot be opened, and purges get 503 until then.
    pub store: Arc<OnceLock<Arc<dyn Store>>>,
    /// The delivery tasks.
    pub control: Arc<dyn Control>,
    /// The guard, which keeps old responses out of caches.
    pub freshness: Arc<Freshness>,
    /// Plans a purge for each CDN of a site.
    pub planner: Box<Planner>,
    /// Calls the CDNs, for checks of their credentials.
    pub sender: Sender,
    /// Reloads the configuration.
    pub reload: Arc<dyn Reload>,
    /// The events for the listeners of `GET /v1/events`.
    pub events: Arc<Events>,
    /// The metrics, which are also rendered for scrapers.
    pub metrics: Arc<Metrics>,
    /// The state of the origins.
    pub origins: Arc<OriginsView>,
    /// Whether the process is starting, ready or draining.
    pub readiness: Arc<Readiness>,
    /// The limits that callers share.
    pub limits: Limits,
}

impl State {
    /// Returns the store, or the problem of a call that needs it while it cannot be opened.
    pub(super) fn store(&self) -> Result<&Arc<dyn Store>, Problem> {
        self.store.get().ok_or_else(|| {
            Problem::new(
                Kind::Unavailable,
                "The store cannot be opened: the log says why. This is tried again every 10 s.",
            )
        })
    }
}
