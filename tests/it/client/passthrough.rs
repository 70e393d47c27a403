//! A request that does not opt in gets the response of the origin, header for header.

use crate::harness::http::{Answer, Request};
use crate::harness::nginx::Nginx;
use crate::harness::shim::Shim;
use crate::harness::site::Site;

/// Header fields that concern one connection only, and `Date`, because nginx may answer in different seconds.
const OF_ONE_EXCHANGE: [&str; 4] = ["connection", "keep-alive", "transfer-encoding", "date"];

/// Returns everything that must be equal.
fn essence(answer: &Answer) -> (u16, Vec<(String, String)>, &[u8]) {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !OF_ONE_EXCHANGE.contains(&name.as_str()));
    headers.sort();
    (answer.status, headers, &answer.body)
}

type Headers = Vec<(&'static str, String)>;

/// Returns one request of every kind that nginx answers differently.
fn requests(etag: &str) -> Vec<(&'static str, &'static str, Headers)> {
    let header = |name, value: &str| vec![(name, value.to_owned())];
    vec![
        ("GET", "/", vec![]),
        ("HEAD", "/", vec![]),
        ("GET", "/products/42.html", vec![]),
        ("GET", "/products/42.html?a=1&b=%20", vec![]),
        ("GET", "/products/42.html", header("accept-encoding", "gzip")),
        ("GET", "/products/42.html", header("range", "bytes=2-5")),
        ("GET", "/products/42.html", header("range", "bytes=9999-")),
        ("GET", "/products/42.html", header("if-none-match", etag)),
        ("GET", "/products/42.html", header("if-modified-since", "Tue, 14 Nov 2023 22:13:21 GMT")),
        ("GET", "/products/42.html", header("cookie", "a=b")),
        ("GET", "/products/42.html", header("authorization", "Basic eA==")),
        ("GET", "/products", vec![]),
        ("GET", "/missing.html", vec![]),
        ("GET", "/cookie", vec![]),
        ("GET", "/private", vec![]),
        ("GET", "/gone", vec![]),
        ("GET", "/moved", vec![]),
        ("GET", "/forbidden", vec![]),
        ("GET", "/error", vec![]),
        ("POST", "/products/42.html", vec![]),
        ("DELETE", "/products/42.html", vec![]),
        ("OPTIONS", "/products/42.html", vec![]),
    ]
}

/// Compares the responses of the shim and of nginx. `with` changes a site that has a CDN.
fn check_that_nothing_differs(with: impl Fn(Site) -> Site, extra: &[(&str, &str)]) {
    let nginx = Nginx::start();
    let shim = Shim::start(with(Site::www(nginx.address).varnish_at("127.0.0.1:9")));
    let etag = Request::get("/products/42.html").send(nginx.address).header("etag").to_owned();
    assert_ne!(etag, "");
    for (method, target, headers) in requests(&etag) {
        let mut headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers.extend(extra);
        let request = Request::get(target).method(method).headers(&headers);
        let direct = request.send(nginx.address);
        let through = request.send(shim.address);
        assert_eq!(essence(&through), essence(&direct), "{method} {target} {headers:?}");
        assert_eq!(through.header("date").is_empty(), direct.header("date").is_empty());
    }
}

const OPTED_IN: [(&str, &str); 2] = [("x-push-invalidation", "enabled"), ("x-byo-cdn-type", "varnish")];

#[test]
fn without_opt_in_every_header_is_as_nginx_sent_it() {
    check_that_nothing_differs(|site| site, &[]);
}

#[test]
fn a_malformed_opt_in_is_none() {
    check_that_nothing_differs(|site| site, &[("x-push-invalidation", "enabled, please")]);
    check_that_nothing_differs(
        |site| site,
        &[("x-push-invalidation", "enabled"), ("x-push-invalidation", "enabled")],
    );
}

#[test]
fn an_opt_in_without_the_secret_is_none() {
    let secret = "[sites.opt_in]\ntrust = \"secret\"\nsecret = \"literal:seventeen-letters\"";
    check_that_nothing_differs(|site| site.tables(secret), &OPTED_IN);
}

#[test]
fn an_opt_in_for_a_cdn_that_the_site_does_not_have_is_answered_with_tags_and_a_short_lifetime() {
    let nginx = Nginx::start();
    let shim = Shim::start(Site::www(nginx.address).varnish_at("127.0.0.1:9"));
    let headers = [OPTED_IN[0], ("x-byo-cdn-type", "fastly")];
    let answer = Request::get("/products/42.html").headers(&headers).send(shim.address);
    assert!(answer.header("xkey").contains("product-42"), "{answer:?}");
    assert_eq!(answer.header("surrogate-control"), "max-age=1", "nginx says one second");
}

#[test]
fn a_site_that_only_observes_or_is_off_changes_nothing() {
    for mode in ["observe", "off"] {
        check_that_nothing_differs(|site| site.keys(&format!("mode = \"{mode}\"")), &OPTED_IN);
    }
}
