//! Connections that switch to another protocol: only where the site allows it, only by a 101 of the origin, and
//! without a byte from the client before that.

use crate::harness::in_process::{Shim, config, site};
use crate::harness::recorder::{Recorder, sorted};
use crate::harness::scripted::Origin;
use crate::harness::wire::{LIMIT, get, get_with, header, status};
use origin_shim::config::Site;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                      sec-websocket-accept: x\r\n\r\n";
const WISH: &str = "connection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: y\r\n";

fn allowing(origin: &Origin, protocols: &[&str]) -> Site {
    let mut www = site(&[origin.address]);
    www.upgrades = protocols.iter().map(|&name| name.to_owned()).collect();
    www
}

/// An origin that answers every request with 101 and `hello`, then sends back what it gets, and tells when its
/// connection ends.
fn echoing() -> (Origin, Receiver<()>) {
    let (ended, seen) = channel();
    let ended = Mutex::new(ended);
    let origin = Origin::playing(move |served| {
        if served.head().is_some() {
            served.wire.send(SWITCH.to_owned() + "hello");
            while let Some(bytes) = served.wire.some() {
                served.wire.send(bytes);
            }
        }
        ended.lock().unwrap().send(()).unwrap();
    });
    (origin, seen)
}

#[test]
fn r33_after_101_bytes_pass_both_ways() {
    let (origin, ended) = echoing();
    let shim = Shim::start(&config(vec![allowing(&origin, &["websocket"])]));
    let mut client = shim.connect();
    client.send(get_with("/chat", WISH));
    let head = client.head();
    assert_eq!(sorted(&head), sorted(&SWITCH.replace("Upgrade\r", "upgrade\r")));
    assert_eq!(client.exactly(5), "hello");
    let received = origin.received();
    assert_eq!(header(&received, "connection"), Some("upgrade"));
    assert_eq!(header(&received, "upgrade"), Some("websocket"));
    assert_eq!(header(&received, "sec-websocket-key"), Some("y"));
    for text in ["one", "two", &"x".repeat(100_000)] {
        client.send(text);
        assert_eq!(client.exactly(text.len()), text);
    }
    client.shutdown();
    ended.recv_timeout(LIMIT).unwrap();
    shim.counts("origin_shim_connections{listener=\"plain\"} 0");
    // The connection to the origin is not one for requests any more.
    let mut client = shim.connect();
    client.send(get_with("/chat", WISH));
    client.head();
    assert_eq!(origin.connections(), 2);
}

/// CVE-2026-2833: what a client sends before it has the answer is held until the answer is 101.
#[test]
fn r33_nothing_passes_before_101() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: origin.test\r\n\r\n";
    // The origin grants nothing: what followed is the next request, and is judged as one.
    let (origin, shim) = {
        let origin = Recorder::start();
        let mut www = site(&[origin.address]);
        www.upgrades = vec!["websocket".into()];
        let shim = Shim::start(&config(vec![www]));
        (origin, shim)
    };
    let mut client = shim.connect();
    client.send(get_with("/chat", WISH) + smuggled);
    assert_eq!(client.response().1, "ok");
    assert_eq!(status(&client.head()), 421);
    let bytes = origin.bytes();
    assert_eq!(bytes.matches(" HTTP/1.1\r\n").count(), 1, "{bytes}");
    assert!(!bytes.contains("smuggled"), "{bytes}");

    // It grants it: the origin has read nothing but the head when it answers.
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let origin = Origin::playing(move |served| {
        served.head().unwrap();
        gate.lock().unwrap().recv().unwrap();
        assert!(!served.wire.has_more(), "bytes before the 101");
        served.wire.send(SWITCH);
        let early = served.wire.exactly(5);
        served.wire.send(early);
    });
    let shim = Shim::start(&config(vec![allowing(&origin, &["websocket"])]));
    let mut client = shim.connect();
    client.send(get_with("/chat", WISH) + "early");
    origin.received();
    go.send(()).unwrap();
    assert_eq!(status(&client.head()), 101);
    assert_eq!(client.exactly(5), "early");
}

#[test]
fn r33_a_wish_that_the_site_does_not_allow_is_not_passed_on() {
    for (allowed, wish) in [
        (&[][..], WISH.to_owned()),
        (&["websocket"][..], WISH.replace(": websocket", ": h2c")),
        (&["websocket"][..], WISH.replace(": websocket", ": websocket, h2c")),
        (&["websocket"][..], format!("{WISH}upgrade: websocket\r\n")),
        (&["websocket"][..], WISH.replace("keep-alive, Upgrade", "keep-alive")),
        (&["websocket"][..], format!("{WISH}transfer-encoding: chunked\r\n")),
    ] {
        let origin = Origin::ok();
        let shim = Shim::start(&config(vec![allowing(&origin, allowed)]));
        let mut client = shim.connect();
        let body = if wish.contains("chunked") { "0\r\n\r\n" } else { "" };
        assert_eq!(client.request(&(get_with("/", &wish) + body)).1, "ok", "{wish}");
        let received = origin.received();
        assert_eq!(
            (header(&received, "upgrade"), header(&received, "connection")),
            (None, None),
            "{received}"
        );
        assert_eq!(client.request(&get("/")).1, "ok", "still an ordinary connection");
    }
}

#[test]
fn r33_an_answer_that_is_no_switch_to_what_was_asked_for() {
    for (answer, expected) in [
        (SWITCH.replace("websocket\r", "h2c\r"), 502),
        (SWITCH.replace("upgrade: websocket\r\n", ""), 502),
        (SWITCH.replace("connection: Upgrade\r\n", ""), 502),
        (SWITCH.replace("sec-websocket-accept", "content-length: 4\r\nx"), 502),
        (SWITCH.replace("HTTP/1.1", "HTTP/1.0"), 502),
        // CVE-2024-23326: a 200 is a response, whatever it says of an upgrade.
        (SWITCH.replace("101 Switching Protocols", "200 OK\r\ncontent-length: 4"), 200),
        (SWITCH.replace("101 Switching Protocols", "403 Forbidden\r\ncontent-length: 4"), 403),
    ] {
        let shown = answer.clone();
        let origin = Origin::playing(move |served| {
            served.head();
            served.wire.send(answer.clone() + "evil");
            served.wire.rest();
        });
        let shim = Shim::start(&config(vec![allowing(&origin, &["websocket"])]));
        let mut client = shim.connect();
        client.send(get_with("/", WISH));
        let head = client.head();
        assert_eq!(status(&head), expected, "{shown}: {head}");
        assert_eq!(header(&head, "upgrade"), None, "{head}");
        let body = client.body(&head);
        assert_eq!(body == "evil", expected < 500, "{shown}: {body}");
        // The connection goes on in HTTP.
        assert_eq!(status(&client.request("GET / HTTP/1.1\r\nhost: other.test\r\n\r\n").0), 421, "{shown}");
    }
}

#[test]
fn r33_tunnels_end_when_nothing_passes_and_when_we_drain() {
    let (origin, ended) = echoing();
    let mut config = config(vec![allowing(&origin, &["websocket"])]);
    config.server.limits.tunnel_timeout = Duration::from_millis(50);
    let shim = Shim::start(&config);
    let switched = |shim: &Shim| {
        let mut client = shim.connect();
        client.send(get_with("/chat", WISH));
        assert_eq!(status(&client.head()), 101);
        assert_eq!(client.exactly(5), "hello");
        client
    };
    let mut client = switched(&shim);
    assert_eq!(client.rest(), "");
    ended.recv_timeout(LIMIT).unwrap();

    config.server.limits.tunnel_timeout = LIMIT * 10;
    shim.plane.reload(&config).unwrap();
    let mut client = switched(&shim);
    shim.plane.drain(LIMIT);
    assert_eq!(client.rest(), "");
    ended.recv_timeout(LIMIT).unwrap();
    shim.plane.join().unwrap();
}
