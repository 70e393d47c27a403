//! The counters of the request path: one shard per worker, written by that worker's thread alone and folded when
//! metrics are scraped. Loads and stores are relaxed, without locked instructions or shared cache lines.

use super::header_purge::HeaderPurge;
use crate::rewrite::{Decision, Outcome, Reason};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Upper bounds, in seconds, of every latency histogram of the data plane and of CDN calls.
pub const LATENCY_BUCKETS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// A counter with a single writer, so that adding needs no locked instruction.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`. Only the owning worker's thread may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Subtracts `n`, for gauges. Only the owning worker's thread may call this.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Returns the current value, from any thread.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The number of buckets of a latency histogram; the last one is above every bound.
pub(super) const BUCKETS: usize = LATENCY_BUCKETS.len() + 1;

/// A latency histogram over [`LATENCY_BUCKETS`] with a single writer.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [Count; BUCKETS],
    sum_micros: Count,
}

impl Latency {
    /// Records one duration.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.iter().position(|bound| micros <= *bound).unwrap_or(BUCKETS - 1);
        self.buckets[bucket].add(1);
        self.sum_micros.add(micros);
    }
}

/// [`LATENCY_BUCKETS`] in microseconds.
pub(super) const BOUNDS_MICROS: [u64; LATENCY_BUCKETS.len()] = {
    let mut bounds = [0; LATENCY_BUCKETS.len()];
    let mut i = 0;
    while i < bounds.len() {
        bounds[i] = (LATENCY_BUCKETS[i] * 1e6) as u64;
        i += 1;
    }
    bounds
};

/// A kind of failure on the way to an origin, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginErrorKind {
    /// The origin has as many requests as it may have.
    Full,
    /// The process has no descriptor for one more connection.
    NoRoom,
    /// The name did not resolve.
    Dns,
    /// The connection could not be made.
    Connect,
    /// The connection could not be made in time.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls,
    /// The connection ended before a response.
    Closed,
    /// The response head did not arrive in time.
    FirstByteTimeout,
    /// The response breaks HTTP or a limit.
    BadResponse,
    /// The body ended early.
    Body,
    /// The body stalled.
    BodyTimeout,
}

impl OriginErrorKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 11] = [
        Self::Full,
        Self::NoRoom,
        Self::Dns,
        Self::Connect,
        Self::ConnectTimeout,
        Self::Tls,
        Self::Closed,
        Self::FirstByteTimeout,
        Self::BadResponse,
        Self::Body,
        Self::BodyTimeout,
    ];

    /// Returns the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::NoRoom => "no-room",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect-timeout",
            Self::Tls => "tls",
            Self::Closed => "closed",
            Self::FirstByteTimeout => "first-byte-timeout",
            Self::BadResponse => "bad-response",
            Self::Body => "body",
            Self::BodyTimeout => "body-timeout",
        }
    }
}

const CLASSES: usize = 5;
type ByDecision<T> = [[T; Reason::ALL.len()]; Outcome::ALL.len()];

/// The counters of one site on one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct SiteShard {
    requests: ByDecision<[Count; CLASSES]>,
    observed: ByDecision<Count>,
    request_seconds: Latency,
    origin_seconds: Latency,
    origin_errors: [Count; OriginErrorKind::ALL.len()],
    header_purges: [Count; HeaderPurge::ALL.len()],
    /// Connections made to the site's origins.
    pub origin_connections: Count,
    /// Requests sent again on a fresh connection because a pooled one was stale.
    pub origin_retries: Count,
}

impl SiteShard {
    /// Records a request that ended after `took`, with this status and decision.
    pub fn request(&self, status: u16, decision: Decision, took: Duration) {
        let class = (usize::from(status) / 100).clamp(1, CLASSES) - 1;
        self.requests[decision.outcome as usize][decision.reason as usize][class].add(1);
        self.request_seconds.observe(took);
    }

    /// Counts what would have been decided, in mode `observe`.
    pub fn observed(&self, decision: Decision) {
        self.observed[decision.outcome as usize][decision.reason as usize].add(1);
    }

    /// Records how long after the request an origin's response head arrived.
    pub fn origin_answered(&self, took: Duration) {
        self.origin_seconds.observe(took);
    }

    /// Counts a failure on the way to an origin.
    pub fn origin_error(&self, kind: OriginErrorKind) {
        self.origin_errors[kind as usize].add(1);
    }

    /// Counts a purge that the origin asked for in a response.
    pub fn header_purge(&self, result: HeaderPurge) {
        self.header_purges[result as usize].add(1);
    }
}

/// The counters of one site on every worker.
#[derive(Debug)]
pub struct SiteMetrics {
    name: String,
    // The shards, each made when its worker first serves the site: with many sites most never exist.
    shards: Box<[OnceLock<Box<SiteShard>>]>,
}

impl SiteMetrics {
    /// Returns the shard of worker `index`. Only that worker's thread may write it.
    #[inline]
    pub fn shard(&self, index: usize) -> &SiteShard {
        self.shards[index % self.shards.len()].get_or_init(Box::default)
    }
}

/// The counters of one worker that do not belong to a site.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerShard {
    /// Open connections on plain listeners.
    pub plain_connections: Count,
    /// Open connections on TLS listeners.
    pub tls_connections: Count,
    /// Connections to origins that are open or being made.
    pub origin_connections: Count,
    /// Requests whose response is not completely written.
    pub in_flight: Count,
    /// Bytes from clients, decrypted.
    pub received: Count,
    /// Bytes to clients, before encryption.
    pub sent: Count,
    limited: [Count; Limit::ALL.len()],
}

impl WorkerShard {
    /// Counts a request or connection that a limit refused or ended. Only the owning worker's thread may call
    /// this.
    pub fn limited(&self, limit: Limit) {
        self.limited[limit as usize].add(1);
    }
}

/// A limit that keeps clients from exhausting resources, as a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Too many connections: the connection is turned away.
    Connections,
    /// Too many requests at a time: the request is turned away.
    Requests,
    /// No TLS handshake or PROXY protocol header in time: the connection is closed.
    Handshake,
    /// No request head in time: the connection is closed.
    Head,
    /// Nothing of the response read in time: the connection is closed, or the HTTP/2 stream reset.
    Write,
    /// Too many HTTP/2 control frames: the connection is closed.
    Frames,
}

impl Limit {
    /// All limits, in the order of their declaration.
    pub const ALL: [Self; 6] =
        [Self::Connections, Self::Requests, Self::Handshake, Self::Head, Self::Write, Self::Frames];

    /// Returns the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::Handshake => "handshake",
            Self::Head => "head",
            Self::Write => "write",
            Self::Frames => "frames",
        }
    }
}

/// All shards.
#[derive(Debug)]
pub(super) struct Shards {
    workers: Vec<Arc<WorkerShard>>,
    sites: Mutex<BTreeMap<String, Arc<SiteMetrics>>>,
}

/// A latency histogram folded over workers. The buckets are not cumulative, and the last one is above every bound.
pub(super) struct FoldedLatency {
    pub(super) buckets: [u64; BUCKETS],
    pub(super) sum_seconds: f64,
}

impl Shards {
    pub(super) fn new(workers: usize) -> Self {
        let workers = (0..workers.max(1)).map(|_| Arc::default()).collect();
        Self { workers, sites: Mutex::default() }
    }

    pub(super) fn worker(&self, index: usize) -> Arc<WorkerShard> {
        Arc::clone(&self.workers[index % self.workers.len()])
    }

    pub(super) fn site(&self, name: &str) -> Arc<SiteMetrics> {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(site) = sites.get(name) {
            return Arc::clone(site);
        }
        let shards = self.workers.iter().map(|_| OnceLock::new()).collect();
        let site = Arc::new(SiteMetrics { name: name.to_owned(), shards });
        sites.insert(name.to_owned(), Arc::clone(&site));
        site
    }

    pub(super) fn sites(&self) -> Vec<Arc<SiteMetrics>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Returns the number of workers.
    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Returns how often a limit took effect, over all workers.
    pub(super) fn limited(&self, limit: Limit) -> u64 {
        self.total(|worker| &worker.limited[limit as usize])
    }

    /// Returns the sum of one counter over all workers.
    pub(super) fn total(&self, of: impl Fn(&WorkerShard) -> &Count) -> u64 {
        self.workers.iter().fold(0, |sum, worker| sum.wrapping_add(of(worker).get()))
    }
}

impl SiteMetrics {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn made(&self) -> impl Iterator<Item = &SiteShard> {
        self.shards.iter().filter_map(|shard| shard.get().map(|shard| &**shard))
    }

    fn total(&self, of: impl Fn(&SiteShard) -> &Count) -> u64 {
        self.made().fold(0, |sum, shard| sum.wrapping_add(of(shard).get()))
    }

    /// Returns the nonzero request counts: status class (`2xx`), decision, number.
    pub(super) fn requests(&self) -> impl Iterator<Item = (&'static str, Decision, u64)> {
        const LABELS: [&str; CLASSES] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        decisions().flat_map(move |decision| {
            LABELS.into_iter().enumerate().filter_map(move |(class, label)| {
                let total = self.total(|shard| {
                    &shard.requests[decision.outcome as usize][decision.reason as usize][class]
                });
                (total > 0).then_some((label, decision, total))
            })
        })
    }

    /// Returns the nonzero counts of the decisions in mode `observe`.
    pub(super) fn observed_decisions(&self) -> impl Iterator<Item = (Decision, u64)> {
        decisions().filter_map(move |decision| {
            let total =
                self.total(|shard| &shard.observed[decision.outcome as usize][decision.reason as usize]);
            (total > 0).then_some((decision, total))
        })
    }

    /// Returns the nonzero counts of origin errors.
    pub(super) fn origin_errors(&self) -> impl Iterator<Item = (OriginErrorKind, u64)> {
        OriginErrorKind::ALL.into_iter().filter_map(move |kind| {
            let total = self.total(|shard| &shard.origin_errors[kind as usize]);
            (total > 0).then_some((kind, total))
        })
    }

    /// Returns the nonzero counts of purges that the origin asked for.
    pub(super) fn header_purges(&self) -> impl Iterator<Item = (HeaderPurge, u64)> {
        HeaderPurge::ALL.into_iter().filter_map(|result| {
            let total = self.total(|shard| &shard.header_purges[result as usize]);
            (total > 0).then_some((result, total))
        })
    }

    pub(super) fn origin_connections(&self) -> u64 {
        self.total(|shard| &shard.origin_connections)
    }

    pub(super) fn origin_retries(&self) -> u64 {
        self.total(|shard| &shard.origin_retries)
    }

    pub(super) fn request_latency(&self) -> FoldedLatency {
        self.latency(|shard| &shard.request_seconds)
    }

    pub(super) fn origin_latency(&self) -> FoldedLatency {
        self.latency(|shard| &shard.origin_seconds)
    }

    fn latency(&self, of: impl Fn(&SiteShard) -> &Latency) -> FoldedLatency {
        let mut folded = FoldedLatency { buckets: [0; BUCKETS], sum_seconds: 0.0 };
        for latency in self.made().map(of) {
            for (sum, bucket) in folded.buckets.iter_mut().zip(&latency.buckets) {
                *sum += bucket.get();
            }
            folded.sum_seconds += latency.sum_micros.get() as f64 / 1e6;
        }
        folded
    }
}

fn decisions() -> impl Iterator<Item = Decision> {
    Outcome::ALL
        .iter()
        .flat_map(|&outcome| Reason::ALL.iter().map(move |&reason| Decision { outcome, reason }))
}
