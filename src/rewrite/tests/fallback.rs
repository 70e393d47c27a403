//! The short lifetime of responses that could not be purged.

use super::*;
use CdnType::{Akamai, Cloudflare, Cloudfront, Fastly, Varnish};

const DATE: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT";

#[test]
fn for_every_cdn() {
    get(&["cache-control: public, max-age=600, s-maxage=60, immutable, stale-if-error=9", "pragma: x", "etag: e"])
        .unhealthy()
        .check(
            &site(),
            [
                (
                    Fastly,
                    "fallback purging-unhealthy | cache-control: max-age=300, public | etag: e | surrogate-control: max-age=60",
                ),
                (
                    Akamai,
                    "fallback purging-unhealthy | cache-control: max-age=300, public | edge-control: !no-store, max-age=60s, downstream-ttl=300s | etag: e",
                ),
                (
                    Cloudflare,
                    "fallback purging-unhealthy | cache-control: max-age=300, public | cloudflare-cdn-cache-control: max-age=60 | etag: e",
                ),
                (
                    Cloudfront,
                    "fallback purging-unhealthy | cache-control: max-age=300, s-maxage=60, public | etag: e",
                ),
                (
                    Varnish,
                    "fallback purging-unhealthy | cache-control: max-age=300, public | etag: e | surrogate-control: max-age=60",
                ),
            ],
        );
}

/// Expects this `Cache-Control` of the fallback for CloudFront, with browser and edge lifetime.
#[track_caller]
fn check(lines: &[&str], expected: &str) {
    let (decision, headers) = get(lines).unhealthy().rewritten(&site(), &dialect(Cloudfront));
    assert_eq!(decision, Decision { outcome: Outcome::Fallback, reason: Reason::PurgingUnhealthy });
    assert_eq!(headers.get("cache-control").unwrap(), expected);
    assert!(!headers.contains("expires") && !headers.contains("age"));
}

#[test]
fn never_longer_than_the_origin_allowed() {
    check(&[], "max-age=300, s-maxage=300");
    check(&["cache-control: max-age=60"], "max-age=60, s-maxage=60");
    check(&["cache-control: s-maxage=60"], "max-age=300, s-maxage=60");
    check(&["cache-control: max-age=60, s-maxage=9000"], "max-age=60, s-maxage=300");
    check(&["cache-control: max-age=600", "age: 400"], "max-age=200, s-maxage=200");
    check(&["cache-control: max-age=600", "age: 700"], "max-age=0, s-maxage=0");
    check(&[DATE, "expires: Sun, 06 Nov 1994 08:49:47 GMT"], "max-age=10, s-maxage=10");
    check(&[DATE, "expires: Sun, 06 Nov 1994 09:49:37 GMT"], "max-age=300, s-maxage=300");
    check(&["cache-control: max-age=60, proxy-revalidate"], "max-age=60, s-maxage=60, proxy-revalidate");
}

#[test]
fn of_a_targeted_lifetime() {
    check(&["cdn-cache-control: max-age=60"], "max-age=300, s-maxage=60");
    check(
        &["cdn-cache-control: max-age=900", "cache-control: no-cache, max-age=60"],
        "max-age=0, s-maxage=300",
    );
    check(
        &["cdn-cache-control: max-age=900", "cache-control: max-age=0, must-revalidate"],
        "max-age=0, s-maxage=300, must-revalidate",
    );
    let exchange =
        get(&["cdn-cache-control: max-age=900, stale-if-error=9, x", "cache-control: no-cache"]).unhealthy();
    assert_eq!(
        exchange.text(&site(), &dialect(Fastly)),
        "fallback purging-unhealthy | cache-control: max-age=0, no-cache | surrogate-control: max-age=300"
    );
}

#[test]
fn never_longer_than_the_table_says() {
    let policy = Policy { rules: vec![Rule { edge_ttl: Some(Duration::from_secs(9)), ..rule() }], ..site() };
    let (_, headers) = get(&[]).unhealthy().rewritten(&policy, &dialect(Cloudfront));
    assert_eq!(headers.get("cache-control").unwrap(), "max-age=300, s-maxage=9");
    let exchange = get(&["etag: e", "last-modified: x"]).status(404).unhealthy();
    assert_eq!(
        exchange.text(&site(), &dialect(Fastly)),
        "fallback purging-unhealthy | cache-control: max-age=300 | surrogate-control: max-age=240"
    );
}

#[test]
fn other_statuses_are_left_alone() {
    get(&["cache-control: max-age=9000"])
        .status(302)
        .unhealthy()
        .check_all(&site(), "untouched status | cache-control: max-age=9000");
}

#[test]
fn what_only_an_override_allows_is_not_granted() {
    let check = |cdn, lines: &[&str], expected: &str| {
        let text = get(lines).unhealthy().text(&overriding_site(), &dialect(cdn));
        assert_eq!(text, format!("fallback purging-unhealthy | {expected}"), "{cdn:?}");
    };
    let private = "cache-control: private, max-age=900, immutable";
    for cdn in [Fastly, Cloudflare, Cloudfront, Varnish] {
        check(cdn, &[private], private);
    }
    check(Akamai, &[private], &format!("{private} | edge-control: no-store"));
    check(
        Fastly,
        &["cache-control: no-store, max-age=9"],
        "cache-control: private, no-store, max-age=9 | surrogate-control: max-age=0",
    );
    for cdn in [Cloudfront, Varnish] {
        check(cdn, &["cache-control: no-store, max-age=9"], "cache-control: no-store, max-age=9");
    }
    check(Cloudflare, &["vary: *"], "cloudflare-cdn-cache-control: no-store | vary: *");
    check(
        Varnish,
        &["set-cookie: a=b", "surrogate-control: x, max-age=900", "edge-control: max-age=1d"],
        "cache-control: no-cache | set-cookie: a=b | surrogate-control: max-age=300, x",
    );
    check(
        Cloudfront,
        &["set-cookie: a=b", DATE, "expires: Sun, 06 Nov 1994 09:49:37 GMT", "cache-control: x"],
        "cache-control: max-age=300, s-maxage=300, x | date: Sun, 06 Nov 1994 08:49:37 GMT | set-cookie: a=b",
    );
}
