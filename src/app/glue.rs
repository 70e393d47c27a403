//! The small seams between the parts of the control plane: each part names what it needs, and here it gets it.

use crate::admin::json::state_word;
use crate::admin::problem::BadItem;
use crate::admin::{CdnHealth, Control, Planner};
use crate::cdn;
use crate::metrics::Metrics;
use crate::purge::plan;
use crate::store::{CdnKey, EndedJob};
use crate::worker::{Engine, Observer};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Plans with the capabilities of the adapters.
pub(super) fn planner() -> Box<Planner> {
    Box::new(|site, request| {
        plan(site, &|cdn| cdn::build(cdn).capabilities(), request).map_err(|errors| {
            errors.into_iter().map(|error| BadItem { item: error.item, message: error.message }).collect()
        })
    })
}

/// The engine as the admin API sees it.
pub(super) fn control(engine: Option<Arc<Engine>>) -> Arc<dyn Control> {
    match engine {
        Some(engine) => Arc::new(Running(engine)),
        None => Arc::new(NoEngine(watch::Sender::new(0))),
    }
}

struct Running(Arc<Engine>);

impl Control for Running {
    fn wake(&self, site: &str) {
        self.0.wake(site);
    }

    fn health(&self, site: &str) -> Vec<CdnHealth> {
        let statuses = self.0.status(site).into_iter();
        statuses
            .map(|status| CdnHealth { name: status.name, healthy: status.healthy, reasons: status.reasons })
            .collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }
}

/// Without a store there is no engine.
struct NoEngine(watch::Sender<u64>);

impl Control for NoEngine {
    fn wake(&self, _site: &str) {}

    fn health(&self, _site: &str) -> Vec<CdnHealth> {
        Vec::new()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// What the engine tells becomes metrics.
pub(super) fn observer(metrics: Arc<Metrics>) -> Arc<dyn Observer> {
    Arc::new(Counting(metrics))
}

struct Counting(Arc<Metrics>);

impl Observer for Counting {
    fn call(&self, key: &CdnKey, outcome: &'static str, took: Duration, items: u64) {
        self.0.cdn_call(&key.site, &key.cdn, outcome, took);
        self.0.cdn_items(&key.site, &key.cdn, outcome, items);
    }

    fn job_ended(&self, job: &EndedJob, took: Duration) {
        if job.state == crate::purge::State::Done {
            self.0.publish_to_purged(&job.key.site, &job.key.cdn, took);
        }
        if let Some(state) = job.purge_ended {
            self.0.purge(&job.key.site, state_word(state));
        }
    }

    fn widened(&self, key: &CdnKey, jobs: u64) {
        (0..jobs).for_each(|_| self.0.purge_fallback(&key.site, &key.cdn));
    }

    fn queue(&self, key: &CdnKey, jobs: u64, oldest: Duration) {
        self.0.purge_queue(
            &key.site,
            &key.cdn,
            i64::try_from(jobs).unwrap_or(i64::MAX),
            oldest.as_secs_f64(),
        );
    }

    fn health(&self, key: &CdnKey, healthy: bool) {
        self.0.purge_healthy(&key.site, &key.cdn, healthy);
    }
}
