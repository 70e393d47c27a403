//! Header fields that end at this hop, that strangers may not set, and that the shim generates.

use crate::harness::in_process::{Shim, cdn, config, site};
use crate::harness::recorder::{Recorder, forwarded, recorded, refused, refused_kindly, sorted};
use crate::harness::scripted::Origin;
use crate::harness::wire::{get, get_with, header};
use origin_shim::rewrite::CdnType;

#[test]
fn r15_hop_by_hop_headers_and_what_connection_names() {
    let (origin, shim) = recorded();
    let lines = "connection: keep-alive, x-hop, X-Other\r\nkeep-alive: timeout=5\r\nx-hop: 1\r\nx-other: 1\r\n\
                 te: gzip\r\ntrailer: host\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\
                 proxy-connection: keep-alive\r\nproxy-authorization: Basic eA==\r\nproxy-authenticate: x\r\nx-end: 1\r\n";
    assert_eq!(shim.request(&get_with("/", lines)).1, "ok");
    assert_eq!(sorted(&origin.bytes()), sorted(&forwarded("GET /", "x-end: 1\r\n", "")));
    for name in [
        "host",
        "content-length",
        "authorization",
        "cookie",
        "cache-control",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-anything",
        "forwarded",
        "via",
        "cdn-loop",
        "x-push-invalidation",
        "X-BYO-CDN-Type",
        "x-origin-shim-secret",
    ] {
        refused(get_with("/", &format!("connection: close, {name}\r\n")), 400);
    }
}

#[test]
fn r15_hop_by_hop_headers_of_responses() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nconnection: x-hop, cache-control, set-cookie\r\nx-hop: 1\r\nkeep-alive: 5\r\n\
         proxy-authenticate: x\r\ntrailer: x\r\nupgrade: h2c\r\ncache-control: private\r\nset-cookie: a=1\r\n\
         content-length: 0\r\n\r\n",
    );
    let shim = Shim::before(&origin);
    let (head, _) = shim.request(&get("/"));
    let left = "HTTP/1.1 200 OK\r\ncache-control: private\r\nset-cookie: a=1\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(sorted(&head), sorted(left));
}

const FORGED: &str = "x-forwarded-for: 10.0.0.1\r\nx-forwarded-host: other.test\r\nx-forwarded-proto: https\r\n\
                      x-forwarded-port: 1\r\nforwarded: for=10.0.0.1\r\nx-real-ip: 10.0.0.1\r\ntrue-client-ip: 10.0.0.1\r\n\
                      cf-connecting-ip: 10.0.0.1\r\nfastly-client-ip: 10.0.0.1\r\ntraceparent: 00-1-2-01\r\n\
                      x-request-id: mine\r\n";

#[test]
fn r16_who_the_client_is_strangers_do_not_say() {
    let (origin, shim) = recorded();
    assert_eq!(shim.request(&get_with("/", FORGED)).1, "ok");
    assert_eq!(sorted(&origin.bytes()), sorted(&forwarded("GET /", "", "")));

    // A hop that is trusted is believed, and we append to its list.
    let origin = Recorder::start();
    let mut config = config(vec![site(&[origin.address])]);
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let shim = Shim::start(&config);
    shim.request(&get_with("/", &FORGED.replace("x-request-id: mine\r\n", "")));
    let bytes = origin.bytes();
    for line in [
        "x-forwarded-for: 10.0.0.1, 127.0.0.1",
        "x-forwarded-host: other.test",
        "x-forwarded-proto: https",
        "forwarded: for=10.0.0.1, for=127.0.0.1;host=www.example.com;proto=http",
        "x-real-ip: 10.0.0.1",
        "traceparent: 00-1-2-01",
    ] {
        assert!(bytes.contains(&format!("\r\n{line}\r\n")), "{line}\n{bytes}");
    }
}

#[test]
fn r17_aliases_of_checked_names() {
    let (origin, shim) = recorded();
    let lines = "x_push_invalidation: enabled\r\nx_forwarded_for: 10.0.0.1\r\nX_Real_IP: 10.0.0.1\r\n\
                 content_length: 5\r\ntransfer_encoding: chunked\r\nx-forwarded_proto: https\r\nx_origin-shim_secret: x\r\n\
                 my_header: 1\r\n";
    assert_eq!(shim.request(&get_with("/", lines)).1, "ok");
    assert_eq!(sorted(&origin.bytes()), sorted(&forwarded("GET /", "my_header: 1\r\n", "")));
}

#[test]
fn r18_an_opt_in_is_one_word() {
    for lines in [
        "x-push-invalidation: enabled\r\nx-push-invalidation: enabled\r\n",
        "x-push-invalidation: enabled, enabled\r\n",
        "x-push-invalidation: enabled\r\nX-Push-Invalidation: disabled\r\n",
        "x-push-invalidation: \"enabled\"\r\n",
        "x-push-invalidation: enabled;q=1\r\n",
        "x-push-invalidation: true\r\n",
    ] {
        let origin = Recorder::start();
        let mut www = site(&[origin.address]);
        www.cdns = vec![cdn(CdnType::Fastly)];
        let shim = Shim::start(&config(vec![www]));
        shim.health.cell("www", "fastly").set(true);
        let (head, _) = shim.request(&get_with("/", lines));
        assert_eq!(head, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", "{lines}");
        assert!(!origin.bytes().contains("push-invalidation"), "{}", origin.bytes());
    }
}

/// Tags come from the origin, rules and paths: whatever they hold, a header of ours is one line of its separator's
/// words.
#[test]
fn r37_generated_values_split_nothing() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nsurrogate-key: a\tb \"c\",d ~ é e\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\nok",
    );
    let mut www = site(&[origin.address]);
    www.cdns = vec![cdn(CdnType::Fastly), cdn(CdnType::Varnish), cdn(CdnType::Cloudflare)];
    let shim = Shim::start(&config(vec![www]));
    for (name, tags) in [("fastly", "surrogate-key"), ("varnish", "xkey"), ("cloudflare", "cache-tag")] {
        shim.health.cell("www", name).set(true);
        let target = "/a%0d%0aset-cookie:%20x=1/%0a";
        let lines = format!("x-push-invalidation: enabled\r\nx-byo-cdn-type: {name}\r\n");
        let mut client = shim.connect();
        let (head, body) = client.request(&get_with(target, &lines));
        assert_eq!(body, "ok");
        assert!(origin.received().starts_with(&format!("GET {target} HTTP/1.1\r\n")));
        assert_eq!(header(&head, "set-cookie"), None, "{head}");
        let value = header(&head, tags).unwrap_or_else(|| panic!("no {tags} in {head}"));
        assert!(value.bytes().all(|b| (b' '..=b'~').contains(&b)), "{value}");
    }
}

#[test]
fn r38_via_and_loops() {
    let (origin, shim) = recorded();
    let lines = "via: 1.1 edge\r\ncdn-loop: Fastly; v=1\r\n";
    assert_eq!(shim.request(&get_with("/", lines)).1, "ok");
    let bytes = origin.bytes();
    let all = |name: &str| {
        bytes
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("{name}: ")))
            .collect::<Vec<_>>()
            .join(", ")
    };
    assert_eq!(all("via"), "1.1 edge, 1.1 origin-shim");
    assert_eq!(all("cdn-loop"), "Fastly; v=1, origin-shim-test");
    for seen in [
        "origin-shim-test",
        "Fastly, origin-shim-test",
        "Origin-Shim-Test;v=2, Fastly",
        "a,origin-shim-test ;x",
    ] {
        refused_kindly(&get_with("/", &format!("cdn-loop: {seen}\r\n")), 508);
    }
    refused_kindly(&get_with("/", "cdn-loop: a\r\ncdn-loop: origin-shim-test\r\n"), 508);
    // Another installation's shim on the way is no loop.
    for other in ["origin-shim-other", "origin-shim", "origin-shim-test-2"] {
        assert_eq!(shim.request(&get_with("/", &format!("cdn-loop: {other}\r\n"))).1, "ok", "{other}");
        assert!(origin.bytes().contains(&format!("cdn-loop: {other}\r\n")));
    }
}
