//! Floods of HTTP/2 frames: the connection soon ends, the memory of the program does not grow, and other clients are
//! served.

use crate::harness::h2::*;
use crate::harness::program::Program;
use crate::harness::wire::Wire;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Far more units than any limit.
const UNITS: usize = 50_000;
/// Units per write.
const BATCH: usize = 100;
const ALLOWED_GROWTH: u64 = 32 << 20;

/// An origin that counts requests and answers them.
fn counting() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || {
                let mut wire = Wire::new(stream);
                while !wire.head().is_empty() {
                    counted.fetch_add(1, Ordering::SeqCst);
                    wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                }
            });
        }
    });
    (address, count)
}

/// A flood under way.
struct Flood {
    program: Program,
    client: Client,
    before: u64,
    requests: Arc<AtomicUsize>,
}

impl Flood {
    fn begin() -> Self {
        let (origin, requests) = counting();
        let program = Program::before(origin, "body_timeout = \"5s\"\n");
        for _ in 0..20 {
            assert_eq!(program.get("/").text(), "ok");
        }
        let mut warm = Client::connect(program.address);
        warm.request(1, &request("GET", "/", "www.example.com"), true);
        assert_eq!(warm.status(1), 200);
        requests.store(0, Ordering::SeqCst);
        let before = program.memory().0;
        let client = Client::connect(program.address);
        Self { program, client, before, requests }
    }

    fn stream_is_open(&mut self) {
        assert!(self.client.request(1, &request("POST", "/", "www.example.com"), false));
    }

    /// Sends units until the connection is gone; the error code of the GOAWAY, if one arrived.
    #[track_caller]
    fn ends(mut self, unit: impl Fn(u32) -> Vec<u8>) -> Option<u32> {
        let mut sent = 0;
        while sent < UNITS {
            let units: Vec<u8> = (sent..sent + BATCH).flat_map(|n| unit(n as u32)).collect();
            if !self.client.send(units) {
                break;
            }
            sent += BATCH;
        }
        // The kernel may have taken all of it; a connection that stays open fails here.
        let code = self.client.ended();
        self.settles();
        code
    }

    #[track_caller]
    fn settles(&self) {
        let served = self.requests.load(Ordering::SeqCst);
        assert!(served < 3000, "{served} requests reached the origin");
        let growth = self.program.memory().1.saturating_sub(self.before);
        assert!(growth < ALLOWED_GROWTH, "the shim grew by {} KiB", growth / 1024);
        assert_eq!(self.program.get("/").text(), "ok");
        crate::harness::eventually("nothing is under way", || {
            (self.program.metric("origin_shim_requests_in_flight") == 0).then_some(())
        });
    }
}

/// CVE-2023-44487.
#[test]
fn requests_that_are_cancelled_at_once() {
    Flood::begin().ends(|n| {
        let stream = 2 * n + 1;
        let block = block(&request("GET", "/", "www.example.com"));
        [
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &block),
            frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()),
        ]
        .concat()
    });
}

/// CVE-2025-8671: the client makes the server cancel.
#[test]
fn requests_that_make_us_cancel_them() {
    let overflow = 0x7fff_ffff_u32.to_be_bytes();
    Flood::begin().ends(|n| {
        let stream = 2 * n + 1;
        let block = block(&request("GET", "/", "www.example.com"));
        [frame(HEADERS, END_HEADERS, stream, &block), frame(WINDOW_UPDATE, 0, stream, &overflow)].concat()
    });
    let zero = 0u32.to_be_bytes();
    Flood::begin().ends(|n| {
        let stream = 2 * n + 1;
        let block = block(&request("GET", "/", "www.example.com"));
        [frame(HEADERS, END_HEADERS, stream, &block), frame(WINDOW_UPDATE, 0, stream, &zero)].concat()
    });
}

/// CVE-2024-27316 and its like.
#[test]
fn headers_without_an_end() {
    Flood::begin().ends(|n| match n {
        0 => frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/", "www.example.com"))),
        _ => frame(CONTINUATION, 0, 1, &block(&vec![("x-filler", "x".repeat(100))])),
    });
    Flood::begin().ends(|n| match n {
        0 => frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/", "www.example.com"))),
        _ => frame(CONTINUATION, 0, 1, b""),
    });
}

/// CVE-2019-9518.
#[test]
fn data_without_data() {
    let mut flood = Flood::begin();
    flood.stream_is_open();
    flood.ends(|_| frame(DATA, 0, 1, b""));
}

/// CVE-2019-9512.
#[test]
fn pings() {
    Flood::begin().ends(|n| frame(PING, 0, 0, &u64::from(n).to_be_bytes()));
}

/// CVE-2019-9515.
#[test]
fn settings() {
    Flood::begin().ends(|_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]));
    Flood::begin().ends(|_| frame(SETTINGS, 0, 0, b""));
}

/// CVE-2019-9513, and frames of no known type (RFC 9113 §4.1: ignored).
#[test]
fn priorities_and_frames_that_mean_nothing() {
    const PRIORITY: u8 = 2;
    Flood::begin().ends(|n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 16]));
    Flood::begin().ends(|_| frame(0xfa, 0, 0, b"nothing"));
}

/// A client that asks for much and takes nothing: its answers must not pile up.
#[test]
fn pings_whose_answers_are_not_read() {
    let flood = Flood::begin();
    // `ends` reads only after it has sent everything.
    flood
        .ends(|_| [frame(PING, 0, 0, b"pingping"), frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes())].concat());
}

/// Many references to one large header: small on the wire, large in memory (CVE-2016-6581).
#[test]
fn compressed_bombs() {
    let mut flood = Flood::begin();
    // The first request fills the table with one entry, the second refers to it again and again.
    let mut first = block(&request("GET", "/", "www.example.com"));
    first.push(0x40);
    first.extend([1, b'x', 0x7f, 0xa1, 0x1e]);
    first.extend([b'x'; 4000]);
    flood.client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &first));
    assert_eq!(flood.client.status(1), 200);
    let mut bomb = block(&request("GET", "/", "www.example.com"));
    bomb.extend([0xbe; 16_000]);
    for stream in (3..203).step_by(2) {
        if !flood.client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &bomb)) {
            break;
        }
    }
    let answer = flood.client.next_of(3, |_| true);
    println!("{answer:?}");
    flood.settles();
    assert_eq!(flood.requests.load(Ordering::SeqCst), 2, "the first, and that of settles");
}

/// The client opens as many streams as are allowed, and none of them ends or goes on.
#[test]
fn streams_that_are_left_open() {
    let mut flood = Flood::begin();
    for stream in (1..200).step_by(2) {
        flood.client.request(stream, &request("POST", "/", "www.example.com"), false);
    }
    // They get their answers in time, each on its own.
    for stream in (1..200).step_by(2) {
        assert!([200, 408].contains(&flood.client.status(stream)));
    }
    flood.settles();
}
