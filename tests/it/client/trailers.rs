//! Trailers (RFC 9110 §6.5), in both directions and in each pair of HTTP versions: which of them are passed on, which
//! are dropped, and that none ever becomes a header field.

use crate::harness::in_process::{Shim, cdn};
use crate::harness::pairs::{Fields, Http1, Http2, PAIRS, Part, Played, request, whole};
use crate::harness::recorder::recorded;
use crate::harness::scripted::Origin;
use crate::harness::wire::{LIMIT, get, get_with};
use origin_shim::guard::{JobItems, Question, Report};
use origin_shim::rewrite::CdnType;
use std::sync::Arc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const TE: Fields = &[("te", "trailers")];
const SUMS: Fields = &[("x-sum", "1"), ("grpc-status", "0"), ("x-sum", "2")];

#[test]
fn r36_trailers_go_on_in_both_directions() {
    const REQUEST: &[Part] = &[Part::Data("ping"), Part::Trailers(SUMS)];
    const ASKING: Fields = &[("te", "trailers"), ("trailer", "x-sum, host")];
    const SAID: Fields = &[("trailer", "X-Sum, Set-Cookie, grpc-status")];
    for (client, origin) in PAIRS {
        let parts = &[Part::Head(200, SAID), Part::Data("pong"), Part::Trailers(SUMS)];
        let played = Played::start(origin, parts);
        let shim = Shim::start(&played.config(origin));
        let response = whole(&request(client, shim.address(), ASKING, REQUEST));
        // The values of a name stay together, in their order.
        let sums = "+x-sum=1 +x-sum=2 +grpc-status=0";
        assert_eq!(
            response,
            ["200 trailer=x-sum, grpc-status".to_owned(), format!("pong {sums}")],
            "{client:?} {origin:?}"
        );
        let hop = if origin == Http1 { "connection=te " } else { "" };
        assert_eq!(
            played.received(),
            format!("{hop}te=trailers trailer=x-sum ping {sums}"),
            "{client:?} {origin:?}"
        );
    }
}

/// Framing, routing, authentication, caching, and whatever else we read in heads.
const FORBIDDEN: Fields = &[
    ("content-length", "5"),
    ("host", "evil.test"),
    ("authorization", "Basic eA=="),
    ("set-cookie", "a=1"),
    ("cookie", "a=1"),
    ("cache-control", "max-age=99"),
    ("surrogate-control", "max-age=99"),
    ("surrogate-key", "a"),
    ("age", "0"),
    ("content-type", "text/html"),
    ("location", "/"),
    ("x-push-invalidation", "enabled"),
    ("x-origin-shim-secret", "x"),
    ("cdn-loop", "x"),
    ("via", "x"),
    ("expires", "0"),
    ("x", "1"),
];

#[test]
fn r36_what_would_mean_something_in_a_head_goes_nowhere() {
    for (client, origin) in PAIRS {
        let parts = &[Part::Head(200, &[]), Part::Data("ok"), Part::Trailers(FORBIDDEN)];
        let played = Played::start(origin, parts);
        let shim = Shim::start(&played.config(origin));
        let response =
            whole(&request(client, shim.address(), TE, &[Part::Data("ok"), Part::Trailers(FORBIDDEN)]));
        assert_eq!(response, ["200", "ok +x=1"], "{client:?} {origin:?}");
        assert!(played.received().ends_with("te=trailers ok +x=1"), "{client:?} {origin:?}");
    }
}

#[test]
fn r36_where_none_may_go_on_the_message_ends_without() {
    for (client, origin) in PAIRS {
        const ALONE: Fields = &[("content-length", "5")];
        let played = Played::start(origin, &[Part::Head(200, &[]), Part::Data("ok"), Part::Trailers(ALONE)]);
        let shim = Shim::start(&played.config(origin));
        let response =
            whole(&request(client, shim.address(), TE, &[Part::Data("ok"), Part::Trailers(ALONE)]));
        assert_eq!(response, ["200", "ok"], "{client:?} {origin:?}");
        assert!(played.received().ends_with("te=trailers ok"), "{client:?} {origin:?}");
    }
}

/// RFC 9110 §6.5.1: a client of HTTP/1.1 gets trailers only if it said that it takes some; in HTTP/2 there is always
/// room.
#[test]
fn r36_who_does_not_ask_gets_none_in_http_1() {
    const SAID: Fields = &[("trailer", "x-sum")];
    for (client, origin) in PAIRS {
        let played = Played::start(origin, &[Part::Head(200, SAID), Part::Data("ok"), Part::Trailers(SUMS)]);
        let shim = Shim::start(&played.config(origin));
        let response = whole(&request(client, shim.address(), &[], &[]));
        let expected = match client {
            Http1 => ["200", "ok"],
            Http2 => ["200 trailer=x-sum", "ok +x-sum=1 +x-sum=2 +grpc-status=0"],
        };
        assert_eq!(response, expected, "{client:?} {origin:?}");
        assert_eq!(played.received(), "", "{client:?} {origin:?}");
    }
    let origin = Played::start(Http1, &[Part::Head(200, SAID), Part::Data("ok"), Part::Trailers(SUMS)]);
    let shim = Shim::start(&origin.config(Http1));
    let mut client = shim.connect();
    client.send("GET / HTTP/1.0\r\nhost: www.example.com\r\nte: trailers\r\n\r\n");
    assert_eq!(client.rest(), "HTTP/1.0 200 x\r\nconnection: close\r\n\r\nok");
}

/// RFC 9110 §7.6.1: "header or trailer field(s)".
#[test]
fn r36_what_connection_nominates_ends_here_wherever_it_is() {
    let (origin, shim) = recorded();
    let request = "POST / HTTP/1.1\r\nhost: www.example.com\r\nconnection: x-hop\r\ntransfer-encoding: chunked\r\n\r\n\
                   2\r\nok\r\n0\r\nx-hop: 1\r\nx-end: 1\r\n\r\n";
    let mut client = shim.connect();
    assert_eq!(client.request(request).1, "ok");
    assert!(origin.bytes().ends_with("\r\n\r\n2\r\nok\r\n0\r\nx-end: 1\r\n\r\n"), "{}", origin.bytes());
    // What follows is the next request.
    assert_eq!(client.request(&get("/")).1, "ok");

    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nconnection: x-hop\r\ntransfer-encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nx-hop: 1\r\nx-end: 1\r\n\r\n",
    );
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    for _ in 0..2 {
        client.send(get_with("/", "te: trailers\r\nconnection: te\r\n"));
        assert_eq!(client.head(), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(client.exactly(22), "2\r\nok\r\n0\r\nx-end: 1\r\n\r\n");
    }
    assert_eq!(origin.connections(), 1);
}

/// A lengthened page without validators, as its head has it.
#[test]
fn r36_a_rewritten_response_gets_nothing_back_after_its_body() {
    const PAGE: Fields = &[("cache-control", "max-age=60"), ("etag", "1")];
    const AFTER: Fields = &[("etag", "2"), ("last-modified", "x"), ("surrogate-key", "t"), ("x-sum", "1")];
    const OPTED_IN: Fields = &[("x-push-invalidation", "enabled"), ("te", "trailers")];
    for (client, origin) in PAIRS {
        let played = Played::start(origin, &[Part::Head(200, PAGE), Part::Data("ok"), Part::Trailers(AFTER)]);
        let mut config = played.config(origin);
        Arc::make_mut(&mut config.sites[0]).cdns = vec![cdn(CdnType::Fastly)];
        let shim = Shim::start(&config);
        shim.health.cell("www", "fastly").set(true);
        assert_eq!(
            whole(&request(client, shim.address(), OPTED_IN, &[]))[1],
            "ok +x-sum=1",
            "{client:?} {origin:?}"
        );
        let plain = whole(&request(client, shim.address(), TE, &[]));
        assert_eq!(plain[1], "ok +etag=2 +last-modified=x +x-sum=1", "{client:?} {origin:?}");
    }
}

/// Trailers have the limits of the fields of a head.
#[test]
fn r36_trailers_have_limits() {
    const FEW: [(&str, &str); 100] = [("x", "1"); 100];
    const MANY: [(&str, &str); 101] = [("x", "1"); 101];
    const MOST: [(&str, &str); 256] = [("x", "1"); 256];
    const TOO_MANY: [(&str, &str); 257] = [("x", "1"); 257];
    for (client, origin) in PAIRS {
        let played = Played::start(origin, &[Part::Head(200, &[]), Part::End]);
        let shim = Shim::start(&played.config(origin));
        let sent = |parts| whole(&request(client, shim.address(), &[], parts));
        assert_eq!(sent(&[Part::Data("ok"), Part::Trailers(&FEW)])[0], "200", "{client:?} {origin:?}");
        assert_eq!(played.received(), format!("ok{}", " +x=1".repeat(100)), "{client:?} {origin:?}");
        let refused = sent(&[Part::Data("ok"), Part::Trailers(&MANY)]);
        assert!(refused[0].starts_with("400"), "{client:?} {origin:?}: {refused:?}");

        let answered = |parts: &'static [Part]| {
            let played = Played::start(origin, parts);
            let shim = Shim::start(&played.config(origin));
            let parts = whole(&request(client, shim.address(), TE, &[]));
            (parts.get(1).cloned(), shim)
        };
        let (body, _) = answered(&[Part::Head(200, &[]), Part::Data("ok"), Part::Trailers(&MOST)]);
        assert_eq!(body, Some(format!("ok{}", " +x=1".repeat(256))), "{client:?} {origin:?}");
        // No end, so no cache takes it for the whole.
        let (body, shim) = answered(&[Part::Head(200, &[]), Part::Data("ok"), Part::Trailers(&TOO_MANY)]);
        assert_eq!(body, None, "{client:?} {origin:?}");
        shim.counts(r#"origin_shim_origin_errors_total{site="www",kind="body"} 1"#);
    }
}

/// Asks the workers, as a purge of everything does, what is on its way to Fastly.
fn on_their_way(shim: &Shim) -> UnboundedReceiver<Report> {
    let (answers, mut reports) = unbounded_channel();
    let jobs = Arc::new([JobItems::new(CdnType::Fastly, [None].into_iter())]);
    let question = Question { site: 0, until_ms: i64::MAX, jobs, answers };
    assert_eq!(shim.health.freshness.ask(&question), 1);
    drop(question);
    assert_eq!(reports.blocking_recv(), Some(Report::Found(vec![(0, 0)])));
    reports
}

/// A response is on its way until its trailers are written: a purge that comes before them has to come again.
#[test]
fn r36_a_response_ends_after_its_trailers() {
    const PAGE: Fields = &[("cache-control", "max-age=60"), ("surrogate-key", "a")];
    const OPTED_IN: Fields = &[("x-push-invalidation", "enabled"), ("te", "trailers")];
    for (client, origin) in PAIRS {
        let parts = &[Part::Head(200, PAGE), Part::Data("ok"), Part::Wait, Part::Trailers(SUMS)];
        let played = Played::start(origin, parts);
        let mut config = played.config(origin);
        Arc::make_mut(&mut config.sites[0]).cdns = vec![cdn(CdnType::Fastly)];
        let shim = Shim::start(&config);
        shim.health.cell("www", "fastly").set(true);
        let response = request(client, shim.address(), OPTED_IN, &[]);
        assert!(response.recv_timeout(LIMIT).unwrap().starts_with("200 "));
        let mut reports = on_their_way(&shim);
        let mut again = on_their_way(&shim);
        for reports in [&mut reports, &mut again] {
            assert!(matches!(reports.try_recv(), Err(TryRecvError::Empty)), "{client:?} {origin:?}");
        }
        shim.counts("origin_shim_requests_in_flight 1");
        played.goes_on();
        assert_eq!(whole(&response), ["ok +x-sum=1 +x-sum=2 +grpc-status=0"], "{client:?} {origin:?}");
        for mut reports in [reports, again] {
            assert!(matches!(reports.blocking_recv(), Some(Report::Ends(_))), "{client:?} {origin:?}");
        }
        shim.counts("origin_shim_requests_in_flight 0");
    }
}
