//! A lifetime that the origin sends in a targeted field is translated.

use super::*;
use CdnType::{Akamai, Cloudflare, Cloudfront, Fastly, Varnish};

#[test]
fn translated_for_every_cdn() {
    // Vercel and Netlify send this. RFC 9213 replaces Cache-Control for the CDN.
    get(&["cache-control: max-age=0, must-revalidate", "cdn-cache-control: max-age=600, stale-if-error=60, x", "age: 5"])
        .check(
            &site(),
            [
                (
                    Fastly,
                    "lengthened origin-targeted | age: 5 | cache-control: max-age=0, must-revalidate | surrogate-control: max-age=600, stale-if-error=60, x",
                ),
                (
                    Akamai,
                    "lengthened origin-targeted | age: 5 | cache-control: max-age=0, must-revalidate | edge-control: !no-store, max-age=600s, downstream-ttl=0s",
                ),
                (
                    Cloudflare,
                    "lengthened origin-targeted | age: 5 | cache-control: max-age=0, must-revalidate | cloudflare-cdn-cache-control: max-age=600, stale-if-error=60, x",
                ),
                (
                    Cloudfront,
                    "lengthened origin-targeted | age: 5 | cache-control: max-age=0, s-maxage=600, stale-if-error=60, must-revalidate",
                ),
                (
                    Varnish,
                    "lengthened origin-targeted | age: 5 | cache-control: max-age=0, must-revalidate | surrogate-control: max-age=600, stale-if-error=60, x",
                ),
            ],
        );
}

/// If the origin gives no lifetime for browsers, they revalidate, and the other directives stay.
#[test]
fn a_lifetime_for_cdns_alone() {
    let given =
        ["surrogate-control: max-age=60", "cache-control: must-revalidate, s-maxage=5, stale-if-error=9, x"];
    let (_, headers) = get(&given).rewritten(&site(), &dialect(Fastly));
    assert_eq!(headers.get("cache-control").unwrap(), "no-cache, must-revalidate, x");
    assert_eq!(headers.get("surrogate-control").unwrap(), "max-age=60");
}

/// Expects this value of the CDN's own field, or of `Cache-Control` for CloudFront.
#[track_caller]
fn check(cdn: CdnType, lines: &[&str], expected: &str) {
    let dialect = dialect(cdn);
    let (decision, headers) = get(lines).rewritten(&site(), &dialect);
    assert_eq!(decision, Decision { outcome: Outcome::Lengthened, reason: Reason::OriginTargeted });
    assert_eq!(headers.get(&dialect.ttl_header).unwrap(), expected);
}

#[test]
fn edge_control() {
    let given = "edge-control: !no-store, max-age=7d, cache-maxage=1h30m, downstream-ttl=2h, dca=esi";
    check(Fastly, &[given], "max-age=5400");
    check(Cloudfront, &[given, "cache-control: max-age=60"], "max-age=60, s-maxage=5400");
    check(Akamai, &[given], "!no-store, max-age=5400s, downstream-ttl=2h, dca=esi");
    check(Akamai, &["surrogate-control: max-age=60"], "!no-store, max-age=60s, downstream-ttl=0s");
    check(
        Akamai,
        &[
            "surrogate-control: max-age=60",
            "date: Sun, 06 Nov 1994 08:49:37 GMT",
            "expires: Sun, 06 Nov 1994 08:49:47 GMT",
        ],
        "!no-store, max-age=60s, downstream-ttl=10s",
    );
    check(
        Akamai,
        &["surrogate-control: max-age=60", "cache-control: no-cache, max-age=9"],
        "!no-store, max-age=60s, downstream-ttl=0s",
    );
}

#[test]
fn shared_lifetimes_and_units() {
    check(Varnish, &["cdn-cache-control: max-age=60, s-maxage=600"], "max-age=600");
    check(Varnish, &["surrogate-control: MAX-AGE = 60 , public"], "max-age=60, public");
    check(
        Varnish,
        &["surrogate-control: content=\"ESI/1.0\", max-age=60"],
        "max-age=60, content=\"ESI/1.0\"",
    );
    check(
        Cloudfront,
        &["cdn-cache-control: max-age=60", "cache-control: no-cache"],
        "max-age=0, s-maxage=60",
    );
    // Browsers without any lifetime revalidate each time.
    check(Cloudfront, &["cdn-cache-control: max-age=60"], "max-age=0, s-maxage=60");
    check(Cloudfront, &["cdn-cache-control: max-age=60", "expires: 0"], "s-maxage=60");
    check(
        Cloudfront,
        &["cdn-cache-control: max-age=60", "cache-control: public, immutable, max-age=9, stale-if-error=9"],
        "max-age=9, s-maxage=60, public, immutable",
    );
}

#[test]
fn which_field_decides() {
    let all = [
        "akamai-cache-control: max-age=4",
        "cdn-cache-control: max-age=1",
        "cloudflare-cdn-cache-control: max-age=3",
        "edge-control: max-age=5",
        "surrogate-control: max-age=2",
    ];
    check(Fastly, &all, "max-age=2");
    check(Varnish, &all, "max-age=2");
    check(Cloudflare, &all, "max-age=3");
    check(Akamai, &all, "!no-store, max-age=5s");
    check(Akamai, &all[..3], "!no-store, max-age=4s, downstream-ttl=0s");
    check(Cloudfront, &all, "max-age=0, s-maxage=1");
    check(Fastly, &all[..4], "max-age=1");
    check(Akamai, &[all[2], all[4]], "!no-store, max-age=2s, downstream-ttl=0s");
    check(Fastly, &[all[0], all[2], all[3]], "max-age=3");
    check(Fastly, &[all[0], all[3]], "max-age=4");
    check(Fastly, &[all[3]], "max-age=5");
}

#[test]
fn a_field_without_a_lifetime_has_not_decided() {
    for field in
        ["cdn-cache-control: ", "surrogate-control: x", "edge-control: dca=esi", "cdn-cache-control: public"]
    {
        let (decision, headers) =
            get(&[field, "cache-control: max-age=60"]).rewritten(&site(), &dialect(Cloudflare));
        assert_eq!(decision.reason, Reason::TtlTable);
        assert_eq!(
            text(&headers),
            "cache-control: max-age=7200 | cloudflare-cdn-cache-control: max-age=172800"
        );
    }
    check(Fastly, &["cdn-cache-control: x", "edge-control: max-age=5"], "max-age=5");
}

#[test]
fn what_the_cdn_is_told_besides_is_kept() {
    let esi = "surrogate-control: content=\"ESI/1.0\"";
    let (_, headers) = get(&[esi]).rewritten(&site(), &dialect(Varnish));
    assert_eq!(headers.get("surrogate-control").unwrap(), "max-age=172800, content=\"ESI/1.0\"");
    let (_, headers) = get(&[esi]).unhealthy().rewritten(&site(), &dialect(Varnish));
    assert_eq!(headers.get("surrogate-control").unwrap(), "max-age=300, content=\"ESI/1.0\"");
    check(Varnish, &[esi, "cdn-cache-control: max-age=60"], "max-age=60, content=\"ESI/1.0\"");
}

#[test]
fn a_field_that_is_not_valid_decides_nothing() {
    for value in
        ["max-age=86400;", "MAX-AGE=86400", "max-age=86400,", "max-age=86400 no-cache", "=1", "max-age="]
    {
        for field in ["cdn-cache-control", "cloudflare-cdn-cache-control", "akamai-cache-control"] {
            let given = format!("{field}: {value}");
            for cdn in [Akamai, Cloudflare, Cloudfront, Varnish] {
                let exchange = get(&["cache-control: no-cache", &given]);
                let expected = "untouched no-cache | cache-control: no-cache";
                assert_eq!(exchange.text(&site(), &dialect(cdn)), expected, "{cdn:?} {given}");
            }
        }
    }
    // The lines of a field are one list.
    check(Varnish, &["cdn-cache-control: x", "cdn-cache-control: max-age=9"], "max-age=9, x");
    let lines = ["cdn-cache-control: max-age=9", "cdn-cache-control: x;", "cache-control: max-age=60"];
    let (decision, _) = get(&lines).rewritten(&site(), &dialect(Varnish));
    assert_eq!(decision.reason, Reason::TtlTable);
}

/// Caches ignore a whole dictionary if one member is invalid (RFC 9213 §2.1). `Surrogate-Control` is not one.
#[test]
fn what_is_no_dictionary_is_not_made_one() {
    let lines = ["surrogate-control: max-age=600, 0, \u{e9}, stale-if-error=6x, x=1, no-store-remote"];
    check(Cloudflare, &lines, "max-age=600, x=1, no-store-remote");
    check(Fastly, &lines, "max-age=600, 0, \u{e9}, stale-if-error=6x, x=1, no-store-remote");
}

#[test]
fn an_override_replaces_it() {
    let exchange = get(&["cdn-cache-control: no-store, max-age=60"]);
    let (decision, headers) = exchange.rewritten(&overriding_site(), &dialect(Fastly));
    assert_eq!(decision.reason, Reason::Rule);
    assert_eq!(text(&headers), "cache-control: max-age=7200 | surrogate-control: max-age=172800");
}

#[test]
fn a_rule_without_override_does_not() {
    let rule = Rule { edge_ttl: Some(Duration::from_secs(9)), ..rule() };
    let policy = Policy { rules: vec![rule], ..site() };
    let (decision, headers) = get(&["cdn-cache-control: max-age=60"]).rewritten(&policy, &dialect(Fastly));
    assert_eq!(decision.reason, Reason::OriginTargeted);
    assert_eq!(headers.get("surrogate-control").unwrap(), "max-age=60");
}
