//! What the proxy tests stand between: a scripted origin and a client, both raw TCP, so that tests see bytes and
//! not what a library makes of them. Every read has a limit: a test that would hang fails instead.

#![allow(clippy::unwrap_used)]

use origin_shim::config::{
    Admin, Cdn, CdnSettings, Config, Everything, Limits, OriginUrl, Server, Site, Store,
};
use origin_shim::listen::{self, DataPlane};
use origin_shim::metrics::Metrics;
use origin_shim::proxy::Shared;
use origin_shim::rewrite::{CdnType, Dialect};
use origin_shim::upstream::Roots;
use origin_shim::view::PurgeHealthView;
use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// No read of a test waits longer.
pub const LIMIT: Duration = Duration::from_secs(20);

/// One end of a connection.
pub struct Wire {
    reader: BufReader<TcpStream>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    pub fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).unwrap())
    }

    /// Writes; a peer that is gone is noticed by the next read.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.reader.get_mut().write_all(bytes.as_ref());
    }

    /// Writes; whether the peer still takes bytes.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.reader.get_mut().write_all(bytes).is_ok()
    }

    /// The same connection, to write from another thread.
    pub fn another_end(&self) -> TcpStream {
        self.reader.get_ref().try_clone().unwrap()
    }

    /// A head with its empty line, or what came instead before the end.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.reader.read_until(b'\n', &mut head) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        String::from_utf8(head).unwrap()
    }

    /// Whatever comes next; nothing at the end of the connection.
    pub fn some(&mut self) -> Option<Vec<u8>> {
        let bytes = self.reader.fill_buf().unwrap_or_default().to_vec();
        self.reader.consume(bytes.len());
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Whether anything is there to be read now.
    pub fn has_more(&mut self) -> bool {
        if !self.reader.buffer().is_empty() {
            return true;
        }
        let stream = self.reader.get_ref();
        stream.set_nonblocking(true).unwrap();
        let more = stream.peek(&mut [0]).is_ok_and(|n| n > 0);
        stream.set_nonblocking(false).unwrap();
        more
    }

    pub fn exactly(&mut self, n: usize) -> String {
        let mut bytes = vec![0; n];
        self.reader.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line
    }

    /// One chunk's data; empty at the end of the body.
    pub fn chunk(&mut self) -> String {
        let size = usize::from_str_radix(self.line().trim(), 16).unwrap();
        let data = self.exactly(size);
        assert_eq!(self.line(), "\r\n");
        data
    }

    /// A body as `head` delimits it.
    pub fn body(&mut self, head: &str) -> String {
        if let Some(length) = header(head, "content-length") {
            return self.exactly(length.parse().unwrap());
        }
        let mut body = String::new();
        if header(head, "transfer-encoding").is_some() {
            loop {
                match self.chunk() {
                    chunk if chunk.is_empty() => break,
                    chunk => body.push_str(&chunk),
                }
            }
        }
        body
    }

    /// Everything up to the end of the connection; a reset is an end too.
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => panic!("still open"),
            _ => String::from_utf8(rest).unwrap(),
        }
    }

    /// A response's head and body.
    pub fn response(&mut self) -> (String, String) {
        let head = self.head();
        let body = self.body(&head);
        (head, body)
    }

    pub fn request(&mut self, request: &str) -> (String, String) {
        self.send(request);
        self.response()
    }

    pub fn shutdown(&mut self) {
        let _ = self.reader.get_mut().shutdown(Shutdown::Both);
    }
}

/// A header's value in the text of a head.
pub fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

pub fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap_or_else(|| panic!("no status in {head:?}")).parse().unwrap()
}

/// An origin that plays a script on each connection, and tells every request head that reached it.
pub struct Origin {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heads: Mutex<Receiver<String>>,
}

/// An origin's side of one connection.
pub struct Served {
    pub wire: Wire,
    /// Of the connection, from 0.
    pub number: usize,
    heads: Sender<String>,
}

impl Served {
    /// The next request head, or nothing at the end of the connection.
    pub fn head(&mut self) -> Option<String> {
        let head = self.wire.head();
        if head.is_empty() {
            return None;
        }
        let _ = self.heads.send(head.clone());
        Some(head)
    }

    /// Reads a whole request.
    pub fn request(&mut self) -> Option<(String, String)> {
        let head = self.head()?;
        let body = self.wire.body(&head);
        Some((head, body))
    }
}

impl Origin {
    /// Plays `script` on every connection, each in its own thread.
    pub fn playing(script: impl Fn(&mut Served) + Send + Sync + 'static) -> Self {
        Self::playing_on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// The same on a socket that is bound already.
    pub fn playing_on(listener: TcpListener, script: impl Fn(&mut Served) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (heads, received) = channel();
        let (script, counted) = (Arc::new(script), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let (script, heads) = (Arc::clone(&script), heads.clone());
                std::thread::spawn(move || {
                    script(&mut Served { wire: Wire::new(stream.unwrap()), number, heads });
                });
            }
        });
        Self { address, connections, heads: Mutex::new(received) }
    }

    /// Answers every request with these bytes, and keeps the connection.
    pub fn answering(response: &'static str) -> Self {
        Self::playing(move |served| {
            while served.request().is_some() {
                served.wire.send(response);
            }
        })
    }

    /// Answers `ok`.
    pub fn ok() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    }

    /// Connections that were accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The next request head that reached it.
    pub fn received(&self) -> String {
        self.heads.lock().unwrap().recv_timeout(LIMIT).unwrap()
    }

    /// Whether no (further) request has reached it.
    pub fn received_nothing(&self) -> bool {
        self.heads.lock().unwrap().try_recv().is_err()
    }
}

/// An address where nobody listens, nor will: its port stays taken until the tests end.
pub fn nowhere() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

/// A running data plane and what it shares with a control plane.
pub struct Shim {
    pub plane: DataPlane,
    pub metrics: Arc<Metrics>,
    pub health: Arc<PurgeHealthView>,
}

impl Shim {
    pub fn start(config: &Config) -> Self {
        Self::with_roots(config, Roots::default())
    }

    pub fn with_roots(config: &Config, roots: Roots) -> Self {
        let metrics = Arc::new(Metrics::new(config.server.workers));
        let health = Arc::new(PurgeHealthView::default());
        let shared = Shared::with_roots(config, Arc::clone(&metrics), Arc::clone(&health), roots).unwrap();
        Self { plane: listen::spawn(config, shared).unwrap(), metrics, health }
    }

    /// In front of one origin, with the site `www.example.com`.
    pub fn before(origin: &Origin) -> Self {
        Self::start(&config(vec![site(&[origin.address])]))
    }

    pub fn address(&self) -> SocketAddr {
        self.plane.addresses().plain[0]
    }

    pub fn connect(&self) -> Wire {
        Wire::connect(self.address())
    }

    /// One request on a connection of its own.
    pub fn request(&self, request: &str) -> (String, String) {
        self.connect().request(request)
    }

    /// Waits until a line of the metrics is there: a request is counted when its response has been dropped,
    /// which the client may see before.
    pub fn counts(&self, line: &str) {
        let started = Instant::now();
        loop {
            let text = self.metrics.render();
            if text.lines().any(|l| l == line) {
                return;
            }
            assert!(started.elapsed() < LIMIT, "no {line} in\n{text}");
            std::thread::yield_now();
        }
    }
}

/// `GET path` for the site.
pub fn get(path: &str) -> String {
    get_with(path, "")
}

/// The same with more header lines, each with its end.
pub fn get_with(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: www.example.com\r\n{lines}\r\n")
}

pub fn limits() -> Limits {
    Limits {
        // Debug builds on busy machines.
        origin_connect_timeout: Duration::from_secs(5),
        ..Limits::default()
    }
}

pub fn config(sites: Vec<Site>) -> Config {
    Config {
        log: origin_shim::config::Log::default(),
        server: Server {
            id: Some("test".into()),
            listen: vec![([127, 0, 0, 1], 0).into()],
            workers: 1,
            limits: limits(),
            ..Server::default()
        },
        admin: Admin { listen: ([127, 0, 0, 1], 0).into(), hosts: vec![], tokens: vec![] },
        store: Store { path: None, retention: Duration::from_secs(60) },
        sites: sites.into_iter().map(Arc::new).collect(),
    }
}

/// The site `www`, with these plain origins; all else is the default.
pub fn site(origins: &[SocketAddr]) -> Site {
    let text = "[[sites]]\nname = \"www\"\nhosts = [\"www.example.com\"]\norigin = \"http://origin.test\"";
    let mut parsed = Config::parse(text, Path::new("test.toml"), &|_| None).unwrap();
    let origin = |address: &SocketAddr| OriginUrl {
        tls: false,
        host: address.ip().to_string(),
        port: address.port(),
        authority: "origin.test".into(),
    };
    Site { origins: origins.iter().map(origin).collect(), ..Arc::unwrap_or_clone(parsed.sites.remove(0)) }
}

/// A CDN named by its type.
pub fn cdn(cdn: CdnType) -> Arc<Cdn> {
    Arc::new(Cdn {
        name: cdn.as_str().into(),
        hosts: vec!["www.example.com".into()],
        hard: true,
        everything: Everything::SiteTag,
        repeat_after: Duration::ZERO,
        repeat_everything_after: Duration::ZERO,
        rate: Default::default(),
        verify: false,
        verify_url: None,
        account: "main".into(),
        dialect: Dialect::new(cdn, None, None),
        settings: CdnSettings::Varnish(origin_shim::config::cdns::Varnish { api_urls: vec![] }),
    })
}
