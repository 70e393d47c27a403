//! The data plane: N workers, each a thread with its own single-threaded runtime, its own listeners and its own origin
//! connections. Workers share the routing (immutable; a reload replaces it as a whole), counters, and the state of the
//! origins (`upstream/address.rs`).

pub mod frames;
pub mod tls;

mod acknowledged;
mod batch;
mod bind;
mod connection;
mod error;
mod files;
mod header_blocks;
mod hpack;
pub mod http1;
mod http2;
mod io;
mod listeners;
mod origins;
pub mod proxy_protocol;
mod pulse;
mod socket;
mod watch;
mod worker;

pub use error::ListenError;
pub use listeners::Addresses;
pub use pulse::Pulse;

use crate::config::Config;
use crate::proxy::Shared;
use listeners::Listeners;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch::{Sender, channel};
use worker::Starting;

/// A worker panicked.
#[derive(Debug, thiserror::Error)]
#[error("the thread `{0}` of the data plane panicked")]
pub struct WorkerPanicked(String);

/// The running data plane. Dropping it aborts everything in flight.
#[derive(Debug)]
pub struct DataPlane {
    serving: Serving,
    /// The deadline for draining; `None` means to serve.
    stop: Sender<Option<Instant>>,
    workers: Vec<JoinHandle<()>>,
    /// The thread of the origins' monitor; `None` after it was joined.
    keeping: Option<JoinHandle<()>>,
    pulses: Vec<Arc<Pulse>>,
}

/// The part of the data plane that a reload replaces.
#[derive(Clone, Debug)]
pub struct Serving {
    shared: Arc<Shared>,
    listeners: Arc<Mutex<Listeners>>,
}

/// Binds every address, then starts the workers, and returns when all of them serve.
pub fn spawn(config: &Config, shared: Arc<Shared>) -> Result<DataPlane, ListenError> {
    start(config, shared, false)
}

/// Does the same as [`spawn`], but shares its addresses with another process of the same user. The kernel
/// distributes connections to both.
pub fn spawn_beside(config: &Config, shared: Arc<Shared>) -> Result<DataPlane, ListenError> {
    start(config, shared, true)
}

fn start(config: &Config, shared: Arc<Shared>, sharing: bool) -> Result<DataPlane, ListenError> {
    files::share_out(&config.server, shared.descriptors());
    let count = config.server.workers.max(1);
    let (tellers, told): (Vec<_>, Vec<_>) = (0..count).map(|_| unbounded_channel()).unzip();
    let mut listeners = Listeners::new(tellers, sharing);
    let certificates = Listeners::certificates(&config.server)?;
    let prepared = listeners.prepare(&config.server, certificates)?;
    listeners.take_over(prepared);

    // If one thread cannot start, this function returns and drops `stop`, which ends the workers that have started.
    let (stop, stopped) = channel(None);
    let (started, starts) = std::sync::mpsc::channel();
    let mut workers = Vec::with_capacity(count);
    let mut pulses = Vec::with_capacity(count + 1);
    for (index, changes) in told.into_iter().enumerate() {
        let starting = Starting::new(changes);
        pulses.push(starting.pulse());
        let (shared, started, stopped) = (Arc::clone(&shared), started.clone(), stopped.clone());
        let thread = std::thread::Builder::new()
            .name(format!("proxy-{index}"))
            .spawn(move || worker::run(index, starting, &shared, &started, stopped))
            .map_err(ListenError::Worker)?;
        workers.push(thread);
    }
    drop(started);
    let pulse = Arc::new(Pulse::new(Instant::now()));
    pulses.push(Arc::clone(&pulse));
    let keeping =
        origins::start(Arc::clone(&shared), pulse, stop.subscribe()).map_err(ListenError::Worker)?;
    for result in starts.iter().take(count) {
        result.map_err(ListenError::Worker)?;
    }
    let serving = Serving { shared, listeners: Arc::new(Mutex::new(listeners)) };
    Ok(DataPlane { serving, stop, workers, keeping: Some(keeping), pulses })
}

impl DataPlane {
    /// Returns the addresses of the listeners. A port 0 of the configuration has become a real port.
    pub fn addresses(&self) -> Addresses {
        self.serving.listeners.lock().unwrap_or_else(PoisonError::into_inner).addresses()
    }

    /// Returns the pulses of the workers and of the origins' monitor, which beat several times a second.
    pub fn pulses(&self) -> &[Arc<Pulse>] {
        &self.pulses
    }

    /// Returns the part that a reload replaces.
    pub fn serving(&self) -> Serving {
        self.serving.clone()
    }

    /// Applies a new configuration, as [`Serving::reload`] does.
    pub fn reload(&self, config: &Config) -> Result<(), ListenError> {
        self.serving.reload(config)
    }

    /// Begins to stop and returns at once. No new connections are accepted, requests in flight may end within
    /// `deadline`, and the rest is then aborted. [`DataPlane::join`] waits for the end.
    pub fn drain(&self, deadline: Duration) {
        self.stop.send_replace(Some(Instant::now() + deadline));
    }

    /// Blocks the caller's thread until every worker and the origins' monitor have ended, which happens only after
    /// [`DataPlane::drain`].
    pub fn join(mut self) -> Result<(), WorkerPanicked> {
        let workers = std::mem::take(&mut self.workers);
        let mut result = Ok(());
        for (index, worker) in workers.into_iter().enumerate() {
            if worker.join().is_err() {
                result = Err(WorkerPanicked(format!("proxy-{index}")));
            }
        }
        let keeping = self.keeping.take().map_or(Ok(()), JoinHandle::join);
        result.and(keeping.map_err(|_panic| WorkerPanicked("origins".to_owned())))
    }
}

impl Serving {
    /// Applies the sites, limits, certificates and listeners of a new configuration. On an error nothing changes.
    pub fn reload(&self, config: &Config) -> Result<(), ListenError> {
        // Nothing is replaced until all of it is known to be valid. Listeners are bound last, because connections
        // may arrive there at once.
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let certificates = Listeners::certificates(&config.server)?;
        let routing = self.shared.compile(config)?;
        let prepared = listeners.prepare(&config.server, certificates)?;
        self.shared.take_over(routing);
        listeners.take_over(prepared);
        Ok(())
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.stop.send_if_modified(|stop| stop.replace(Instant::now()).is_none());
    }
}
