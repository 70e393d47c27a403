//! The rewriting of an origin's response.

use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use origin_shim::http::head::{Headers, Value};
use origin_shim::proxy::host;
use origin_shim::rewrite::cache_control::CacheControl;
use origin_shim::rewrite::path::normalise;
use origin_shim::rewrite::pattern::PathPattern;
use origin_shim::rewrite::{
    self, Asked, BrowserTtl, CdnType, Conditional, Dialect, Edge, Outcome, Policy, Profile, Reason,
    RequestFacts, TagPolicy, Ttls, tags,
};
use std::time::Duration;

const STATUSES: [u16; 16] = [200, 203, 204, 206, 301, 302, 304, 308, 400, 401, 404, 410, 429, 451, 500, 503];
const FIELDS: [&str; 20] = [
    "cache-control",
    "expires",
    "date",
    "age",
    "pragma",
    "vary",
    "set-cookie",
    "etag",
    "content-type",
    "content-range",
    "cdn-cache-control",
    "surrogate-control",
    "cloudflare-cdn-cache-control",
    "akamai-cache-control",
    "edge-control",
    "surrogate-key",
    "x-surrogate-key",
    "xkey",
    "cache-tag",
    "edge-cache-tag",
];

/// Four bytes choose the CDN, the request and the status. Each line after them is the number of a field and its
/// value.
pub fn rewrite(data: &[u8]) {
    let Some(([cdn, flags, status, path], lines)) = data.split_first_chunk::<4>() else { return };
    let dialect = Dialect::new(CdnType::ALL[usize::from(*cdn) % CdnType::ALL.len()], None, None);
    let edge = Edge {
        dialects: std::slice::from_ref(&dialect),
        fallback: (flags & 1 == 1).then_some(Reason::PurgingUnhealthy),
        guard: None,
    };
    let method = [Method::GET, Method::HEAD, Method::POST][usize::from(flags >> 6) % 3].clone();
    let request = RequestFacts {
        method: &method,
        path: ["/", "/a", "/a/../b//%7e", "/media_1.png"][usize::from(*path) % 4],
        authorization: flags & 2 == 2,
        bound: false,
        cookie: flags & 4 == 4,
        asked: Asked { scheme: None, host: "www.example.com", query: None },
    };
    let status = StatusCode::from_u16(STATUSES[usize::from(*status) % STATUSES.len()]).unwrap();
    let policy = policy(if flags & 8 == 8 { Profile::Aem } else { Profile::Generic });

    let mut before = Headers::new();
    for line in super::lines(lines).take(64) {
        let Some((field, value)) = line.split_first() else { continue };
        let name = HeaderName::from_static(FIELDS[usize::from(*field) % FIELDS.len()]);
        if let Ok(value) = HeaderValue::from_bytes(value.trim_ascii()) {
            before.append(&name, &value);
        }
    }
    let mut once = before.clone();
    let (decision, _) = rewrite::rewrite(&policy, request, edge, status, &mut once);
    let said = |headers: &Headers| CacheControl::parse(headers.get_all(&CACHE_CONTROL));
    let (origin, ours) = (said(&before), said(&once));

    assert!(!origin.private || ours.private || ours.no_store, "private is lost: {once:?}");
    assert!(!origin.no_store || ours.no_store, "no-store is lost: {once:?}");
    if decision.outcome == Outcome::Lengthened {
        assert!(method != Method::POST && !before.contains(&SET_COOKIE));
        assert!(!origin.private && (!origin.no_store || before.contains("edge-control")), "{before:?}");
        assert!(!before.get_all(&VARY).any(|line| line.as_bytes().trim_ascii() == b"*"));
        assert!(edge.fallback.is_none());
    }
    // A prohibition is repeated if the CDN could overlook it, and a 304 must not remove a stored lifetime.
    let is_said_again = origin.private
        || origin.no_store
        || origin.no_cache
        || origin.shared_lifetime() == Some(0)
        || before.contains("expires")
        || decision.reason == Reason::NotModified;
    if decision.outcome == Outcome::Untouched && !is_said_again {
        assert_eq!(fields(&before), fields(&once));
    }

    let mut twice = once.clone();
    let (again, _) = rewrite::rewrite(&policy, request, edge, status, &mut twice);
    // The exceptions that `rewrite` documents.
    let unfit =
        |reason| matches!(reason, Reason::TagsTooMany | Reason::TagsTooLarge | Reason::TagsUnnameable);
    let shared = decision.reason == Reason::OriginTargeted && dialect.ttl_header == "cache-control";
    if !unfit(decision.reason) && !unfit(again.reason) && !shared {
        let own = dialect.tag_header.is_some() && decision.reason == Reason::PurgingUnhealthy;
        let all = |headers| sorted(headers, |_| true);
        if own {
            assert_eq!(fields(&once), fields(&twice));
        } else {
            assert_eq!(all(&once), all(&twice));
        }
    }
}

/// Returns the fields without the tags and the page's name, which every opted-in response carries.
fn fields(headers: &Headers) -> Vec<(&str, Value<'_>)> {
    sorted(headers, |name| !FIELDS[15..].contains(&name) && name != "x-origin-shim-path")
}

/// Sorts the lines by name, because the order among lines of different names has no meaning.
fn sorted(headers: &Headers, wanted: impl Fn(&str) -> bool) -> Vec<(&str, Value<'_>)> {
    let mut lines: Vec<_> = headers.iter().filter(|(name, _)| wanted(name)).collect();
    lines.sort_by_key(|(name, _)| *name);
    lines
}

fn policy(profile: Profile) -> Policy {
    let seconds = Duration::from_secs;
    Policy {
        site: "www".into(),
        profile,
        ttls: Ttls {
            edge: seconds(172_800),
            browser: BrowserTtl::Origin,
            fallback: seconds(300),
            not_found: seconds(60),
            guard: seconds(1),
            stale_while_revalidate: seconds(60),
            stale_if_error: seconds(600),
        },
        vary: vec![],
        rules: vec![],
        tags: TagPolicy { path: true, site: true, sections: 2, ..TagPolicy::default() },
        aem: None,
        conditional: Conditional::Strip,
        origins: vec![],
        rewrite_location: false,
    }
}

/// Each input line is one line of a `Cache-Control` field.
pub fn cache_control(data: &[u8]) {
    let lines: Vec<_> = super::lines(data).filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let values = || lines.iter().map(Value::from);
    let all = CacheControl::parse(values());
    assert_eq!(CacheControl::parse(values().rev()), all, "the order of lines means nothing");
    assert_eq!(CacheControl::parse(values().chain(values())), all, "nor do repeats");
    for line in values() {
        let one = CacheControl::parse([line]);
        assert!(!one.private || all.private);
        assert!(!one.no_store || all.no_store);
        assert!(!one.no_cache || all.no_cache);
        assert!(one.max_age.is_none_or(|one| all.max_age.is_some_and(|all| all <= one)));
        assert!(one.s_maxage.is_none_or(|one| all.s_maxage.is_some_and(|all| all <= one)));
    }
    assert!(all.shared_lifetime().is_none_or(|seconds| seconds <= 1 << 31));
}

/// Each line is a path, a host and a tag. The first one is also a pattern.
pub fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let pattern = text.lines().next().and_then(|first| PathPattern::new(first).ok());
    for line in text.lines().take(32) {
        let path = normalise(line);
        assert_eq!(normalise(&path), path, "{line:?}");
        assert!(path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()), "{path:?}");
        assert!(!path.contains("//") && !path.split('/').any(|part| matches!(part, "." | "..")), "{path:?}");
        if let Some(pattern) = &pattern {
            let same = PathPattern::new(pattern.as_str()).unwrap();
            assert_eq!(pattern.matches(&path), same.matches(&path));
        }
        if let Some(host) = host::of_authority(line) {
            assert!(!host.is_empty() && !host.bytes().any(|byte| byte.is_ascii_uppercase()), "{host:?}");
            assert!(!host.contains(['/', '@', ' ', ',', '#', '?']), "{host:?}");
        }
        for cdn in CdnType::ALL {
            let tag = tags::encode(cdn, tags::TagForm::Full, line);
            assert_eq!(tags::encode(cdn, tags::TagForm::Full, &tag), tag);
            assert!(!tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_graphic()), "{tag:?}");
        }
    }
}
