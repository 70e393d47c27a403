//! The data plane between a client and an origin, tested by the bytes that each of them receives.

#![allow(clippy::unwrap_used)]

use crate::harness::in_process::{Shim, cdn, config, site};
use crate::harness::scripted::{Origin, Served};
use crate::harness::wire::{LIMIT, get, get_with, header, nowhere, status};
use origin_shim::config::{Mode, Trust, secret::Secret};
use origin_shim::rewrite::{CdnType, Conditional};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

/// Returns a head without the values that differ from run to run.
fn fixed(head: &str) -> String {
    let lines = head.lines().map(|line| match line.split_once(": ") {
        Some(("x-request-id", id)) => {
            assert_eq!(id.len(), 32, "{id}");
            "x-request-id: ID".to_owned()
        }
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_not_opted_in_passes_header_for_header() {
    let origin = Origin::answering(
        "HTTP/1.1 200 Fine By Me\r\nserver: test\r\ncache-control: max-age=60, x-y=\"z\"\r\nset-cookie: a=1\r\n\
         set-cookie: b=2\r\nsurrogate-key: one two\r\netag: \"1\"\r\nvary: *\r\nx-empty: \r\n\
         expires: Thu, 01 Jan 1970 00:00:00 GMT\r\nage: 5\r\ncontent-length: 5\r\n\r\nhello",
    );
    let shim = Shim::before(&origin);
    let (head, body) = shim.request(&get_with("/a/../b?c=%20", "accept: */*\r\nuser-agent: test\r\n"));
    insta::assert_snapshot!(fixed(&head), @r#"
    HTTP/1.1 200 Fine By Me
    server: test
    cache-control: max-age=60, x-y="z"
    set-cookie: a=1
    set-cookie: b=2
    surrogate-key: one two
    etag: "1"
    vary: *
    x-empty: 
    expires: Thu, 01 Jan 1970 00:00:00 GMT
    age: 5
    content-length: 5
    "#);
    assert_eq!(body, "hello");
    insta::assert_snapshot!(fixed(&origin.received()), @r"
    GET /a/../b?c=%20 HTTP/1.1
    host: origin.test
    accept: */*
    user-agent: test
    via: 1.1 origin-shim
    cdn-loop: origin-shim-test
    x-request-id: ID
    x-forwarded-for: 127.0.0.1
    x-forwarded-host: www.example.com
    x-forwarded-proto: http
    forwarded: for=127.0.0.1;host=www.example.com;proto=http
    ");
    shim.counts(
        r#"origin_shim_requests_total{site="www",status="2xx",decision="untouched",reason="not-opted-in"} 1"#,
    );
}

#[test]
fn hop_by_hop_headers_end_here_in_both_directions() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nconnection: keep-alive, x-hop\r\nkeep-alive: timeout=5\r\nx-hop: 1\r\n\
         proxy-authenticate: Basic\r\nupgrade: h2c\r\ntrailer: x-t\r\nx-end: 1\r\ncontent-length: 0\r\n\r\n",
    );
    let shim = Shim::before(&origin);
    let hops = "connection: x-hop, te\r\nte: gzip\r\nx-hop: 1\r\nkeep-alive: 5\r\nproxy-authorization: x\r\n\
                upgrade: websocket\r\nx-end: 1\r\n";
    let (head, _) = shim.request(&get_with("/", hops));
    assert_eq!(head, "HTTP/1.1 200 OK\r\nx-end: 1\r\ncontent-length: 0\r\n\r\n");
    let received = origin.received();
    // A refused upgrade leaves an ordinary connection.
    let mut client = shim.connect();
    for _ in 0..2 {
        assert_eq!(status(&client.request(&get_with("/", "connection: upgrade\r\nupgrade: h2c\r\n")).0), 200);
    }
    for gone in ["connection", "te", "x-hop", "keep-alive", "proxy-authorization", "upgrade"] {
        assert_eq!(header(&received, gone), None, "{received}");
    }
    assert_eq!(header(&received, "x-end"), Some("1"));
}

#[test]
fn targets_reach_the_origin_as_they_are() {
    let origin = Origin::ok();
    let shim = Shim::before(&origin);
    let reached = |line: &str| {
        let (head, _) = shim.request(&format!("{line} HTTP/1.1\r\nhost: www.example.com\r\n\r\n"));
        assert_eq!(status(&head), 200, "{line}");
        origin.received().lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(reached("OPTIONS *"), "OPTIONS * HTTP/1.1");
    assert_eq!(reached("GET /a/%2e%2E/..//b;c?d=%00&e"), "GET /a/%2e%2E/..//b;c?d=%00&e HTTP/1.1");
    assert_eq!(reached("GET //other.test/x"), "GET //other.test/x HTTP/1.1");
    assert_eq!(reached("GET http://www.example.com/x?y"), "GET /x?y HTTP/1.1");
    assert_eq!(reached("BREW /pot"), "BREW /pot HTTP/1.1");
}

#[test]
fn pooled_connections_are_used_again() {
    let origin = Origin::ok();
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    for _ in 0..5 {
        assert_eq!(client.request(&get("/")).1, "ok");
    }
    // Another client of the same worker uses the same pooled connections.
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(origin.connections(), 1);
    shim.counts(r#"origin_shim_origin_connections_total{site="www"} 1"#);
    shim.counts(r#"origin_shim_connections{listener="plain"} 1"#);
    shim.counts("origin_shim_requests_in_flight 0");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::playing(|served| {
        while let Some((head, _)) = served.request() {
            let path = head.split(' ').nth(1).unwrap();
            served.wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len()));
        }
    });
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client.send([get("/1"), get("/2"), get("/3")].concat());
    assert_eq!([client.response().1, client.response().1, client.response().1], ["/1", "/2", "/3"]);
}

#[test]
fn a_stale_pooled_connection_is_replaced_once_and_only_for_requests_that_may_be_repeated() {
    // The first connection answers one request and ends at the second one.
    let script = |served: &mut Served| {
        let once = served.number == 0;
        served.request();
        served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        served.request();
        if !once {
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nagain");
        }
        served.wire.shutdown();
    };
    let origin = Origin::playing(script);
    let shim = Shim::before(&origin);
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(origin.connections(), 2);
    shim.counts(r#"origin_shim_origin_retries_total{site="www"} 1"#);

    for once in [
        "POST / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 1\r\n\r\nx",
        "DELETE / HTTP/1.1\r\nhost: www.example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 1\r\n\r\nx",
    ] {
        let origin = Origin::playing(script);
        let shim = Shim::before(&origin);
        assert_eq!(shim.request(&get("/")).1, "ok");
        assert_eq!(status(&shim.request(once).0), 502, "{once}");
        assert_eq!(origin.connections(), 1);
        shim.counts(r#"origin_shim_origin_errors_total{site="www",kind="closed"} 1"#);
    }
}

#[test]
fn an_origin_that_takes_no_connection_is_passed_over_whatever_the_request() {
    let origin = Origin::ok();
    let shim = Shim::start(&config(vec![site(&[nowhere(), origin.address])]));
    let post = "POST / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 4\r\n\r\nbody";
    assert_eq!(shim.request(post).1, "ok");
    assert_eq!(header(&origin.received(), "content-length"), Some("4"));
    shim.counts(r#"origin_shim_origin_errors_total{site="www",kind="connect"} 1"#);
}

#[test]
fn the_opt_in_reaches_the_origin_only_from_those_who_may_say_it() {
    let origin = Origin::ok();
    let mut www = site(&[origin.address]);
    www.trust = Trust::Secret(Secret::new("swordfish"));
    www.cdns = vec![cdn(CdnType::Fastly)];
    let shim = Shim::start(&config(vec![www]));
    let reached = |lines: &str| {
        shim.request(&get_with("/", lines));
        let received = origin.received();
        assert!(!received.contains("swordfish"));
        header(&received, "x-push-invalidation").map(str::to_owned)
    };
    assert_eq!(
        reached("x-push-invalidation: enabled\r\nx-origin-shim-secret: swordfish\r\n"),
        Some("enabled".into())
    );
    assert_eq!(reached("x-push-invalidation: enabled\r\nx-origin-shim-secret: guess\r\n"), None);
    assert_eq!(reached("x-push-invalidation: enabled\r\n"), None);
    shim.counts(
        r#"origin_shim_requests_total{site="www",status="2xx",decision="untouched",reason="opt-in-untrusted"} 2"#,
    );
}

#[test]
fn modes_and_missing_cdns_leave_responses_alone() {
    let check = |mode, cdns: &[CdnType], reason: &str| {
        let origin =
            Origin::answering("HTTP/1.1 200 OK\r\ncache-control: max-age=9\r\ncontent-length: 2\r\n\r\nok");
        let mut www = site(&[origin.address]);
        www.mode = mode;
        www.cdns = cdns.iter().copied().map(cdn).collect();
        let shim = Shim::start(&config(vec![www]));
        let (head, _) = shim.request(&get_with("/", "x-push-invalidation: enabled\r\n"));
        assert_eq!(head, "HTTP/1.1 200 OK\r\ncache-control: max-age=9\r\ncontent-length: 2\r\n\r\n");
        shim.counts(&format!(
            r#"origin_shim_requests_total{{site="www",status="2xx",decision="untouched",reason="{reason}"}} 1"#
        ));
        shim.metrics.render()
    };
    check(Mode::On, &[], "no-cdn");
    check(Mode::Off, &[CdnType::Fastly], "mode-off");
    let text = check(Mode::Observe, &[CdnType::Fastly], "mode-observe");
    assert!(text.contains("origin_shim_observed_decisions_total{site=\"www\""), "{text}");
}

#[test]
fn opted_in_requests_of_a_known_cdn_reach_the_rewriting() {
    let origin = Origin::ok();
    let mut www = site(&[origin.address]);
    www.cdns = vec![cdn(CdnType::Fastly)];
    let shim = Shim::start(&config(vec![www]));
    shim.health.cell("www", "fastly").set(true);
    shim.request(&get_with("/", "x-push-invalidation: enabled\r\n"));
    shim.counts(r#"origin_shim_request_duration_seconds_count{site="www"} 1"#);
    let text = shim.metrics.render();
    let own =
        ["not-opted-in", "opt-in-untrusted", "no-cdn", "mode-off", "cdn-in-dispute", "purging-unhealthy"];
    assert!(!own.iter().any(|reason| text.contains(&format!("reason=\"{reason}\""))), "{text}");
}

#[test]
fn the_origin_answers_whole_to_whoever_is_believed() {
    let conditions = |mode: Mode, cdn_type: &str, conditional: Conditional| {
        let origin = Origin::ok();
        let mut www = site(&[origin.address]);
        www.mode = mode;
        www.policy.conditional = conditional;
        www.cdns = vec![cdn(CdnType::Akamai), cdn(CdnType::Fastly)];
        let shim = Shim::start(&config(vec![www]));
        let lines =
            format!("x-push-invalidation: enabled\r\nx-byo-cdn-type: {cdn_type}\r\nif-none-match: \"1\"\r\n");
        shim.request(&get_with("/", &lines));
        header(&origin.received(), "if-none-match").map(str::to_owned)
    };
    use Conditional::{Pass, Strip};
    assert_eq!(conditions(Mode::On, "akamai", Strip), None);
    assert_eq!(conditions(Mode::On, "akamai", Pass), None, "it takes no tags from a 304");
    assert_eq!(conditions(Mode::On, "fastly", Strip), None);
    assert_eq!(conditions(Mode::On, "fastly", Pass), Some("\"1\"".into()));
    assert_eq!(conditions(Mode::Observe, "akamai", Strip), Some("\"1\"".into()));
}

#[test]
fn where_it_cannot_be_told_who_asked_the_tags_of_each_are_sent() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\ncache-control: max-age=900\r\nsurrogate-key: t\r\ncontent-length: 2\r\n\r\nok",
    );
    let mut www = site(&[origin.address]);
    www.cdns = CdnType::ALL.map(cdn).to_vec();
    let shim = Shim::start(&config(vec![www]));
    for lines in
        ["", "cf-worker: x\r\nvia: 1.1 akamai\r\n", "via: 1.1 varnish\r\n", "x-byo-cdn-type: bunny\r\n"]
    {
        let (head, _) = shim.request(&get_with("/", &format!("x-push-invalidation: enabled\r\n{lines}")));
        for name in ["surrogate-key", "edge-cache-tag", "cache-tag", "xkey"] {
            assert!(
                header(&head, name).is_some_and(|tags| tags.contains("site-www")),
                "{lines}{name}: {head}"
            );
        }
        assert_eq!(header(&head, "cache-control"), Some("max-age=300, s-maxage=300"), "{head}");
        assert_eq!(header(&head, "surrogate-control"), Some("max-age=300"), "{head}");
        assert_eq!(header(&head, "cloudflare-cdn-cache-control"), Some("max-age=300"), "{head}");
        let akamai = "!no-store, max-age=300s, downstream-ttl=300s";
        assert_eq!(header(&head, "edge-control"), Some(akamai), "{head}");
    }
    shim.counts(r#"origin_shim_requests_total{site="www",status="2xx",decision="fallback",reason="cdn-in-dispute"} 4"#);
}

#[test]
fn a_reload_changes_the_next_request_and_not_the_one_under_way() {
    let (arrived, seen) = channel();
    let (go, gate) = channel::<()>();
    let (arrived, gate) = (Mutex::new(arrived), Mutex::new(gate));
    let origin = Origin::playing(move |served| {
        while served.request().is_some() {
            arrived.lock().unwrap().send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client.send(get("/"));
    seen.recv_timeout(LIMIT).unwrap();

    let mut other = site(&[origin.address]);
    other.name = "other".into();
    other.hosts = vec!["other.example.com".into()];
    shim.plane.reload(&config(vec![other])).unwrap();
    go.send(()).unwrap();
    assert_eq!(client.response().1, "ok");
    shim.counts(
        r#"origin_shim_requests_total{site="www",status="2xx",decision="untouched",reason="not-opted-in"} 1"#,
    );
    assert_eq!(status(&client.request(&get("/")).0), 421);
}

#[test]
fn draining_finishes_what_was_begun_and_takes_nothing_new() {
    let (arrived, seen) = channel();
    let (go, gate) = channel::<()>();
    let (arrived, gate) = (Mutex::new(arrived), Mutex::new(gate));
    let origin = Origin::playing(move |served| {
        while served.request().is_some() {
            arrived.lock().unwrap().send(()).unwrap();
            gate.lock().unwrap().recv().unwrap();
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let shim = Shim::before(&origin);
    let (mut busy, mut idle) = (shim.connect(), shim.connect());
    go.send(()).unwrap();
    idle.request(&get("/"));
    seen.recv_timeout(LIMIT).unwrap();
    busy.send(get("/"));
    seen.recv_timeout(LIMIT).unwrap();

    let address = shim.address();
    shim.plane.drain(LIMIT);
    // The idle connection ends at once. The busy one announces its end in its response, and then ends.
    assert_eq!(idle.rest(), "");
    go.send(()).unwrap();
    let (head, body) = busy.response();
    assert_eq!((header(&head, "connection"), body.as_str()), (Some("close"), "ok"));
    assert_eq!(busy.rest(), "");
    shim.plane.join().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn draining_aborts_at_the_deadline() {
    let origin = Origin::playing(|served| {
        served.request();
        // This origin never answers. It only waits for the end of its connection.
        served.wire.rest();
    });
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client.send(get("/"));
    origin.received();
    shim.plane.drain(Duration::ZERO);
    shim.plane.join().unwrap();
    assert_eq!(client.rest(), "");
}

#[test]
fn an_address_in_use_is_named_before_anything_starts() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(vec![]);
    config.server.listen = vec![taken.local_addr().unwrap()];
    let metrics = std::sync::Arc::new(origin_shim::metrics::Metrics::new(1));
    let shared = origin_shim::proxy::Shared::new(&config, metrics, Default::default()).unwrap();
    // The caller may run on a runtime, so this call does, too.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let refused = runtime.block_on(async { origin_shim::listen::spawn(&config, shared).unwrap_err() });
    assert_eq!(refused.to_string(), format!("cannot listen on {}", taken.local_addr().unwrap()));
}

#[test]
fn several_workers_serve_one_address() {
    let origin = Origin::ok();
    let mut config = config(vec![site(&[origin.address])]);
    config.server.workers = 3;
    let shim = Shim::start(&config);
    for _ in 0..24 {
        assert_eq!(shim.request(&get("/")).1, "ok");
    }
    // Each worker has its own pool.
    assert!((1..=3).contains(&origin.connections()), "{}", origin.connections());
    shim.plane.drain(LIMIT);
    shim.plane.join().unwrap();
}
