//! Manages the addresses to listen on, and how a reload changes them. New ones are bound before anything is
//! replaced, removed ones are drained, and the rest is not touched.

use super::bind;
use super::error::ListenError;
use super::tls::{self, Tls};
use crate::config::Server;
use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::mpsc::UnboundedSender;

/// The actual addresses of the listeners, in the order of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Plain listeners.
    pub plain: Vec<SocketAddr>,
    /// TLS listeners.
    pub tls: Vec<SocketAddr>,
}

/// The addresses that the workers listen on.
#[derive(Debug)]
pub(super) struct Listeners {
    bound: Vec<Bound>,
    /// The TLS configuration; `None` until there is a TLS listener.
    tls: Option<Arc<Tls>>,
    workers: Vec<UnboundedSender<Change>>,
    next: u64,
    /// Whether the first addresses may belong to another process that is about to end.
    sharing: bool,
}

/// An address that is listened on.
#[derive(Clone, Debug)]
struct Bound {
    number: u64,
    /// The address as configured.
    wanted: Wanted,
    /// The actual address: a port 0 has become a real one.
    real: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wanted {
    address: SocketAddr,
    tls: bool,
}

/// One worker's socket of a listener.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) number: u64,
    pub(super) socket: std::net::TcpListener,
    pub(super) tls: Option<Arc<Tls>>,
}

/// A message to a worker.
#[derive(Debug)]
pub(super) enum Change {
    /// Also accept connections here.
    Add(Socket),
    /// Stop accepting connections here, and let the existing ones end.
    Remove(u64),
}

/// A change that cannot fail any more. Dropping it leaves everything as it was.
#[derive(Debug)]
pub(super) struct Prepared {
    bound: Vec<Bound>,
    gone: Vec<Bound>,
    /// The new sockets of each worker.
    sockets: Vec<Vec<Socket>>,
    tls: Option<Arc<Tls>>,
    certificates: Option<Arc<ServerConfig>>,
}

impl Listeners {
    /// Creates the listeners for these workers. With `sharing`, the first addresses may be shared with another
    /// process.
    pub(super) fn new(workers: Vec<UnboundedSender<Change>>, sharing: bool) -> Self {
        Self { bound: vec![], tls: None, workers, next: 0, sharing }
    }

    /// Loads the certificates that TLS listeners need; `None` if there are no such listeners.
    pub(super) fn certificates(server: &Server) -> Result<Option<Arc<ServerConfig>>, ListenError> {
        let loaded = (!server.tls_listen.is_empty()).then(|| tls::server_config(server));
        Ok(loaded.transpose()?)
    }

    /// Binds the addresses of `server` that are not bound yet.
    pub(super) fn prepare(
        &mut self,
        server: &Server,
        certificates: Option<Arc<ServerConfig>>,
    ) -> Result<Prepared, ListenError> {
        let tls = self.tls.clone().or_else(|| certificates.clone().map(Tls::new));
        let mut gone = self.bound.clone();
        let mut bound = Vec::new();
        let mut sockets: Vec<Vec<Socket>> = self.workers.iter().map(|_| Vec::new()).collect();
        let plain = server.listen.iter().map(|&address| Wanted { address, tls: false });
        let secure = server.tls_listen.iter().map(|&address| Wanted { address, tls: true });
        let all: Vec<_> = plain.chain(secure).collect();
        // All are checked before any is bound, because an address for all interfaces may include another. An address
        // on a port on which we already listen is not checked, because it would seem to be taken: a reload may have
        // changed it from plain to TLS.
        let is_ours = |wanted: &&Wanted| {
            self.bound.iter().any(|bound| {
                [bound.wanted.address, bound.real].map(|of| of.port()).contains(&wanted.address.port())
            })
        };
        for wanted in all.iter().filter(|wanted| !self.sharing && !is_ours(wanted)) {
            let failed = |source| ListenError::Bind { address: wanted.address, source };
            bind::is_free(wanted.address).map_err(failed)?;
        }
        for wanted in all {
            if let Some(index) = gone.iter().position(|bound| bound.wanted == wanted) {
                bound.push(gone.remove(index));
                continue;
            }
            let failed = |source| ListenError::Bind { address: wanted.address, source };
            let (real, each) = bind::bind(wanted.address, self.workers.len()).map_err(failed)?;
            let number = self.next;
            self.next += 1;
            for (worker, socket) in sockets.iter_mut().zip(each) {
                worker.push(Socket { number, socket, tls: tls.clone().filter(|_| wanted.tls) });
            }
            bound.push(Bound { number, wanted, real });
        }
        Ok(Prepared { bound, gone, sockets, tls, certificates })
    }

    /// Applies the change.
    pub(super) fn take_over(&mut self, prepared: Prepared) {
        let Prepared { bound, gone, sockets, tls, certificates } = prepared;
        if let (Some(tls), Some(certificates)) = (&tls, certificates) {
            tls.replace(certificates);
        }
        // The program itself reports the first addresses.
        let is_new = |bound: &&Bound| self.bound.iter().all(|old| old.number != bound.number);
        for bound in bound.iter().filter(is_new).filter(|_| !self.bound.is_empty()) {
            tracing::info!(address = %bound.real, tls = bound.wanted.tls, "listening");
        }
        for bound in &gone {
            tracing::info!(address = %bound.real, tls = bound.wanted.tls, "no longer listening");
        }
        // A worker that has ended was told to stop, and needs no changes.
        for (worker, sockets) in self.workers.iter().zip(sockets) {
            for socket in sockets {
                let _ = worker.send(Change::Add(socket));
            }
            for bound in &gone {
                let _ = worker.send(Change::Remove(bound.number));
            }
        }
        (self.bound, self.tls, self.sharing) = (bound, tls, false);
    }

    /// Returns the actual addresses.
    pub(super) fn addresses(&self) -> Addresses {
        let of = |tls| {
            let some = self.bound.iter().filter(move |bound| bound.wanted.tls == tls);
            some.map(|bound| bound.real).collect()
        };
        Addresses { plain: of(false), tls: of(true) }
    }
}
