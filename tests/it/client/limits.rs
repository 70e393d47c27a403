//! Limits of time and number: what slow, idle and many clients get.

use crate::harness::h2;
use crate::harness::in_process::{Shim, config, site};
use crate::harness::recorder::{Recorder, all_answers};
use crate::harness::scripted::{Origin, gated};
use crate::harness::wire::{LIMIT, get, header, status};
use origin_shim::config::Limits;
use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(50);

/// A shim with these limits before a recorder.
fn limited(limit: impl FnOnce(&mut Limits)) -> (Recorder, Shim) {
    let origin = Recorder::start();
    let mut config = config(vec![site(&[origin.address])]);
    limit(&mut config.server.limits);
    (origin, Shim::start(&config))
}

#[test]
fn r22_a_head_must_come_in_time() {
    let (origin, shim) = limited(|limits| limits.header_timeout = SOON);
    for start in ["", "GET / HTTP/1.1\r\nhost: www", "P"] {
        assert_eq!(all_answers(&shim, start), "", "{start}");
    }
    // A preface that does not end; what comes back are our own settings.
    let mut client = h2::Client::silent(shim.address());
    client.send("PRI * HTTP/2.0\r\n\r\nSM");
    assert_eq!(client.ended(), None);
    // Dripping does not help.
    let mut client = shim.connect();
    client.send("GET / HTTP/1.1\r\nhost: www.example.com\r\n");
    let mut dripper = std::net::TcpStream::connect(shim.address()).unwrap();
    dripper.write_all(b"GET / HTTP/1.1\r\nhost: www.example.com\r\n").unwrap();
    while dripper.write_all(b"x: 1\r\n").is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(client.rest(), "");
    assert_eq!(origin.connections(), 0);
    // The next head of a kept connection has the same limit.
    let mut client = shim.connect();
    assert_eq!(client.request(&get("/")).1, "ok");
    client.send("GET");
    assert_eq!(client.rest(), "");
    shim.counts("origin_shim_limited_total{limit=\"head\"} 7");
}

#[test]
fn r22_a_body_must_come_in_time() {
    let (origin, shim) = limited(|limits| limits.body_timeout = SOON);
    let put = "PUT / HTTP/1.1\r\nhost: www.example.com\r\n";
    for (framing, start) in [("content-length: 10", "half"), ("transfer-encoding: chunked", "4\r\nhalf\r\n")]
    {
        let answer = all_answers(&shim, format!("{put}{framing}\r\n\r\n{start}"));
        assert_eq!(status(&answer), 408, "{answer}");
        assert_eq!(header(&answer, "connection"), Some("close"));
    }
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(origin.connections(), 3, "{}", origin.bytes());
    assert!(!origin.bytes().contains("0\r\n\r\n"));
    let mut client = h2::Client::connect(shim.address());
    client.request(1, &h2::request("PUT", "/", "www.example.com"), false);
    assert_eq!(client.status(1), 408);
    client.request(3, &h2::request("GET", "/", "www.example.com"), true);
    assert_eq!(client.status(3), 200);
}

/// One byte every few milliseconds never stalls; it is too slow all the same.
#[test]
fn r22_a_body_must_keep_a_rate() {
    let (origin, shim) = limited(|limits| {
        limits.body_timeout = Duration::from_millis(500);
        limits.body_min_rate = 1_000_000;
    });
    let mut client = shim.connect();
    client.send("PUT / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 1000000000\r\n\r\n");
    let mut dripper = client.another_end();
    let dripping = std::thread::spawn(move || {
        while dripper.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let head = client.head();
    assert_eq!(status(&head), 408, "{head}");
    client.shutdown();
    dripping.join().unwrap();
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(origin.connections(), 2);
}

/// The origin notices that the client is gone: that is when the test ends.
#[test]
fn r22_a_client_that_takes_nothing_is_cut_off() {
    let (gone, seen) = channel();
    let gone = Mutex::new(gone);
    let origin = Origin::playing(move |served| {
        served.request();
        served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n");
        while served.wire.try_send(&[b'x'; 64 * 1024]) {}
        gone.lock().unwrap().send(()).unwrap();
    });
    let mut config = config(vec![site(&[origin.address])]);
    config.server.limits.write_timeout = Duration::from_millis(300);
    let shim = Shim::start(&config);
    let mut client = shim.connect();
    client.send(get("/"));
    seen.recv_timeout(LIMIT).unwrap();
    shim.counts("origin_shim_limited_total{limit=\"write\"} 1");

    // One stream of an HTTP/2 connection for which no window is opened; the others go on.
    let mut client = h2::Client::connect(shim.address());
    client.request(1, &h2::request("GET", "/", "www.example.com"), true);
    assert_eq!(client.status(1), 200);
    client.reset(1);
    seen.recv_timeout(LIMIT).unwrap();
    shim.counts("origin_shim_limited_total{limit=\"write\"} 2");
    client.request(3, &h2::request("GET", "/", "other.test"), true);
    assert_eq!(client.status(3), 421);

    // No window from the start.
    let mut client = h2::Client::with_settings(shim.address(), &[0, 4, 0, 0, 0, 0]);
    client.request(1, &h2::request("GET", "/", "www.example.com"), true);
    client.reset(1);
    seen.recv_timeout(LIMIT).unwrap();
}

#[test]
fn r23_idle_connections_end() {
    let (_, shim) = limited(|limits| limits.keep_alive_timeout = SOON);
    let mut client = shim.connect();
    assert_eq!(client.request(&get("/")).1, "ok");
    assert_eq!(client.rest(), "");
    let mut client = h2::Client::connect(shim.address());
    client.request(1, &h2::request("GET", "/", "www.example.com"), true);
    assert_eq!(client.status(1), 200);
    // GOAWAY without an error, then the end.
    client.send(h2::frame(h2::SETTINGS, h2::ACK, 0, b""));
    assert_eq!(client.answer_pings_until_the_end(), Some(0));
}

#[test]
fn r23_idle_connections_to_origins_end() {
    let (ended, seen) = channel();
    let ended = Mutex::new(ended);
    let origin = Origin::playing(move |served| {
        while served.request().is_some() {
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
        ended.lock().unwrap().send(()).unwrap();
    });
    let mut config = config(vec![site(&[origin.address])]);
    config.server.limits.origin_idle_timeout = SOON;
    let shim = Shim::start(&config);
    assert_eq!(shim.request(&get("/")).1, "ok");
    seen.recv_timeout(LIMIT).unwrap();
    assert_eq!(shim.request(&get("/")).1, "ok");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn r24_connections_have_a_limit() {
    let (origin, shim) = limited(|limits| limits.connections = 2);
    let mut first = shim.connect();
    let mut second = shim.connect();
    assert_eq!(first.request(&get("/")).1, "ok");
    assert_eq!(second.request(&get("/")).1, "ok");
    let before = origin.bytes();
    for request in [get("/"), "GET / HTTP/1.1\r\n\r\n".to_owned()] {
        let answer = all_answers(&shim, request);
        assert_eq!(status(&answer), 503, "{answer}");
        assert_eq!(header(&answer, "retry-after"), Some("1"));
        assert_eq!(header(&answer, "cache-control"), Some("no-store"));
        assert_eq!(header(&answer, "connection"), Some("close"));
        assert_eq!(header(&answer, "proxy-status"), Some("origin-shim; error=connection_limit_reached"));
    }
    let mut multiplexed = h2::Client::connect(shim.address());
    multiplexed.request(1, &h2::request("GET", "/", "www.example.com"), true);
    assert_eq!(multiplexed.status(1), 503);
    assert_eq!(multiplexed.answer_pings_until_the_end(), Some(0));
    assert_eq!(origin.bytes(), before);
    shim.counts("origin_shim_limited_total{limit=\"connections\"} 3");
    // Beyond those that are told, connections are closed without a word.
    let told: Vec<_> = (0..16).map(|_| shim.connect()).collect();
    shim.counts("origin_shim_connections{listener=\"plain\"} 18");
    assert_eq!(shim.connect().rest(), "");
    drop(told);
    // Those that were there are served, and when one of them goes there is room.
    assert_eq!(first.request(&get("/")).1, "ok");
    drop(second);
    shim.counts("origin_shim_connections{listener=\"plain\"} 1");
    assert_eq!(shim.request(&get("/")).1, "ok");
}

#[test]
fn r24_requests_in_flight_have_a_limit() {
    let (origin, go) = gated();
    let mut config = config(vec![site(&[origin.address])]);
    config.server.limits.requests_in_flight = 2;
    let shim = Shim::start(&config);
    let mut busy = [shim.connect(), shim.connect()];
    for client in &mut busy {
        client.send(get("/"));
        origin.received();
    }
    let (head, _) = shim.request(&get("/"));
    assert_eq!((status(&head), header(&head, "retry-after")), (503, Some("1")), "{head}");
    let mut client = h2::Client::connect(shim.address());
    client.request(1, &h2::request("GET", "/", "www.example.com"), true);
    assert_eq!(client.status(1), 503);
    assert!(origin.received_nothing());
    // Which of the two takes the first is up to the system.
    for _ in &busy {
        go.send(()).unwrap();
    }
    for client in &mut busy {
        assert_eq!(client.response().1, "ok");
    }
    shim.counts("origin_shim_requests_in_flight 0");
    go.send(()).unwrap();
    assert_eq!(shim.request(&get("/")).1, "ok");
    shim.counts("origin_shim_limited_total{limit=\"requests\"} 2");
}

#[test]
fn r25_streams_of_a_connection_have_a_limit() {
    let (origin, go) = gated();
    let mut config = config(vec![site(&[origin.address])]);
    config.server.limits.http2_streams = 2;
    let shim = Shim::start(&config);
    let mut client = h2::Client::connect(shim.address());
    client.settle();
    for stream in [1, 3, 5] {
        client.request(stream, &h2::request("GET", "/", "www.example.com"), true);
    }
    // REFUSED_STREAM: it may be sent again (RFC 9113 §8.7).
    assert_eq!(client.reset(5), 7);
    origin.received();
    origin.received();
    assert!(origin.received_nothing());
    drop(go);
    assert_eq!((client.status(1), client.status(3)), (200, 200));
}

#[test]
fn r25_old_connections_end_without_losing_a_request() {
    let (origin, shim) = limited(|limits| limits.connection_max_age = SOON);
    let mut client = h2::Client::connect(shim.address());
    client.request(1, &h2::request("GET", "/", "www.example.com"), true);
    assert_eq!(client.status(1), 200);
    assert_eq!(client.answer_pings_until_the_end(), Some(0));
    let mut client = shim.connect();
    let mut requests = 0;
    loop {
        let (head, body) = client.request(&get("/"));
        assert_eq!(body, "ok");
        requests += 1;
        if header(&head, "connection") == Some("close") {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(client.rest(), "");
    assert_eq!(origin.bytes().matches("GET / HTTP/1.1").count(), requests + 1);
}

/// A client that shuts its sending side cannot be told from one that has gone, and whoever has gone must not hold up
/// an origin: its request ends there, too, and what the origin answers reaches nobody else.
#[test]
fn a_client_that_closes_its_side_has_gone() {
    let (asked, received) = std::sync::mpsc::channel();
    let asked = Mutex::new(asked);
    let origin = Origin::playing(move |served| {
        while let Some(head) = served.head() {
            if head.starts_with("GET /gone ") {
                asked.lock().unwrap().send(()).unwrap();
                // Until the shim gives it up.
                assert_eq!(served.wire.some(), None);
                served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
                return;
            }
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    client.send(get("/gone"));
    received.recv_timeout(LIMIT).unwrap();
    client.another_end().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.rest(), "");
    assert_eq!(shim.request(&get("/after")).1, "ok");
    assert_eq!(origin.connections(), 2);

    // All that was asked for is answered where the answer was there before.
    let mut client = shim.connect();
    client.send(get("/a"));
    assert_eq!(client.response().1, "ok");
    client.another_end().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.rest(), "");
}
