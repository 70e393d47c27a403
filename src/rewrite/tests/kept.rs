//! The CDNs that may keep a response. The guard, the follow-up purge and the in-flight accounting depend on this.

use super::*;
use crate::rewrite::field::Field;
use crate::rewrite::fields::Fields;
use crate::rewrite::kept::{Kept, as_sent};
use crate::rewrite::origin::Origin;

/// The CDNs that may keep the response of this exchange, by letters: Fastly, Akamai, Cloudflare, cloudfrOnt, Varnish.
fn keepers(exchange: &Exchange) -> String {
    let letters = ['F', 'A', 'C', 'O', 'V'];
    let keeps = |cdn: CdnType| exchange.clone().told(&site(), &dialect(cdn)).1.is_some();
    CdnType::ALL.into_iter().zip(letters).filter(|(cdn, _)| keeps(*cdn)).map(|(_, letter)| letter).collect()
}

#[track_caller]
fn check(exchange: &Exchange, expected: &str) {
    assert_eq!(keepers(exchange), expected, "{exchange:?}");
}

const DATE: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT";

#[test]
fn what_is_lengthened_or_gets_fallback() {
    check(&get(&[]), "FACOV");
    check(&get(&[]).unhealthy(), "FACOV");
    check(&get(&["cdn-cache-control: max-age=60"]), "FACOV");
    check(&get(&[]).status(404), "FACOV");
}

#[test]
fn what_is_left_alone_but_kept() {
    for lines in [
        &["cache-control: public, max-age=0, s-maxage=3600"][..],
        &["vary: accept-language"],
        &["vary: *"],
        &["cache-control: max-age=60", "set-cookie: a=b"],
        &["set-cookie: a=b"],
        &[DATE, "expires: Sun, 06 Nov 1994 09:49:37 GMT", "vary: cookie"],
        &["surrogate-control: content=\"ESI/1.0\"", "vary: cookie"],
    ] {
        check(&get(lines), "FACOV");
    }
    check(&Exchange { cookie: true, ..get(&[]) }, "FACOV");
    check(&Exchange { authorization: true, ..get(&["cache-control: max-age=60"]) }, "FACOV");
}

#[test]
fn what_is_forbidden() {
    // Akamai's property and CloudFront's minimum TTL may overrule the prohibition.
    for line in ["private", "no-store", "no-cache", "max-age=0", "max-age=60, s-maxage=0"] {
        check(&get(&[&format!("cache-control: {line}")]), "AO");
    }
    check(&get(&["pragma: no-cache"]), "O");
    check(&get(&[DATE, "expires: Sun, 06 Nov 1994 08:49:37 GMT"]), "AO");
    // Prohibitions that caches read differently are repeated.
    check(&get(&["expires: 0"]), "O");
    check(&get(&["cache-control: public private"]), "O");
    check(&get(&["cdn-cache-control: no-store", "cache-control: max-age=60"]), "O");
    check(&get(&["surrogate-control: no-store"]), "O");
    // The origin grants a lifetime to the CDN that reads the field.
    let granted = ["cache-control: no-store", "surrogate-control: max-age=86400"];
    check(&get(&granted), "FAOV");
    check(&get(&["cache-control: private", "surrogate-control: max-age=60"]), "AOV");
    check(&get(&["cache-control: no-store", "cdn-cache-control: max-age=60"]), "ACO");
    check(&get(&["cache-control: no-store", "edge-control: max-age=1d"]), "AO");
}

#[test]
fn statuses() {
    for status in [206, 303, 308, 400, 405, 429, 451] {
        let expected = if status == 308 { "FACOV" } else { "FACO" };
        check(&get(&["cache-control: max-age=60"]).status(status), expected);
    }
    for status in [204, 300, 414] {
        check(&get(&[]).status(status), "FACOV");
    }
    for status in [302, 307] {
        check(&get(&["cache-control: max-age=60"]).status(status), "FACOV");
        check(&get(&[]).status(status), "FACO");
    }
    check(&get(&["surrogate-control: max-age=60"]).status(429), "FACOV");
    check(&get(&["etag: e"]).status(304), "FACOV");
    // "CloudFront caches HTTP 4xx and 5xx": for its error caching minimum TTL, regardless of the headers.
    for status in [401, 403, 500, 503] {
        check(&get(&["cache-control: max-age=60"]).status(status), "O");
    }
}

#[test]
fn methods() {
    let by = |method: Method| keepers(&Exchange { method, ..get(&["cache-control: max-age=60"]) });
    assert_eq!(by(Method::HEAD), "FACOV");
    assert_eq!(by(Method::OPTIONS), "AO");
    assert_eq!(by(Method::POST), "A");
    assert_eq!(by(Method::DELETE), "A");
}

#[test]
fn whoever_may_have_asked() {
    let dialects = [dialect(CdnType::Varnish), dialect(CdnType::Akamai)];
    let kept = |lines: &[&str]| {
        let mut exchange = get(lines);
        let asked = Asked::default();
        let request = RequestFacts {
            method: &Method::GET,
            path: "/a",
            authorization: false,
            bound: false,
            cookie: false,
            asked,
        };
        let edge = Edge { dialects: &dialects, fallback: Some(Reason::CdnInDispute), guard: None };
        rewrite(&site(), request, edge, StatusCode::OK, &mut exchange.headers).1.is_some()
    };
    assert!(kept(&[]) && kept(&["cache-control: private"]));
    assert!(!kept(&["cdn-cache-control: no-store"]));
}

/// Returns why Varnish may keep the response to a GET, with or without credentials.
fn certainty(lines: &[&str], authorization: bool) -> Option<Kept> {
    let (exchange, dialect) = (get(lines), dialect(CdnType::Varnish));
    let asked = Asked::default();
    let request =
        RequestFacts { method: &Method::GET, path: "/a", authorization, bound: false, cookie: false, asked };
    let fields = Fields::of(&exchange.headers, &dialect);
    as_sent(&dialect, request, StatusCode::OK, &Origin::read(&fields), &fields)
}

#[test]
fn how_certain_it_is() {
    assert_eq!(certainty(&["cache-control: max-age=60"], false), Some(Kept::Granted));
    assert_eq!(certainty(&[], false), Some(Kept::ByDefault));
    // RFC 9111 §3.5: a shared cache keeps the response to a request with credentials if the origin allows it.
    assert_eq!(certainty(&["cache-control: max-age=60"], true), Some(Kept::InDoubt));
    assert_eq!(certainty(&["cache-control: public, max-age=60"], true), Some(Kept::Granted));
    assert_eq!(certainty(&[], true), Some(Kept::InDoubt));
    assert_eq!(certainty(&["cache-control: public"], true), Some(Kept::ByDefault));
    assert_eq!(certainty(&["cache-control: max-age=60", "vary: *"], false), Some(Kept::InDoubt));
    assert_eq!(certainty(&["set-cookie: a=b"], false), Some(Kept::InDoubt));
    assert_eq!(certainty(&["cache-control: max-age=60", "set-cookie: a=b"], false), Some(Kept::Granted));
    let own = "surrogate-control: max-age=60";
    assert_eq!(certainty(&[own, "cache-control: s-maxage=0"], true), Some(Kept::InDoubt));
    assert_eq!(certainty(&[own, "cache-control: s-maxage=1"], true), Some(Kept::Granted));
    // A field for other CDNs gives Varnish nothing, and the lifetime for all is zero.
    let others = "cloudflare-cdn-cache-control: max-age=60";
    assert_eq!(certainty(&[others, "cache-control: max-age=0"], false), Some(Kept::ByDefault));
}

/// Only the fields that a CDN is configured to read can have any name.
#[test]
fn a_header_of_the_sites_own_choice_is_read() {
    let is_read = |ttl: Option<&str>| {
        let dialect = Dialect::new(CdnType::Fastly, ttl.map(|name| name.parse().unwrap()), None);
        Fields::of(&get(&["x-ttl: max-age=60"]).headers, &dialect).has(Field::OwnTtl)
    };
    assert!(!is_read(None));
    assert!(is_read(Some("x-ttl")));
}

#[test]
fn a_field_that_comes_twice_is_replaced_by_one_line_in_the_first_ones_place() {
    let lines = ["cache-control: max-age=60", "content-type: x", "cache-control: max-age=70"];
    let (_, headers) = get(&lines).held_against(&Purged::default(), 0, &site(), &dialect(CdnType::Fastly));
    let names: Vec<_> = headers.lines().map(|line| line.name()).collect();
    assert_eq!(names.iter().filter(|name| **name == "cache-control").count(), 1, "{names:?}");
    assert_eq!(names[..2], ["cache-control", "content-type"], "{names:?}");
}
