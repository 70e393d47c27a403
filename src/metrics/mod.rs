//! Every metric: its name, help text and labels, in one place. Names are a contract with dashboards and alerts.
//!
//! The request path writes into per-worker shards ([`shard`]) that are folded at scrape time, so that workers
//! share no cache line. Everything else is a family of `prometheus-client`, updated through methods.

pub mod history;
pub mod shard;

pub use header_purge::HeaderPurge;
pub use shard::LATENCY_BUCKETS;

mod collect;
mod header_purge;
mod labels;

use history::History;
use labels::{
    File, Inbound, OriginState, ReloadResult, SiteCdn, SiteCdnOutcome, SiteCdnSeen, SiteState, reloads,
    site_cdn, site_cdn_outcome,
};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use shard::{Shards, SiteMetrics, WorkerShard};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds, in seconds, of the publish-to-purged histogram. They are large because a purge may wait for a
/// CDN's rate.
const PUBLISH_BUCKETS: [f64; 15] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// All metrics of the process. Cheap to share; every method takes `&self`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    shards: Arc<Shards>,
    /// The recent past of the sites.
    pub history: History,
    purges: Family<SiteState, Counter>,
    purge_fallbacks: Family<SiteCdn, Counter>,
    purge_follow_ups: Family<SiteCdn, Counter>,
    /// The outcomes that calls have had so far.
    outcomes: Mutex<BTreeSet<&'static str>>,
    cdn_calls: Family<SiteCdnOutcome, Counter>,
    cdn_items: Family<SiteCdnOutcome, Counter>,
    cdn_call_seconds: Family<SiteCdn, Histogram>,
    queue_jobs: Family<SiteCdn, Gauge>,
    queue_oldest: Family<SiteCdn, Gauge<f64, AtomicU64>>,
    healthy: Family<SiteCdn, Gauge>,
    paused: Family<SiteCdn, Gauge>,
    failed_jobs: Family<SiteCdn, Gauge>,
    orphaned_jobs: Family<SiteCdn, Gauge>,
    store_healthy: Gauge,
    publish_to_purged: Family<SiteCdn, Histogram>,
    verifications: Family<SiteCdnSeen, Counter>,
    publish_to_verified: Family<SiteCdn, Histogram>,
    inbound: Family<Inbound, Counter>,
    reloads: Family<ReloadResult, Counter>,
    log_lines_dropped: Counter,
    audit_lines_lost: Counter,
    origin_addresses: Family<OriginState, Gauge>,
    certificates: Family<File, Gauge>,
}

impl Metrics {
    /// Returns the metrics for a data plane of this many workers.
    pub fn new(workers: usize) -> Self {
        let shards = Arc::new(Shards::new(workers));
        let metrics = Self {
            registry: Registry::with_prefix("origin_shim"),
            shards: Arc::clone(&shards),
            history: History::new(Arc::clone(&shards)),
            purges: Family::default(),
            purge_fallbacks: Family::default(),
            purge_follow_ups: Family::default(),
            outcomes: Mutex::default(),
            cdn_calls: Family::default(),
            cdn_items: Family::default(),
            cdn_call_seconds: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            queue_jobs: Family::default(),
            queue_oldest: Family::default(),
            healthy: Family::default(),
            paused: Family::default(),
            failed_jobs: Family::default(),
            orphaned_jobs: Family::default(),
            store_healthy: Gauge::default(),
            publish_to_purged: Family::new_with_constructor(|| Histogram::new(PUBLISH_BUCKETS)),
            verifications: Family::default(),
            publish_to_verified: Family::new_with_constructor(|| Histogram::new(PUBLISH_BUCKETS)),
            inbound: Family::default(),
            reloads: reloads(),
            log_lines_dropped: Counter::default(),
            audit_lines_lost: Counter::default(),
            origin_addresses: Family::default(),
            certificates: Family::default(),
        };
        metrics.registered(shards)
    }

    fn registered(mut self, shards: Arc<Shards>) -> Self {
        let r = &mut self.registry;
        // The encoder appends `_total` to counters, `_info` to infos and the full stop to help texts.
        r.register("purges", "Purges that reached a state", self.purges.clone());
        r.register(
            "purge_fallbacks",
            "Purges that were widened because a CDN lacks a kind or its rate would take too long",
            self.purge_fallbacks.clone(),
        );
        r.register(
            "purge_follow_ups",
            "Items to be purged again because responses that they cover were in flight to the CDN",
            self.purge_follow_ups.clone(),
        );
        r.register("cdn_calls", "Calls to a CDN, by how they ended", self.cdn_calls.clone());
        r.register("cdn_items", "Purge items sent to a CDN, by how they ended", self.cdn_items.clone());
        r.register(
            "cdn_call_duration_seconds",
            "How long calls to a CDN took",
            self.cdn_call_seconds.clone(),
        );
        r.register("purge_queue_jobs", "Purge jobs not yet accepted by the CDN", self.queue_jobs.clone());
        r.register(
            "purge_queue_oldest_seconds",
            "Age of the oldest purge job that the CDN has not accepted",
            self.queue_oldest.clone(),
        );
        r.register(
            "purge_healthy",
            "Whether purges to the CDN get through (1) or not (0)",
            self.healthy.clone(),
        );
        r.register(
            "purge_paused",
            "Whether sending to the CDN is paused (1): by an operator, or because the CDN refused the credentials",
            self.paused.clone(),
        );
        r.register(
            "purge_failed_jobs",
            "Purge jobs that failed for good and were neither retried nor acknowledged",
            self.failed_jobs.clone(),
        );
        r.register(
            "purge_orphaned_jobs",
            "Purge jobs of a CDN service that the site no longer uses: they are not sent",
            self.orphaned_jobs.clone(),
        );
        r.register(
            "store_healthy",
            "Whether the store works (1); else no purge is accepted and no response gets a long TTL",
            self.store_healthy.clone(),
        );
        r.register(
            "publish_to_purged_seconds",
            "From the acceptance of a purge to the CDN's acceptance of its last item",
            self.publish_to_purged.clone(),
        );
        r.register(
            "publish_to_verified_seconds",
            "From the acceptance of a purge to the first check that found no older copy at the CDN",
            self.publish_to_verified.clone(),
        );
        r.register(
            "verifications",
            "Checks of a CDN's copies of purged content, by result",
            self.verifications.clone(),
        );
        r.register(
            "inbound_requests",
            "Purge requests of other systems' clients, by what became of them",
            self.inbound.clone(),
        );
        r.register("config_reloads", "Configuration reloads, by result", self.reloads.clone());
        r.register(
            "log_lines_dropped",
            "Log lines that were dropped because they were not read in time or could not be written",
            self.log_lines_dropped.clone(),
        );
        r.register(
            "audit_lines_lost",
            "Audit lines that could not be written",
            self.audit_lines_lost.clone(),
        );
        r.register(
            "origin_addresses",
            "Addresses of an origin, by state: used, or avoided because they fail",
            self.origin_addresses.clone(),
        );
        r.register(
            "certificate_expiry_timestamp_seconds",
            "When the first certificate of a file in use expires",
            self.certificates.clone(),
        );
        r.register("build", "The running version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        r.register_collector(Box::new(collect::DataPlane(shards)));
        self
    }

    /// Returns all metrics in the OpenMetrics text format ([`CONTENT_TYPE`]).
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing into a `String` cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }

    /// Returns the request counters of a site, which are made on first use and survive configuration reloads. The
    /// empty name stands for requests that belong to no site. The request path must not call this; keep the
    /// returned handle.
    pub fn site(&self, name: &str) -> Arc<SiteMetrics> {
        self.shards.site(name)
    }

    /// Returns the connection counters of one worker. Only that worker's thread may write them.
    pub fn worker(&self, index: usize) -> Arc<WorkerShard> {
        self.shards.worker(index)
    }

    /// Returns the number of open client connections, over all workers.
    pub fn open_connections(&self) -> u64 {
        self.shards.total(|worker| &worker.plain_connections)
            + self.shards.total(|worker| &worker.tls_connections)
    }

    /// Returns the number of open connections to origins, over all workers.
    pub fn origin_connections(&self) -> u64 {
        self.shards.total(|worker| &worker.origin_connections)
    }

    /// Returns the number of requests whose response is not completely written, over all workers.
    pub fn requests_in_flight(&self) -> u64 {
        self.shards.total(|worker| &worker.in_flight)
    }

    /// Returns the number of workers.
    pub fn workers(&self) -> usize {
        self.shards.workers()
    }

    /// Counts a purge of `site` that reached `state`.
    pub fn purge(&self, site: &str, state: &str) {
        self.purges.get_or_create_owned(&SiteState { site: site.into(), state: state.into() }).inc();
        self.history.purge(site, state);
    }

    /// Counts a purge request of another system's client.
    pub fn inbound(&self, protocol: &'static str, client: &'static str, outcome: &'static str) {
        self.inbound.get_or_create_owned(&Inbound { protocol, client, outcome }).inc();
    }

    /// Counts a purge that was widened for `cdn`.
    pub fn purge_fallback(&self, site: &str, cdn: &str) {
        self.purge_fallbacks.get_or_create_owned(&site_cdn(site, cdn)).inc();
    }

    /// Counts items that will be purged again at `cdn` because responses that they cover were in flight.
    pub fn purge_follow_ups(&self, site: &str, cdn: &str, items: u64) {
        self.purge_follow_ups.get_or_create_owned(&site_cdn(site, cdn)).inc_by(items);
    }

    /// Counts a call to a CDN that ended.
    pub fn cdn_call(&self, site: &str, cdn: &str, outcome: &'static str, took: Duration) {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(outcome);
        self.cdn_calls.get_or_create_owned(&site_cdn_outcome(site, cdn, outcome)).inc();
        self.cdn_call_seconds.get_or_create_owned(&site_cdn(site, cdn)).observe(took.as_secs_f64());
    }

    /// Counts `count` items of a call that ended.
    pub fn cdn_items(&self, site: &str, cdn: &str, outcome: &'static str, count: u64) {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(outcome);
        self.cdn_items.get_or_create_owned(&site_cdn_outcome(site, cdn, outcome)).inc_by(count);
    }

    /// Sets the number of pending jobs of a CDN, and the age of the oldest in seconds (0 if there is none).
    pub fn purge_queue(&self, site: &str, cdn: &str, jobs: i64, oldest_seconds: f64) {
        let labels = site_cdn(site, cdn);
        self.queue_jobs.get_or_create_owned(&labels).set(jobs);
        self.queue_oldest.get_or_create_owned(&labels).set(oldest_seconds);
    }

    /// Sets whether purges reach a CDN.
    pub fn purge_healthy(&self, site: &str, cdn: &str, healthy: bool) {
        self.healthy.get_or_create_owned(&site_cdn(site, cdn)).set(i64::from(healthy));
    }

    /// Sets whether sending to a CDN is paused, and how many of its failed jobs are unresolved.
    pub fn purge_standing(&self, site: &str, cdn: &str, paused: bool, failed_jobs: i64) {
        let labels = site_cdn(site, cdn);
        self.paused.get_or_create_owned(&labels).set(i64::from(paused));
        self.failed_jobs.get_or_create_owned(&labels).set(failed_jobs);
    }

    /// Sets how many jobs are pending for a CDN that the site no longer has, and how many of its failed jobs are
    /// unresolved.
    pub fn purge_orphans(&self, site: &str, cdn: &str, jobs: u64, failed_jobs: u64) {
        let labels = site_cdn(site, cdn);
        let count = |jobs: u64| i64::try_from(jobs).unwrap_or(i64::MAX);
        for (family, jobs) in [(&self.orphaned_jobs, jobs), (&self.failed_jobs, failed_jobs)] {
            match jobs {
                0 => drop(family.remove(&labels)),
                jobs => drop(family.get_or_create_owned(&labels).set(count(jobs))),
            }
        }
    }

    /// Removes the metrics of a CDN that the configuration no longer has.
    pub fn forget_cdn(&self, site: &str, cdn: &str) {
        let labels = site_cdn(site, cdn);
        for family in [&self.purge_fallbacks, &self.purge_follow_ups] {
            family.remove(&labels);
        }
        for family in [&self.queue_jobs, &self.healthy, &self.paused, &self.failed_jobs] {
            family.remove(&labels);
        }
        self.queue_oldest.remove(&labels);
        self.cdn_call_seconds.remove(&labels);
        self.publish_to_purged.remove(&labels);
        self.publish_to_verified.remove(&labels);
        for outcome in self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = site_cdn_outcome(site, cdn, outcome);
            self.cdn_calls.remove(&labels);
            self.cdn_items.remove(&labels);
        }
        for seen in ["fresh", "stale", "unknown"] {
            self.verifications.remove(&SiteCdnSeen { site: site.into(), cdn: cdn.into(), seen });
        }
    }

    /// Sets whether the store works.
    pub fn store_healthy(&self, healthy: bool) {
        self.store_healthy.set(i64::from(healthy));
    }

    /// Records how long after the acceptance of a purge a CDN accepted the last item of its job.
    pub fn publish_to_purged(&self, site: &str, cdn: &str, took: Duration) {
        self.publish_to_purged.get_or_create_owned(&site_cdn(site, cdn)).observe(took.as_secs_f64());
        self.history.purged(site, took);
    }

    /// Records how long after the acceptance of a purge the CDN's copies were found to be fresh.
    pub fn publish_to_verified(&self, site: &str, cdn: &str, took: Duration) {
        self.publish_to_verified.get_or_create_owned(&site_cdn(site, cdn)).observe(took.as_secs_f64());
        self.history.verified(site, took);
    }

    /// Counts a check of purged copies, with the result `fresh`, `stale` or `unknown`.
    pub fn verification(&self, site: &str, cdn: &str, seen: &'static str) {
        let labels = SiteCdnSeen { site: site.into(), cdn: cdn.into(), seen };
        self.verifications.get_or_create_owned(&labels).inc();
    }

    /// Sets how many addresses of each origin are `used` or `avoided`. The items are site, origin, and both
    /// numbers.
    pub fn origin_addresses<'o>(&self, origins: impl Iterator<Item = (&'o str, &'o str, (usize, usize))>) {
        // Origins that the configuration no longer has must not remain.
        self.origin_addresses.clear();
        for (site, origin, (used, avoided)) in origins {
            for (state, count) in [("used", used), ("avoided", avoided)] {
                let labels = OriginState { site: site.into(), origin: origin.into(), state };
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                self.origin_addresses.get_or_create_owned(&labels).set(count);
            }
        }
    }

    /// Sets the certificate files in use, and when the first certificate of each expires, in seconds since 1970.
    pub fn certificates<'f>(&self, files: impl Iterator<Item = (&'f Path, i64)>) {
        // Files that the configuration no longer has must not remain.
        self.certificates.clear();
        for (file, ends_s) in files {
            let labels = File { file: file.display().to_string() };
            self.certificates.get_or_create_owned(&labels).set(ends_s);
        }
    }

    /// Sets the number of log lines dropped so far, and of audit lines lost.
    pub fn log_lines(&self, dropped: u64, lost: u64) {
        self.log_lines_dropped.inner().store(dropped, Ordering::Relaxed);
        self.audit_lines_lost.inner().store(lost, Ordering::Relaxed);
    }

    /// Counts a reload that was accepted or refused.
    pub fn config_reload(&self, accepted: bool) {
        let result = if accepted { "accepted" } else { "refused" };
        self.reloads.get_or_create_owned(&ReloadResult { result }).inc();
    }
}

#[cfg(test)]
mod tests;
