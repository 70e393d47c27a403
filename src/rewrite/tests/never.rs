//! Responses that are never lengthened.

use super::*;

const DATE: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT";
const AN_HOUR_LATER: &str = "expires: Sun, 06 Nov 1994 09:49:37 GMT";

/// Expects that a response with these headers keeps its lifetimes for this reason, unless there is an override.
#[track_caller]
fn check_exchange(exchange: &Exchange, reason: Reason) {
    let unchanged = format!("untouched {reason} | {}", text(&exchange.headers));
    // Fastly does not read these two; see `forbidden`.
    let is_unread = matches!(reason, Reason::NoStore | Reason::NoCache);
    let cdns = || CdnType::ALL.into_iter().filter(move |cdn| !(is_unread && *cdn == CdnType::Fastly));
    for cdn in cdns() {
        assert_eq!(exchange.text(&site(), &dialect(cdn)), unchanged, "{cdn:?}");
        assert_eq!(exchange.clone().unhealthy().text(&site(), &dialect(cdn)), unchanged, "{cdn:?}");
    }
    for cdn in CdnType::ALL {
        let (decision, _) = exchange.clone().rewritten(&site(), &dialect(cdn));
        assert_eq!(decision, Decision { outcome: Outcome::Untouched, reason }, "{cdn:?}");
        let (decision, _) = exchange.clone().rewritten(&overriding_site(), &dialect(cdn));
        assert_eq!(decision, Decision { outcome: Outcome::Lengthened, reason: Reason::Rule }, "{cdn:?}");
    }
}

#[track_caller]
fn check(lines: &[&str], reason: Reason) {
    check_exchange(&get(lines), reason);
}

/// Expects that nothing forbids a response with these headers.
#[track_caller]
fn check_lengthened(exchange: Exchange) {
    let (decision, _) = exchange.rewritten(&site(), &dialect(CdnType::Fastly));
    assert_eq!(decision.outcome, Outcome::Lengthened, "{decision:?}");
}

#[test]
fn the_origins_words() {
    check(&["set-cookie: a=b", "cache-control: max-age=60"], Reason::SetCookie);
    check(&["cache-control: private"], Reason::Private);
    check(&["cache-control: no-store, max-age=60"], Reason::NoStore);
    check(&["cache-control: no-cache"], Reason::NoCache);
    check(&["cache-control: max-age=0"], Reason::ZeroLifetime);
    check(&["cache-control: max-age=60, s-maxage=0"], Reason::ZeroLifetime);
    check(&["cache-control: max-age=0, s-maxage=60"], Reason::ZeroLifetime);
}

/// These prohibitions are repeated in the CDN's own form; see `forbidden`.
#[test]
fn what_caches_read_differently() {
    for (lines, reason) in [
        (&["cache-control: max-age=60", "cache-control: PRIVATE=\"x\""][..], Reason::Private),
        (&["cache-control: private; no-cache"], Reason::Private),
        (&["cache-control: max-age=60, no-cache=\"set-cookie\""], Reason::NoCache),
        (&["cache-control: max-age=60, max-age=0"], Reason::ZeroLifetime),
        (&["cache-control: max-age=soon"], Reason::ZeroLifetime),
        (&["expires: 0"], Reason::ZeroLifetime),
        (&[DATE, "expires: -1"], Reason::ZeroLifetime),
        (&[AN_HOUR_LATER], Reason::ZeroLifetime),
        (&[DATE, AN_HOUR_LATER, "expires: 0"], Reason::ZeroLifetime),
    ] {
        for cdn in CdnType::ALL {
            let (decision, headers) = get(lines).rewritten(&site(), &dialect(cdn));
            assert_eq!(decision, Decision { outcome: Outcome::Untouched, reason }, "{lines:?}");
            let said = ["private", "no-store", "max-age=0"];
            assert!(said.iter().any(|said| text(&headers).contains(said)), "{cdn:?} {headers:?}");
        }
    }
}

#[test]
fn a_date_of_expiry() {
    check(&[DATE, "expires: Sun, 06 Nov 1994 08:49:37 GMT"], Reason::ZeroLifetime);
    check(&[DATE, "expires: Sun, 06 Nov 1994 08:49:36 GMT"], Reason::ZeroLifetime);
    check_lengthened(get(&[DATE, AN_HOUR_LATER]));
    check_lengthened(get(&[DATE, "expires: Fri, 31 Dec 9999 23:59:59 GMT"]));
    // RFC 9111 §5.3: `max-age` replaces `Expires`, and `Cache-Control` replaces `Pragma`.
    check_lengthened(get(&["cache-control: max-age=60", "expires: 0", "pragma: no-cache"]));
}

#[test]
fn methods() {
    for method in [Method::POST, Method::PUT, Method::OPTIONS, Method::DELETE] {
        check_exchange(&Exchange { method, ..get(&["cache-control: max-age=60"]) }, Reason::Method);
    }
    check_lengthened(Exchange { method: Method::HEAD, ..get(&[]) });
}

#[test]
fn requests_with_authorization() {
    let with = |lines: &[&str]| Exchange { authorization: true, ..get(lines) };
    check_exchange(&with(&[]), Reason::Authorization);
    check_exchange(&with(&["cache-control: max-age=60, must-revalidate"]), Reason::Authorization);
    check_exchange(&with(&["cdn-cache-control: max-age=60"]), Reason::Authorization);
    check_exchange(&with(&["cache-control: public, no-cache"]), Reason::NoCache);
    check_lengthened(with(&["cache-control: public"]));
    check_lengthened(with(&["cache-control: s-maxage=60"]));
    check_lengthened(with(&["cdn-cache-control: public, max-age=60"]));
}

#[test]
fn requests_with_a_cookie() {
    let with = |lines: &[&str]| Exchange { cookie: true, ..get(lines) };
    check_exchange(&with(&[]), Reason::Cookie);
    check_exchange(&with(&["cache-control: public"]), Reason::Cookie);
    check_lengthened(with(&["cache-control: max-age=1"]));
    check_lengthened(with(&["cache-control: s-maxage=1"]));
    check_lengthened(with(&[DATE, AN_HOUR_LATER]));
    check_lengthened(with(&["surrogate-control: max-age=1"]));
    // A targeted field without a lifetime leaves that of all caches in effect.
    let esi = "surrogate-control: content=\"ESI/1.0\"";
    check_exchange(&with(&[esi]), Reason::Cookie);
    check_lengthened(with(&[esi, "cache-control: max-age=1"]));
    check_lengthened(with(&[esi, DATE, AN_HOUR_LATER]));
}

#[test]
fn redirects() {
    let exchange = |location: &str| get(&[&format!("location: {location}")]).path("/a").status(301);
    let reason = |location| exchange(location).rewritten(&site(), &dialect(CdnType::Fastly)).0.reason;
    assert_eq!(reason("/a"), Reason::RedirectLoop);
    assert_eq!(reason("/b"), Reason::TtlTable);
}

#[test]
fn vary() {
    check(&["vary: *"], Reason::Vary);
    check(&["vary: accept-encoding, *"], Reason::Vary);
    check(&["vary: Accept-Encoding, Cookie"], Reason::Vary);
    check(&["vary: Accept-Encoding", "vary: Origin"], Reason::Vary);
    check(&["vary: accept\u{e9}"], Reason::Vary);
    check_lengthened(get(&["vary: ACCEPT-ENCODING,, accept-encoding"]));
    check_lengthened(get(&["vary: "]));

    let listed = Policy { vary: vec!["accept-language".to_owned(), "*".to_owned()], ..site() };
    let reason = |lines: &[&str]| get(lines).rewritten(&listed, &dialect(CdnType::Varnish)).0.reason;
    assert_eq!(reason(&["vary: Accept-Language, Accept-Encoding"]), Reason::TtlTable);
    assert_eq!(reason(&["vary: Accept-Language", "vary: Cookie"]), Reason::Vary);
    assert_eq!(reason(&["vary: *"]), Reason::Vary);
}

#[test]
fn an_override_removes_what_forbids() {
    let given =
        ["cache-control: private, no-store, no-cache=\"x\", max-age=0, public", "set-cookie: a=b", "vary: *"];
    let exchange = Exchange { authorization: true, cookie: true, method: Method::POST, ..get(&given) };
    assert_eq!(
        exchange.text(&overriding_site(), &dialect(CdnType::Fastly)),
        "lengthened rule | cache-control: max-age=7200, public | set-cookie: a=b | surrogate-control: max-age=172800 | vary: *"
    );
}
