//! Large bodies between plain connections, which the kernel moves without copies in the process.

use crate::harness::in_process::{Shim, config, site};
use crate::harness::scripted::Origin;
use crate::harness::wire::{Wire, get};
use std::thread;
use std::time::Duration;

/// A body in which no two parts of 8 bytes are equal.
fn body(length: usize) -> String {
    let mut text: String = (0..length / 8 + 1).map(|number| format!("{number:07x} ")).collect();
    text.truncate(length);
    text
}

/// An origin whose paths are the lengths of its pages. `early` is the number of bytes of a body that come with the
/// head.
fn origin(early: usize) -> Origin {
    Origin::playing(move |served| {
        while let Some(head) = served.head() {
            let length: usize = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            let body = body(length);
            let (first, rest) = body.split_at(early.min(length));
            served.wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{first}"));
            served.wire.send(rest);
        }
    })
}

#[test]
fn every_byte_arrives_in_its_place_and_connections_are_kept() {
    for early in [0, 1, 5_000, 100_000] {
        let origin = origin(early);
        let shim = Shim::before(&origin);
        let mut client = shim.connect();
        // Lengths on both sides of the one from which on the kernel moves the rest, after a usual first read.
        for length in [0, 1, 8_000, 32_767, 32_768, 32_769, 40_000, 70_000, 3_000_000, 100] {
            client.send(get(&format!("/{length}")));
            let head = client.head();
            assert!(client.body(&head) == body(length), "{length} bytes, {early} of them early");
        }
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn more_bodies_than_pipes_arrive_at_once_however_slow_their_readers() {
    let origin = origin(0);
    let shim = Shim::before(&origin);
    let mut clients: Vec<Wire> = (0..80)
        .map(|number| {
            let mut client = shim.connect();
            client.send(get(&format!("/{}", 2_000_000 + number)));
            client
        })
        .collect();
    // None has read anything so far, so all are on their way.
    thread::scope(|scope| {
        for (number, client) in clients.iter_mut().enumerate() {
            scope.spawn(move || {
                let head = client.head();
                assert!(client.body(&head) == body(2_000_000 + number), "{number}");
            });
        }
    });
}

#[test]
fn a_body_that_breaks_off_ends_the_connection_and_no_other_response_gets_its_bytes() {
    let origin = Origin::playing(|served| {
        while let Some((head, _)) = served.request() {
            if head.contains("/broken") {
                served
                    .wire
                    .send(format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{}", body(700_000)));
                return served.wire.shutdown();
            }
            let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n{}", body(200_000));
            // The client that leaves takes its connection with it.
            if !served.wire.try_send(whole.as_bytes()) {
                return;
            }
        }
    });
    let shim = Shim::before(&origin);
    for times in 1..=3 {
        let mut client = shim.connect();
        client.send(get("/broken"));
        client.head();
        assert!(client.rest() == body(700_000));
        shim.counts(&format!(r#"origin_shim_origin_errors_total{{site="www",kind="body"}} {times}"#));
        // A client that leaves in the middle of its response.
        let mut leaving = shim.connect();
        leaving.send(get("/whole"));
        leaving.head();
        drop(leaving);
        assert!(shim.request(&get("/whole")).1 == body(200_000));
    }
}

#[test]
fn a_large_body_that_stalls_is_cut() {
    let origin = Origin::playing(|served| {
        served.request();
        served.wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{}", body(400_000)));
        served.wire.rest();
    });
    let mut config = config(vec![site(&[origin.address])]);
    config.server.limits.origin_body_timeout = Duration::from_millis(50);
    let shim = Shim::start(&config);
    let mut client = shim.connect();
    client.send(get("/"));
    client.head();
    assert!(client.rest() == body(400_000));
    shim.counts(r#"origin_shim_origin_errors_total{site="www",kind="body-timeout"} 1"#);
}

/// HEAD has the length of a body that does not come, and HTTP/1.0 may have none.
#[test]
fn a_large_length_alone_moves_nothing() {
    let origin = Origin::playing(|served| {
        while served.head().is_some() {
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n");
        }
    });
    let shim = Shim::before(&origin);
    let mut client = shim.connect();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nhost: www.example.com\r\n\r\n");
        assert!(client.head().contains("content-length: 1000000"));
    }
    assert_eq!(origin.connections(), 1);
}
