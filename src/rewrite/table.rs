//! The TTL table: the row for each status, and its lifetimes.

use super::cache_control::seconds;
use super::origin::Origin;
use super::outcome::Reason;
use super::policy::BrowserTtl;
use super::{Policy, Profile, Rule};
use http::StatusCode;
use std::time::Duration;

/// The treatment of a response according to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// The response gets these lifetimes.
    Row(Row),
    /// The response must not be cached at all.
    NoStore,
    /// The response stays as the origin sent it.
    Untouched,
}

/// The lifetimes of a row, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The browser's lifetime.
    pub(super) browser: Browser,
    /// The CDN's lifetime.
    pub(super) edge: u32,
    /// Whether stale copies may be served as the site allows, which never applies to error pages.
    pub(super) stale: bool,
    /// Whether an origin's `immutable` stays if the browser's lifetime is not the origin's own.
    pub(super) immutable: bool,
    /// Whether validators are removed. A 404 that is revalidated would persist after its page was published,
    /// because the origin answers 304.
    pub(super) drops_validators: bool,
    /// The reason for the lifetimes.
    pub(super) reason: Reason,
}

impl Row {
    /// Returns the row for a response that is known to be old. The CDN keeps it for a moment, and at most `most`
    /// seconds, so that one request to the origin serves all waiting clients.
    pub(super) fn guarded(self, guard: Duration, most: Option<u32>) -> Self {
        let edge = seconds(guard).min(self.edge).min(most.unwrap_or(u32::MAX));
        Self { browser: Browser::NoCache, edge, stale: false, immutable: false, ..self }
    }

    /// Returns the row for a response that the table leaves as it is, if the CDN is to keep it for `edge` seconds
    /// at most.
    pub(super) fn at_most(edge: u32) -> Self {
        Self { edge, ..row(Browser::Origin { most: u32::MAX }, Duration::ZERO, Reason::Status) }
    }
}

/// A browser's lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Browser {
    /// A fixed lifetime in seconds.
    MaxAge(u32),
    /// `no-cache`, or 0 seconds if the CDN reads the same field.
    NoCache,
    /// The origin's own lifetime, bounded by `most`.
    Origin {
        /// The maximum in seconds.
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

    /// Returns the same lifetime, bounded by `limit` seconds.
    fn at_most(self, limit: u32) -> Self {
        match self {
            Self::MaxAge(seconds) => Self::MaxAge(seconds.min(limit)),
            Self::Origin { most } => Self::Origin { most: most.min(limit) },
            Self::NoCache => Self::NoCache,
        }
    }

    /// Whether this is the origin's own lifetime.
    pub(super) fn is_origins(self) -> bool {
        matches!(self, Self::Origin { .. })
    }

    /// The maximum lifetime, in seconds.
    fn limit(self) -> u32 {
        match self {
            Self::MaxAge(seconds) | Self::Origin { most: seconds } => seconds,
            Self::NoCache => 0,
        }
    }

    /// Returns the seconds for a response of this origin. `None` makes browsers revalidate each time.
    pub(super) fn resolve(self, origin: &Origin) -> Option<u32> {
        match self {
            Self::MaxAge(seconds) => Some(seconds),
            Self::NoCache => None,
            Self::Origin { .. } if origin.cache_control.no_cache || origin.cache_control.no_store => None,
            Self::Origin { most } => origin.browser_lifetime().map(|seconds| seconds.min(most)),
        }
    }
}

/// The lifetime, in browsers and at the CDN, of media whose name contains a hash of their content: 30 days.
const MEDIA: Duration = Duration::from_secs(30 * 86_400);
/// The lifetime in the AEM table of a redirect or an error in place of such media.
const AEM_MEDIA_ERROR: Duration = Duration::from_secs(3_600);

/// Returns the row of a response with this status at this normalised path.
pub(super) fn treatment(policy: &Policy, rule: Option<&Rule>, path: &str, status: StatusCode) -> Treatment {
    let ttls = &policy.ttls;
    let aem = policy.profile == Profile::Aem;
    let browser = Browser::of(ttls.browser);
    match status.as_u16() {
        401 | 403 | 407 | 500.. => Treatment::NoStore,
        400 if aem => Treatment::NoStore,
        // A 304 refers to the 200 that the CDN holds.
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
            // This is not `private`, unlike in AEM's table, because Fastly's default VCL does not store private
            // responses.
            other(rule, status, row(Browser::NoCache, ttls.edge, Reason::TtlTable))
        }
        // The AEM table keeps client errors like pages. Here this applies only to errors that depend on nothing
        // but the URL (RFC 9110 §15.1), and not, for instance, to a 429.
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

/// The row of a page, whose lifetimes a rule replaces.
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

/// The row of a temporary redirect or a client error. A rule with a long lifetime is meant for pages, so it can
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

/// Whether the last segment of the path starts with `media_` and at least 40 lower-case hex digits, the hash of
/// the file's content. A directory with such a name does not identify the content of its files.
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
        // A file in a directory with such a name may change.
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
