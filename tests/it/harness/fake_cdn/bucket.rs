//! The rate limit of a vendor: a token bucket.

use std::time::{Duration, Instant};

/// A token bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    size: f64,
    per_second: f64,
    level: f64,
    since: Option<Instant>,
}

impl Bucket {
    /// A full bucket.
    pub fn full(size: f64, per_second: f64) -> Self {
        Self { size, per_second, level: size, since: None }
    }

    /// One that is never empty.
    pub fn endless() -> Self {
        Self::full(f64::MAX, 0.0)
    }

    /// Takes `count` tokens, if there are as many.
    pub fn take(&mut self, count: f64, now: Instant) -> bool {
        self.fill(now);
        let enough = self.level >= count;
        if enough {
            self.level -= count;
        }
        enough
    }

    /// The number of tokens in the bucket.
    pub fn level(&mut self, now: Instant) -> f64 {
        self.fill(now);
        self.level
    }

    /// Until it holds `count`.
    pub fn until(&mut self, count: f64, now: Instant) -> Duration {
        let missing = count - self.level(now);
        Duration::try_from_secs_f64(missing.max(0.0) / self.per_second).unwrap_or_default()
    }

    /// Until it is full.
    pub fn until_full(&mut self, now: Instant) -> Duration {
        self.until(self.size, now)
    }

    /// Its size.
    pub fn size(&self) -> f64 {
        self.size
    }

    /// The number of tokens that are added per second.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    fn fill(&mut self, now: Instant) {
        let passed = self.since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        self.level = (self.level + passed * self.per_second).min(self.size);
        self.since = Some(now);
    }
}
