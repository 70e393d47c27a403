//! Origins that play a script on each connection, byte by byte.

use super::wire::{LIMIT, Wire};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// An origin that plays a script on each connection, and reports every request head that reached it.
pub struct Origin {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heads: Mutex<Receiver<String>>,
}

/// The side of the origin of one connection.
pub struct Served {
    pub wire: Wire,
    /// The number of the connection, from 0.
    pub number: usize,
    heads: Sender<String>,
}

impl Served {
    /// Reads the next request head. Returns `None` at the end of the connection.
    pub fn head(&mut self) -> Option<String> {
        let head = self.wire.head();
        if head.is_empty() {
            return None;
        }
        let _ = self.heads.send(head.clone());
        Some(head)
    }

    /// Reads a whole request: head and body.
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

    /// Plays `script` on a socket that is bound already.
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

    /// Answers every request with these bytes, and keeps the connection open.
    pub fn answering(response: &'static str) -> Self {
        Self::playing(move |served| {
            while served.request().is_some() {
                served.wire.send(response);
            }
        })
    }

    /// Answers every request with `ok`.
    pub fn ok() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    }

    /// Returns the number of connections accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the next request head that reached the origin.
    pub fn received(&self) -> String {
        self.heads.lock().unwrap().recv_timeout(LIMIT).unwrap()
    }

    /// Whether no (further) request has reached the origin.
    pub fn received_nothing(&self) -> bool {
        self.heads.lock().unwrap().try_recv().is_err()
    }
}

/// Starts an origin that reads each request, and answers `ok` to it when the test sends on the channel or drops it.
pub fn gated() -> (Origin, Sender<()>) {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let origin = Origin::playing(move |served| {
        while served.request().is_some() {
            let _ = gate.lock().unwrap().recv();
            served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        }
    });
    (origin, go)
}
