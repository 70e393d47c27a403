//! Hundreds of slow clients beside fast ones: slow heads, slow bodies, slow readers, and many clients that do nothing
//! at all. `ORIGIN_SHIM_LONG=1` makes the test longer.

use crate::harness::program::Program;
use crate::harness::recorder::whole_request;
use crate::harness::wire::{LIMIT, Wire, get};
use crate::harness::{eventually, is_long};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream as AsyncStream;

/// Slow clients. Other tests beside it decide how much of their large downloads they are handed at once, so the normal
/// run has fewer than the thousand for which the limit is meant.
fn crowd_size() -> usize {
    if is_long() { 1000 } else { 600 }
}
const ALLOWED_GROWTH: u64 = 64 << 20;
/// Between two bytes of a slow client.
const PAUSE: Duration = Duration::from_millis(500);
/// Requests of good clients per second, together.
const GOOD_PER_SECOND: u32 = 100;
/// More than all buffers between the origin and a client hold.
const LARGE: usize = 64 << 20;
const PART: &[u8] = &[b'x'; 64 * 1024];

/// An origin on one thread: `/large` is large, everything else `ok`, once the whole request is there.
fn origin() -> SocketAddr {
    // Room for a crowd that comes at once: what the kernel turns away comes again only after a second, and then two.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(4096).unwrap();
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream));
            }
        });
    });
    address
}

async fn answer(mut stream: AsyncStream) {
    let (mut bytes, mut buffer) = (vec![], vec![0; 16 * 1024]);
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        bytes.extend_from_slice(&buffer[..n]);
        while let Some(length) = whole_request(&bytes) {
            let is_large = bytes.starts_with(b"GET /large ");
            bytes.drain(..length);
            let length = if is_large { LARGE } else { 2 };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            let (part, parts) = if is_large { (PART, LARGE / PART.len()) } else { (b"ok".as_slice(), 1) };
            let mut written = stream.write_all(head.as_bytes()).await;
            for _ in 0..parts {
                if written.is_err() {
                    return;
                }
                written = stream.write_all(part).await;
            }
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The ways in which a client is slow.
#[derive(Clone, Copy)]
enum Slow {
    Head,
    Body,
    Read,
}

async fn crawl(address: SocketAddr, how: Slow) {
    loop {
        let Ok(mut stream) = AsyncStream::connect(address).await else { return };
        let start = match how {
            Slow::Head => "GET / HTTP/1.1\r\nhost: www.example.com\r\n".to_owned(),
            Slow::Body => {
                "POST / HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 100000\r\n\r\n".to_owned()
            }
            Slow::Read => get("/large"),
        };
        let mut going = stream.write_all(start.as_bytes()).await.is_ok();
        // Until we are thrown out; then again.
        while going {
            tokio::time::sleep(PAUSE).await;
            going = match how {
                Slow::Head => stream.write_all(b"x: 1\r\n").await.is_ok(),
                Slow::Body => stream.write_all(b"x").await.is_ok(),
                Slow::Read => matches!(stream.read(&mut [0; 16]).await, Ok(1..)),
            };
        }
    }
}

/// Asks at a steady pace over a few kept connections, for `time`: how many were asked and how many of them answered.
fn good(address: SocketAddr, time: Duration) -> (u32, u32) {
    let started = Instant::now();
    let (mut asked, mut answered) = (0, 0);
    let mut clients: Vec<Option<Wire>> = (0..4).map(|_| None).collect();
    while started.elapsed() < time {
        let due = started + Duration::from_secs(1) * asked / GOOD_PER_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let client = &mut clients[asked as usize % 4];
        let wire = client.get_or_insert_with(|| Wire::connect(address));
        asked += 1;
        wire.send(get("/"));
        let head = wire.head();
        if head.starts_with("HTTP/1.1 200 ") && wire.body(&head) == "ok" {
            answered += 1;
        } else {
            *client = None;
        }
    }
    (asked, answered)
}

/// Raises the limit of open files of this process to the highest that it may have. Returns the limit.
fn files() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    maximum.unwrap_or(u64::MAX)
}

#[test]
fn a_crowd_of_slow_clients_hold_up_nobody() {
    let slow = crowd_size();
    assert!(files() > 4 * slow as u64, "too few files may be open: ulimit -Hn");
    let program =
        Program::before(origin(), "header_timeout = \"8s\"\nbody_timeout = \"8s\"\nwrite_timeout = \"8s\"\n");
    let (warm, _) = good(program.address, Duration::from_secs(1));
    let before = program.memory().0;
    let address = program.address;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let crowd = std::thread::spawn(move || {
        runtime().block_on(async {
            for n in 0..slow {
                tokio::spawn(crawl(address, [Slow::Head, Slow::Body, Slow::Read][n % 3]));
            }
            let _ = stopped.await;
        });
    });
    eventually("the crowd is there", || {
        (program.metric("origin_shim_connections{listener=\"plain\"}") >= slow as u64 * 9 / 10).then_some(())
    });
    let (mut asked, mut answered) = good(program.address, Duration::from_secs(3));
    let (now, _) = program.memory();
    // Until they begin to be thrown out, and come again.
    let more = good(program.address, Duration::from_secs(if is_long() { 60 } else { 6 }));
    (asked, answered) = (asked + more.0, answered + more.1);
    let (_, highest) = program.memory();
    eventually("those who are too slow are thrown out", || {
        (program.metric("origin_shim_limited_total{limit=\"head\"}") > 0).then_some(())
    });
    let _ = stop.send(());
    crowd.join().unwrap();
    assert!(
        warm > 0 && asked > 0 && u64::from(answered) * 1000 >= u64::from(asked) * 999,
        "{answered} of {asked}"
    );
    // With the whole crowd there; while all of it goes and comes at once a little more.
    let (growth, peak) = (now.saturating_sub(before), highest.saturating_sub(before));
    println!("{slow} slow clients: the shim grew by {} KiB, {} KiB at most", growth / 1024, peak / 1024);
    assert!(growth < ALLOWED_GROWTH, "the shim grew by {} KiB", growth / 1024);
    assert!(peak < ALLOWED_GROWTH * 3 / 2, "the shim grew by {} KiB", peak / 1024);
    eventually("all have gone", || {
        (program.metric("origin_shim_connections{listener=\"plain\"}") <= 4).then_some(())
    });
}

/// Idle connections take little: before their first request next to nothing, after it the room of their heads.
#[test]
fn ten_thousand_idle_connections_take_little_memory() {
    let program = Program::before(origin(), "header_timeout = \"10m\"\n");
    good(program.address, Duration::from_millis(500));
    let before = program.memory().0;
    // The others' files are open at the same time.
    let count = (files().saturating_sub(2000) / 2).min(10_000) as usize;
    let mut idle: Vec<TcpStream> = vec![];
    for n in 0..count {
        let mut stream = TcpStream::connect(program.address).unwrap();
        if n % 2 == 0 {
            stream.write_all(get("/").as_bytes()).unwrap();
        }
        idle.push(stream);
    }
    for stream in idle.iter_mut().step_by(2) {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let mut answer = [0; 40];
        stream.read_exact(&mut answer).unwrap();
        assert!(answer.ends_with(b"\r\n\r\nok"));
    }
    let open = program.metric("origin_shim_connections{listener=\"plain\"}");
    assert!(open >= count as u64, "{open} of {count}");
    let each = program.memory().0.saturating_sub(before) / count as u64;
    println!("{count} idle connections: {each} bytes each");
    assert!(each < 24 * 1024, "{each} bytes for each of {count} idle connections");
    assert_eq!(program.get("/").text(), "ok");
}
