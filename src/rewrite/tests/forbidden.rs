//! The origin's prohibitions are written in a form that the CDN reads, and lifetimes that the origin grants to
//! this CDN stay.

use super::*;
use CdnType::{Akamai, Cloudflare, Cloudfront, Fastly, Varnish};

/// Expects that the response is left as it is for this reason, except for these headers.
#[track_caller]
fn check(lines: &[&str], reason: Reason, expected: [(CdnType, &str); 5]) {
    for (cdn, expected) in expected {
        let text = get(lines).text(&site(), &dialect(cdn));
        assert_eq!(text, format!("untouched {reason} | {expected}"), "{cdn:?} {lines:?}");
    }
}

#[test]
fn in_a_field_that_the_cdn_does_not_read() {
    let given = "cache-control: public, max-age=3600";
    for (field, reason) in
        [("no-store", Reason::NoStore), ("private", Reason::Private), ("no-cache", Reason::NoCache)]
    {
        let cdn_field = format!("cdn-cache-control: {field}");
        check(
            &[given, &cdn_field],
            reason,
            [
                (Fastly, "cache-control: private, max-age=3600 | surrogate-control: max-age=0"),
                (Akamai, &format!("{given} | {cdn_field}")),
                (Cloudflare, &format!("{given} | {cdn_field}")),
                (Cloudfront, "cache-control: private, max-age=3600"),
                (Varnish, &format!("{given} | surrogate-control: no-store, max-age=0")),
            ],
        );
    }
    check(
        &[given, "surrogate-control: max-age=0"],
        Reason::ZeroLifetime,
        [
            (Fastly, &format!("{given} | surrogate-control: max-age=0")),
            (Akamai, &format!("{given} | edge-control: no-store")),
            (Cloudflare, &format!("{given} | cloudflare-cdn-cache-control: no-store")),
            (Cloudfront, "cache-control: private, max-age=3600"),
            (Varnish, &format!("{given} | surrogate-control: max-age=0")),
        ],
    );
}

/// One cache reads a prohibition there and another overlooks it. The latter must not keep the page either.
#[test]
fn in_words_that_are_no_directive() {
    let broken = "cache-control: public private";
    check(
        &[broken],
        Reason::Private,
        [
            (Fastly, "cache-control: private | surrogate-control: max-age=0"),
            (Akamai, &format!("{broken} | edge-control: no-store")),
            (Cloudflare, &format!("{broken} | cloudflare-cdn-cache-control: no-store")),
            (Cloudfront, "cache-control: private"),
            (Varnish, &format!("{broken} | surrogate-control: no-store, max-age=0")),
        ],
    );
    let text = get(&["cache-control: x=\"y", "cache-control: private"]).text(&site(), &dialect(Varnish));
    assert!(text.ends_with("surrogate-control: no-store, max-age=0"), "{text}");
    let broken = "surrogate-control: \"no-store\"";
    let text = get(&[broken]).text(&site(), &dialect(Varnish));
    assert_eq!(text, "untouched no-store | surrogate-control: no-store, max-age=0");
}

/// Writing the fields of one CDN removes those that only another one reads, so the prohibition must be in both.
#[test]
fn where_several_cdns_may_have_asked() {
    let dialects = [dialect(Akamai), dialect(Cloudflare)];
    let edge = Edge { dialects: &dialects, fallback: Some(Reason::CdnInDispute), guard: None };
    let Exchange { method, path, mut headers, .. } =
        get(&["cache-control: max-age=3600", "cloudflare-cdn-cache-control: no-store"]);
    let asked = Asked { scheme: None, host: "www.example.com", query: None };
    let request = RequestFacts {
        method: &method,
        path: &path,
        authorization: false,
        bound: false,
        cookie: false,
        asked,
    };
    rewrite(&site(), request, edge, StatusCode::OK, &mut headers);
    assert_eq!(
        text(&headers),
        "cache-control: max-age=3600 | cloudflare-cdn-cache-control: no-store | edge-control: no-store"
    );
}

#[test]
fn in_words_that_the_cdn_does_not_read_in_its_own_field() {
    let text = |lines: &[&str], cdn| get(lines).text(&site(), &dialect(cdn));
    assert_eq!(
        text(&["cache-control: max-age=60", "surrogate-control: no-store"], Fastly),
        "untouched no-store | cache-control: private, max-age=60 | surrogate-control: max-age=0"
    );
    assert_eq!(text(&["edge-control: private"], Akamai), "untouched private | edge-control: no-store");
    assert_eq!(
        text(&["edge-control: bypass-cache"], Akamai),
        "untouched no-store | edge-control: bypass-cache"
    );
}

#[test]
fn one_that_forbids_counts_before_one_that_grants_unless_the_cdn_reads_that() {
    let lines = ["cdn-cache-control: max-age=60", "akamai-cache-control: no-store"];
    for cdn in [Fastly, Akamai, Cloudfront, Varnish] {
        let (decision, _) = get(&lines).rewritten(&site(), &dialect(cdn));
        assert_eq!(decision, Decision { outcome: Outcome::Untouched, reason: Reason::NoStore }, "{cdn:?}");
    }
    let (decision, _) = get(&lines).rewritten(&site(), &dialect(Cloudflare));
    assert_eq!(decision.reason, Reason::OriginTargeted);
}

#[test]
fn in_words_that_the_cdn_does_not_read() {
    for word in ["no-store", "no-cache"] {
        let given = format!("cache-control: {word}");
        let (decision, headers) = get(&[&given]).rewritten(&site(), &dialect(Fastly));
        assert_eq!(decision.outcome, Outcome::Untouched);
        let expected = format!("cache-control: private, {word} | surrogate-control: max-age=0");
        assert_eq!(text(&headers), expected);
        for cdn in [Akamai, Cloudflare, Cloudfront, Varnish] {
            assert_eq!(text(&get(&[&given]).rewritten(&site(), &dialect(cdn)).1), given, "{cdn:?}");
        }
        // The status makes no difference.
        let (_, headers) = get(&[&given]).status(302).rewritten(&site(), &dialect(Fastly));
        assert_eq!(text(&headers), expected);
    }
    // If there is `Surrogate-Control`, Cloudflare does not read `Cache-Control`.
    let esi = get(&["cache-control: private", "surrogate-control: content=\"ESI/1.0\""]);
    assert_eq!(
        esi.text(&site(), &dialect(Cloudflare)),
        "untouched private | cache-control: private | cloudflare-cdn-cache-control: no-store"
    );
}

#[test]
fn what_the_origin_grants_to_this_cdn_stays_granted() {
    for (word, reason) in [("private", Reason::Private), ("no-store", Reason::NoStore)] {
        let given = [format!("cache-control: {word}"), "surrogate-control: max-age=60".to_owned()];
        let exchange = get(&[&given[0], &given[1]]);
        for cdn in [Fastly, Varnish] {
            assert_eq!(
                exchange.text(&site(), &dialect(cdn)),
                format!("untouched {reason} | {}", given.join(" | "))
            );
        }
    }
}

/// Observed with Varnish 7.1: a page with `Expires: 0` is kept for `default_ttl`, and one whose date lacks a comma
/// is kept until that date.
#[test]
fn an_expiry_that_is_no_date() {
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT";
    let later = "expires: Sun, 06 Nov 1994 09:49:37 GMT";
    for lines in [
        &["expires: 0"][..],
        &["expires: -1", date],
        &["expires: "],
        &[later, "expires: 0", date],
        &["expires: Tue 19 Jan 2038 14:14:08 GMT", date],
        // Without `Date`, caches use their own clock.
        &[later],
    ] {
        let given = text(&get(lines).headers);
        let with = |more: &str| {
            let mut lines: Vec<_> = given.split(" | ").chain(more.split(" | ")).collect();
            lines.sort_unstable();
            lines.join(" | ")
        };
        let of = |cdn| text(&get(lines).rewritten(&site(), &dialect(cdn)).1);
        assert_eq!(of(Fastly), with("cache-control: private | surrogate-control: max-age=0"));
        assert_eq!(of(Varnish), with("surrogate-control: no-store, max-age=0"));
        assert_eq!(of(Akamai), with("edge-control: no-store"));
        assert_eq!(of(Cloudflare), with("cloudflare-cdn-cache-control: no-store"));
        assert_eq!(of(Cloudfront), with("cache-control: private"));
    }
    // `max-age` replaces `Expires`.
    let exchange = get(&["cache-control: max-age=60", "expires: 0"]);
    assert_eq!(exchange.rewritten(&site(), &dialect(Varnish)).0.outcome, Outcome::Lengthened);
}

/// RFC 9111 §4.2: "a cache recipient SHOULD match the field value case-insensitively".
#[test]
fn a_date_in_letters_of_any_case() {
    for expires in
        ["SUN, 06 NOV 1994 09:49:37 gmt", "sun nov  6 09:49:37 1994", "Sunday, 06-nov-94 09:49:37 Gmt"]
    {
        let exchange = get(&["date: Sun, 06 Nov 1994 08:49:37 GMT", &format!("expires: {expires}")]);
        let (decision, _) = exchange.rewritten(&site(), &dialect(Varnish));
        assert_eq!(decision.outcome, Outcome::Lengthened, "{expires}");
    }
}

#[test]
fn an_origin_that_says_it_by_pragma_alone() {
    for lines in [&["pragma: no-cache"][..], &["pragma: x", "pragma: no-cache"]] {
        for cdn in CdnType::ALL {
            let (decision, headers) = get(lines).rewritten(&site(), &dialect(cdn));
            assert_eq!(decision, Decision { outcome: Outcome::Untouched, reason: Reason::NoCache });
            let said = match cdn {
                Fastly | Cloudfront => headers.get("cache-control"),
                _ => headers.get(&dialect(cdn).ttl_header),
            };
            assert!(
                said.is_some_and(|said| said
                    .to_str()
                    .unwrap()
                    .contains(if cdn == Fastly || cdn == Cloudfront { "private" } else { "no-store" })),
                "{cdn:?}"
            );
        }
    }
    let (decision, _) =
        get(&["cache-control: max-age=60", "pragma: no-cache"]).rewritten(&site(), &dialect(Fastly));
    assert_eq!(decision.outcome, Outcome::Lengthened);
    let exchange = get(&["pragma: no-cache", "cdn-cache-control: no-store"]);
    assert_eq!(
        exchange.text(&site(), &dialect(Cloudfront)),
        "untouched no-store | cache-control: private, no-cache | pragma: no-cache"
    );
}
