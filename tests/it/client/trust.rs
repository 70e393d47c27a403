//! What a stranger cannot get: the admin API, a secret, a long lifetime, a private page from a cache.

use crate::harness::http::Request;
use crate::harness::in_process::{Shim, cdn, config, site};
use crate::harness::program::Program;
use crate::harness::recorder::{Recorder, all_answers};
use crate::harness::scripted::Origin;
use crate::harness::wire::{get, get_with, header, nowhere, status};
use origin_shim::config::{Site, Trust, secret::Secret};
use origin_shim::rewrite::CdnType;
use std::net::SocketAddr;

#[test]
fn r40_the_admin_api_and_the_proxy_have_nothing_in_common() {
    // Its paths are ordinary ones at the public port …
    let origin = Recorder::start();
    let program = Program::before(origin.address, "");
    let paths = ["/admin", "/v1/sites/www/purges", "/metrics", "/readyz", "/healthz", "/v1/reload", "/"];
    for path in paths {
        assert_eq!(program.get(path).text(), "ok");
        assert!(origin.bytes().contains(&format!("GET {path} HTTP/1.1\r\n")), "{}", origin.bytes());
    }
    // … and the sites do not exist at its own, whatever the host says.
    let before = origin.bytes();
    let answer = Request::get("/products/42.html").send(program.admin);
    assert!([401, 404].contains(&answer.status), "{answer:?}");
    let target = format!("http://{}/products/42.html", crate::harness::HOST);
    let answer = Request::get(&target).send(program.admin);
    assert!([400, 401, 404].contains(&answer.status), "{answer:?}");
    assert_eq!(origin.bytes(), before);
}

const SECRET: &str = "swordfish-0123456789";

fn with_secret(origin: SocketAddr) -> Site {
    let mut www = site(&[origin]);
    www.trust = Trust::Secret(Secret::new(SECRET));
    www.cdns = vec![cdn(CdnType::Fastly)];
    www
}

#[test]
fn r43_the_secret_shows_nowhere() {
    let origin = Recorder::start();
    let config = config(vec![with_secret(origin.address)]);
    let shim = Shim::start(&config);
    shim.health.cell("www", "fastly").set(true);
    let mut seen = format!("{config:?}");
    for lines in [
        format!("x-push-invalidation: enabled\r\nx-origin-shim-secret: {SECRET}\r\n"),
        format!("x-origin-shim-secret: {SECRET}\r\n"),
        format!("x-origin-shim-secret: {SECRET}\r\nx-origin-shim-secret: {SECRET}\r\n"),
        format!("x-origin-shim-secret: {SECRET}\r\ncdn-loop: origin-shim-test\r\n"),
        format!("x-origin-shim-secret: {SECRET}\r\nconnection: x-origin-shim-secret\r\n"),
        format!("x-origin-shim-secret: {SECRET}\r\ntransfer-encoding: gzip, chunked\r\n"),
    ] {
        seen += &all_answers(&shim, get_with("/", &format!("{lines}connection: close\r\n")));
    }
    seen += &origin.bytes();
    seen += &shim.metrics.render();
    assert!(!seen.contains(SECRET), "{seen}");
}

/// A page that may be lengthened, if who asks may ask.
fn page() -> Origin {
    Origin::answering("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\nok")
}

#[test]
fn r46_an_opt_in_counts_only_from_those_who_prove_themselves() {
    let origin = page();
    let shim = Shim::start(&config(vec![with_secret(origin.address)]));
    shim.health.cell("www", "fastly").set(true);
    let untouched = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\n";
    for secret in [
        "",
        "x-origin-shim-secret: \r\n",
        "x-origin-shim-secret: swordfish\r\n",
        "X-Origin-Shim-Secret: SWORDFISH-0123456789\r\n",
    ] {
        let lines = format!("x-push-invalidation: enabled\r\n{secret}");
        assert_eq!(shim.request(&get_with("/", &lines)).0, untouched, "{secret}");
        assert_eq!(header(&origin.received(), "x-push-invalidation"), None);
    }
    let lines = format!("x-push-invalidation: enabled\r\nx-origin-shim-secret: {SECRET}\r\n");
    let (head, _) = shim.request(&get_with("/", &lines));
    assert!(header(&head, "surrogate-control").unwrap().contains("172800"), "{head}");
    assert_eq!(header(&origin.received(), "x-push-invalidation"), Some("enabled"));

    // By address: that of the connection, not one that a header claims.
    let mut www = site(&[origin.address]);
    www.cdns = vec![cdn(CdnType::Fastly)];
    www.trust = Trust::Addresses(vec!["192.0.2.0/24".parse().unwrap()]);
    let shim = Shim::start(&config(vec![www]));
    shim.health.cell("www", "fastly").set(true);
    let lines = "x-push-invalidation: enabled\r\nx-forwarded-for: 192.0.2.1\r\nforwarded: for=192.0.2.1\r\n";
    assert_eq!(shim.request(&get_with("/", lines)).0, untouched);
}

/// A shim in front of an origin with this response, for a healthy CDN that opts in.
fn opted_in(response: &'static str, lines: &str) -> String {
    let origin = Origin::answering(response);
    let mut www = site(&[origin.address]);
    www.cdns = vec![cdn(CdnType::Fastly)];
    let shim = Shim::start(&config(vec![www]));
    shim.health.cell("www", "fastly").set(true);
    let mut client = shim.connect();
    let method = if lines.starts_with("POST") { "POST" } else { "GET" };
    let lines = lines.trim_start_matches("POST");
    client.send(format!(
        "{method} /account/x.css HTTP/1.1\r\nhost: www.example.com\r\nx-push-invalidation: enabled\r\n{lines}\r\n"
    ));
    client.head()
}

/// The long lifetime is for the CDN alone; a cache that shares a URL between those who opt in and those who do not has
/// no `Vary` to tell them apart, and needs none.
#[test]
fn r47_the_browser_gets_the_short_lifetime_and_no_vary() {
    let head = opted_in("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\nok", "");
    assert_eq!(header(&head, "cache-control"), Some("max-age=60"), "{head}");
    assert_eq!(header(&head, "surrogate-control"), Some("max-age=172800"), "{head}");
    assert_eq!(header(&head, "vary"), None);
    // Who does not opt in gets what the origin said.
    let origin = page();
    let mut www = site(&[origin.address]);
    www.cdns = vec![cdn(CdnType::Fastly)];
    let shim = Shim::start(&config(vec![www]));
    shim.health.cell("www", "fastly").set(true);
    let (head, _) = shim.request(&get("/"));
    assert_eq!(head, "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\n");
}

/// No edge lifetime is added, and the origin's caching headers stay.
#[track_caller]
fn not_lengthened(response: &'static str, lines: &str) {
    let head = opted_in(response, lines);
    assert_eq!(header(&head, "surrogate-control"), None, "{response:?} {lines:?}: {head}");
    let caching = |text: &str| header(text, "cache-control").map(str::to_owned);
    assert_eq!(caching(&head), caching(response), "{response:?} {lines:?}");
}

#[test]
fn r48_what_is_never_lengthened() {
    let ok = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\nok";
    let plain = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    not_lengthened(ok, "POSTcontent-length: 0\r\n");
    not_lengthened(ok, "authorization: Basic eA==\r\n");
    not_lengthened(plain, "cookie: session=1\r\n");
    for lines in [
        "cache-control: max-age=60\r\nset-cookie: a=1",
        "cache-control: private, max-age=60",
        "cache-control: max-age=0",
        "cache-control: s-maxage=0, max-age=60",
        "cache-control: max-age=60\r\nvary: *",
        "cache-control: max-age=60\r\nvary: cookie",
        "cache-control: max-age=60\r\nvary: accept-encoding, user-agent",
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{lines}\r\ncontent-length: 2\r\n\r\nok");
        not_lengthened(response.leak(), "");
    }
    for status in [
        "201 Created",
        "202 Accepted",
        "206 Partial Content\r\ncontent-range: bytes 0-1/9",
        "302 Found\r\nlocation: /x",
        "307 Temporary Redirect\r\nlocation: /x",
    ] {
        let response =
            format!("HTTP/1.1 {status}\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\nok");
        not_lengthened(response.leak(), "");
    }
    // With the origin's permission it is.
    let public = "HTTP/1.1 200 OK\r\ncache-control: public, max-age=60\r\ncontent-length: 2\r\n\r\nok";
    for lines in ["authorization: Basic eA==\r\n", "cookie: session=1\r\n"] {
        let head = opted_in(public, lines);
        assert_eq!(header(&head, "surrogate-control"), Some("max-age=172800"), "{lines}: {head}");
    }
}

#[test]
fn r49_errors_are_not_kept() {
    for (response, browser, edge) in [
        (
            "HTTP/1.1 500 No\r\ncache-control: max-age=60\r\ncontent-length: 0\r\n\r\n",
            "no-store",
            "max-age=0",
        ),
        ("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", "no-store", "max-age=0"),
        (
            "HTTP/1.1 401 No\r\ncache-control: max-age=60\r\ncontent-length: 0\r\n\r\n",
            "no-store",
            "max-age=0",
        ),
        (
            "HTTP/1.1 404 No\r\ncache-control: max-age=600\r\netag: \"1\"\r\ncontent-length: 0\r\n\r\n",
            "max-age=300",
            "max-age=300",
        ),
        ("HTTP/1.1 410 No\r\ncontent-length: 0\r\n\r\n", "no-cache", "max-age=300"),
    ] {
        let head = opted_in(response, "");
        let shown = format!("{response:?}: {head}");
        assert_eq!(header(&head, "cache-control"), Some(browser), "{shown}");
        assert_eq!(header(&head, "surrogate-control"), Some(edge), "{shown}");
        assert_eq!(header(&head, "etag"), None, "{shown}");
        if status(&head) == 404 {
            assert!(header(&head, "surrogate-key").is_some(), "a 404 that is kept must be purgeable: {head}");
        }
    }
    // Errors of ours: no lifetime for anybody, opted in or not.
    let mut www = site(&[nowhere()]);
    www.cdns = vec![cdn(CdnType::Fastly)];
    let shim = Shim::start(&config(vec![www]));
    shim.health.cell("www", "fastly").set(true);
    for lines in ["", "x-push-invalidation: enabled\r\n"] {
        let (head, _) = shim.request(&get_with("/", lines));
        assert_eq!((status(&head), header(&head, "cache-control")), (502, Some("no-store")));
        assert_eq!(header(&head, "surrogate-control"), None);
    }
}

/// Fastly reads neither word, and would keep the page for its fallback TTL.
#[test]
fn r48_what_is_forbidden_is_said_in_the_words_of_the_cdn() {
    for word in ["no-store", "no-cache"] {
        let response = format!("HTTP/1.1 200 OK\r\ncache-control: {word}\r\ncontent-length: 2\r\n\r\nok");
        let head = opted_in(response.leak(), "");
        assert_eq!(header(&head, "cache-control"), Some(&*format!("private, {word}")), "{head}");
        assert_eq!(header(&head, "surrogate-control"), Some("max-age=0"), "{head}");
    }
}

/// `/account/x.css` is the account page to many an application: nothing is decided by how a path ends.
#[test]
fn r50_an_extension_decides_nothing() {
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nok";
    not_lengthened(page, "cookie: session=1\r\n");
    let private =
        "HTTP/1.1 200 OK\r\ncontent-type: text/css\r\ncache-control: private\r\ncontent-length: 2\r\n\r\nok";
    not_lengthened(private, "");
}
