//! The control plane: one thread with its own runtime for the admin API and the delivery tasks of the CDNs, so that
//! none of their work can delay a request.

use super::beside::{self, Door};
use super::error::{StartError, StopError};
use super::fleet;
use super::glue::{self, Delivery};
use super::inbound::{self, Bound};
use super::life::{beat, machine};
use super::opening::{NotOpen, Opened, Waiting, open};
use super::recall::recall;
use super::reload::Reloader;
use crate::admin::reload::{NotReloaded, Reload, Reloaded};
use crate::admin::{self, Events, Readiness, Untagged};
use crate::cdn::Sender;
use crate::config::{Config, Fingerprint};
use crate::delivery::{Engine, Parts};
use crate::guard::wall_ms;
use crate::listen::{Pulse, Serving};
use crate::metrics::Metrics;
use crate::store::{Left, PostgresStore, Store, StoreHealth, StoreVitals, Watched};
use crate::view::{OriginsView, PurgeHealthView};
use arc_swap::ArcSwap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The time for the last update of the store at the end.
const LAST_WORD: Duration = Duration::from_secs(2);

/// The running control plane.
pub(super) struct ControlPlane {
    address: SocketAddr,
    inbound: Vec<SocketAddr>,
    readiness: Arc<Readiness>,
    reloader: Arc<Reloader>,
    runtime: Handle,
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
    /// The thread's pulse; empty during the first attempt to open the store, which may take long.
    pulse: Arc<OnceLock<Pulse>>,
    /// The pulse of the store's threads; empty while the store is not open.
    store_vitals: Arc<OnceLock<StoreVitals>>,
    has_admin: watch::Receiver<bool>,
}

/// The control plane's inputs from the rest of the program.
pub(super) struct Given {
    /// The configuration to run.
    pub(super) config: Config,
    /// The file of the configuration, and the fingerprint that later versions are compared with.
    pub(super) source: (Option<PathBuf>, Fingerprint),
    /// The state that the data plane serves from.
    pub(super) serving: Serving,
    pub(super) metrics: Arc<Metrics>,
    pub(super) view: Arc<PurgeHealthView>,
    pub(super) origins: Arc<OriginsView>,
}

impl ControlPlane {
    /// Binds the admin listener, so that an unusable address is detected before anything starts. A process that
    /// `takes_over` may wait for its address.
    pub(super) fn bind(config: &Config, takes_over: bool) -> Result<Door, StartError> {
        let address = config.admin.listen;
        match beside::listen(address) {
            Ok(listener) => Ok(Door::Ours(listener)),
            Err(error) if takes_over && error.kind() == io::ErrorKind::AddrInUse => Ok(Door::Others(address)),
            Err(source) => Err(StartError::AdminBind { address, source }),
        }
    }

    /// Starts the thread, which opens the store.
    pub(super) fn start(
        (admin, inbound): (Door, Option<Vec<Bound>>),
        given: Given,
    ) -> Result<Self, StartError> {
        let address = match &admin {
            Door::Ours(listener) => listener.local_addr().map_err(StartError::Control)?,
            Door::Others(address) => *address,
        };
        let of_inbound = inbound::addresses(inbound.as_deref().unwrap_or_default());
        let sender = Sender::new().map_err(StartError::Sender)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Control)?;
        let handle = runtime.handle().clone();
        let plane = Plane::new(given, sender);
        let (readiness, reloader) = (plane.readiness.clone(), plane.reloader.clone());
        let (pulse, store_vitals) = (plane.pulse.clone(), plane.store_vitals.clone());
        plane.has_admin.send_replace(matches!(admin, Door::Ours(_)));
        let has_admin = plane.has_admin.subscribe();
        let stop = CancellationToken::new();
        let (alive, ended) = oneshot::channel();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                // Dropped when this thread ends in any way, which `ended` detects.
                let _alive = alive;
                if let Err(error) = plane.run(&runtime, (admin, inbound), stopped) {
                    tracing::error!(error = &error as &dyn Error, "the admin API cannot be served");
                }
            })
            .map_err(StartError::Control)?;
        Ok(Self {
            address,
            inbound: of_inbound,
            readiness,
            reloader,
            runtime: handle,
            stop,
            ended,
            thread,
            pulse,
            store_vitals,
            has_admin,
        })
    }

    /// Returns the admin address, and those of the inbound listeners.
    pub(super) fn addresses(&self) -> (SocketAddr, &[SocketAddr]) {
        (self.address, &self.inbound)
    }

    /// Whether this process has the admin address.
    pub(super) fn has_admin(&self) -> watch::Receiver<bool> {
        self.has_admin.clone()
    }

    pub(super) fn set_ready(&self) {
        self.readiness.set_ready();
    }

    pub(super) fn set_draining(&self) {
        self.readiness.set_draining();
    }

    /// Returns the pulse of the thread, which has several beats per second after the first attempt to open the
    /// store.
    pub(super) fn pulse(&self) -> Arc<OnceLock<Pulse>> {
        Arc::clone(&self.pulse)
    }

    /// Returns the pulses of the store's threads.
    pub(super) fn store_vitals(&self) -> Arc<OnceLock<StoreVitals>> {
        Arc::clone(&self.store_vitals)
    }

    /// Returns the current configuration.
    pub(super) fn config(&self) -> Arc<Config> {
        self.reloader.config.load_full()
    }

    /// Reloads on the control plane's own runtime, where its tasks live.
    pub(super) async fn reload(&self) -> Result<Reloaded, NotReloaded> {
        let reloader = self.reloader.clone();
        let reloading = self.runtime.spawn(async move { reloader.reload().await });
        reloading.await.unwrap_or_else(|_| {
            Err(NotReloaded { detail: "The control plane has ended.".to_owned(), problems: Vec::new() })
        })
    }

    /// Waits until the thread has ended.
    pub(super) async fn ended(&mut self) {
        // Nothing is ever sent. The error means that the thread dropped its end.
        let _ = (&mut self.ended).await;
    }

    /// Ends the admin API, then the delivery tasks. Blocks the thread.
    pub(super) fn stop(self) -> Result<(), StopError> {
        self.stop.cancel();
        self.thread.join().map_err(|_panic| StopError::Control)
    }
}

/// The parts that the thread works with.
struct Plane {
    config: Arc<ArcSwap<Config>>,
    store: Arc<OnceLock<Arc<dyn Store>>>,
    delivery: Arc<Delivery>,
    reloader: Arc<Reloader>,
    readiness: Arc<Readiness>,
    metrics: Arc<Metrics>,
    events: Arc<Events>,
    view: Arc<PurgeHealthView>,
    untagged: Arc<Mutex<Untagged>>,
    origins: Arc<OriginsView>,
    sender: Sender,
    pulse: Arc<OnceLock<Pulse>>,
    store_vitals: Arc<OnceLock<StoreVitals>>,
    store_health: Arc<StoreHealth>,
    /// The store, if several instances may share it.
    fleet: Arc<OnceLock<Arc<PostgresStore>>>,
    config_hash: Vec<u8>,
    has_admin: watch::Sender<bool>,
}

impl Plane {
    fn new(given: Given, sender: Sender) -> Self {
        let Given { config, source: (file, fingerprint), serving, metrics, view, origins } = given;
        let started = config.clone();
        let config_hash = fingerprint.of_sites().to_vec();
        let config = Arc::new(ArcSwap::from_pointee(config));
        let (delivery, events) = (Arc::new(Delivery::default()), Arc::new(Events::default()));
        let reloader = Reloader {
            file,
            current: Mutex::new(Arc::new(fingerprint)),
            started,
            serving,
            config: config.clone(),
            delivery: delivery.clone(),
            metrics: metrics.clone(),
            events: events.clone(),
        };
        let (store, readiness, pulse) = (Arc::default(), Arc::default(), Arc::default());
        Self {
            config,
            store,
            delivery,
            reloader: Arc::new(reloader),
            readiness,
            metrics,
            events,
            untagged: Arc::new(Mutex::new(Untagged::new(view.freshness.clone()))),
            view,
            origins,
            sender,
            pulse,
            store_vitals: Arc::default(),
            store_health: Arc::default(),
            fleet: Arc::default(),
            config_hash,
            has_admin: watch::Sender::new(false),
        }
    }

    /// Wraps the opened store so that the result of every verb becomes part of its health, beginning with the
    /// restore at the start.
    fn watched(&self, opened: Result<Opened, NotOpen>) -> Result<Arc<dyn Store>, NotOpen> {
        let Opened { store, vitals, fleet } = opened?;
        // The store is opened once.
        vitals.into_iter().for_each(|vitals| drop(self.store_vitals.set(vitals)));
        fleet.into_iter().for_each(|fleet| drop(self.fleet.set(fleet)));
        Ok(Arc::new(Watched::new(store, self.store_health.clone())))
    }

    fn run(
        self,
        runtime: &Runtime,
        (door, inbound): (Door, Option<Vec<Bound>>),
        stop: CancellationToken,
    ) -> io::Result<()> {
        // Reloads remain possible meanwhile.
        let Some(admin) = runtime.block_on(beside::enter(door, (&self.view.freshness, &self.config), &stop))
        else {
            return Ok(());
        };
        self.has_admin.send_replace(true);
        // The store is opened before the first call is answered, so that no early call gets a 503.
        let (clock, config_hash) = (self.view.freshness.clock, self.config_hash.clone());
        let opened = self.watched(open(&self.config.load(), &self.view.installation, clock, &config_hash));
        runtime.block_on(async {
            tokio::spawn(beat(Arc::clone(&self.pulse)));
            let left = match &opened {
                Ok(store) => self.recall(&**store).await,
                Err(_) => None,
            };
            let listener = tokio::net::TcpListener::from_std(admin)?;
            let state = Arc::new(admin::State {
                config: self.config.clone(),
                store: self.store.clone(),
                control: self.delivery.clone(),
                freshness: self.view.freshness.clone(),
                planner: glue::planner(self.view.freshness.clone()),
                sender: self.sender.clone(),
                reload: self.reloader.clone(),
                events: self.events.clone(),
                metrics: self.metrics.clone(),
                origins: self.origins.clone(),
                readiness: self.readiness.clone(),
                limits: admin::Limits::default(),
            });
            let (delivery, untagged) = (self.delivery.clone(), self.untagged.clone());
            let fleet = self.fleet.clone();
            let _looking = AbortOnDropHandle::new(tokio::spawn(beside::look(
                self.config.clone(),
                self.readiness.clone(),
            )));
            let header_purges = self.view.header_purges.clone();
            let _committing = header_purges.take_receiver().map(|queues| {
                AbortOnDropHandle::new(tokio::spawn(admin::commit_header_purges(state.clone(), queues)))
            });
            let inbound = tokio::spawn(inbound::serve(inbound, state.clone(), stop.clone()));
            let recording = admin::record(self.metrics.clone(), self.view.freshness.clock);
            let _recording = AbortOnDropHandle::new(tokio::spawn(recording));
            let (store, config) = (self.store.clone(), self.config.clone());
            let opening = AbortOnDropHandle::new(tokio::spawn(self.open(opened, left, state.clone())));
            admin::serve(listener, state, stop.cancelled_owned()).await;
            let _ = inbound.await;
            drop(opening);
            if tokio::time::timeout(LAST_WORD, header_purges.emptied()).await.is_err() {
                let sites = header_purges.pending();
                tracing::error!(
                    ?sites,
                    "purges that origins asked for are lost: the store did not commit them"
                );
            }
            if let Some(store) = store.get() {
                // This stores the times of the last responses. The store already has most of them, and if it
                // hangs, the end of the program must not wait for the rest.
                let tell = async { untagged.lock().await.tell(&**store).await };
                let _ = tokio::time::timeout(LAST_WORD, tell).await;
            }
            if let Some(engine) = delivery.engine() {
                engine.stop().await;
            }
            if let Some(fleet) = fleet.get() {
                fleet::leave(fleet, &config.load()).await;
            }
            Ok(())
        })
    }

    async fn recall(&self, store: &dyn Store) -> Option<Left> {
        recall(&self.view.freshness, &self.config.load_full(), &self.untagged, store).await
    }

    /// Starts the delivery tasks with the store, as soon as it can be opened.
    async fn open(
        self,
        first: Result<Arc<dyn Store>, NotOpen>,
        mut left: Option<Left>,
        state: Arc<admin::State>,
    ) {
        let mut attempt = first;
        let mut waiting = Waiting::default();
        let mut pause;
        let store = loop {
            match attempt {
                Ok(store) => break store,
                Err(error) => {
                    if error.is_in_use() {
                        beside::guard(&self.view.freshness, &self.config.load());
                    }
                    pause = waiting.failed(&error, &self.config.load(), &self.view.installation);
                }
            }
            sleep(pause).await;
            let (config, installation) = (self.config.load_full(), Arc::clone(&self.view.installation));
            let (clock, config_hash) = (self.view.freshness.clock, self.config_hash.clone());
            let opening =
                tokio::task::spawn_blocking(move || open(&config, &installation, clock, &config_hash));
            let opening = opening.await;
            // A panic in that task has been logged, and the store is not open.
            let Ok(opened) = opening else { return };
            let opened = self.watched(opened);
            if let Ok(store) = &opened {
                left = self.recall(&**store).await;
            }
            attempt = opened;
        };
        waiting.ended();
        let parts = Parts {
            store: store.clone(),
            store_health: self.store_health.clone(),
            left,
            transport: Arc::new(self.sender.clone()),
            adapter: Box::new(crate::cdn::build),
            view: self.view.clone(),
            observer: glue::observer(self.metrics.clone(), self.events.clone(), self.view.freshness.clone()),
            wall: Arc::new(wall_ms),
            boot: Arc::new(machine),
            steady: {
                let clock = self.view.freshness.clock;
                Arc::new(move || clock.steady_ms())
            },
            shares_accounts: self.fleet.get().is_some(),
        };
        // No reload can come in between, because nothing here waits and both run on this thread.
        let engine = Engine::start(&self.config.load(), parts);
        let taken_over = engine.taken_over();
        self.delivery.began(engine);
        // A purge that is accepted before this must not be mistaken for one that a former run left.
        taken_over.await;
        let _ = self.store.set(store.clone());
        let shared = (self.view.freshness.clone(), self.config.clone(), self.delivery.clone());
        let fleet = fleet::take_part(self.fleet.get(), store.clone(), shared, state.clone());
        let untagged = async { self.untagged.lock().await.keep(&*store).await };
        tokio::join!(admin::make_up_for_lost_purges(&state, &store), untagged, fleet);
    }
}
