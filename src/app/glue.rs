//! Adapters between the parts of the control plane: each part defines an interface to what it needs, and here it
//! is implemented.

use crate::admin::json::state_word;
use crate::admin::problem::BadItem;
use crate::admin::{CdnHealth, Control, Events, Planner};
use crate::cdn;
use crate::config::{Cdn, Claims, Config};
use crate::delivery::{CdnStatus, Engine, Observer, Orphan};
use crate::guard::Freshness;
use crate::metrics::Metrics;
use crate::purge::{Means, plan_among};
use crate::store::{CdnKey, EndedJob, Verification};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Returns a planner that takes into account what the CDNs support, and what they may hold without our tags.
pub(super) fn planner(freshness: Arc<Freshness>) -> Box<Planner> {
    let known = Known::default();
    Box::new(move |config, site, request| {
        let means = |cdn: &Cdn| Means {
            can: cdn::capabilities(cdn),
            untagged: freshness
                .without_tags(&site.name, site.mode, cdn.dialect.cdn)
                .map(|why| why.to_string()),
        };
        plan_among(&known.claims(config), site, &means, request).map_err(|errors| {
            errors.into_iter().map(|error| BadItem { item: error.item, message: error.message }).collect()
        })
    })
}

/// The claims of the sites of the latest configuration, which take time to compute if there are many.
#[derive(Default)]
struct Known(Mutex<Option<(Arc<Config>, Arc<Claims>)>>);

impl Known {
    fn claims(&self, config: &Arc<Config>) -> Arc<Claims> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some((of, claims)) if Arc::ptr_eq(of, config) => claims.clone(),
            _ => {
                let claims = Arc::new(Claims::of(&config.sites));
                *known = Some((config.clone(), claims.clone()));
                claims
            }
        }
    }
}

/// The engine as the admin API sees it: there is none before the store could be opened.
#[derive(Default)]
pub(super) struct Delivery {
    engine: OnceLock<Arc<Engine>>,
    /// The changes before there is an engine, of which there are none.
    nothing: watch::Sender<u64>,
}

impl Delivery {
    /// Sets the engine when its delivery tasks have started.
    pub(super) fn began(&self, engine: Engine) {
        // Only the one task that opens the store calls this.
        let _ = self.engine.set(Arc::new(engine));
    }

    pub(super) fn engine(&self) -> Option<&Arc<Engine>> {
        self.engine.get()
    }
}

impl Control for Delivery {
    fn called(&self, site: &str, cdn: &str, calls: u64, probe: bool) {
        if let Some(engine) = self.engine() {
            engine.called(site, cdn, calls, probe);
        }
    }

    fn wake(&self, site: &str) {
        if let Some(engine) = self.engine() {
            engine.wake(site);
        }
    }

    fn hurry(&self, site: &str, cdn: &str) {
        if let Some(engine) = self.engine() {
            engine.hurry(site, cdn);
        }
    }

    fn health(&self, site: &str) -> Vec<CdnHealth> {
        let statuses = self.engine().map(|engine| engine.status(site)).unwrap_or_default();
        let health = |status: CdnStatus| CdnHealth {
            name: status.name,
            healthy: status.healthy,
            reasons: status.reasons,
        };
        statuses.into_iter().map(health).collect()
    }

    fn complaints(&self) -> Vec<String> {
        let Some(engine) = self.engine() else { return Vec::new() };
        let store = engine.store_failure().map(|why| format!("the store fails: {why}"));
        let orphan = |orphan: Orphan| {
            let (CdnKey { site, cdn }, jobs) = (orphan.key, orphan.jobs);
            format!(
                "{site}/{cdn}: {jobs} of its purges wait, but the site has no such CDN any more: cancel them, or configure it again"
            )
        };
        store.into_iter().chain(engine.orphans().into_iter().map(orphan)).collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.engine().map_or_else(|| self.nothing.subscribe(), |engine| engine.changes())
    }
}

/// Returns an observer that turns the engine's reports into metrics and events. Copies that a purge of everything
/// has removed no longer matter.
pub(super) fn observer(
    metrics: Arc<Metrics>,
    events: Arc<Events>,
    freshness: Arc<Freshness>,
) -> Arc<dyn Observer> {
    Arc::new(Telling { metrics, events, freshness })
}

struct Telling {
    metrics: Arc<Metrics>,
    events: Arc<Events>,
    freshness: Arc<Freshness>,
}

impl Observer for Telling {
    fn call(&self, key: &CdnKey, outcome: &'static str, took: Duration, items: u64) {
        self.metrics.cdn_call(&key.site, &key.cdn, outcome, took);
        self.metrics.cdn_items(&key.site, &key.cdn, outcome, items);
    }

    fn job_ended(&self, job: &EndedJob, took: Duration) {
        self.events.job_ended(job);
        if job.state == crate::purge::State::Done {
            self.metrics.publish_to_purged(&job.key.site, &job.key.cdn, took);
            self.freshness.purge_all_done(&job.key.site, &job.key.cdn, &job.purge);
        }
        if let Some(state) = job.purge_ended {
            self.metrics.purge(&job.key.site, state_word(state));
        }
    }

    fn verified(&self, key: &CdnKey, seen: Verification, took: Duration) {
        self.metrics.verification(&key.site, &key.cdn, seen.as_str());
        if seen == Verification::Fresh {
            self.metrics.publish_to_verified(&key.site, &key.cdn, took);
        }
    }

    fn widened(&self, key: &CdnKey, jobs: u64) {
        (0..jobs).for_each(|_| self.metrics.purge_fallback(&key.site, &key.cdn));
    }

    fn queue(&self, key: &CdnKey, jobs: u64, oldest: Duration) {
        self.metrics.purge_queue(
            &key.site,
            &key.cdn,
            i64::try_from(jobs).unwrap_or(i64::MAX),
            oldest.as_secs_f64(),
        );
    }

    fn standing(&self, key: &CdnKey, paused: bool, failed: u64) {
        let failed = i64::try_from(failed).unwrap_or(i64::MAX);
        self.metrics.purge_standing(&key.site, &key.cdn, paused, failed);
    }

    fn orphan(&self, key: &CdnKey, jobs: u64, failed: u64) {
        self.metrics.purge_orphans(&key.site, &key.cdn, jobs, failed);
    }

    fn gone(&self, key: &CdnKey) {
        self.metrics.forget_cdn(&key.site, &key.cdn);
    }

    fn store(&self, healthy: bool) {
        self.metrics.store_healthy(healthy);
    }

    fn health(&self, key: &CdnKey, healthy: bool) {
        self.metrics.purge_healthy(&key.site, &key.cdn, healthy);
    }
}
