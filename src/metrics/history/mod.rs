//! The recent past of each site, which the console draws: a bounded ring per site, in memory.
//!
//! The control plane takes samples of the counters (`shard.rs`) every few seconds, so that the request path does
//! nothing for it. Each sample becomes a point of the fine ring (the last hour), and each minute one of the coarse
//! ring (the last day). A point in which nothing happened is not kept, so an idle site costs nothing, and a busy one
//! at most 130 KB.

use super::shard::{BOUNDS_MICROS, BUCKETS, Shards, SiteMetrics};
use crate::rewrite::Outcome;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The time between two samples, and therefore the length of a fine point.
pub const STEP: Duration = Duration::from_secs(10);
/// The length of a coarse point.
pub const COARSE_STEP: Duration = Duration::from_secs(60);
/// How far back the fine points reach.
pub const FINE: Duration = Duration::from_secs(3_600);
/// How far back the coarse points reach.
pub const COARSE: Duration = Duration::from_secs(86_400);
/// The largest number of sites of which points are kept, so that all rings together stay below 65 MB.
pub const SITES: usize = 500;

/// What happened at a site during a short time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// The end of that time, in milliseconds since the epoch, by the clock of the samples.
    pub at_ms: i64,
    /// The length of that time, in milliseconds.
    pub span_ms: u32,
    /// The number of requests, in the order of [`Outcome::ALL`].
    pub requests: [u32; Outcome::ALL.len()],
    /// The number of responses of the origin.
    pub answers: u32,
    /// The median time until the head of such a response, in microseconds; estimated from the histogram.
    pub p50_micros: u32,
    /// The 99th percentile of that time, in microseconds.
    pub p99_micros: u32,
    /// The number of accepted purges.
    pub purges: u32,
    /// The number of purges that failed.
    pub failed: u32,
    /// From the acceptance of a purge to the CDN's acceptance of its last item, of each job that was done.
    pub purged: Lag,
    /// From the acceptance of a purge to the check that found fresh copies.
    pub verified: Lag,
}

/// How long something took, several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// How often.
    pub count: u32,
    /// The sum of all times, in milliseconds.
    pub sum_ms: u32,
    /// The longest time, in milliseconds.
    pub max_ms: u32,
}

impl Lag {
    fn add(&mut self, took: Duration) {
        let ms = u32::try_from(took.as_millis()).unwrap_or(u32::MAX);
        self.count = self.count.saturating_add(1);
        self.sum_ms = self.sum_ms.saturating_add(ms);
        self.max_ms = self.max_ms.max(ms);
    }
}

impl Point {
    fn is_empty(&self) -> bool {
        let requests = self.requests.iter().all(|count| *count == 0);
        requests && self.answers == 0 && self.happened() == (0, 0, 0, 0)
    }

    fn happened(&self) -> (u32, u32, u32, u32) {
        (self.purges, self.failed, self.purged.count, self.verified.count)
    }
}

/// The counters of a site at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    requests: [u64; Outcome::ALL.len()],
    origin: [u64; BUCKETS],
}

impl Totals {
    fn of(site: &SiteMetrics) -> Self {
        let mut requests = [0; Outcome::ALL.len()];
        site.requests().for_each(|(_, decision, count)| requests[decision.outcome.index()] += count);
        Self { requests, origin: site.origin_latency().buckets }
    }

    /// Adds what happened since `before` to a point.
    fn since(&self, before: &Totals, point: &mut Point) {
        for (sum, (now, before)) in point.requests.iter_mut().zip(self.requests.iter().zip(before.requests)) {
            *sum = u32::try_from(now.wrapping_sub(before)).unwrap_or(u32::MAX);
        }
        let mut buckets = [0; BUCKETS];
        for (count, (now, before)) in buckets.iter_mut().zip(self.origin.iter().zip(before.origin)) {
            *count = now.wrapping_sub(before);
        }
        point.answers = u32::try_from(buckets.iter().sum::<u64>()).unwrap_or(u32::MAX);
        point.p50_micros = quantile(&buckets, 0.5);
        point.p99_micros = quantile(&buckets, 0.99);
    }
}

/// Returns a quantile in microseconds, evenly distributed within its bucket. Above the last bound nothing is known but
/// that bound.
fn quantile(buckets: &[u64; BUCKETS], quantile: f64) -> u32 {
    let total: u64 = buckets.iter().sum();
    let rank = total as f64 * quantile;
    let (mut below, mut lower) = (0_u64, 0_u64);
    for (count, upper) in buckets.iter().zip(BOUNDS_MICROS) {
        if *count > 0 && (below + count) as f64 >= rank {
            let within = (rank - below as f64) / *count as f64;
            return (lower as f64 + (upper - lower) as f64 * within) as u32;
        }
        below += count;
        lower = upper;
    }
    if total == 0 { 0 } else { u32::try_from(lower).unwrap_or(u32::MAX) }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The points of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The first sample of this process, in milliseconds since the epoch: of the time before, nothing is known. `None`
    /// before that sample.
    pub first_ms: Option<i64>,
    /// The last sample.
    pub last_ms: Option<i64>,
    /// The time that a point covers.
    pub step: Duration,
    /// The points, oldest first. Those in which nothing happened are absent.
    pub points: Vec<Point>,
}

/// The rings of all sites.
#[derive(Debug)]
pub struct History {
    shards: Arc<Shards>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    sites: BTreeMap<String, Rings>,
    moments: Option<Moments>,
}

/// The moments of the first sample, of the last one, and of the one that began the present minute.
#[derive(Clone, Copy, Debug)]
struct Moments {
    first_ms: i64,
    last_ms: i64,
    minute_ms: i64,
}

/// What is kept of one site.
#[derive(Debug, Default)]
struct Rings {
    /// The number of requests at the last sample, by which an idle site is recognised cheaply.
    count: u64,
    fine: Ring,
    coarse: Ring,
}

/// One ring, and what its next point begins with.
#[derive(Debug, Default)]
struct Ring {
    before: Totals,
    /// What purges have added to the next point.
    next: Point,
    points: VecDeque<Point>,
}

impl Ring {
    /// Ends the next point, which `now` (if anything was requested since) and the purges make up.
    fn end(&mut self, now: Option<&Totals>, (from_ms, at_ms): (i64, i64), reach: Duration, has_room: bool) {
        let mut point = std::mem::take(&mut self.next);
        if let Some(now) = now {
            now.since(&self.before, &mut point);
            self.before = *now;
        }
        if has_room && !point.is_empty() {
            point.at_ms = at_ms;
            point.span_ms = u32::try_from(at_ms.saturating_sub(from_ms)).unwrap_or(u32::MAX);
            self.points.push_back(point);
        }
        let oldest_ms = at_ms.saturating_sub(milliseconds(reach));
        while self.points.front().is_some_and(|point| point.at_ms <= oldest_ms) {
            self.points.pop_front();
        }
        if self.points.is_empty() {
            self.points = VecDeque::new();
        }
    }
}

impl Rings {
    fn has_points(&self) -> bool {
        !self.fine.points.is_empty() || !self.coarse.points.is_empty()
    }
}

impl History {
    pub(super) fn new(shards: Arc<Shards>) -> Self {
        Self { shards, kept: Mutex::default() }
    }

    /// Takes a sample of all sites. The control plane calls this every [`STEP`]; `now_ms` never goes back.
    pub fn sample(&self, now_ms: i64) {
        let sites = self.shards.sites();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { sites: rings, moments } = &mut *kept;
        let moments = moments.get_or_insert(Moments { first_ms: now_ms, last_ms: now_ms, minute_ms: now_ms });
        let ends_minute = now_ms.saturating_sub(moments.minute_ms) >= milliseconds(COARSE_STEP);
        let mut busy: HashMap<&str, &SiteMetrics> = HashMap::new();
        for site in &sites {
            let count = site.request_latency().buckets.iter().sum();
            if count != rings.get(site.name()).map_or(0, |rings| rings.count) {
                rings.entry(site.name().to_owned()).or_default().count = count;
                busy.insert(site.name(), site);
            }
        }
        let mut room = SITES.saturating_sub(rings.values().filter(|rings| rings.has_points()).count());
        for (name, rings) in rings.iter_mut() {
            let had_points = rings.has_points();
            let now = busy.get(name.as_str()).map(|site| Totals::of(site));
            let fine = (moments.last_ms, now_ms);
            rings.fine.end(now.as_ref(), fine, FINE, had_points || room > 0);
            if ends_minute {
                // The site may have been busy at an earlier sample of this minute, and what the last of them saw is
                // what there is now.
                let now = rings.fine.before;
                let coarse = (moments.minute_ms, now_ms);
                rings.coarse.end(Some(&now), coarse, COARSE, had_points || room > 0);
            }
            if !had_points && rings.has_points() {
                room -= 1;
            }
        }
        moments.last_ms = now_ms;
        if ends_minute {
            moments.minute_ms = now_ms;
        }
    }

    /// Returns the points of a site within this time before the last sample: fine ones if those reach as far.
    pub fn of(&self, site: &str, window: Duration) -> Past {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (first_ms, last_ms) =
            (kept.moments.map(|moments| moments.first_ms), kept.moments.map(|moments| moments.last_ms));
        let oldest_ms = last_ms.unwrap_or_default().saturating_sub(milliseconds(window));
        let is_fine = window <= FINE;
        let ring = kept.sites.get(site).map(|rings| if is_fine { &rings.fine } else { &rings.coarse });
        let points = ring.into_iter().flat_map(|ring| &ring.points);
        let points = points.filter(|point| point.at_ms > oldest_ms).copied().collect();
        Past { first_ms, last_ms, step: if is_fine { STEP } else { COARSE_STEP }, points }
    }

    /// Counts a purge of a site that reached a state: those that were accepted, and those that failed.
    pub(super) fn purge(&self, site: &str, state: &str) {
        match state {
            "pending" => self.add(site, |point| point.purges = point.purges.saturating_add(1)),
            "failed" => self.add(site, |point| point.failed = point.failed.saturating_add(1)),
            _ => {}
        }
    }

    /// Records how long after the acceptance of a purge a CDN had accepted its job.
    pub(super) fn purged(&self, site: &str, took: Duration) {
        self.add(site, |point| point.purged.add(took));
    }

    /// Records how long after the acceptance of a purge copies were found to be fresh.
    pub(super) fn verified(&self, site: &str, took: Duration) {
        self.add(site, |point| point.verified.add(took));
    }

    fn add(&self, site: &str, to: impl Fn(&mut Point)) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.sites.contains_key(site) {
            kept.sites.insert(site.to_owned(), Rings::default());
        }
        if let Some(rings) = kept.sites.get_mut(site) {
            to(&mut rings.fine.next);
            to(&mut rings.coarse.next);
        }
    }
}

#[cfg(test)]
mod tests;
