//! Reloads under load, some of them of invalid files: no request fails, no connection is dropped, and each
//! request has one configuration from its start to its end. `ORIGIN_SHIM_LONG=1` makes a hundred reloads.

use crate::harness::authority::Authority;
use crate::harness::fake_cdn::{FakeCdn, Node};
use crate::harness::h2;
use crate::harness::http::Request;
use crate::harness::program::{Place, Program};
use crate::harness::scripted::Origin;
use crate::harness::site::Site;
use crate::harness::wire::{LIMIT, get_with, header};
use crate::harness::{eventually, free_address};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const NAME: &str = "www.example.com";
const TOKEN: &str = "reload-test-token-0123";
/// The pause of each client between requests, so that all together send about 200 requests a second.
const PAUSE: Duration = Duration::from_millis(40);
const PARTS: usize = 20;

/// An origin that returns the `Host` of the request. `/long` is sent in parts over most of a second.
fn origin() -> Origin {
    Origin::playing(|served| {
        while let Some((head, _)) = served.request() {
            let host = header(&head, "host").unwrap();
            let common = format!("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nx-saw: {host}\r\n");
            if !head.starts_with("GET /long ") {
                served.wire.send(format!("{common}content-length: 2\r\n\r\nok"));
                continue;
            }
            served.wire.send(format!("{common}transfer-encoding: chunked\r\n\r\n"));
            for _ in 0..PARTS {
                served.wire.send("4\r\npart\r\n");
                std::thread::sleep(Duration::from_millis(40));
            }
            served.wire.send("0\r\n\r\n");
        }
    })
}

/// The common parts of all generations of a configuration.
struct Generations {
    origin: Origin,
    cdn: FakeCdn<Node>,
    servers: Authority,
}

impl Generations {
    fn start() -> Self {
        let (cdn, servers) = (FakeCdn::start(Node::default()), Authority::new());
        Self { origin: origin(), cdn, servers }
    }

    /// Returns the configuration of this generation, and writes its certificate. Every value that a response
    /// shows contains the number.
    fn configuration(&self, n: u64, place: &Place, secure: SocketAddr) -> String {
        let (certificate, key) = self.servers.sign(NAME, ExtendedKeyUsagePurpose::ServerAuth);
        fs::write(place.dir.join(format!("{n}.pem")), certificate.pem()).unwrap();
        fs::write(place.dir.join(format!("{n}.key")), key.serialize_pem()).unwrap();
        let site = Site::named("www")
            .host(NAME)
            .host(crate::harness::HOST)
            .origin(self.origin.address)
            .keys(&format!("origin_host = \"g{n}.test\""))
            .cache(&format!("edge_ttl = \"{}s\"\nbrowser_ttl = \"{}s\"", EDGE + n, BROWSER + n))
            .tables(&format!("[[sites.rules]]\npath = \"/**\"\ntags = [\"g{n}-\"]"))
            .cdn(&self.cdn.settings());
        format!(
            r#"[server]
listen = ["{}"]
tls_listen = ["{secure}"]
workers = 2
[[server.certificates]]
cert = "{n}.pem"
key = "{n}.key"
[admin]
listen = "{}"
hosts = ["www.example.test"]
[[admin.tokens]]
name = "test"
token = "literal:{TOKEN}"
scopes = ["read", "operate"]
[store]
url = "sqlite:store.db"
{site}"#,
            place.address, place.admin,
        )
    }

    /// Returns the configuration of a client that trusts the site's authority.
    fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.servers.issuer.der().clone()).unwrap();
        let builder =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

const EDGE: u64 = 100_000;
const BROWSER: u64 = 1_000;

/// Ways to break a configuration file. The given text is that of the next generation.
const BREAKS: [fn(&Path, String); 6] = [
    |file, text| fs::write(file, &text[..text.len() / 2]).unwrap(),
    |file, text| fs::write(file, text.replace("edge_ttl", "edge_tll")).unwrap(),
    |file, text| fs::write(file, text.replace(".pem\"", ".pem.missing\"")).unwrap(),
    // The file is valid, but the key belongs to another certificate.
    |file, text| {
        let (at, _) = text.match_indices("key = \"").next().unwrap();
        let end = at + text[at..].find('\n').unwrap();
        fs::write(file, [&text[..at], "key = \"0.key\"", &text[end..]].concat()).unwrap();
    },
    |file, _| fs::remove_file(file).unwrap(),
    |file, text| fs::write(file, [text.as_bytes(), b"\xff\xfe"].concat()).unwrap(),
];

/// The state that the clients and the reloading thread share.
#[derive(Default)]
struct Shared {
    /// The generation that is certainly in effect, and the newest that may be.
    counts: AtomicU64,
    announced: AtomicU64,
    answered: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    /// Sends one request. The whole answer must be of one generation, which was in effect at some time during
    /// the request.
    fn ask(&self, wire: &mut impl ReadWrite, path: &str) -> Result<(), String> {
        let counts = self.counts.load(Ordering::SeqCst);
        wire.write_all(get_with(path, OPT_IN).as_bytes()).map_err(|error| format!("{path}: {error}"))?;
        let head = read_until(wire, b"\r\n\r\n").map_err(|error| format!("{path}: {error}"))?;
        let announced = self.announced.load(Ordering::SeqCst);
        let body = match path {
            "/long" => read_until(wire, b"0\r\n\r\n"),
            _ => read_until(wire, b"ok"),
        };
        let body = body.map_err(|error| format!("{path}: {error} after {head}"))?;
        if path == "/long" && body.matches("part").count() != PARTS {
            return Err(format!("{path}: {body:?}"));
        }
        let seen = [
            ("x-saw", "g", 0),
            ("xkey", "g", 0),
            ("surrogate-control", "max-age=", EDGE),
            ("cache-control", "max-age=", BROWSER),
        ]
        .map(|(name, before, base)| number_in(&head, name, before).map(|number| number - base));
        let [Some(first), ..] = seen else { return Err(head) };
        if seen != [Some(first); 4] || !(counts..=announced).contains(&first) {
            return Err(format!("not of one generation from {counts} to {announced}: {seen:?}\n{head}"));
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Sends requests over connections that `connect` makes: one for each request, or one for all.
    fn keeps_asking<S: ReadWrite>(
        &self,
        connect: impl Fn() -> S,
        path: &str,
        anew: bool,
    ) -> Result<(), String> {
        let mut wire = connect();
        while !self.stop.load(Ordering::SeqCst) {
            self.ask(&mut wire, path)?;
            std::thread::sleep(PAUSE);
            if anew {
                wire = connect();
            }
        }
        Ok(())
    }
}

impl Shared {
    /// Does the same over one HTTP/2 connection. Only the arrival of its responses is checked.
    fn keeps_asking_http2(&self, address: SocketAddr) -> Result<(), String> {
        let mut client = h2::Client::connect(address);
        for stream in (1..).step_by(2) {
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            client.request(stream, &h2::request("GET", "/", NAME), true);
            loop {
                let frame = client.next().ok_or(format!("the connection ended at stream {stream}"))?;
                match frame.kind {
                    h2::PING if frame.flags & h2::ACK == 0 => {
                        client.send(h2::frame(h2::PING, h2::ACK, 0, &frame.payload));
                    }
                    h2::GOAWAY | h2::RST_STREAM => return Err(format!("{frame:?} at stream {stream}")),
                    h2::DATA if frame.flags & h2::END_STREAM != 0 => break,
                    _ => {}
                }
            }
            self.answered.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

const OPT_IN: &str = "x-push-invalidation: enabled\r\nx-byo-cdn-type: varnish\r\n";

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn read_until(wire: &mut impl Read, end: &[u8]) -> std::io::Result<String> {
    let mut bytes = vec![];
    while !bytes.ends_with(end) {
        let mut byte = [0];
        wire.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    Ok(String::from_utf8(bytes).unwrap())
}

/// Returns the first number that follows these characters in a header.
fn number_in(head: &str, name: &str, before: &str) -> Option<u64> {
    header(head, name)?.match_indices(before).find_map(|(at, _)| {
        let digits = &header(head, name)?[at + before.len()..];
        digits[..digits.bytes().take_while(u8::is_ascii_digit).count()].parse().ok()
    })
}

fn plain(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn secure(address: SocketAddr, config: &Arc<ClientConfig>) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from(NAME).unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), plain(address))
}

#[test]
fn r44_reloads_under_load_fail_no_request_and_mix_no_configurations() {
    let reloads = if crate::harness::is_long() { 100 } else { 20 };
    let site = Generations::start();
    let tls_address = Cell::new(None);
    let program = Program::start(|place| {
        tls_address.set(Some(free_address()));
        site.configuration(0, place, tls_address.get().unwrap())
    });
    let place = Place { address: program.address, admin: program.admin, dir: program.dir().to_owned() };
    let tls_address = tls_address.get().unwrap();
    eventually("the CDN is healthy", || {
        let answer = Request::get("/readyz").send(program.admin);
        (answer.json()["degraded"] == serde_json::json!([])).then_some(())
    });

    let shared = Arc::new(Shared::default());
    let mut clients = vec![];
    for n in 0..10 {
        let (shared, config) = (Arc::clone(&shared), site.client());
        let address = program.address;
        clients.push(std::thread::spawn(move || match n {
            0..3 => shared.keeps_asking(|| plain(address), "/", false),
            3 => shared.keeps_asking(|| plain(address), "/", true),
            4..6 => shared.keeps_asking(|| secure(tls_address, &config), "/", false),
            6 => shared.keeps_asking(|| secure(tls_address, &config), "/", true),
            7 => shared.keeps_asking(|| plain(address), "/long", false),
            8 => shared.keeps_asking_http2(address),
            _ => shared.keeps_asking(|| secure(tls_address, &config), "/long", false),
        }));
    }

    let (mut good, mut broken) = (0, 0);
    for n in 1..=reloads {
        let text = site.configuration(n, &place, tls_address);
        let before = (metric(&program, "accepted"), metric(&program, "refused"));
        let is_broken = n % 3 == 0;
        if is_broken {
            BREAKS[broken % BREAKS.len()](&program.config, text);
            broken += 1;
        } else {
            shared.announced.store(n, Ordering::SeqCst);
            fs::write(&program.config, text).unwrap();
            good += 1;
        }
        // The reload is requested in both ways in turn.
        if n % 2 == 0 {
            program.hang_up();
        } else {
            let bearer = format!("Bearer {TOKEN}");
            let headers = [("authorization", bearer.as_str())];
            let answer = Request::get("/v1/reload").method("POST").headers(&headers).send(program.admin);
            assert_eq!(answer.status, if is_broken { 422 } else { 200 }, "{n}: {}", answer.text());
        }
        let expected = if is_broken { (before.0, before.1 + 1) } else { (before.0 + 1, before.1) };
        eventually("the reload is counted", || {
            ((metric(&program, "accepted"), metric(&program, "refused")) == expected).then_some(())
        });
        if !is_broken {
            shared.counts.store(n, Ordering::SeqCst);
        }
        // The load continues over all connections, whatever the result of the reload.
        let answered = shared.answered.load(Ordering::SeqCst);
        eventually("the load goes on", || {
            let ended = clients.iter().any(|client| client.is_finished());
            (ended || shared.answered.load(Ordering::SeqCst) >= answered + 40).then_some(())
        });
    }
    shared.stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().unwrap().unwrap();
    }
    let answered = shared.answered.load(Ordering::SeqCst);
    println!("{good} reloads and {broken} that were refused: {answered} requests, none failed");
}

fn metric(program: &Program, result: &str) -> u64 {
    program.metric(&format!("origin_shim_config_reloads_total{{result=\"{result}\"}}"))
}
