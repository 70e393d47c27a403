//! Requests and responses that are not forwarded, tested by the status and by the bytes that reached the origin.

use crate::harness::in_process::{Shim, config, site};
use crate::harness::scripted::Origin;
use crate::harness::wire::{get, get_with, header, nowhere, status};
use std::time::Duration;

/// Sends raw bytes. Expects this status, one line of text that no cache may store, and no request at the origin.
#[track_caller]
fn refused(request: &str, expected: u16) {
    let origin = Origin::ok();
    let shim = Shim::before(&origin);
    let (head, body) = shim.request(request);
    assert_eq!(status(&head), expected, "{head}");
    assert_eq!(header(&head, "cache-control"), Some("no-store"), "{head}");
    assert!(header(&head, "proxy-status").unwrap().starts_with("origin-shim; error="), "{head}");
    assert!(body.ends_with(")\n") && body.lines().count() == 1, "{body}");
    assert!(origin.received_nothing());
    assert_eq!(origin.connections(), 0);
}

#[test]
fn hosts_and_targets() {
    refused("GET / HTTP/1.1\r\nhost: other.test\r\n\r\n", 421);
    refused("GET / HTTP/1.1\r\n\r\n", 400);
    refused("GET / HTTP/1.0\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\nhost: www.example.com\r\nhost: www.example.com\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\nhost: www.example.com\r\nhost: other.test\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\nhost: www.example.com/x\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\nhost: user@www.example.com\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\nhost: \r\n\r\n", 400);
    refused("GET http://other.test/ HTTP/1.1\r\nhost: www.example.com\r\n\r\n", 400);
    refused("GET http://www.example.com/ HTTP/1.1\r\nhost: other.test\r\n\r\n", 400);
    refused("GET ftp://www.example.com/ HTTP/1.1\r\nhost: www.example.com\r\n\r\n", 400);
    refused("GET a HTTP/1.1\r\nhost: www.example.com\r\n\r\n", 400);
    refused("GET * HTTP/1.1\r\nhost: www.example.com\r\n\r\n", 400);
    refused(&get(&format!("/{}", "x".repeat(8 * 1024))), 414);
}

#[test]
fn methods() {
    refused("TRACE / HTTP/1.1\r\nhost: www.example.com\r\n\r\n", 405);
    refused("CONNECT www.example.com:443 HTTP/1.1\r\nhost: www.example.com:443\r\n\r\n", 405);
    let origin = Origin::ok();
    let (head, _) = Shim::before(&origin).request("TRACE / HTTP/1.1\r\nhost: www.example.com\r\n\r\n");
    assert_eq!(header(&head, "allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
}

#[test]
fn smuggling() {
    refused(&get_with("/", "connection: host\r\n"), 400);
    refused(
        &get_with("/", "connection: close, X-Push-Invalidation\r\nx-push-invalidation: enabled\r\n"),
        400,
    );
    refused(&get_with("/", "connection: x-forwarded-for\r\n"), 400);
    refused(&get_with("/", "transfer-encoding: gzip, chunked\r\n"), 501);
    refused(&get_with("/", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"), 501);
    refused(&get_with("/", "expect: something\r\n"), 417);
    refused(&get_with("/", "cdn-loop: Fastly, origin-shim-test\r\n"), 508);
    refused(&get_with("/", "transfer-encoding: gzip\r\n"), 400);
    refused(&get_with("/", "content-length: 1\r\ncontent-length: 2\r\n"), 400);
    refused(&get_with("/", "content-length: +1\r\n"), 400);
    refused(&get_with("/", "content-length : 1\r\n"), 400);
    refused(&get_with("/", "x: 1\r\n folded\r\n"), 400);
    refused("GET / HTTP/1.0\r\nhost: www.example.com\r\ntransfer-encoding: chunked\r\n\r\n", 400);
}

#[test]
fn too_much() {
    let many: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    refused(&get_with("/", &many), 431);
    refused(&get_with("/", &format!("x: {}\r\n", "x".repeat(33 * 1024))), 431);
    let origin = Origin::ok();
    let mut config = config(vec![site(&[origin.address])]);
    config.server.limits.request_headers = 3;
    let shim = Shim::start(&config);
    assert_eq!(shim.request(&get_with("/", "a: 1\r\nb: 2\r\n")).1, "ok");
    assert_eq!(status(&shim.request(&get_with("/", "a: 1\r\nb: 2\r\nc: 3\r\n")).0), 431);
}

#[test]
fn a_refused_connection_is_not_used_again() {
    let origin = Origin::ok();
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    let (head, _) = client.request("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
    assert_eq!(header(&head, "connection"), Some("close"));
    assert_eq!(client.rest(), "");
    // An unknown host does not indicate a confused connection.
    let mut client = shim.connect();
    assert_eq!(status(&client.request("GET / HTTP/1.1\r\nhost: other.test\r\n\r\n").0), 421);
    assert_eq!(client.request(&get("/")).1, "ok");
    shim.counts(
        r#"origin_shim_requests_total{site="",status="4xx",decision="untouched",reason="shim-error"} 2"#,
    );
}

#[test]
fn errors_of_ours_have_no_body_for_head() {
    let shim = Shim::start(&config(vec![site(&[nowhere()])]));
    let mut client = shim.connect();
    client.send("HEAD / HTTP/1.1\r\nhost: www.example.com\r\n\r\n");
    let head = client.head();
    assert_eq!(status(&head), 502);
    assert_ne!(header(&head, "content-length"), Some("0"));
    assert_eq!(status(&client.request(&get("/")).0), 502);
}

#[test]
fn an_origin_that_is_down() {
    let shim = Shim::start(&config(vec![site(&[nowhere()])]));
    let (head, body) = shim.request(&get("/"));
    assert_eq!(status(&head), 502);
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    assert_eq!(header(&head, "proxy-status"), Some("origin-shim; error=connection_refused"));
    assert!(body.starts_with("502 Bad Gateway: the origin refuses connections (request "), "{body}");
    shim.counts(r#"origin_shim_origin_errors_total{site="www",kind="connect"} 1"#);
    shim.counts(
        r#"origin_shim_requests_total{site="www",status="5xx",decision="untouched",reason="shim-error"} 1"#,
    );
}

#[test]
fn an_origin_that_is_slow() {
    let origin = Origin::playing(|served| {
        served.request();
        served.wire.rest();
    });
    let mut config = config(vec![site(&[origin.address])]);
    config.server.limits.origin_first_byte_timeout = Duration::from_millis(50);
    let shim = Shim::start(&config);
    let (head, _) = shim.request(&get("/"));
    assert_eq!(status(&head), 504);
    assert_eq!(header(&head, "cache-control"), Some("no-store"));
    assert_eq!(header(&head, "proxy-status"), Some("origin-shim; error=http_response_timeout"));
    shim.counts(r#"origin_shim_origin_errors_total{site="www",kind="first-byte-timeout"} 1"#);
}

#[test]
fn a_client_that_is_slow() {
    let origin = Origin::playing(|served| {
        served.head();
        served.wire.rest();
    });
    let mut config = config(vec![site(&[origin.address])]);
    config.server.limits.body_timeout = Duration::from_millis(50);
    config.server.limits.header_timeout = Duration::from_millis(50);
    let shim = Shim::start(&config);
    let (head, _) = shim.request("PUT / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 10\r\n\r\nhalf");
    assert_eq!(status(&head), 408);
    // This head never ends.
    let mut client = shim.connect();
    client.send("GET / HTTP/1.1\r\nhost:");
    assert_eq!(client.rest(), "");
    let mut silent = shim.connect();
    assert_eq!(silent.rest(), "");
}

#[test]
fn a_broken_upload_reaches_nobody_as_whole() {
    let origin = Origin::playing(|served| {
        served.head();
        served.wire.rest();
    });
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client
        .send("PUT / HTTP/1.1\r\nhost: www.example.com\r\ntransfer-encoding: chunked\r\n\r\n0x4\r\nhalf\r\n");
    let answer = client.rest();
    assert!(answer.is_empty() || status(&answer) == 400, "{answer}");
}

#[test]
fn responses_that_must_not_be_passed_on() {
    let check = |response: &'static str| {
        let origin = Origin::playing(move |served| {
            served.request();
            served.wire.send(response);
            served.wire.shutdown();
        });
        let shim = Shim::before(&origin);
        let (head, body) = shim.request(&get("/"));
        assert_eq!(status(&head), 502, "{response:?}");
        assert_eq!(header(&head, "cache-control"), Some("no-store"));
        assert!(!body.contains("evil"));
    };
    check("HTTP/1.1 101 Switching Protocols\r\nupgrade: evil\r\nconnection: upgrade\r\n\r\nevil");
    check("HTTP/1.1 999 Evil\r\ncontent-length: 4\r\n\r\nevil");
    check("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nevil");
    check("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n");
    check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n4\r\nevil\r\n0\r\n\r\n");
    check("HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 4\r\n\r\nevil");
    check("HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nevil");
    check("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\nevil");
    check("HTTP/1.1 200 OK\r\nx: 1\r\n folded: evil\r\n\r\n");
    check("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n");
    check("evil\r\n\r\n");
    check("HTTP/1.1 200 OK\r\ncontent-le");
    check("");
}

#[test]
fn a_response_head_has_limits() {
    let check = |lines: String, expected: u16| {
        let origin = Origin::playing(move |served| {
            served.request();
            served.wire.send(format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n"));
        });
        let shim = Shim::before(&origin);
        assert_eq!(status(&shim.request(&get("/")).0), expected);
    };
    let many = |n: usize| (1..n).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    check(many(256), 200);
    check(many(257), 502);
    check(format!("x: {}\r\n", "x".repeat(60 * 1024)), 200);
    check(format!("x: {}\r\n", "x".repeat(70 * 1024)), 502);
}

#[test]
fn interim_responses_are_not_the_response() {
    let origin = Origin::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    );
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client.send(get("/"));
    assert_eq!(client.head(), "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
    let (head, body) = client.response();
    assert_eq!((head.as_str(), body.as_str()), ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", "ok"));
}
