//! The TTL table: which row a status gets, and its lifetimes.

use super::origin::Origin;
use super::outcome::Reason;
use super::policy::BrowserTtl;
use super::{Policy, Profile, Rule};
use http::StatusCode;
use std::time::Duration;

/// What the table says of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// These lifetimes.
    Row(Row),
    /// Not to be cached at all.
    NoStore,
    /// As the origin sent it.
    Untouched,
}

/// The lifetimes of a row, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// For the browser.
    pub(super) browser: Browser,
    /// For the CDN.
    pub(super) edge: u32,
    /// Whether stale copies may be served as the site allows; never of an error page.
    pub(super) stale: bool,
    /// Whether an origin's `immutable` stays, where the browser's lifetime is not the origin's own.
    pub(super) immutable: bool,
    /// Whether validators go: a 404 that is revalidated sticks after its page was published (the origin answers 304).
    pub(super) drops_validators: bool,
    /// Where the lifetimes come from.
    pub(super) reason: Reason,
}

impl Row {
    /// What it becomes for a response that is known to be old: for a moment at the CDN, which so asks the origin once
    /// for all who wait, and not longer than `most` seconds.
    pub(super) fn guarded(self, guard: Duration, most: Option<u32>) -> Self {
        let edge = seconds(guard).min(self.edge).min(most.unwrap_or(u32::MAX));
        Self { browser: Browser::NoCache, edge, stale: false, immutable: false, ..self }
    }

    /// That of a response which the table leaves as it is, where it is to be kept for `edge` seconds at most.
    pub(super) fn at_most(edge: u32) -> Self {
        Self { edge, stale: false, ..row(Browser::Origin { most: u32::MAX }, Duration::ZERO, Reason::Status) }
    }
}

/// A browser's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Browser {
    /// Seconds.
    MaxAge(u32),
    /// `no-cache`; 0 seconds where the CDN reads the same header.
    NoCache,
    /// The origin's own, but not longer than this.
    Origin {
        /// Seconds.
        most: u32,
    },
}

impl Browser {
    fn of(ttl: BrowserTtl) -> Self {
        match ttl {
            BrowserTtl::Origin => Self::Origin { most: u32::MAX },
            BrowserTtl::Fixed(ttl) => Self::MaxAge(seconds(ttl)),
        }
    }

    /// The same, but not longer than this.
    fn at_most(self, limit: u32) -> Self {
        match self {
            Self::MaxAge(seconds) => Self::MaxAge(seconds.min(limit)),
            Self::Origin { most } => Self::Origin { most: most.min(limit) },
            Self::NoCache => Self::NoCache,
        }
    }

    /// Whether it is the origin's own.
    pub(super) fn is_origins(self) -> bool {
        matches!(self, Self::Origin { .. })
    }

    /// What it may be at the longest, in seconds.
    fn limit(self) -> u32 {
        match self {
            Self::MaxAge(seconds) | Self::Origin { most: seconds } => seconds,
            Self::NoCache => 0,
        }
    }

    /// What it is for a response of this origin: seconds, or none, so that browsers ask each time.
    pub(super) fn resolve(self, origin: &Origin) -> Option<u32> {
        match self {
            Self::MaxAge(seconds) => Some(seconds),
            Self::NoCache => None,
            Self::Origin { .. } if origin.cache_control.no_cache || origin.cache_control.no_store => None,
            Self::Origin { most } => origin.browser_lifetime().map(|seconds| seconds.min(most)),
        }
    }
}

/// Media that AEM names by content: 30 days everywhere.
const MEDIA: Duration = Duration::from_secs(30 * 86_400);
/// The AEM table's row of such media that is not there (or elsewhere).
const AEM_MEDIA_ERROR: Duration = Duration::from_secs(3_600);

/// The row of a response with this status at this normalised path.
pub(super) fn treatment(policy: &Policy, rule: Option<&Rule>, path: &str, status: StatusCode) -> Treatment {
    let ttls = &policy.ttls;
    let aem = policy.profile == Profile::Aem;
    let browser = Browser::of(ttls.browser);
    match status.as_u16() {
        401 | 403 | 407 | 500.. => Treatment::NoStore,
        400 if aem => Treatment::NoStore,
        // A 304 stands for the 200 that the CDN holds.
        200 | 304 if is_content_hash_path(path) => {
            let browser = Browser::MaxAge(seconds(MEDIA));
            page(rule, Row { immutable: true, ..row(browser, MEDIA, Reason::MediaHash) })
        }
        200 | 203 | 304 => page(rule, row(browser, ttls.edge, Reason::TtlTable)),
        301 | 302 | 308 | 404 | 405 | 410 | 414 | 451 if aem && is_content_hash_path(path) => {
            let browser = Browser::MaxAge(seconds(AEM_MEDIA_ERROR));
            other(rule, status, row(browser, AEM_MEDIA_ERROR, Reason::MediaHash))
        }
        301 | 308 => page(rule, row(browser, ttls.edge, Reason::TtlTable)),
        302 if aem => {
            // Not `private`, as AEM has it: Fastly's default VCL does not store what is private.
            other(rule, status, row(Browser::NoCache, ttls.edge, Reason::TtlTable))
        }
        // The AEM table keeps client errors like pages; of those only the ones that depend on nothing but the URL
        // (RFC 9110 §15.1), not a 429.
        404 | 405 | 410 | 414 | 451 if aem => other(rule, status, row(browser, ttls.edge, Reason::TtlTable)),
        404 | 410 => {
            let browser = browser.at_most(seconds(ttls.fallback));
            other(rule, status, row(browser, ttls.not_found, Reason::TtlTable))
        }
        _ => Treatment::Untouched,
    }
}

fn row(browser: Browser, edge: Duration, reason: Reason) -> Row {
    Row { browser, edge: seconds(edge), stale: true, immutable: false, drops_validators: false, reason }
}

/// The row of a page: a rule replaces its lifetimes.
fn page(rule: Option<&Rule>, mut row: Row) -> Treatment {
    let Some(rule) = rule else { return Treatment::Row(row) };
    if let Some(ttl) = rule.browser_ttl {
        row.browser = Browser::of(ttl);
    }
    if let Some(ttl) = rule.edge_ttl {
        row.edge = seconds(ttl);
    }
    if rule.browser_ttl.is_some() || rule.edge_ttl.is_some() || rule.allow_override {
        row.reason = Reason::Rule;
    }
    Treatment::Row(row)
}

/// The row of a temporary redirect or a client error: a rule that asks for thirty days means its pages, so it can
/// shorten this row but not lengthen it.
fn other(rule: Option<&Rule>, status: StatusCode, mut row: Row) -> Treatment {
    if status.is_client_error() {
        row.stale = false;
        row.drops_validators = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    }
    if let Some(ttl) = rule.and_then(|rule| rule.browser_ttl)
        && row.browser != Browser::NoCache
    {
        row.browser = Browser::of(ttl).at_most(row.browser.limit());
    }
    if let Some(ttl) = rule.and_then(|rule| rule.edge_ttl) {
        row.edge = seconds(ttl).min(row.edge);
    }
    Treatment::Row(row)
}

/// Whole seconds, rounded down, at most 2^31 (RFC 9111 §1.2.2).
pub(super) fn seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX).min(1 << 31)
}

/// Whether the file that the path names, so its last segment, starts with `media_` and at least 40 lower-case hex digits: the
/// hash of its content. A directory of such a name says nothing of what is in it.
pub(super) fn is_content_hash_path(path: &str) -> bool {
    let name = path.as_bytes().rsplit(|b| *b == b'/').next().unwrap_or_default();
    name.strip_prefix(b"media_")
        .and_then(|rest| rest.get(..40))
        .is_some_and(|hash| hash.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_hashes() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        let check = |path: &str, expected| assert_eq!(is_content_hash_path(path), expected, "{path}");
        check(&format!("/media_{hash}.png"), true);
        check(&format!("/media_{hash}"), true);
        check(&format!("/a/b/media_{hash}89abcdef.png"), true);
        check(&format!("/media_x/media_{hash}"), true);
        // Of a file in a directory of such a name nothing is known.
        check(&format!("/a/b/media_{hash}89abcdef/name.png"), false);
        check(&format!("/media_{hash}/"), false);
        check(&format!("/media_{hash}/index.html"), false);
        check(&format!("/media_{}", &hash[1..]), false);
        check(&format!("/media_{}", hash.to_uppercase()), false);
        check(&format!("/my_media_{hash}.png"), false);
        check(&format!("/media-{hash}.png"), false);
        check("/", false);
    }

    #[test]
    fn seconds_are_rounded_down_and_bounded() {
        assert_eq!(seconds(Duration::from_millis(1_999)), 1);
        assert_eq!(seconds(Duration::from_secs(1 << 31)), 1 << 31);
        assert_eq!(seconds(Duration::MAX), 1 << 31);
    }
}
