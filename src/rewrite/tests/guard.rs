//! The treatment of a response that may be older than a purge that covers it.

use super::laws::{any_dialect, exchange, lifetime_at, line, policy, weighted};
use super::*;
use crate::rewrite::keys::{path_key, prefix_key, tag_key};
use CdnType::{Akamai, Cloudflare, Cloudfront, Fastly, Varnish};
use proptest::prelude::*;

/// Purges of everything, a moment after the response was requested.
pub(super) fn purged() -> Purged {
    let purged = Purged::default();
    purged.note_everything(1_000_000);
    purged
}

fn guarded(exchange: Exchange, policy: &Policy, dialect: &Dialect, purged: &Purged) -> (Decision, Headers) {
    exchange.held_against(purged, 1_000_000, policy, dialect)
}

/// Checks the outcome, the reason and the headers of a response that is older than a purge of everything.
#[track_caller]
fn check(exchange: Exchange, cdn: CdnType, expected: &str) {
    let (decision, headers) = guarded(exchange, &site(), &dialect(cdn), &purged());
    assert_eq!(format!("{} {} | {}", decision.outcome, decision.reason, text(&headers)), expected, "{cdn:?}");
}

#[test]
fn for_every_cdn() {
    let page = || get(&["cache-control: public, max-age=600, immutable", "etag: e"]);
    let rows = [
        (Fastly, "cache-control: no-cache, public | etag: e | surrogate-control: max-age=1"),
        (
            Akamai,
            "cache-control: no-cache, public | edge-control: !no-store, max-age=1s, downstream-ttl=0s | etag: e",
        ),
        (Cloudflare, "cache-control: no-cache, public | cloudflare-cdn-cache-control: max-age=1 | etag: e"),
        (Cloudfront, "cache-control: max-age=0, s-maxage=1, public | etag: e"),
        (Varnish, "cache-control: no-cache, public | etag: e | surrogate-control: max-age=1"),
    ];
    for (cdn, expected) in rows {
        check(page(), cdn, &format!("guarded purged | {expected}"));
    }
}

/// Neither the site's stale lifetimes nor the `immutable` of hashed media apply: an old page would outlive its guard.
#[test]
fn no_longer_by_the_site_either() {
    let mut policy = site();
    policy.ttls.stale_while_revalidate = Duration::from_secs(60);
    policy.ttls.stale_if_error = Duration::from_secs(600);
    let media = || {
        let path = "/media_0123456789abcdef0123456789abcdef01234567.png";
        get(&["cache-control: max-age=60, immutable"]).path(path)
    };
    let (_, healthy) = media().rewritten(&policy, &dialect(Fastly));
    assert!(text(&healthy).contains("immutable") && text(&healthy).contains("stale-while-revalidate=60"));
    for (cdn, expected) in [
        (Fastly, "cache-control: no-cache | surrogate-control: max-age=1"),
        (Cloudfront, "cache-control: max-age=0, s-maxage=1"),
    ] {
        let (decision, headers) = guarded(media(), &policy, &dialect(cdn), &purged());
        assert_eq!(decision, Decision { outcome: Outcome::Guarded, reason: Reason::Purged });
        assert_eq!(text(&headers), expected);
    }
}

#[test]
fn whatever_else_would_be_done() {
    let row = "guarded purged | cache-control: no-cache | surrogate-control: max-age=1";
    check(get(&["cache-control: max-age=60"]).unhealthy(), Fastly, row);
    check(get(&["surrogate-control: max-age=9000", "age: 5"]), Fastly, row);
    check(get(&["etag: e"]).status(404), Fastly, row);
    check(
        get(&["cdn-cache-control: max-age=9"]).path("/media_0123456789abcdef0123456789abcdef01234567"),
        Fastly,
        row,
    );
    // A response left as it is may be kept for as long as the origin or the cache's default allows, so it is
    // shortened.
    check(get(&["cache-control: max-age=600", "vary: cookie"]), Fastly, &format!("{row} | vary: cookie"));
    check(get(&["vary: accept-language"]), Varnish, &format!("{row} | vary: accept-language"));
    check(get(&["cache-control: s-maxage=600"]).status(302), Fastly, row);
    check(get(&[]).status(302), Fastly, row);
    check(
        get(&["cache-control: public, max-age=0, s-maxage=3600"]),
        Varnish,
        "guarded purged | cache-control: no-cache, public | surrogate-control: max-age=1",
    );
    check(
        get(&["cache-control: max-age=3600", "set-cookie: lang=en"]),
        Cloudfront,
        "guarded purged | cache-control: max-age=0, s-maxage=1 | set-cookie: lang=en",
    );
    for cdn in [Fastly, Varnish] {
        check(
            get(&["cache-control: no-store", "surrogate-control: max-age=86400"]),
            cdn,
            "guarded purged | cache-control: no-cache, no-store | surrogate-control: max-age=1",
        );
    }
    check(
        get(&["cache-control: no-store", "edge-control: max-age=1d"]),
        Akamai,
        "guarded purged | cache-control: no-cache, no-store | edge-control: max-age=1s",
    );
    let many = (0..200).map(|n| format!(" t{n}")).collect::<String>();
    let (decision, headers) = guarded(
        get(&["vary: accept-language", &format!("xkey:{many}")]),
        &site(),
        &dialect(Akamai),
        &purged(),
    );
    assert_eq!(decision.outcome, Outcome::Guarded);
    assert_eq!(headers.get("edge-control").unwrap(), "!no-store, max-age=1s, downstream-ttl=0s");
    // The guard does not make a response shared that only a setting of the CDN would share.
    check(get(&["set-cookie: a"]), Cloudfront, "guarded purged | cache-control: private | set-cookie: a");
    check(
        get(&["cache-control: no-store"]),
        Akamai,
        "guarded purged | cache-control: no-store | edge-control: no-store",
    );
    check(
        get(&["content-range: bytes 0-1/2"]).status(206),
        Cloudflare,
        "guarded purged | cloudflare-cdn-cache-control: no-store | content-range: bytes 0-1/2",
    );
    // A response that is not kept needs no guard.
    check(get(&["cache-control: private"]), Fastly, "untouched private | cache-control: private");
    check(get(&["cache-control: no-store"]), Varnish, "untouched no-store | cache-control: no-store");
    check(get(&[]).status(302), Varnish, "untouched status | ");
    check(
        get(&[]).status(500),
        Fastly,
        "fallback error-status | cache-control: no-store | surrogate-control: max-age=0",
    );
}

#[test]
fn only_what_a_purge_covers() {
    let policy =
        Policy { tags: TagPolicy { path: true, site: true, sections: 1, ..TagPolicy::default() }, ..site() };
    let is_guarded = |key: u64, exchange: Exchange, generated_ms: i64| {
        let purged = Purged::default();
        purged.note([key], 1_000_000);
        let of = |dialect: &Dialect| {
            exchange.clone().held_against(&purged, generated_ms, &policy, dialect).0.outcome
                == Outcome::Guarded
        };
        // A response for a CDN without tags is compared with purges of tags, too.
        let without_tags = Dialect::new(Cloudfront, None, None);
        let all = CdnType::ALL.map(|cdn| of(&dialect(cdn)));
        assert!(all.iter().all(|guarded| *guarded == of(&without_tags)), "{all:?}");
        all[0]
    };
    let page = || get(&["surrogate-key: Product-42 node:7", "cache-tag: a|b"]).path("/blog//first");
    for key in [
        path_key("/blog/first"),
        prefix_key("/blog/"),
        tag_key(Fastly, "product-42"),
        tag_key(Fastly, &tags::path_tag("www", "/blog/first")),
        tag_key(Fastly, &tags::section_tag("www", "/blog/")),
        tag_key(Fastly, "site-www"),
        tag_key(Cloudflare, "a|b"),
    ] {
        assert!(is_guarded(key, page(), 1_000_000));
        assert!(!is_guarded(key, page(), 1_000_001));
    }
    for key in [path_key("/blog"), path_key("/blog/"), prefix_key("/b/"), tag_key(Fastly, "product")] {
        assert!(!is_guarded(key, page(), 0));
    }
    // An origin that is a cache generated the response earlier.
    let mut old = page();
    old.headers.insert(&http::header::AGE, &HeaderValue::from_static("60"));
    assert!(is_guarded(path_key("/blog/first"), old.clone(), 1_060_000));
    assert!(!is_guarded(path_key("/blog/first"), old, 1_061_000));
}

#[test]
fn what_does_not_fit_may_be_anything() {
    let many = (0..200).map(|n| format!("t{n} ")).collect::<String>();
    let exchange = get(&[&format!("surrogate-key: {many}")]);
    let purged = Purged::default();
    purged.note([tag_key(Akamai, "t199")], 1_000_000);
    let (decision, _) = guarded(exchange, &site(), &dialect(Akamai), &purged);
    assert_eq!(decision.outcome, Outcome::Guarded);
}

proptest! {
    /// No response that a purge covers may be kept for longer than the guard's lifetime.
    #[test]
    fn old_is_never_kept(exchange in exchange(line()), policy in policy(weighted()), dialect in any_dialect()) {
        let (decision, headers) = guarded(exchange, &policy, &dialect, &purged());
        prop_assert!(decision.outcome != Outcome::Lengthened);
        if decision.outcome == Outcome::Guarded {
            prop_assert!(lifetime_at(&dialect, &headers).is_some_and(|seconds| seconds <= 1), "{headers:?}");
        }
    }

    /// A response that no purge covers is treated as if there were no purges.
    #[test]
    fn new_is_as_before(exchange in exchange(line()), policy in policy(weighted()), dialect in any_dialect()) {
        let before = exchange.clone().rewritten(&policy, &dialect);
        prop_assert_eq!(exchange.held_against(&purged(), i64::MAX, &policy, &dialect), before);
    }
}
