//! The listeners of the `[[inbound]]` tables.

use super::beside::{self, REPLACE};
use super::error::StartError;
use crate::admin::{self, InboundListener};
use crate::config::Config;
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// A bound listener, before there is a runtime.
#[derive(Debug)]
pub(super) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    number: usize,
}

/// Binds all listeners, so that an unusable address is detected before anything starts.
pub(super) fn bind(config: &Config) -> Result<Vec<Bound>, StartError> {
    let mut numbers = HashMap::new();
    let addresses = config.inbound.iter().flat_map(|inbound| &inbound.listen);
    let bound = addresses.map(|address| {
        let before = numbers.entry(*address).or_insert(0);
        let number = *before;
        *before += 1;
        let cannot = |source| StartError::InboundBind { address: *address, source };
        let listener = beside::listen(*address).map_err(cannot)?;
        Ok(Bound { listener, address: *address, number })
    });
    bound.collect()
}

/// Returns the actual addresses.
pub(super) fn addresses(bound: &[Bound]) -> Vec<SocketAddr> {
    bound.iter().filter_map(|bound| bound.listener.local_addr().ok()).collect()
}

/// Serves the listeners until `stop`. If there are none yet (`None`), another process had their addresses at the
/// start: they are bound as soon as it has left them.
pub(super) async fn serve(bound: Option<Vec<Bound>>, state: Arc<admin::State>, stop: CancellationToken) {
    let mut bound = bound;
    let mut is_told = false;
    let bound = loop {
        match bound.take().map_or_else(|| bind(&state.config.load()), Ok) {
            Ok(bound) => break bound,
            Err(error) if is_told => drop(error),
            Err(error) => {
                is_told = true;
                tracing::error!(error = &error as &dyn Error, "tried again until it can");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(REPLACE) => {}
        }
    };
    let listening = |Bound { listener, address, number }| -> io::Result<_> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(InboundListener { listener, address, number })
    };
    match bound.into_iter().map(listening).collect::<io::Result<Vec<_>>>() {
        Ok(listeners) => admin::serve_inbound(listeners, state, stop).await,
        Err(error) => tracing::error!(%error, "the inbound listeners cannot be served"),
    }
}
