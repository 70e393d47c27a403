//! Which CDNs may keep a response: what the guard, the follow-up purge and the register of what is on its way go by.

use super::*;

/// The CDNs that may keep what is sent of this exchange, by their first letters: Fastly, Akamai, Cloudflare, cloudfrOnt, Varnish.
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
    // Akamai's property and CloudFront's minimum TTL may overrule it.
    for line in ["private", "no-store", "no-cache", "max-age=0", "max-age=60, s-maxage=0"] {
        check(&get(&[&format!("cache-control: {line}")]), "AO");
    }
    check(&get(&["pragma: no-cache"]), "O");
    check(&get(&[DATE, "expires: Sun, 06 Nov 1994 08:49:37 GMT"]), "AO");
    // What caches read differently is said again.
    check(&get(&["expires: 0"]), "O");
    check(&get(&["cache-control: public private"]), "O");
    check(&get(&["cdn-cache-control: no-store", "cache-control: max-age=60"]), "O");
    check(&get(&["surrogate-control: no-store"]), "O");
    // What the origin grants to the CDN that reads it.
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
    // "CloudFront caches HTTP 4xx and 5xx": for its error caching minimum TTL, whatever is said.
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
