//! Until when copies without our tags may be in a site's CDNs. Such copies come from the modes `observe` and
//! `off`, and from requests whose opt-in was not trusted. While they may exist, a purge cannot rely on tags.
//!
//! Every worker writes these moments and the control plane reads them, without a lock. A worker writes only if
//! the stored moment is too early, and then adds a step. So it writes about once a minute, however many
//! responses there are.

use crate::base::milliseconds;
use crate::config::Mode;
use crate::rewrite::{CdnType, Kept, Lifetime, default_lifetime};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// How far a written moment lies beyond the one needed, in milliseconds.
const STEP_MS: i64 = 60_000;
/// The time that a response may take to reach its CDN, in milliseconds. Its lifetime begins only then.
const WAY_MS: i64 = 10_000;
/// The longest lifetime that is assumed for a copy.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
const NEVER: i64 = i64::MIN;

/// The copies without our tags of one site's responses, by CDN type.
#[derive(Debug, Default)]
pub struct Untagged([Cell; CdnType::ALL.len()]);

#[derive(Debug)]
struct Cell {
    /// The moment until which copies from before the last call of [`Untagged::mark`] may live. Only the control plane
    /// writes it.
    older_ms: AtomicI64,
    /// The moment until which copies since that call may live.
    newer_ms: AtomicI64,
    /// The longest lifetime of any copy.
    longest_ms: AtomicI64,
}

impl Default for Cell {
    fn default() -> Self {
        let never = || AtomicI64::new(NEVER);
        Self { older_ms: never(), newer_ms: never(), longest_ms: AtomicI64::new(0) }
    }
}

/// The known facts about the copies in the CDNs of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// The moment, by [`super::Clock`], until which copies may live at the latest. It lies long ago if all of
    /// them are gone.
    pub until_ms: i64,
    /// The longest lifetime of any of these copies. A 304 may start it anew.
    pub longest_ms: i64,
}

impl Untagged {
    /// Records that a response of this lifetime leaves for a CDN of this type. Returns whether a copy of it may
    /// remain.
    pub fn note(&self, cdn: CdnType, lifetime: Lifetime, now_ms: i64) -> bool {
        let cell = self.cell(cdn);
        let longest_ms = cell.longest_ms.load(Ordering::Relaxed);
        let lifetime_ms = match lifetime.at(cdn) {
            Kept::Not => return false,
            Kept::For(lifetime) => milliseconds(lifetime.min(LONGEST)),
            Kept::AsStored => longest_ms.max(milliseconds(default_lifetime(cdn))),
        };
        if lifetime_ms > longest_ms {
            cell.longest_ms.fetch_max(lifetime_ms, Ordering::Relaxed);
        }
        cell.reach(now_ms.saturating_add(lifetime_ms).saturating_add(WAY_MS));
        true
    }

    /// Records that a response that may be kept is in flight to a CDN of this type. Its lifetime is not known
    /// yet.
    pub fn expect(&self, cdn: CdnType, now_ms: i64) {
        self.cell(cdn).reach(now_ms.saturating_add(WAY_MS));
    }

    /// Adopts the facts that a former run recorded.
    pub fn recall(&self, cdn: CdnType, copies: Copies) {
        let cell = self.cell(cdn);
        cell.older_ms.fetch_max(copies.until_ms, Ordering::Relaxed);
        cell.longest_ms.fetch_max(copies.longest_ms.min(milliseconds(LONGEST)), Ordering::Relaxed);
    }

    /// Separates the copies made from here on from earlier ones. Must be called before workers are asked which
    /// responses are in flight: a response noted before the mark has then either arrived or is found.
    pub fn mark(&self, cdn: CdnType) {
        let cell = self.cell(cdn);
        cell.older_ms.fetch_max(cell.newer_ms.swap(NEVER, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Records that the copies from before the last mark are gone.
    pub fn forget_older(&self, cdn: CdnType) {
        self.cell(cdn).older_ms.store(NEVER, Ordering::Relaxed);
    }

    /// Returns the known facts about the copies in CDNs of this type, or `None` if there never were any.
    pub fn copies(&self, cdn: CdnType) -> Option<Copies> {
        let Cell { older_ms, newer_ms, longest_ms } = self.cell(cdn);
        let until_ms = older_ms.load(Ordering::Relaxed).max(newer_ms.load(Ordering::Relaxed));
        let longest_ms = longest_ms.load(Ordering::Relaxed);
        (until_ms != NEVER || longest_ms > 0).then_some(Copies { until_ms, longest_ms })
    }

    /// Returns until when copies may live in CDNs of this type, or `None` if none are left.
    pub fn until_ms(&self, cdn: CdnType, now_ms: i64) -> Option<i64> {
        self.copies(cdn).map(|copies| copies.until_ms).filter(|until_ms| *until_ms >= now_ms)
    }

    fn cell(&self, cdn: CdnType) -> &Cell {
        &self.0[cdn as usize]
    }
}

impl Cell {
    fn reach(&self, until_ms: i64) {
        if self.newer_ms.load(Ordering::Relaxed) < until_ms {
            self.newer_ms.fetch_max(until_ms.saturating_add(STEP_MS), Ordering::Relaxed);
        }
    }
}

/// Why copies without our tags may be in a CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutTags {
    /// The site's mode is not `on`.
    Mode(Mode),
    /// Such copies were made, and may live until this moment.
    Until(i64),
    /// The copies that former runs made are not known yet.
    Untold,
}

impl fmt::Display for WithoutTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(Mode::On) => f.write_str("mode on"),
            Self::Mode(Mode::Observe) => f.write_str("mode observe"),
            Self::Mode(Mode::Off) => f.write_str("mode off"),
            Self::Until(ms) => {
                let until = jiff::Timestamp::from_millisecond(*ms).unwrap_or(jiff::Timestamp::MAX);
                write!(f, "until {until:.0}")
            }
            Self::Untold => f.write_str("responses sent before the last start are not known yet"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Headers;
    use http::{HeaderValue, StatusCode, header};

    fn lifetime(status: u16, cache_control: Option<&str>) -> Lifetime {
        let mut headers = Headers::new();
        if let Some(value) = cache_control {
            headers.append(&header::CACHE_CONTROL, &HeaderValue::from_str(value).unwrap());
        }
        Lifetime::of(StatusCode::from_u16(status).unwrap(), &headers, |_| false, 0)
    }

    #[test]
    fn a_copy_counts_until_its_end_and_a_while_longer() {
        let untagged = Untagged::default();
        assert_eq!(untagged.until_ms(CdnType::Varnish, 0), None);
        assert!(!untagged.note(CdnType::Varnish, lifetime(200, Some("no-store")), 1_000));
        assert_eq!(untagged.copies(CdnType::Varnish), None);
        assert!(untagged.note(CdnType::Varnish, lifetime(200, Some("max-age=600")), 1_000));
        let until_ms = 1_000 + 600_000 + WAY_MS + STEP_MS;
        assert_eq!(untagged.until_ms(CdnType::Varnish, until_ms), Some(until_ms));
        assert_eq!(untagged.until_ms(CdnType::Varnish, until_ms + 1), None);
        assert_eq!(untagged.until_ms(CdnType::Fastly, 0), None);
        // A moment within the step writes nothing, and a shorter lifetime takes nothing back.
        untagged.note(CdnType::Varnish, lifetime(200, Some("max-age=600")), 1_000 + STEP_MS);
        untagged.note(CdnType::Varnish, lifetime(200, Some("max-age=1")), 2_000);
        assert_eq!(untagged.until_ms(CdnType::Varnish, 0), Some(until_ms));
        untagged.note(CdnType::Varnish, lifetime(200, Some("max-age=600")), 1_001 + STEP_MS);
        assert_eq!(untagged.until_ms(CdnType::Varnish, 0), Some(until_ms + STEP_MS + 1));
        // A lifetime is limited to a year.
        untagged.note(CdnType::Varnish, lifetime(200, Some("max-age=315360000")), 0);
        let year_ms = milliseconds(LONGEST);
        assert_eq!(untagged.until_ms(CdnType::Varnish, 0), Some(year_ms + WAY_MS + STEP_MS));
    }

    #[test]
    fn what_was_purged_is_forgotten_and_nothing_else() {
        let untagged = Untagged::default();
        let until_ms = || untagged.until_ms(CdnType::Varnish, 0);
        untagged.note(CdnType::Varnish, lifetime(200, Some("max-age=600")), 0);
        untagged.mark(CdnType::Varnish);
        let before_ms = until_ms();
        assert_eq!(before_ms, Some(600_000 + WAY_MS + STEP_MS), "until it is purged");
        untagged.note(CdnType::Varnish, lifetime(200, Some("max-age=60")), 1_000);
        assert_eq!(until_ms(), before_ms);
        untagged.forget_older(CdnType::Varnish);
        assert_eq!(until_ms(), Some(61_000 + WAY_MS + STEP_MS));
        untagged.mark(CdnType::Varnish);
        untagged.forget_older(CdnType::Varnish);
        assert_eq!(until_ms(), None);
        assert_eq!(untagged.copies(CdnType::Varnish).unwrap().longest_ms, 600_000);
    }

    #[test]
    fn a_304_gives_the_longest_lifetime_anew() {
        let untagged = Untagged::default();
        untagged.note(CdnType::Varnish, lifetime(304, None), 0);
        assert_eq!(untagged.until_ms(CdnType::Varnish, 0), Some(120_000 + WAY_MS + STEP_MS));
        untagged.note(CdnType::Varnish, lifetime(200, Some("max-age=3600")), 0);
        let before = untagged.copies(CdnType::Varnish).unwrap();
        assert_eq!(before.longest_ms, 3_600_000);
        // The same holds after a restart.
        let again = Untagged::default();
        again.recall(CdnType::Varnish, before);
        again.note(CdnType::Varnish, lifetime(304, None), 5_000_000);
        assert_eq!(again.until_ms(CdnType::Varnish, 0), Some(5_000_000 + 3_600_000 + WAY_MS + STEP_MS));
    }

    #[test]
    fn reasons_in_words() {
        let words: Vec<_> = [
            WithoutTags::Mode(Mode::Observe),
            WithoutTags::Mode(Mode::Off),
            WithoutTags::Until(1_795_432_954_007),
            WithoutTags::Untold,
        ]
        .iter()
        .map(ToString::to_string)
        .collect();
        assert_eq!(
            words,
            [
                "mode observe",
                "mode off",
                "until 2026-11-23T11:22:34Z",
                "responses sent before the last start are not known yet"
            ]
        );
    }
}
