//! The control plane: one thread with its own runtime for the admin API and the workers of the CDNs, so that nothing they
//! do can hold up a request.

use super::StartError;
use super::StopError;
use super::glue;
use crate::admin::{self, Readiness};
use crate::cdn::Sender;
use crate::config::Config;
use crate::listen::Pulse;
use crate::metrics::Metrics;
use crate::store::{OpenError, SqliteStore, Store};
use crate::view::PurgeHealthView;
use crate::worker::{Engine, Parts, system_clock};
use arc_swap::ArcSwap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Between two signs of life.
const BEAT: Duration = Duration::from_millis(250);

/// The running control plane.
#[derive(Debug)]
pub(super) struct ControlPlane {
    address: SocketAddr,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
    /// None while the store is being opened, which may take long.
    pulse: Arc<OnceLock<Pulse>>,
}

impl ControlPlane {
    /// Binds the admin listener, so that a wrong address is known before anything starts.
    pub(super) fn bind(config: &Config) -> Result<TcpListener, StartError> {
        let address = config.admin.listen;
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        bind().map_err(|source| StartError::AdminBind { address, source })
    }

    /// Opens the store and starts the thread.
    pub(super) fn start(
        config: Config,
        admin: TcpListener,
        metrics: Arc<Metrics>,
        view: Arc<PurgeHealthView>,
    ) -> Result<Self, StartError> {
        let address = admin.local_addr().map_err(StartError::Control)?;
        let sender = Sender::new().map_err(StartError::Sender)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Control)?;
        let (readiness, stop) = (Arc::new(Readiness::default()), CancellationToken::new());
        let (alive, ended) = oneshot::channel();
        let pulse = Arc::new(OnceLock::new());
        let parts = Plane {
            config,
            metrics,
            view,
            sender,
            readiness: Arc::clone(&readiness),
            pulse: Arc::clone(&pulse),
        };
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                // Dropped, and so seen by `ended`, when this thread ends in whatever way.
                let _alive = alive;
                if let Err(error) = parts.run(&runtime, admin, stopped) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the admin API cannot be served"
                    );
                }
            })
            .map_err(StartError::Control)?;
        Ok(Self { address, readiness, stop, ended, thread, pulse })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn set_ready(&self) {
        self.readiness.set_ready();
    }

    pub(super) fn set_draining(&self) {
        self.readiness.set_draining();
    }

    /// Its thread's pulse, several beats a second once the store is open.
    pub(super) fn pulse(&self) -> Arc<OnceLock<Pulse>> {
        Arc::clone(&self.pulse)
    }

    /// Ends when the thread has ended.
    pub(super) async fn ended(&mut self) {
        // Nothing is ever sent: the error says that the thread let go of its end.
        let _ = (&mut self.ended).await;
    }

    /// Ends the admin API, then the workers. Blocks the thread.
    pub(super) fn stop(self) -> Result<(), StopError> {
        self.stop.cancel();
        self.thread.join().map_err(|_panic| StopError::Control)
    }
}

/// What the thread works with.
struct Plane {
    config: Config,
    metrics: Arc<Metrics>,
    view: Arc<PurgeHealthView>,
    sender: Sender,
    readiness: Arc<Readiness>,
    pulse: Arc<OnceLock<Pulse>>,
}

impl Plane {
    fn run(self, runtime: &Runtime, admin: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let store = open(&self.config);
        runtime.block_on(async {
            tokio::spawn(beat(Arc::clone(&self.pulse)));
            let listener = tokio::net::TcpListener::from_std(admin)?;
            let engine = store.clone().map(|store| Arc::new(Engine::start(&self.config, self.parts(store))));
            let state = admin::State {
                control: glue::control(engine.clone()),
                planner: glue::planner(),
                metrics: Box::new({
                    let metrics = Arc::clone(&self.metrics);
                    move || metrics.render()
                }),
                readiness: Arc::clone(&self.readiness),
                limits: admin::Limits::default(),
                config: Arc::new(ArcSwap::from_pointee(self.config)),
                store,
            };
            admin::serve(listener, Arc::new(state), stop.cancelled_owned()).await;
            if let Some(engine) = engine {
                engine.stop().await;
            }
            Ok(())
        })
    }

    fn parts(&self, store: Arc<dyn Store>) -> Parts {
        Parts {
            store,
            transport: Arc::new(self.sender.clone()),
            adapter: Box::new(crate::cdn::build),
            view: Arc::clone(&self.view),
            observer: glue::observer(Arc::clone(&self.metrics)),
            clock: system_clock(),
        }
    }
}

/// Shows that the thread is alive, until its runtime ends.
async fn beat(pulse: Arc<OnceLock<Pulse>>) {
    let pulse = pulse.get_or_init(|| Pulse::new(Instant::now()));
    loop {
        pulse.beat(Instant::now());
        tokio::time::sleep(BEAT).await;
    }
}

/// Opens the store. Without one the proxy goes on with short lifetimes, and purges get 503.
fn open(config: &Config) -> Option<Arc<dyn Store>> {
    let opened: Result<SqliteStore, OpenError> = match &config.store.path {
        Some(path) => SqliteStore::open(path),
        None => SqliteStore::in_memory(),
    };
    match opened {
        Ok(store) => Some(Arc::new(store)),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the store cannot be opened: no purge is accepted, and no response gets a long TTL"
            );
            None
        }
    }
}
