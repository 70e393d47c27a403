//! Bodies are streamed in both directions, and their length never changes.

use crate::harness::in_process::{Shim, config, site};
use crate::harness::scripted::Origin;
use crate::harness::wire::{LIMIT, get, get_with, header, status};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

#[test]
fn a_response_streams() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let origin = Origin::playing(move |served| {
        served.request();
        served.wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        gate.lock().unwrap().recv().unwrap();
        served.wire.send("4;ext=1\r\nlast\r\n0\r\nx-trailer: 1\r\n\r\n");
    });
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client.send(get("/"));
    assert_eq!(header(&client.head(), "transfer-encoding"), Some("chunked"));
    assert_eq!(client.chunk(), "first");
    // The origin sends the rest only after this.
    go.send(()).unwrap();
    assert_eq!(client.chunk(), "last");
    assert_eq!(client.exactly(5), "0\r\n\r\n");
}

#[test]
fn a_request_streams() {
    let (first, seen) = channel();
    let first = Mutex::new(first);
    let origin = Origin::playing(move |served| {
        let head = served.head().unwrap();
        assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
        first.lock().unwrap().send(served.wire.chunk()).unwrap();
        let last = served.wire.chunk();
        assert_eq!(served.wire.head(), "0\r\nx-trailer: 1\r\n\r\n");
        served.wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{last}", last.len()));
    });
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client
        .send("PUT / HTTP/1.1\r\nhost: www.example.com\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    assert_eq!(seen.recv_timeout(LIMIT).unwrap(), "first");
    client.send("4\r\nlast\r\n0\r\nx-trailer: 1\r\n\r\n");
    assert_eq!(client.response().1, "last");
}

#[test]
fn a_get_with_a_body_keeps_it() {
    let origin = Origin::playing(|served| {
        while let Some((_, body)) = served.request() {
            served.wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        }
    });
    let shim = Shim::before(&origin);
    let request = get_with("/", "transfer-encoding: chunked\r\n") + "4\r\nbody\r\n0\r\n\r\n";
    assert_eq!(shim.request(&request).1, "body");
    assert_eq!(shim.request(&(get_with("/", "content-length: 4\r\n") + "body")).1, "body");
}

#[test]
fn expect_100_continue_is_answered_here() {
    let origin = Origin::playing(|served| {
        let (head, body) = served.request().unwrap();
        assert_eq!(header(&head, "expect"), None);
        served.wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    });
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client
        .send("PUT / HTTP/1.1\r\nhost: www.example.com\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.request("body").1, "body");
}

#[test]
fn responses_that_have_no_body() {
    let check = |method: &str, response: &'static str, expected: &str| {
        let origin = Origin::answering(response);
        let shim = Shim::before(&origin);
        let mut client = shim.connect();
        // The second round shows that the connection was clean after the first.
        for _ in 0..2 {
            client.send(format!("{method} / HTTP/1.1\r\nhost: www.example.com\r\n\r\n"));
            assert_eq!(client.head(), expected, "{method}");
        }
        assert_eq!(origin.connections(), 1);
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 999\r\netag: \"1\"\r\n\r\n";
    check("HEAD", head, head);
    check("HEAD", "HTTP/1.1 200 OK\r\netag: \"1\"\r\n\r\n", "HTTP/1.1 200 OK\r\netag: \"1\"\r\n\r\n");
    check("GET", "HTTP/1.1 204 No Content\r\nx: 1\r\n\r\n", "HTTP/1.1 204 No Content\r\nx: 1\r\n\r\n");
    check(
        "GET",
        "HTTP/1.1 304 Not Modified\r\netag: 1\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\netag: 1\r\n\r\n",
    );
    let empty = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    check("GET", empty, empty);
}

#[test]
fn a_body_that_ends_with_its_connection_is_passed_on_in_chunks() {
    let origin = Origin::playing(|served| {
        served.request();
        served.wire.send("HTTP/1.0 200 OK\r\nx: 1\r\n\r\nuntil the end");
        served.wire.shutdown();
    });
    let shim = Shim::before(&origin);
    let (head, body) = shim.request(&get("/"));
    assert_eq!(head, "HTTP/1.1 200 OK\r\nx: 1\r\ntransfer-encoding: chunked\r\n\r\n");
    assert_eq!(body, "until the end");
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks() {
    let origin =
        Origin::answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client.send("GET / HTTP/1.0\r\nhost: www.example.com\r\n\r\n");
    assert_eq!(client.rest(), "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nok");
    let received = origin.received();
    assert!(received.starts_with("GET / HTTP/1.1\r\n"), "{received}");
    assert_eq!(header(&received, "via"), Some("1.0 origin-shim"));
}

#[test]
fn a_truncated_body_ends_the_client_connection_before_its_end() {
    let check = |response: &'static str, expected: &str| {
        let origin = Origin::playing(move |served| {
            served.request();
            served.wire.send(response);
            served.wire.shutdown();
        });
        let shim = Shim::before(&origin);
        let mut client = shim.connect();
        client.send(get("/"));
        client.head();
        assert_eq!(client.rest(), expected);
        shim.counts(r#"origin_shim_origin_errors_total{site="www",kind="body"} 1"#);
    };
    check("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "half");
    check("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "4\r\nhalf\r\n");
}

#[test]
fn a_body_that_stalls_is_cut() {
    let origin = Origin::playing(|served| {
        served.request();
        served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        served.wire.rest();
    });
    let mut config = config(vec![site(&[origin.address])]);
    config.server.limits.origin_body_timeout = Duration::from_millis(50);
    let shim = Shim::start(&config);
    let mut client = shim.connect();
    client.send(get("/"));
    client.head();
    assert_eq!(client.rest(), "half");
    shim.counts(r#"origin_shim_origin_errors_total{site="www",kind="body-timeout"} 1"#);
}

#[test]
fn extra_bytes_after_a_response_are_dropped_with_their_connection() {
    let origin = Origin::playing(|served| {
        served.request();
        served.wire.send(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        );
        served.wire.rest();
    });
    let shim = Shim::before(&origin);
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn an_early_response_is_relayed_and_its_connection_not_used_again() {
    let (ended, after) = channel();
    let ended = Mutex::new(ended);
    let origin = Origin::playing(move |served| {
        while let Some(head) = served.head() {
            if head.starts_with("GET") {
                served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            } else {
                served.wire.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
                assert_eq!(served.wire.exactly(4), "part");
                ended.lock().unwrap().send(served.wire.rest()).unwrap();
            }
        }
    });
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client.send("PUT / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 1000\r\n\r\npart");
    let (head, body) = client.response();
    assert_eq!((status(&head), body.as_str()), (403, "no"));
    // The connection to the origin ends although the client is still connected and has more of its body to send.
    assert_eq!(after.recv_timeout(LIMIT).unwrap(), "");
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn a_client_that_leaves_takes_its_origin_request_with_it() {
    let (gone, seen) = channel();
    let gone = Mutex::new(gone);
    let origin = Origin::playing(move |served| {
        served.request();
        served.wire.rest();
        gone.lock().unwrap().send(()).unwrap();
    });
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client.send(get("/"));
    origin.received();
    client.shutdown();
    seen.recv_timeout(LIMIT).unwrap();
    shim.counts("origin_shim_requests_in_flight 0");
    shim.counts(
        r#"origin_shim_requests_total{site="www",status="4xx",decision="untouched",reason="shim-error"} 1"#,
    );
}

#[test]
fn a_body_that_nobody_wanted_is_read_past() {
    let origin = Origin::ok();
    let shim = Shim::before(&origin);
    let refused = |framing: &str, body: &str| {
        let mut client = shim.connect();
        client.send(format!("POST / HTTP/1.1\r\nhost: other.test\r\n{framing}\r\n\r\n{body}"));
        let (head, _) = client.response();
        assert_eq!(status(&head), 421, "{head}");
        client
    };
    let body = "x".repeat(20_000);
    assert_eq!(refused("content-length: 20000", &body).request(&get("/")).1, "ok");
    let chunks = format!("4e20\r\n{body}\r\n0\r\n\r\n");
    assert_eq!(refused("transfer-encoding: chunked", &chunks).request(&get("/")).1, "ok");
    // The rest of a body is not read if it is long or broken, or if the client waits for permission to send it.
    let long = "x".repeat(100_000);
    assert_eq!(refused("content-length: 9000000", &long).rest(), "");
    assert_eq!(refused("transfer-encoding: chunked", &format!("x\r\n{}", get("/"))).rest(), "");
    assert_eq!(refused("content-length: 3\r\nexpect: 100-continue", "").rest(), "");
    assert_eq!(origin.connections(), 1);
}
