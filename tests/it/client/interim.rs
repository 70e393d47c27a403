//! Interim responses (RFC 9110 §15.2): each is passed on as soon as it arrives, in each pair of HTTP versions, and
//! has no effect on the response that follows.

use crate::harness::in_process::{Shim, cdn, config, site};
use crate::harness::pairs::{Fields, Http1, Http2, PAIRS, Part, Played, request, whole};
use crate::harness::scripted::Origin;
use crate::harness::wire::{LIMIT, get, status};
use origin_shim::rewrite::CdnType;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

const HINTS: Fields = &[("link", "</a.css>; rel=preload"), ("link", "</b.js>; rel=preload"), ("x", "1")];
const LINKS: &str = "103 link=</a.css>; rel=preload link=</b.js>; rel=preload x=1";

fn next(response: &Receiver<String>) -> String {
    response.recv_timeout(LIMIT).unwrap()
}

#[test]
fn r35_hints_arrive_before_the_origin_has_answered() {
    for (client, origin) in PAIRS {
        let parts = &[
            Part::Head(100, &[("x", "not asked for")]),
            Part::Head(102, &[]),
            Part::Head(103, HINTS),
            Part::Wait,
            Part::Head(104, &[]),
            Part::Head(200, &[("etag", "1")]),
            Part::Data("ok"),
            Part::End,
        ];
        let played = Played::start(origin, parts);
        let shim = Shim::start(&played.config(origin));
        let response = request(client, shim.address(), &[], &[]);
        assert_eq!(
            (next(&response).as_str(), next(&response).as_str()),
            ("102", LINKS),
            "{client:?} {origin:?}"
        );
        // Only now does the origin answer.
        played.goes_on();
        assert_eq!(whole(&response), ["104", "200 etag=1", "ok"], "{client:?} {origin:?}");
        let counted = r#"origin_shim_requests_total{site="www",status="2xx",decision="untouched",reason="not-opted-in"} 1"#;
        shim.counts(counted);
    }
}

/// HTTP/1.0 has no interim responses (RFC 9110 §15.2).
#[test]
fn r35_old_clients_get_none() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client.send("GET / HTTP/1.0\r\nhost: www.example.com\r\n\r\n");
    assert_eq!(client.rest(), "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
}

/// What belongs to the origin's connection ends there, and no interim response is framed: whoever believed the length
/// of one would take the response for its body.
#[test]
fn r35_nothing_of_the_connection_and_no_framing_goes_on() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nconnection: close, x-hop\r\nx-hop: 1\r\nkeep-alive: 5\r\ncontent-length: 99\r\n\
         transfer-encoding: chunked\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    for _ in 0..2 {
        client.send(get("/"));
        assert_eq!(client.head(), "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
        assert_eq!(
            client.response(),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n".to_owned(), "ok".to_owned())
        );
    }
    assert_eq!(origin.connections(), 1);
    let response = request(Http2, shim.address(), &[], &[]);
    assert_eq!(whole(&response), ["103 link=</a>", "200", "ok"]);
}

/// The final response has lifetimes and tags of ours; the hints before it have neither the origin's nor ours.
#[test]
fn r35_hints_have_no_part_in_the_rewriting() {
    const SAID: Fields = &[
        ("cache-control", "max-age=99"),
        ("surrogate-control", "max-age=99"),
        ("surrogate-key", "early"),
        ("age", "1"),
        ("link", "</a>"),
    ];
    const PAGE: Fields = &[("cache-control", "max-age=60"), ("surrogate-key", "late")];
    const OPTED_IN: Fields = &[("x-push-invalidation", "enabled")];
    for (client, origin) in PAIRS {
        let parts = &[Part::Head(103, SAID), Part::Head(200, PAGE), Part::Data("ok"), Part::End];
        let played = Played::start(origin, parts);
        let mut config = played.config(origin);
        Arc::make_mut(&mut config.sites[0]).cdns = vec![cdn(CdnType::Fastly)];
        let shim = Shim::start(&config);
        shim.health.cell("www", "fastly").set(true);
        let [hints, _, body] = &whole(&request(client, shim.address(), OPTED_IN, &[]))[..] else {
            panic!("{client:?} {origin:?}")
        };
        assert_eq!((hints.as_str(), body.as_str()), ("103 link=</a>", "ok"), "{client:?} {origin:?}");
        // Whoever did not opt in gets what the origin says.
        let plain = whole(&request(client, shim.address(), &[], &[]));
        let all: String = SAID.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        assert_eq!(plain[0], format!("103{all}"), "{client:?} {origin:?}");
    }
}

#[test]
fn r35_too_many_and_too_large_are_no_response() {
    const HINT: Part = Part::Head(103, HINTS);
    const MANY: [Part; 19] = {
        let mut parts = [HINT; 19];
        (parts[16], parts[17], parts[18]) = (Part::Head(200, &[]), Part::Data("ok"), Part::End);
        parts
    };
    const TOO_MANY: [Part; 19] = {
        let mut parts = [HINT; 19];
        (parts[17], parts[18]) = (Part::Head(200, &[]), Part::End);
        parts
    };
    const FIELDS: [(&str, &str); 257] = [("x", "1"); 257];
    for (client, origin) in PAIRS {
        let statuses = |parts: &'static [Part]| {
            let played = Played::start(origin, parts);
            let shim = Shim::start(&played.config(origin));
            let parts = whole(&request(client, shim.address(), &[], &[]));
            let statuses = parts.iter().filter_map(|part| part.get(..3)?.parse::<u16>().ok());
            statuses.filter(|status| *status > 103).map(|status| (status, parts.len())).next()
        };
        assert_eq!(statuses(&MANY), Some((200, 18)), "{client:?} {origin:?}");
        let refused = statuses(&TOO_MANY).map(|(status, _)| status);
        assert_eq!(refused, Some(502), "{client:?} {origin:?}");
        let refused = statuses(&[Part::Head(103, &FIELDS), Part::Head(200, &[]), Part::End]);
        assert_eq!(refused.map(|(status, _)| status), Some(502), "{client:?} {origin:?}");
    }
}

/// The 100 is ours, and comes when the body is wanted; the origin's hints follow it whole.
#[test]
fn r35_a_client_that_waits_for_100_gets_it_once() {
    let parts =
        &[Part::Head(100, &[]), Part::Head(103, HINTS), Part::Head(200, &[]), Part::Data("ok"), Part::End];
    for origin in [Http1, Http2] {
        let played = Played::start(origin, parts);
        let shim = Shim::start(&played.config(origin));
        let mut client = shim.connect();
        let lines = "expect: 100-continue\r\ncontent-length: 4\r\n";
        client.send(format!("PUT / HTTP/1.1\r\nhost: www.example.com\r\n{lines}\r\n"));
        assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
        client.send("body");
        assert_eq!(played.received(), "body");
        assert_eq!(status(&client.head()), 103, "{origin:?}");
        assert_eq!(client.response().1, "ok");
    }
}

/// After a hint the origin is at work: nothing is sent to it, or to another one, again.
#[test]
fn r35_what_was_begun_is_not_tried_again() {
    let origin = Origin::playing(|served| {
        served.head();
        served.wire.send("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
        served.wire.shutdown();
    });
    let spare = Origin::ok();
    let shim = Shim::start(&config(vec![site(&[origin.address, spare.address])]));
    let mut client = shim.connect();
    client.send(get("/"));
    assert_eq!(client.head(), "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    assert_eq!(status(&client.response().0), 502);
    assert_eq!((origin.connections(), spare.connections()), (1, 0));

    let frames = crate::harness::h2_origin::Frames::playing(|peer, _| {
        let (stream, _) = peer.next_request().unwrap();
        peer.respond(stream, &[(":status", "103"), ("link", "early")], false);
        peer.shutdown();
    });
    let shim = Shim::start(&crate::harness::h2_origin::http2(&[frames.address, frames.address]));
    let response = request(Http1, shim.address(), &[], &[]);
    let parts = whole(&response);
    assert_eq!(parts[0], "103 link=early");
    assert!(parts[1].starts_with("502"), "{parts:?}");
    assert_eq!(frames.connections(), 1);
}
