//! Origins that play a script on each HTTP/2 connection, frame by frame.

use super::h2::{Client, DATA, END_STREAM, frame};
use super::in_process::{Shim, config, site};
use origin_shim::config::{Config, Limits, OriginProtocol};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Returns a configuration with the site `www` in front of these origins, which use HTTP/2 without TLS.
pub fn http2(origins: &[SocketAddr]) -> Config {
    let mut www = site(origins);
    www.origin.protocol = OriginProtocol::Http2;
    config(vec![www])
}

/// A shim in front of this origin, with these limits.
pub fn before(origin: SocketAddr, limit: impl FnOnce(&mut Limits)) -> Shim {
    let mut config = http2(&[origin]);
    limit(&mut config.server.limits);
    Shim::start(&config)
}

/// An origin that plays a script on each connection, frame by frame.
pub struct Frames {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Frames {
    pub fn playing(script: impl Fn(&mut Client, usize) + Send + Sync + 'static) -> Self {
        Self::with_settings(&[], script)
    }

    pub fn with_settings(
        settings: &'static [u8],
        script: impl Fn(&mut Client, usize) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (script, counted) = (Arc::new(script), Arc::clone(&connections));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(&mut Client::serving(stream.unwrap(), settings), number));
            }
        });
        Self { address, connections }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// The head of a response.
pub const OK: [(&str, &str); 1] = [(":status", "200")];

/// Sends a response with the body `ok`.
pub fn ok(peer: &mut Client, stream: u32) {
    peer.respond(stream, &OK, false);
    peer.send(frame(DATA, END_STREAM, stream, b"ok"));
}

/// Reads until the peer ends the connection.
pub fn to_the_end(peer: &mut Client) {
    while peer.next_answering().is_some() {}
}
