//! One page under several names. A purge removes the page whichever spelling the visitor used and whichever the
//! purge uses. Varnish with the VCL that the project ships, the shim and nginx are real.

use crate::harness::chain::Chain;
use crate::harness::http::Request;
use serde_json::{Value, json};

/// A page of nginx, and the names under which Varnish stores it separately.
type Page = (&'static str, &'static [&'static str]);

const CAFE: Page = (
    "/café/b.html",
    &[
        // The bytes of the second name are not percent-encoded.
        "/caf%C3%A9/b.html",
        "/café/b.html",
        "/caf%c3%a9/b.html",
        "/caf%C3%a9/%62.html",
        "//caf%c3%a9/b.html",
        "/x/../café/./b.html",
    ],
);
const FOO: Page = (
    "/foo (1),a.html",
    &[
        "/foo%20(1),a.html",
        "/foo%20%281%29%2Ca.html",
        "/foo%20%281%29%2ca.html",
        "/foo%20(1%29,a.html",
        "//f%6Fo%20(1),%61.html",
    ],
);
const OTHERS: [&str; 3] = ["/blog/first.html", "/cafe/b.html", "/foo%20(2),a.html"];

/// Brings each name into the cache, publishes a new version, purges, and insists that none is old and nothing else was
/// purged.
fn check(chain: &Chain, (file, names): Page, query: &str, version: &mut u32, purge: &Value) {
    *version += 1;
    chain.nginx.publish(file, &format!("old {version}"));
    chain.shim.purge(&json!({"everything": true, "mode": "hard"}));
    let targets: Vec<String> = names.iter().map(|name| format!("{name}{query}")).collect();
    for target in targets.iter().map(String::as_str).chain(OTHERS) {
        assert!(chain.see(target).starts_with("MISS "), "{target}");
        assert!(chain.see(target).starts_with("HIT "), "{target}");
    }
    chain.nginx.publish(file, &format!("new {version}"));
    chain.shim.purge(purge);
    for target in &targets {
        assert_eq!(chain.see(target), format!("MISS new {version}"), "{target} after {purge}");
    }
    for other in OTHERS {
        assert!(chain.see(other).starts_with("HIT "), "{other} after {purge}");
    }
}

fn start() -> Chain {
    let chain = Chain::start("");
    for page in ["/cafe/b.html", "/foo (2),a.html"] {
        chain.nginx.publish(page, page);
    }
    chain
}

#[test]
fn every_kind_of_purge_reaches_every_spelling() {
    let chain = start();
    let mut version = 0;
    for mode in ["hard", "soft"] {
        for (page, body) in [
            (CAFE, json!({"urls": ["http://www.example.test/caf%c3%A9//b.html"]})),
            (CAFE, json!({"paths": ["/c%61fé/b.html"]})),
            (CAFE, json!({"prefixes": ["/caf%C3%a9/"]})),
            (FOO, json!({"urls": ["http://www.example.test/foo%20%281)%2ca.html"]})),
            (FOO, json!({"paths": ["/foo (1)%2Ca.html"]})),
        ] {
            let mut body = body;
            body["mode"] = mode.into();
            check(&chain, page, "", &mut version, &body);
        }
    }
}

#[test]
fn a_url_is_its_own_query_in_every_spelling_of_its_path() {
    let chain = start();
    let mut version = 0;
    let purge = json!({"urls": ["http://www.example.test/caf%c3%a9/b.html?x=1,2&y=%c3%a9"]});
    check(&chain, CAFE, "?x=1,2&y=%c3%a9", &mut version, &purge);
    let names = ["/café/b.html", "/café/b.html?x=1,2", "/caf%C3%A9/b.html?x=1,2&y=%C3%A9"];
    names.iter().for_each(|name| drop(chain.see(name)));
    chain.shim.purge(&purge);
    for name in names {
        assert!(chain.see(name).starts_with("HIT "), "another query: {name}");
    }
}

#[test]
fn a_purge_of_one_url_is_counted() {
    let chain = start();
    chain.nginx.publish(CAFE.0, "page");
    for name in CAFE.1 {
        chain.see(name);
    }
    let purge = |target: &str| {
        let request = Request::get(target).method("PURGE").headers(&[("x-purge-mode", "hard")]);
        let answer = request.send(chain.varnish.address);
        assert_eq!(answer.status, 200);
        answer.header("x-purged").to_owned()
    };
    // Any other name purges its own copy only. The canonical name purges all remaining ones.
    assert_eq!(purge("/caf%c3%a9/b.html"), "1");
    assert_eq!(purge("/caf%C3%A9/b.html"), "5");
    assert_eq!(purge("/caf%C3%A9/b.html"), "0");
}

#[test]
fn no_visitor_sees_what_varnish_is_told() {
    let chain = start();
    chain.nginx.publish(CAFE.0, "page");
    let told = |target| chain.shim.as_cdn("varnish", target).header("x-origin-shim-path").to_owned();
    assert_eq!(told("/caf%c3%a9/b.html"), "/caf%C3%A9/b.html");
    assert_eq!(told("/caf%C3%A9/b.html"), "");
    let plain = Request::get("/caf%c3%a9/b.html").send(chain.shim.address);
    assert_eq!((plain.status, plain.header("x-origin-shim-path")), (200, ""));
    for name in CAFE.1 {
        for _ in 0..2 {
            let answer = chain.visit(name);
            assert_eq!(answer.status, 200, "{name}");
            for (header, value) in &answer.headers {
                assert!(!header.contains("shim") && !value.contains("shim-url"), "{header}: {value}");
                assert!(!["xkey", "x-url", "x-host"].contains(&header.as_str()), "{header}: {value}");
            }
        }
    }
}
