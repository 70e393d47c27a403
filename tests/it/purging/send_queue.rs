//! An edge that requests a page and does not read it. The whole page then lies in the send queue of the shim's
//! kernel. A purge that is accepted meanwhile is not done before the edge has read the page, and is sent again
//! afterwards.

use crate::harness::fake_cdn::{Cloudflare, FakeCdn};
use crate::harness::h2::{self, Client, Wired, frame};
use crate::harness::http::Request;
use crate::harness::origin::{self, Exchange};
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::wire::Wire;
use crate::harness::{HOST, eventually, free_address, listens};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Larger than the buffers of the edge's kernel, and smaller than those of the shim's.
const PAGE: usize = 98 * 1024;
const ROOM: usize = 8 * 1024;
const MARGIN: Duration = Duration::from_millis(500);
/// A time well beyond the margin, including the kernel's answer.
const LONG: Duration = Duration::from_millis(1_200);

/// The shim between an origin with large pages and a CDN whose edges are played by the test.
struct World {
    shim: Shim,
    tls: SocketAddr,
    roots: RootCertStore,
    _cdn: FakeCdn<Cloudflare>,
    _certificates: TempDir,
}

impl World {
    /// Starts the shim with these lines in `[server]`.
    fn start(settings: &str) -> Self {
        let origin = origin::serve(|mut exchange: Exchange| exchange.answer(200, &[], &"x".repeat(PAGE)));
        let cdn = FakeCdn::start(Cloudflare::default());
        let shim = Shim::start(Site::www(origin).cdn(&cdn.settings()));
        let certificates = TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).unwrap();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| certificates.path().join(name));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let tls = free_address();
        shim.edit(
            "workers = 2",
            &format!(
                "workers = 2\ntls_listen = [\"{tls}\"]\n\
                 certificates = [{{ cert = \"{}\", key = \"{}\" }}]\n{settings}",
                cert.display(),
                key.display()
            ),
        );
        shim.hang_up();
        eventually("the reload", || listens(tls).then_some(()));
        shim.wait_until_healthy();
        Self { shim, tls, roots, _cdn: cdn, _certificates: certificates }
    }

    /// Returns an edge that has requested a page and reads nothing.
    fn asks(&self, tls: bool, version: u8, path: &str, lines: &str) -> Edge {
        let to = if tls { self.tls } else { self.shim.address };
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(ROOM).unwrap();
        socket.connect(&to.into()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let stream: TcpStream = socket.into();
        let stream: Box<dyn Wired> =
            if tls { Box::new(self.secure(stream, version)) } else { Box::new(stream) };
        Edge::ask(stream, version, path, lines)
    }

    fn secure(&self, stream: TcpStream, version: u8) -> StreamOwned<ClientConnection, TcpStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        client.alpn_protocols = vec![if version == 2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let name = ServerName::try_from(HOST).unwrap();
        let connection = ClientConnection::new(Arc::new(client), name).unwrap();
        StreamOwned::new(connection, stream)
    }

    /// Waits until the origin has sent the page and the shim has written it.
    fn until_written(&self, pages: usize) {
        eventually("the page is written", || {
            let metrics = Request::get("/metrics").send(self.shim.admin);
            let counts =
                metrics.text().lines().filter(|line| line.starts_with("origin_shim_requests_total{"));
            let sum: f64 = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
            (sum >= pages as f64).then_some(())
        });
    }

    fn state(&self, id: &str) -> (Value, usize) {
        let purge = self.shim.look_up(id);
        (purge["state"].clone(), purge["jobs"][0]["attempts"].as_array().unwrap().len())
    }

    fn until_done(&self, id: &str) -> usize {
        eventually("the purge is done", || {
            let (state, calls) = self.state(id);
            (state == "done").then_some(calls)
        })
    }
}

/// An edge, reduced to the reading side.
enum Edge {
    One(Box<dyn Wired>),
    Two(Client),
}

impl Edge {
    fn ask(mut stream: Box<dyn Wired>, version: u8, path: &str, lines: &str) -> Self {
        let opt_in = [("x-push-invalidation", "enabled"), ("x-byo-cdn-type", "cloudflare")];
        if version == 1 {
            let opt_in = opt_in.map(|(name, value)| format!("{name}: {value}\r\n")).concat();
            let request = format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\n{opt_in}{lines}\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            stream.flush().unwrap();
            return Self::One(stream);
        }
        let mut client = Client::over_any(stream);
        // No table for header compression, and windows as large as the page.
        let settings = [&[0, 1, 0, 0, 0, 0, 0, 4][..], &(1u32 << 20).to_be_bytes()].concat();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let wide = frame(h2::WINDOW_UPDATE, 0, 0, &(1u32 << 20).to_be_bytes());
        assert!(client.send([preface, frame(h2::SETTINGS, 0, 0, &settings), wide].concat()));
        let mut headers = h2::request("GET", path, HOST);
        headers.extend(opt_in.map(|(name, value)| (name, value.to_owned())));
        assert!(client.request(1, &headers, true));
        Self::Two(client)
    }

    /// Reads the whole page.
    fn read(&mut self) {
        match self {
            Self::One(stream) => {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                assert!(
                    head.starts_with("HTTP/1.1 200 ") && head.to_lowercase().contains("cache-tag"),
                    "{head}"
                );
                stream.read_exact(&mut vec![0; PAGE]).unwrap();
            }
            Self::Two(client) => {
                let mut length = 0;
                loop {
                    let frame = client.next().unwrap();
                    if frame.kind == h2::DATA {
                        length += frame.payload.len();
                        if frame.flags & h2::END_STREAM != 0 {
                            break;
                        }
                    }
                }
                assert_eq!(length, PAGE);
            }
        }
    }
}

impl Edge {
    /// Reads until the connection breaks. Returns an upper limit of the page's bytes that arrived.
    fn rest(self) -> usize {
        match self {
            Self::One(mut stream) => {
                let mut bytes = Vec::new();
                let end = stream.read_to_end(&mut bytes).map_err(|error| error.kind());
                assert_eq!(end, Err(ErrorKind::ConnectionReset));
                bytes.len()
            }
            Self::Two(mut client) => {
                let frames = std::iter::from_fn(|| client.next());
                frames.filter(|frame| frame.kind == h2::DATA).map(|frame| frame.payload.len()).sum()
            }
        }
    }
}

/// Every kind of connection on which a page can leave.
const WAYS: [(bool, u8, &str); 5] =
    [(false, 1, ""), (false, 1, "connection: close\r\n"), (true, 1, ""), (false, 2, ""), (true, 2, "")];

#[test]
fn a_page_in_the_send_queue_is_on_its_way() {
    let world = World::start("");
    for (number, (tls, version, lines)) in WAYS.into_iter().enumerate() {
        let path = format!("/{number}");
        let mut edge = world.asks(tls, version, &path, lines);
        world.until_written(number + 1);
        // The edge waits for longer than the margin, and the response is still in flight.
        sleep(LONG);
        let id = world.shim.accept(&json!({"paths": [path]}));
        let since = Instant::now();
        while since.elapsed() < LONG {
            let (state, calls) = world.state(&id);
            assert!(state != "done" && calls <= 1, "{tls} {version} {lines}: {state} after {calls}");
            sleep(Duration::from_millis(50));
        }
        assert_eq!(world.shim.look_up(&id)["jobs"][0]["waits_for"], "responses", "{tls} {version} {lines}");
        edge.read();
        let read = Instant::now();
        assert_eq!(world.until_done(&id), 2, "{tls} {version} {lines}");
        // The margin is the CDN's. The kernel's answer is at most one tick of the worker's clock late.
        assert!(read.elapsed() >= MARGIN - Duration::from_millis(100), "{:?}", read.elapsed());
    }
}

#[test]
fn an_edge_that_reads_at_once_costs_no_second_call() {
    let world = World::start("");
    for (number, (tls, version, lines)) in WAYS.into_iter().enumerate() {
        let path = format!("/{number}");
        let mut edge = world.asks(tls, version, &path, lines);
        edge.read();
        sleep(LONG);
        let purge = world.shim.purge(&json!({"paths": [path]}));
        assert_eq!(purge["jobs"][0]["attempts"].as_array().unwrap().len(), 1, "{tls} {version} {lines}");
    }
}

#[test]
fn an_edge_that_never_reads_holds_up_a_purge_for_so_long_and_gets_no_page() {
    let world = World::start("[server.limits]\nwrite_timeout = \"2s\"");
    for (number, (tls, version, lines)) in WAYS.into_iter().enumerate() {
        let path = format!("/{number}");
        let edge = world.asks(tls, version, &path, lines);
        world.until_written(number + 1);
        let id = world.shim.accept(&json!({"paths": [path]}));
        let since = Instant::now();
        assert_eq!(world.until_done(&id), 2, "{tls} {version} {lines}");
        assert!(since.elapsed() >= Duration::from_millis(1_500), "{:?}", since.elapsed());
        // The unread part is lost, and the edge can detect that.
        let length = edge.rest();
        assert!(length < PAGE, "{tls} {version} {lines}: {length} bytes");
        let metrics = Request::get("/metrics").send(world.shim.admin);
        let limited = format!("origin_shim_limited_total{{limit=\"write\"}} {}", number + 1);
        assert!(metrics.text().contains(&limited), "{limited}: {}", metrics.text());
    }
}

/// A kernel goes on delivering after its program has ended, and no purge could wait for that.
#[test]
fn a_stop_waits_until_the_edges_have_what_was_written() {
    let mut world = World::start("");
    let mut edge = world.asks(false, 1, "/", "connection: close\r\n");
    world.until_written(1);
    world.shim.stop();
    sleep(LONG);
    edge.read();
    world.shim.wait_until_ended();
}

/// Wraps `command` so that its queries to the kernel about connections are logged.
fn watched(command: &Command, log: &Path) -> Command {
    let mut strace = Command::new("strace");
    // strace runs as a grandchild, so that the child is the program itself.
    strace.args(["-D", "-f", "-qq", "--seccomp-bpf", "-e", "signal=none", "-e", "trace=getsockopt", "-o"]);
    strace.arg(log).arg(command.get_program()).args(command.get_args());
    strace
}

/// Sends many requests on one connection, and one each on many connections that stay open.
#[test]
fn requests_ask_the_kernel_nothing_while_nobody_purges() {
    const REQUESTS: usize = 1_000;
    const CONNECTIONS: usize = 200;
    let mut world = World::start("");
    let log = world.shim.config.with_file_name("strace.log");
    world.shim.kill();
    world.shim.start_again_as(|command| watched(&command, &log));
    world.shim.wait_until_healthy();
    let asked = || std::fs::read_to_string(&log).unwrap().matches("TCP_INFO").count();
    let request = format!(
        "GET /page HTTP/1.1\r\nhost: {HOST}\r\nx-push-invalidation: enabled\r\nx-byo-cdn-type: cloudflare\r\n\r\n"
    );
    let since = Instant::now();
    let mut client = Wire::connect(world.shim.address);
    for _ in 0..REQUESTS {
        assert_eq!(client.request(&request).1.len(), PAGE);
    }
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| Wire::connect(world.shim.address)).collect();
    for client in &mut clients {
        assert_eq!(client.request(&request).1.len(), PAGE);
    }
    // The busy connection is queried at most once a second.
    let (seconds, kept) = (since.elapsed().as_secs() as usize + 1, asked());
    assert!(kept <= seconds && kept <= REQUESTS / 16, "asked {kept} times in {seconds} s");
    let purge = world.shim.purge(&json!({"paths": ["/page"]}));
    assert_eq!(purge["state"], "done");
    let purged = asked() - kept;
    assert!((CONNECTIONS..3 * CONNECTIONS).contains(&purged), "asked {purged} times for a purge");
    drop((client, clients));
}
