//! SIGTERM under load: every accepted request gets its whole response. `ORIGIN_SHIM_LONG=1` repeats the test
//! fifty times.

use crate::harness::h2;
use crate::harness::program::Program;
use crate::harness::wire::{LIMIT, Wire, get, header};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;
const DOWNLOADS: usize = 20;
/// The pause of each client between requests, so that all together send 200 requests a second.
const PAUSE: Duration = Duration::from_millis(40);
const PARTS: usize = 40;
/// A connection that is idle for this long after the signal is closed, and a busy machine may keep a client from
/// asking.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// `/long` is sent in parts over some seconds, everything else at once.
fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut wire = Wire::new(stream);
                loop {
                    let head = wire.head();
                    if head.is_empty() {
                        return;
                    }
                    if !head.starts_with("GET /long ") {
                        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                        continue;
                    }
                    wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                    for _ in 0..PARTS {
                        wire.send("4\r\npart\r\n");
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    wire.send("0\r\n\r\n");
                }
            });
        }
    });
    address
}

/// Asks over one connection for as long as the shim keeps it, then over the next, until none is accepted. The number
/// of requests, and how one failed if one did.
fn keeps_asking(address: SocketAddr, terminated: &AtomicBool) -> Result<u32, String> {
    let mut asked = 0;
    loop {
        let Ok(stream) = TcpStream::connect(address) else {
            return if terminated.load(Ordering::SeqCst) {
                Ok(asked)
            } else {
                Err("refused before the end".into())
            };
        };
        // The kernel may accept a connection for a listener that the shim is about to close, and then reset it.
        // A connection was certainly accepted only if it was made before the signal, or if a request on it has
        // been answered.
        let mut accepted = !terminated.load(Ordering::SeqCst);
        let mut wire = Wire::new(stream);
        let mut answered = Instant::now();
        loop {
            wire.send(get("/"));
            let idle = answered.elapsed();
            let head = wire.head();
            if head.is_empty() && (!accepted || idle >= LAST_REQUESTS) {
                return Ok(asked);
            }
            if !head.starts_with("HTTP/1.1 200 ") || wire.body(&head) != "ok" {
                return Err(format!("after {asked} requests and a pause of {idle:?}: {head:?}"));
            }
            answered = Instant::now();
            accepted = true;
            asked += 1;
            std::thread::sleep(PAUSE);
            if header(&head, "connection") == Some("close") {
                break;
            }
        }
    }
}

/// Sends each request over a connection of its own.
fn asks_anew(address: SocketAddr, terminated: &AtomicBool) -> Result<u32, String> {
    let mut asked = 0;
    loop {
        let Ok(stream) = TcpStream::connect(address) else { return Ok(asked) };
        let accepted = !terminated.load(Ordering::SeqCst);
        let mut wire = Wire::new(stream);
        wire.send(get("/"));
        let head = wire.head();
        match head.starts_with("HTTP/1.1 200 ") {
            true => asked += 1,
            false if accepted => return Err(format!("after {asked} connections: {head:?}")),
            false => return Ok(asked),
        }
        std::thread::sleep(PAUSE);
    }
}

fn downloads(address: SocketAddr) -> Result<u32, String> {
    let mut wire = Wire::connect(address);
    wire.send(get("/long"));
    let head = wire.head();
    let body = wire.body(&head);
    if body == "part".repeat(PARTS) { Ok(1) } else { Err(format!("{head:?}: {} bytes", body.len())) }
}

#[test]
fn r39_no_accepted_request_fails_when_we_are_told_to_stop() {
    let rounds = if crate::harness::is_long() { 50 } else { 3 };
    let origin = origin();
    let mut total = 0;
    for round in 0..rounds {
        let mut program = Program::before(origin, "");
        let (address, terminated) = (program.address, Arc::new(AtomicBool::new(false)));
        let mut clients = vec![];
        for _ in 0..DOWNLOADS {
            clients.push(std::thread::spawn(move || downloads(address)));
        }
        for n in 0..CLIENTS {
            let terminated = Arc::clone(&terminated);
            clients.push(std::thread::spawn(move || match n % 4 {
                3 => asks_anew(address, &terminated),
                _ => keeps_asking(address, &terminated),
            }));
        }
        crate::harness::eventually("the downloads are under way", || {
            (program.metric("origin_shim_requests_in_flight") >= DOWNLOADS as u64).then_some(())
        });
        // Each round is at another moment of the load.
        std::thread::sleep(Duration::from_millis(200 + 37 * round));
        terminated.store(true, Ordering::SeqCst);
        let started = Instant::now();
        program.terminate();
        let ended = clients.into_iter().map(|client| client.join().unwrap()).collect::<Result<Vec<_>, _>>();
        let asked: u32 = ended
            .unwrap_or_else(|failed| panic!("round {round}: {failed}\n{}", program.output()))
            .iter()
            .sum();
        assert!(asked > DOWNLOADS as u32);
        total += asked;
        assert_eq!(program.ended().code(), Some(0), "{}", program.output());
        assert!(started.elapsed() < LIMIT, "the drain did not end with the last request");
    }
    println!("{rounds} SIGTERMs, each over {DOWNLOADS} downloads: {total} requests, none failed");
}

/// HTTP/2 connections end with two GOAWAY frames, and no request that was sent before the second is lost.
#[test]
fn r39_http2_connections_are_told() {
    let origin = origin();
    let mut program = Program::before(origin, "");
    let mut client = h2::Client::connect(program.address);
    client.request(1, &h2::request("GET", "/long", "www.example.com"), true);
    assert_eq!(client.status(1), 200);
    program.terminate();
    let (mut data, mut goaways, mut second) = (0, vec![], None);
    while let Some(frame) = client.next() {
        match frame.kind {
            h2::DATA if frame.stream == 1 => data += frame.payload.len(),
            h2::GOAWAY => {
                goaways.push(u32::from_be_bytes(frame.payload[..4].try_into().unwrap()));
                if goaways.len() == 1 {
                    // The first GOAWAY does not name the last stream yet, so this request must be served.
                    client.request(3, &h2::request("GET", "/", "www.example.com"), true);
                }
            }
            h2::PING if frame.flags & h2::ACK == 0 => {
                client.send(h2::frame(h2::PING, h2::ACK, 0, &frame.payload));
            }
            h2::HEADERS if frame.stream == 3 => second = Some(frame),
            _ => {}
        }
    }
    assert_eq!(data, 4 * PARTS);
    assert_eq!(goaways, [0x7fff_ffff, 3]);
    assert!(second.is_some());
    assert_eq!(program.ended().code(), Some(0), "{}", program.output());
}
