//! Browsers cannot be purged, so by default they get the lifetime that the origin gives them.

use super::*;
use CdnType::{Akamai, Cloudfront, Fastly};

const DATE: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT";

fn origins() -> Policy {
    let site = site();
    Policy { ttls: Ttls { browser: BrowserTtl::Origin, ..site.ttls.clone() }, ..site }
}

/// Expects these values of Fastly's `Cache-Control` and of CloudFront's.
#[track_caller]
fn check(exchange: Exchange, policy: &Policy, fastly: &str, cloudfront: &str) {
    let of = |cdn| exchange.clone().rewritten(policy, &dialect(cdn)).1;
    assert_eq!(of(Fastly).get("cache-control").unwrap(), fastly);
    assert_eq!(of(Cloudfront).get("cache-control").unwrap(), cloudfront);
    assert!(!of(Fastly).contains("expires") && !of(Fastly).contains("age"));
}

#[test]
fn as_the_origin_says() {
    let page = |lines: &[&str], fastly, cloudfront| check(get(lines), &origins(), fastly, cloudfront);
    page(&["cache-control: max-age=600"], "max-age=600", "max-age=600, s-maxage=172800");
    // A hashed asset keeps its lifetime of a year.
    page(
        &["cache-control: public, max-age=31536000, immutable"],
        "max-age=31536000, public, immutable",
        "max-age=31536000, s-maxage=172800, public, immutable",
    );
    page(
        &["cache-control: max-age=600, must-revalidate, proxy-revalidate"],
        "max-age=600, must-revalidate",
        "max-age=600, s-maxage=172800, must-revalidate",
    );
    page(&["cache-control: max-age=600", "age: 100"], "max-age=500", "max-age=500, s-maxage=172800");
    page(&["cache-control: max-age=600", "age: 1, 0"], "max-age=599", "max-age=599, s-maxage=172800");
    page(&[DATE, "expires: Sun, 06 Nov 1994 08:59:37 GMT"], "max-age=600", "max-age=600, s-maxage=172800");
    // The origin gives no lifetime to browsers.
    page(&[], "no-cache", "max-age=0, s-maxage=172800");
    page(&["cache-control: public"], "no-cache, public", "max-age=0, s-maxage=172800, public");
    page(&["cache-control: s-maxage=600, immutable"], "no-cache", "max-age=0, s-maxage=172800");
    // An age that is not a number means old.
    for age in ["+1", "x", "", "1x, 0"] {
        page(
            &["cache-control: max-age=600", &format!("age: {age}")],
            "max-age=0",
            "max-age=0, s-maxage=172800",
        );
    }
    // A lifetime that the site sets is not the origin's, even if it is as long.
    check(
        get(&["cache-control: max-age=7200, immutable"]),
        &site(),
        "max-age=7200",
        "max-age=7200, s-maxage=172800",
    );
    let (_, headers) = get(&["cache-control: max-age=600"]).rewritten(&origins(), &dialect(Akamai));
    assert_eq!(headers.get("edge-control").unwrap(), "!no-store, max-age=172800s, downstream-ttl=600s");
}

#[test]
fn of_what_is_not_there() {
    let missing = |lines: &[&str], fastly, cloudfront| {
        check(get(lines).status(404), &origins(), fastly, cloudfront);
    };
    missing(&["cache-control: max-age=600"], "max-age=300", "max-age=300, s-maxage=240");
    missing(&["cache-control: max-age=60"], "max-age=60", "max-age=60, s-maxage=240");
    missing(&[], "no-cache", "max-age=0, s-maxage=240");
}

#[test]
fn in_fallback() {
    let unhealthy = |lines: &[&str], fastly, cloudfront| {
        check(get(lines).unhealthy(), &origins(), fastly, cloudfront);
    };
    unhealthy(&["cache-control: max-age=60, immutable"], "max-age=60", "max-age=60, s-maxage=60");
    unhealthy(&["cache-control: max-age=600"], "max-age=300", "max-age=300, s-maxage=300");
    unhealthy(&[], "no-cache", "max-age=0, s-maxage=300");
    unhealthy(&["cache-control: s-maxage=60"], "no-cache", "max-age=0, s-maxage=60");
}

#[test]
fn a_rule_decides() {
    let with = |browser_ttl, policy: Policy| Policy { rules: vec![Rule { browser_ttl, ..rule() }], ..policy };
    let hour = Some(BrowserTtl::Fixed(Duration::from_secs(3_600)));
    let given = ["cache-control: max-age=600, immutable"];
    check(get(&given), &with(hour, origins()), "max-age=3600", "max-age=3600, s-maxage=172800");
    let own = with(Some(BrowserTtl::Origin), site());
    check(get(&given), &own, "max-age=600, immutable", "max-age=600, s-maxage=172800, immutable");
    // The row of a missing page can only be shortened.
    check(get(&given).status(404), &with(hour, origins()), "max-age=300", "max-age=300, s-maxage=240");
    let second = Some(BrowserTtl::Fixed(Duration::from_secs(1)));
    check(get(&given).status(404), &with(second, origins()), "max-age=1", "max-age=1, s-maxage=240");
    check(get(&given).status(404), &own, "max-age=300", "max-age=300, s-maxage=240");
}

#[test]
fn an_override_does_not_let_browsers_keep_what_they_must_not() {
    let policy = Policy { rules: vec![Rule { allow_override: true, ..rule() }], ..origins() };
    check(get(&["cache-control: no-store, max-age=9"]), &policy, "no-cache", "max-age=0, s-maxage=172800");
    check(get(&["cache-control: no-cache, max-age=9"]), &policy, "no-cache", "max-age=0, s-maxage=172800");
    check(get(&["cache-control: private, max-age=9"]), &policy, "max-age=9", "max-age=9, s-maxage=172800");
}
