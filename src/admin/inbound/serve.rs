//! The listeners. A connection from another network than those in `allow` is answered, too, so that its user learns
//! why nothing is purged.

use super::desk::Desk;
use super::dispatch::{self, answered, plain};
use super::repeats::Repeats;
use super::shared::Shared;
use crate::admin::places::{Place, Room};
use crate::admin::serve::{Answers, DRAIN_TIMEOUT, accept};
use crate::admin::state::State;
use crate::admin::strict::Verdict;
use crate::config::{Config, Inbound};
use crate::telemetry::Sparse;
use axum::response::Response;
use http::StatusCode;
use hyper::body::Incoming;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

static NOT_ALLOWED: Sparse = Sparse::new();

/// A listener that was bound for one of the `[[inbound]]` tables.
#[derive(Debug)]
pub struct InboundListener {
    /// The listener.
    pub listener: TcpListener,
    /// The address as the configuration has it.
    pub address: SocketAddr,
    /// The number of this listener among those of the same address: several may have port 0.
    pub number: usize,
}

/// Serves these listeners until `stop`, then lets the requests in flight end.
pub async fn serve_inbound(
    listeners: impl IntoIterator<Item = InboundListener>,
    state: Arc<State>,
    stop: CancellationToken,
) {
    let shared = Arc::new(Shared { state, repeats: Repeats::default(), replays: Mutex::default() });
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    // A client may open a connection for each of its purges, and all of them come from one address.
    let Room { strangers, known, .. } = Room::within(files);
    let room = Room { strangers, known, per_token: known };
    let mut serving = JoinSet::new();
    for InboundListener { listener, address, number } in listeners {
        let (shared, stop) = (shared.clone(), stop.clone());
        serving.spawn(async move {
            let here = Here { shared, address, number };
            let graceful = accept(listener, room, here, stop.cancelled_owned()).await;
            if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
                tracing::warn!(%address, "inbound requests were cut off at the end of the drain");
            }
        });
    }
    while serving.join_next().await.is_some() {}
}

/// One listener.
#[derive(Clone)]
struct Here {
    shared: Arc<Shared>,
    address: SocketAddr,
    number: usize,
}

impl Here {
    /// Returns the table of the listener in a configuration, which a reload may have changed.
    fn table<'c>(&self, config: &'c Config) -> Option<&'c Inbound> {
        let mut tables = config.inbound.iter().filter_map(|inbound| {
            let times = inbound.listen.iter().filter(|address| **address == self.address).count();
            (times > 0).then_some((inbound, times))
        });
        let mut before = 0;
        tables.find_map(|(inbound, times)| {
            before += times;
            (self.number < before).then_some(inbound)
        })
    }
}

impl Answers for Here {
    fn knows(&self, peer: SocketAddr) -> Option<String> {
        let config = self.shared.state.config.load();
        self.table(&config).filter(|inbound| inbound.allows(peer.ip())).map(|_| "inbound".to_owned())
    }

    async fn answer(
        self,
        peer: SocketAddr,
        request: hyper::Request<Incoming>,
        verdict: Option<Verdict>,
        _: Place,
    ) -> Response {
        let config = self.shared.state.config.load_full();
        let Some(inbound) = self.table(&config) else {
            let detail = "This listener is no longer in the configuration.";
            return answered(plain(StatusCode::SERVICE_UNAVAILABLE, detail));
        };
        match verdict {
            Some(Ok(_)) => {}
            Some(Err(why)) => return answered(plain(why.answer().status, why.answer().public)),
            None => return answered(plain(StatusCode::BAD_REQUEST, "The request cannot be read.")),
        }
        let desk = Desk::new(&self.shared, &config, inbound, (peer, (self.address, self.number)));
        if !inbound.allows(peer.ip()) {
            if let Some(times) = NOT_ALLOWED.note(Instant::now()) {
                tracing::warn!(
                    target: "audit",
                    %peer, listener = %self.address, times,
                    "a purge request came from a network that `inbound.allow` does not list"
                );
            }
            return dispatch::not_allowed(&desk, &request);
        }
        dispatch::serve(&desk, request).await
    }
}
