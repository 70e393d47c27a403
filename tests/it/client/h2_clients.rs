//! HTTP/2 clients, frame by frame: the framing of bodies in both directions, and what ends together with a stream.

use crate::harness::h2::{
    Client, DATA, END_STREAM, Frame, HEADERS, RST_STREAM, WINDOW_UPDATE, frame, request,
};
use crate::harness::in_process::{Shim, config, site};
use crate::harness::recorder::Recorder;
use crate::harness::scripted::{Origin, Served};
use crate::harness::wire::{LIMIT, header};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const HOST: &str = "www.example.com";
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const CANCEL: u32 = 8;
/// The least window that a client of HTTP/2 begins with, and ours for each stream.
const WINDOW: usize = 64 * 1024;

fn get(client: &mut Client, stream: u32) {
    client.request(stream, &request("GET", "/", HOST), true);
}

fn rst(stream: u32, reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.to_be_bytes())
}

fn window(stream: u32, more: usize) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &(more as u32).to_be_bytes())
}

/// The frames of a stream up to its end.
fn frames(client: &mut Client, stream: u32) -> Vec<Frame> {
    let mut frames: Vec<Frame> = vec![];
    while frames.last().is_none_or(|last| last.kind != RST_STREAM && last.flags & END_STREAM == 0) {
        frames.push(client.next_of(stream, |frame| frame.kind != WINDOW_UPDATE).unwrap());
    }
    frames
}

fn kinds(frames: &[Frame]) -> Vec<(u8, bool)> {
    frames.iter().map(|frame| (frame.kind, frame.flags & END_STREAM != 0)).collect()
}

/// Plays `script` after each request head, and tells when the connection has ended after it.
fn watched(script: impl Fn(&mut Served) + Send + Sync + 'static) -> (Origin, Receiver<()>) {
    let (ended, seen) = channel();
    let ended = Mutex::new(ended);
    let origin = Origin::playing(move |served| {
        while served.head().is_some() {
            script(served);
        }
        let _ = ended.lock().unwrap().send(());
    });
    (origin, seen)
}

#[test]
fn a_response_has_no_more_frames_than_it_needs() {
    let check = |method: &str, response: &'static str, expected: &[(u8, bool)]| {
        let origin = Origin::answering(response);
        let shim = Shim::before(&origin);
        let mut client = Client::connect(shim.address());
        client.request(1, &request(method, "/", HOST), true);
        assert_eq!(kinds(&frames(&mut client, 1)), expected, "{method} {response}");
    };
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    check("GET", ok, &[(HEADERS, false), (DATA, true)]);
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n";
    check("HEAD", head, &[(HEADERS, true)]);
    check("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", &[(HEADERS, true)]);
    check("GET", "HTTP/1.1 204 No Content\r\n\r\n", &[(HEADERS, true)]);
    check("GET", "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n", &[(HEADERS, true)]);
}

#[test]
fn a_stream_that_its_client_resets_takes_its_origin_request_with_it() {
    let (origin, ended) = watched(|_| {});
    let shim = Shim::before(&origin);
    let mut client = Client::connect(shim.address());
    get(&mut client, 1);
    origin.received();
    client.send(rst(1, CANCEL));
    ended.recv_timeout(LIMIT).unwrap();

    // The same while its request is still on its way, and while the response is.
    client.request(3, &request("PUT", "/", HOST), false);
    origin.received();
    client.send(rst(3, CANCEL));
    ended.recv_timeout(LIMIT).unwrap();
    shim.counts("origin_shim_requests_in_flight 0");

    let (origin, ended) =
        watched(|served| served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"));
    let shim = Shim::before(&origin);
    let mut client = Client::connect(shim.address());
    get(&mut client, 1);
    client.next_of(1, |frame| frame.kind == DATA).unwrap();
    client.send(rst(1, CANCEL));
    ended.recv_timeout(LIMIT).unwrap();
    shim.counts("origin_shim_requests_in_flight 0");
    // The connection goes on.
    client.request(3, &request("GET", "/", "other.test"), true);
    assert_eq!(client.status(3), 421);
}

#[test]
fn a_client_that_leaves_takes_all_of_its_origin_requests_with_it() {
    let (origin, ended) = watched(|_| {});
    let shim = Shim::before(&origin);
    let mut client = Client::connect(shim.address());
    for stream in [1, 3, 5] {
        get(&mut client, stream);
        origin.received();
    }
    client.shutdown();
    for _ in 0..3 {
        ended.recv_timeout(LIMIT).unwrap();
    }
    shim.counts("origin_shim_requests_in_flight 0");
    shim.counts("origin_shim_connections{listener=\"plain\"} 0");
}

#[test]
fn the_end_of_a_drain_takes_what_is_left_with_it() {
    let (origin, ended) = watched(|_| {});
    let shim = Shim::before(&origin);
    let mut client = Client::connect(shim.address());
    get(&mut client, 1);
    origin.received();
    shim.plane.drain(Duration::from_millis(50));
    ended.recv_timeout(LIMIT).unwrap();
    shim.plane.join().unwrap();
    assert!(client.next_of(1, |_| true).is_none(), "no answer is better than a wrong one");
}

/// A body that a client breaks off is incomplete, whatever the error code. `NO_ERROR` would suit only a response.
#[test]
fn a_body_that_its_client_breaks_off_reaches_nobody_as_whole() {
    for reason in [NO_ERROR, CANCEL] {
        let recorder = Recorder::start();
        let shim = Shim::start(&config(vec![site(&[recorder.address])]));
        let mut client = Client::connect(shim.address());
        client.request(1, &request("PUT", "/", HOST), false);
        client.send(frame(DATA, 0, 1, b"half"));
        crate::harness::eventually("it has arrived", || recorder.bytes().contains("half").then_some(()));
        client.send(rst(1, reason));
        shim.counts("origin_shim_requests_in_flight 0");
        assert!(!recorder.bytes().contains("0\r\n\r\n"), "{}", recorder.bytes());
    }
}

/// RFC 9113 §8.1: the answer is whole, and the client need not send the rest.
#[test]
fn a_body_that_nobody_wants_is_declined_without_an_error() {
    let origin = Origin::ok();
    let shim = Shim::before(&origin);
    let mut client = Client::connect(shim.address());
    client.request(1, &request("PUT", "/", "other.test"), false);
    client.send(frame(DATA, 0, 1, &[b'x'; 16_000]));
    let answer = frames(&mut client, 1);
    assert_eq!(kinds(&answer), [(HEADERS, false), (DATA, true)]);
    assert_eq!(client.reset(1), NO_ERROR);
    // Nor does what came of it use up the connection's window, which is 1 MiB.
    for stream in (3..203).step_by(2) {
        client.request(stream, &request("PUT", "/", "other.test"), false);
        client.send(frame(DATA, 0, stream, &[b'x'; 16_000]));
        assert_eq!(client.status(stream), 421);
    }
    client.request(203, &request("PUT", "/", HOST), false);
    client.send(frame(DATA, END_STREAM, 203, b"x"));
    assert_eq!(client.status(203), 200);
}

#[test]
fn a_response_that_breaks_off_is_no_whole_one() {
    let origin = Origin::playing(|served| {
        served.request();
        served.wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n");
        served.wire.shutdown();
    });
    let shim = Shim::before(&origin);
    let mut client = Client::connect(shim.address());
    get(&mut client, 1);
    let response = frames(&mut client, 1);
    assert_eq!(kinds(&response), [(HEADERS, false), (DATA, false), (RST_STREAM, false)]);
    assert_eq!(response[2].payload, INTERNAL_ERROR.to_be_bytes());
}

/// A body goes as far as its client opens the window, and comes as far as its origin takes it.
#[test]
fn windows_open_as_bodies_pass() {
    const LENGTH: usize = 3 * WINDOW;
    let origin = Origin::playing(|served| {
        let (_, body) = served.request().unwrap();
        served.wire.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    });
    let shim = Shim::before(&origin);
    // 1,000 bytes of a response at a time, to begin with.
    let mut client = Client::with_settings(shim.address(), &[0, 4, 0, 0, 0x03, 0xe8]);
    client.request(1, &request("PUT", "/", HOST), false);
    // No more of a request than the window that every stream begins with.
    let (mut room, mut left) = (65_535, LENGTH);
    while left > 0 {
        let size = room.min(left).min(16_000);
        if size == 0 {
            let more = client.next_of(1, |frame| frame.kind == WINDOW_UPDATE).unwrap().payload;
            room += u32::from_be_bytes(more.try_into().unwrap()) as usize;
            continue;
        }
        (room, left) = (room - size, left - size);
        client.send(frame(DATA, if left == 0 { END_STREAM } else { 0 }, 1, &vec![b'x'; size]));
    }
    assert_eq!(client.status(1), 200);
    let mut got = 0;
    loop {
        let data = client.next_of(1, |frame| frame.kind == DATA).unwrap();
        got += data.payload.len();
        if data.flags & END_STREAM != 0 {
            break;
        }
        let more = data.payload.len().max(1);
        client.send([window(1, more), window(0, more)].concat());
    }
    assert_eq!(got, LENGTH);
    shim.counts("origin_shim_requests_in_flight 0");
}

/// The last part of a response waits for the window, too, as all others do.
#[test]
fn a_response_is_under_way_until_the_window_has_let_all_of_it_out() {
    let body = "x".repeat(7_000);
    let origin = Origin::answering(format!("HTTP/1.1 200 OK\r\ncontent-length: 7000\r\n\r\n{body}").leak());
    let mut config = config(vec![site(&[origin.address])]);
    config.server.limits.write_timeout = Duration::from_millis(50);
    let shim = Shim::start(&config);
    // SETTINGS_INITIAL_WINDOW_SIZE = 100.
    let mut client = Client::with_settings(shim.address(), &[0, 4, 0, 0, 0, 100]);
    get(&mut client, 1);
    assert_eq!(client.next_of(1, |frame| frame.kind == DATA).unwrap().payload.len(), 100);
    // It takes nothing more.
    assert_eq!(client.reset(1), CANCEL);
    shim.counts("origin_shim_limited_total{limit=\"write\"} 1");
    shim.counts("origin_shim_requests_in_flight 0");

    // Who takes it slowly gets all of it, although the shim was told to stop.
    config.server.limits.write_timeout = LIMIT;
    config.server.limits.header_timeout = Duration::from_millis(50);
    let shim = Shim::start(&config);
    let mut client = Client::with_settings(shim.address(), &[0, 4, 0, 0, 0, 100]);
    get(&mut client, 1);
    client.next_of(1, |frame| frame.kind == DATA).unwrap();
    shim.plane.drain(LIMIT);
    std::thread::sleep(Duration::from_millis(200));
    client.send(window(1, 7_000));
    let rest = frames(&mut client, 1);
    let data = rest.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len());
    assert_eq!(data.sum::<usize>(), 6_900);
    assert_eq!(rest.last().map(|last| last.kind), Some(DATA));
}

/// RFC 9110 §10.1.1: `Expect` ends here, so it is for us to say that the body is wanted; and only when the origin
/// takes it.
#[test]
fn who_waits_to_be_told_to_go_on_is_told() {
    let origin = Origin::playing(|served| {
        let (head, body) = served.request().unwrap();
        assert!(header(&head, "expect").is_none() && body == "body", "{head} {body}");
        served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let shim = Shim::before(&origin);
    let mut client = Client::connect(shim.address());
    let mut head = request("PUT", "/", HOST);
    head.push(("expect", "100-continue".to_owned()));
    client.request(1, &head, false);
    assert_eq!(client.status(1), 100);
    client.send(frame(DATA, END_STREAM, 1, b"body"));
    assert_eq!(client.status(1), 200);
    // Nobody is told to send what nobody wants.
    let mut head = request("PUT", "/", "other.test");
    head.push(("expect", "100-continue".to_owned()));
    client.request(3, &head, false);
    assert_eq!(client.status(3), 421);
}

#[test]
fn a_cookie_in_crumbs_reaches_an_http1_origin_whole() {
    let origin = Origin::ok();
    let shim = Shim::before(&origin);
    let mut client = Client::connect(shim.address());
    let mut head = request("GET", "/", HOST);
    head.extend([("cookie", "a=1".to_owned()), ("cookie", "b=2".to_owned())]);
    client.request(1, &head, true);
    assert_eq!(client.status(1), 200);
    let received = origin.received();
    assert_eq!(header(&received, "cookie"), Some("a=1; b=2"), "{received}");
    assert_eq!(received.matches("cookie").count(), 1, "{received}");
}
