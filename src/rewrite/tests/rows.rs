//! Every row of the TTL table for every CDN.

use super::*;
use CdnType::{Akamai, Cloudflare, Cloudfront, Fastly, Varnish};

const MEDIA: &str = "/x/media_0123456789abcdef0123456789abcdef01234567.png";

#[test]
fn pages() {
    for status in [200, 203, 301, 308] {
        get(&["cache-control: public, max-age=60", "age: 5", "expires: 0", "pragma: x", "etag: e"])
            .status(status)
            .check(
                &site(),
                [
                    (
                        Fastly,
                        "lengthened ttl-table | cache-control: max-age=7200, public | etag: e | surrogate-control: max-age=172800",
                    ),
                    (
                        Akamai,
                        "lengthened ttl-table | cache-control: max-age=7200, public | edge-control: !no-store, max-age=172800s, downstream-ttl=7200s | etag: e",
                    ),
                    (
                        Cloudflare,
                        "lengthened ttl-table | cache-control: max-age=7200, public | cloudflare-cdn-cache-control: max-age=172800 | etag: e",
                    ),
                    (
                        Cloudfront,
                        "lengthened ttl-table | cache-control: max-age=7200, s-maxage=172800, public | etag: e",
                    ),
                    (
                        Varnish,
                        "lengthened ttl-table | cache-control: max-age=7200, public | etag: e | surrogate-control: max-age=172800",
                    ),
                ],
            );
    }
}

#[test]
fn without_any_caching_header() {
    get(&["content-type: text/html"]).check(
        &site(),
        [
            (
                Fastly,
                "lengthened ttl-table | cache-control: max-age=7200 | content-type: text/html | surrogate-control: max-age=172800",
            ),
            (
                Akamai,
                "lengthened ttl-table | cache-control: max-age=7200 | content-type: text/html | edge-control: !no-store, max-age=172800s, downstream-ttl=7200s",
            ),
            (
                Cloudflare,
                "lengthened ttl-table | cache-control: max-age=7200 | cloudflare-cdn-cache-control: max-age=172800 | content-type: text/html",
            ),
            (
                Cloudfront,
                "lengthened ttl-table | cache-control: max-age=7200, s-maxage=172800 | content-type: text/html",
            ),
            (
                Varnish,
                "lengthened ttl-table | cache-control: max-age=7200 | content-type: text/html | surrogate-control: max-age=172800",
            ),
        ],
    );
}

#[test]
fn media_with_a_content_hash() {
    {
        get(&["cache-control: max-age=60, immutable"]).path(MEDIA).check(
            &site(),
            [
                (
                    Fastly,
                    "lengthened media-hash | cache-control: max-age=2592000, immutable | surrogate-control: max-age=2592000",
                ),
                (
                    Akamai,
                    "lengthened media-hash | cache-control: max-age=2592000, immutable | edge-control: !no-store, max-age=2592000s, downstream-ttl=2592000s",
                ),
                (
                    Cloudflare,
                    "lengthened media-hash | cache-control: max-age=2592000, immutable | cloudflare-cdn-cache-control: max-age=2592000",
                ),
                (
                    Cloudfront,
                    "lengthened media-hash | cache-control: max-age=2592000, s-maxage=2592000, immutable",
                ),
                (
                    Varnish,
                    "lengthened media-hash | cache-control: max-age=2592000, immutable | surrogate-control: max-age=2592000",
                ),
            ],
        );
    }
    // `immutable` stays only on media, and only if the origin sent it.
    get(&["cache-control: max-age=60, immutable"]).check_fastly("max-age=7200", "max-age=172800");
    get(&[]).path(MEDIA).check_fastly("max-age=2592000", "max-age=2592000");
    get(&[]).path(MEDIA).status(301).check_fastly("max-age=7200", "max-age=172800");
}

#[test]
fn not_found() {
    for status in [404, 410] {
        for path in ["/a", MEDIA] {
            get(&["etag: e", "last-modified: x", "cache-control: max-age=60"]).status(status).path(path).check(
                &site(),
                [
                    (
                        Fastly,
                        "lengthened ttl-table | cache-control: max-age=300 | surrogate-control: max-age=240",
                    ),
                    (
                        Akamai,
                        "lengthened ttl-table | cache-control: max-age=300 | edge-control: !no-store, max-age=240s, downstream-ttl=300s",
                    ),
                    (
                        Cloudflare,
                        "lengthened ttl-table | cache-control: max-age=300 | cloudflare-cdn-cache-control: max-age=240",
                    ),
                    (Cloudfront, "lengthened ttl-table | cache-control: max-age=300, s-maxage=240"),
                    (
                        Varnish,
                        "lengthened ttl-table | cache-control: max-age=300 | surrogate-control: max-age=240",
                    ),
                ],
            );
        }
    }
}

#[test]
fn errors() {
    for status in [401, 403, 407, 500, 502, 503, 599] {
        get(&["cache-control: max-age=60, public", "age: 5", "expires: x", "etag: e", "cdn-cache-control: max-age=9"])
            .status(status)
            .check(
                &site(),
                [
                    (
                        Fastly,
                        "fallback error-status | cache-control: no-store | etag: e | surrogate-control: max-age=0",
                    ),
                    (
                        Akamai,
                        "fallback error-status | cache-control: no-store | edge-control: no-store | etag: e",
                    ),
                    (
                        Cloudflare,
                        "fallback error-status | cache-control: no-store | cloudflare-cdn-cache-control: no-store | etag: e",
                    ),
                    (Cloudfront, "fallback error-status | cache-control: no-store | etag: e"),
                    (
                        Varnish,
                        "fallback error-status | cache-control: no-store | etag: e | surrogate-control: no-store, max-age=0",
                    ),
                ],
            );
    }
}

#[test]
fn errors_are_errors_whatever_else_holds() {
    let expected = "fallback error-status | cache-control: private, no-store | set-cookie: a=b";
    let mut exchange =
        get(&["cache-control: private, max-age=60", "set-cookie: a=b"]).status(503).unhealthy();
    exchange.method = Method::POST;
    assert_eq!(exchange.text(&overriding_site(), &dialect(Cloudfront)), expected);
}

#[test]
fn every_other_status_is_untouched() {
    let headers = [
        "age: 5",
        "cache-control: max-age=60, stale-if-error=9",
        "cdn-cache-control: max-age=600",
        "expires: 0",
    ];
    for status in [201, 204, 206, 300, 302, 303, 307, 400, 402, 405, 406, 409, 412, 416, 429, 451] {
        for policy in [site(), overriding_site()] {
            get(&headers)
                .status(status)
                .check_all(&policy, &format!("untouched status | {}", headers.join(" | ")));
        }
    }
}

#[test]
fn what_stays_of_cache_control() {
    let check = |given: &str, expected: &str| {
        get(&[&format!("cache-control: {given}")]).check_fastly(expected, "max-age=172800");
    };
    check("max-age=60, must-revalidate", "max-age=7200, must-revalidate");
    check("s-maxage=60, proxy-revalidate, no-transform", "max-age=7200, no-transform");
    check("stale-while-revalidate=60, stale-if-error=60, x=\"a, b\", y", "max-age=7200, x=\"a, b\", y");
    check("Public ,, MAX-AGE=1", "max-age=7200, Public");
    get(&["cache-control: public", "cache-control: a=é"])
        .check_fastly("max-age=7200, public, a=é", "max-age=172800");
}

#[test]
fn a_quoted_string_without_an_end_swallows_nothing() {
    get(&["cache-control: x=\"y", "cache-control: public"])
        .check_fastly("max-age=7200, public", "max-age=172800");
    let exchange = get(&["cache-control: x=\"y", "cache-control: no-store, max-age=9000"]).unhealthy();
    let (_, headers) = exchange.rewritten(&overriding_site(), &dialect(Fastly));
    assert_eq!(headers.get("cache-control").unwrap(), "private, no-store, max-age=9000");
}

#[test]
fn stale_is_allowed_to_the_cdn_by_the_site() {
    let mut policy = site();
    policy.ttls.stale_while_revalidate = Duration::from_secs(60);
    policy.ttls.stale_if_error = Duration::from_secs(600);
    get(&[]).check(
        &policy,
        [
            (
                Fastly,
                "lengthened ttl-table | cache-control: max-age=7200 | surrogate-control: max-age=172800, stale-while-revalidate=60, stale-if-error=600",
            ),
            (
                Akamai,
                "lengthened ttl-table | cache-control: max-age=7200 | edge-control: !no-store, max-age=172800s, downstream-ttl=7200s",
            ),
            (
                Cloudflare,
                "lengthened ttl-table | cache-control: max-age=7200 | cloudflare-cdn-cache-control: max-age=172800, stale-while-revalidate=60, stale-if-error=600",
            ),
            (
                Cloudfront,
                "lengthened ttl-table | cache-control: max-age=7200, s-maxage=172800, stale-while-revalidate=60, stale-if-error=600",
            ),
            (
                Varnish,
                "lengthened ttl-table | cache-control: max-age=7200 | surrogate-control: max-age=172800, stale-while-revalidate=60, stale-if-error=600",
            ),
        ],
    );
    let (_, headers) = get(&[]).status(404).rewritten(&policy, &dialect(Fastly));
    assert_eq!(headers.get("surrogate-control").unwrap(), "max-age=240", "an error page is not served stale");
}

#[test]
fn other_ttl_headers() {
    let check = |cdn, name: &'static str, status: u16, expected: &str| {
        let dialect = Dialect::new(cdn, Some(HeaderName::from_static(name)), None);
        assert_eq!(get(&["surrogate-control: x"]).status(status).text(&site(), &dialect), expected);
    };
    check(
        Akamai,
        "akamai-cache-control",
        200,
        "lengthened ttl-table | akamai-cache-control: max-age=172800 | cache-control: max-age=7200",
    );
    check(
        Cloudflare,
        "cdn-cache-control",
        200,
        "lengthened ttl-table | cache-control: max-age=7200 | cdn-cache-control: max-age=172800",
    );
    check(
        Varnish,
        "cache-control",
        200,
        "lengthened ttl-table | cache-control: max-age=7200, s-maxage=172800",
    );
    check(
        Varnish,
        "x-edge-ttl",
        200,
        "lengthened ttl-table | cache-control: max-age=7200 | x-edge-ttl: max-age=172800",
    );
    check(
        Varnish,
        "x-edge-ttl",
        500,
        "fallback error-status | cache-control: no-store | x-edge-ttl: no-store",
    );
}

#[test]
fn rules_replace_the_lifetimes_of_pages() {
    let hour = Some(Duration::from_secs(3_600));
    let check = |edge_ttl, browser_ttl: Option<Duration>, path: &str, status, expected: &str| {
        let rule = Rule { edge_ttl, browser_ttl: browser_ttl.map(BrowserTtl::Fixed), ..rule() };
        let policy = Policy { rules: vec![rule], ..site() };
        assert_eq!(get(&[]).path(path).status(status).text(&policy, &dialect(Cloudfront)), expected);
    };
    check(hour, None, "/a", 200, "lengthened rule | cache-control: max-age=7200, s-maxage=3600");
    check(None, hour, "/a", 200, "lengthened rule | cache-control: max-age=3600, s-maxage=172800");
    check(hour, hour, MEDIA, 200, "lengthened rule | cache-control: max-age=3600, s-maxage=3600");
    check(None, None, "/a", 200, "lengthened ttl-table | cache-control: max-age=7200, s-maxage=172800");
    check(hour, hour, "/a", 301, "lengthened rule | cache-control: max-age=3600, s-maxage=3600");
    // A rule can shorten the row of a missing page, but not lengthen it.
    check(hour, hour, "/a", 404, "lengthened ttl-table | cache-control: max-age=300, s-maxage=240");
    let second = Some(Duration::from_secs(1));
    check(second, second, "/a", 404, "lengthened ttl-table | cache-control: max-age=1, s-maxage=1");
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rule = |path, seconds| Rule {
        path: PathPattern::new(path).unwrap(),
        edge_ttl: Some(Duration::from_secs(seconds)),
        ..rule()
    };
    let policy = Policy { rules: vec![rule("/b/*", 1), rule("/b/**", 2), rule("/é", 3)], ..site() };
    let check = |path: &str, edge: &str| {
        let (_, headers) = get(&[]).path(path).rewritten(&policy, &dialect(Varnish));
        assert_eq!(headers.get("surrogate-control").unwrap(), edge, "{path}");
    };
    check("/b/x", "max-age=1");
    check("/b/x/y", "max-age=2");
    check("//b/./z/../x", "max-age=1");
    check("/%c3%a9", "max-age=3");
    check("/c", "max-age=172800");
}

#[test]
fn the_aem_table() {
    let policy = Policy { profile: Profile::Aem, ..site() };
    let check = |status, path: &str, fastly: &str, cloudfront: &str| {
        let exchange = get(&["etag: e"]).status(status).path(path);
        assert_eq!(exchange.text(&policy, &dialect(Fastly)), fastly, "{status}");
        assert_eq!(exchange.text(&policy, &dialect(Cloudfront)), cloudfront, "{status}");
    };
    for status in [200, 301, 308, 405, 414, 451] {
        check(
            status,
            "/a",
            "lengthened ttl-table | cache-control: max-age=7200 | etag: e | surrogate-control: max-age=172800",
            "lengthened ttl-table | cache-control: max-age=7200, s-maxage=172800 | etag: e",
        );
    }
    for status in [404, 410] {
        check(
            status,
            "/a",
            "lengthened ttl-table | cache-control: max-age=7200 | surrogate-control: max-age=172800",
            "lengthened ttl-table | cache-control: max-age=7200, s-maxage=172800",
        );
        check(
            status,
            MEDIA,
            "lengthened media-hash | cache-control: max-age=3600 | surrogate-control: max-age=3600",
            "lengthened media-hash | cache-control: max-age=3600, s-maxage=3600",
        );
    }
    check(
        302,
        "/a",
        "lengthened ttl-table | cache-control: no-cache | etag: e | surrogate-control: max-age=172800",
        "lengthened ttl-table | cache-control: max-age=0, s-maxage=172800 | etag: e",
    );
    let (_, headers) = get(&[]).status(302).rewritten(&policy, &dialect(Akamai));
    assert_eq!(headers.get("edge-control").unwrap(), "!no-store, max-age=172800s, downstream-ttl=0s");
    for status in [400, 401, 403, 500] {
        check(
            status,
            MEDIA,
            "fallback error-status | cache-control: no-store | etag: e | surrogate-control: max-age=0",
            "fallback error-status | cache-control: no-store | etag: e",
        );
    }
    for status in [206, 303, 307, 409, 416, 429] {
        check(status, MEDIA, "untouched status | etag: e", "untouched status | etag: e");
    }
}

impl Exchange {
    /// Expects these values of Fastly's two fields.
    #[track_caller]
    fn check_fastly(self, cache_control: &str, surrogate_control: &str) {
        let (decision, headers) = self.rewritten(&site(), &dialect(Fastly));
        assert_eq!(decision.outcome, Outcome::Lengthened);
        assert_eq!(headers.get("cache-control").unwrap().as_bytes(), cache_control.as_bytes());
        assert_eq!(headers.get("surrogate-control").unwrap(), surrogate_control);
    }
}
