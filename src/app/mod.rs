//! A configuration becomes a running program: build both planes, serve, drain.

mod beside;
mod control;
mod glue;
mod opening;
mod reload;

use crate::admin::reload::{NotReloaded, Reloaded};
use crate::config::{Config, Expiry, Fingerprint, Loaded};
use crate::listen::{self, DataPlane, ListenError, Pulse, WorkerPanicked};
use crate::metrics::Metrics;
use crate::proxy::Shared;
use crate::store::StoreVitals;
use crate::upstream::SetupError;
use crate::view::PurgeHealthView;
pub(crate) use reload::tell_warnings;

use beside::Door;
use control::{ControlPlane, Given};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Both planes, running.
pub struct App {
    data: DataPlane,
    control: ControlPlane,
}

/// Where a running program really listens: a port 0 of the configuration has become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Plain listeners of the data plane.
    pub plain: Vec<SocketAddr>,
    /// TLS listeners of the data plane.
    pub tls: Vec<SocketAddr>,
    /// The admin listener.
    pub admin: SocketAddr,
}

/// The signs of life of a program's threads, for the service manager's watchdog.
#[derive(Debug)]
pub struct Vitals {
    workers: Vec<Arc<Pulse>>,
    control: Arc<OnceLock<Pulse>>,
    store: Arc<OnceLock<StoreVitals>>,
}

impl Vitals {
    /// For how long the quietest thread of either plane has shown no sign of life; each shows several a second. The threads of the
    /// store show some whenever they get on with what they have to do.
    pub fn quiet_for(&self, now: Instant) -> Duration {
        let pulses = self.workers.iter().map(|pulse| &**pulse).chain(self.control.get());
        let store = self.store.get().map(|store| store.quiet_for(now));
        pulses.map(|pulse| pulse.age(now)).chain(store).max().unwrap_or_default()
    }
}

/// Why the program did not start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data plane did not start.
    #[error("the proxy cannot start")]
    Listen(#[from] ListenError),
    /// The sites cannot be routed.
    #[error("the sites cannot be routed")]
    Routing(#[from] SetupError),
    /// The admin address cannot be listened on.
    #[error("cannot listen on {address} for the admin API")]
    AdminBind {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The system gives no thread or event queue.
    #[error("the control plane cannot start")]
    Control(#[source] io::Error),
    /// Calls to CDNs cannot be made.
    #[error("calls to CDNs cannot be made")]
    Sender(#[source] crate::cdn::SendError),
}

/// Why the program did not end well.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// A thread of the data plane ended by a panic.
    #[error("the proxy did not end well")]
    Data(#[from] WorkerPanicked),
    /// The control plane ended by a panic.
    #[error("the control plane panicked")]
    Control,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("data", &self.data).finish_non_exhaustive()
    }
}

impl App {
    /// Starts both planes with a configuration that no file can be reloaded from. The store may be missing: the proxy then
    /// serves with short lifetimes, and purges get 503.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_from(config, (None, Fingerprint::default()), &[], false)
    }

    /// The same with what was loaded from `file`, which a reload reads again.
    pub fn start_with(loaded: Loaded, file: &Path) -> Result<Self, StartError> {
        Self::start_loaded(loaded, file, false)
    }

    /// The same where another process may run with this configuration: visitors are served beside it, with short lifetimes,
    /// until it has ended and left its admin address and its store.
    pub fn start_to_take_over(loaded: Loaded, file: &Path) -> Result<Self, StartError> {
        Self::start_loaded(loaded, file, true)
    }

    fn start_loaded(loaded: Loaded, file: &Path, takes_over: bool) -> Result<Self, StartError> {
        let Loaded { config, fingerprint, expiries, .. } = loaded;
        Self::start_from(config, (Some(file.to_owned()), fingerprint), &expiries, takes_over)
    }

    fn start_from(
        config: Config,
        source: (Option<PathBuf>, Fingerprint),
        expiries: &[Expiry],
        takes_over: bool,
    ) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new(config.server.workers));
        metrics.certificates(expiries.iter().map(|expiry| (&*expiry.path, expiry.ends_s)));
        let view = Arc::new(PurgeHealthView::default());
        // For the test that proves what the guard is good for; not in what is released.
        if cfg!(debug_assertions) && std::env::var_os("ORIGIN_SHIM_TEST_WITHOUT_GUARD").is_some() {
            view.freshness.turn_off();
        }
        let shared = Shared::new(&config, Arc::clone(&metrics), Arc::clone(&view))?;
        let admin = ControlPlane::bind(&config, takes_over)?;
        let origins = shared.origins();
        // Only with the process that has the admin address are the others shared.
        let data = match &admin {
            Door::Ours(_) => listen::spawn(&config, shared)?,
            Door::Others(_) => {
                beside::guard(&view.freshness, &config);
                listen::spawn_beside(&config, shared)?
            }
        };
        let given = Given { config, source, serving: data.serving(), metrics, view, origins };
        let control = ControlPlane::start(admin, given)?;
        control.set_ready();
        Ok(Self { data, control })
    }

    /// Reads the configuration and the certificates again: what changed, or why the last good ones stay. Both are logged.
    pub async fn reload(&self) -> Result<Reloaded, NotReloaded> {
        self.control.reload().await
    }

    /// Whether it has its admin address, which it lacks as long as it waits for the end of another process.
    pub fn has_admin(&self) -> watch::Receiver<bool> {
        self.control.has_admin()
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        let data = self.data.addresses();
        Addresses { plain: data.plain, tls: data.tls, admin: self.control.address() }
    }

    /// The signs of life of its threads.
    pub fn vitals(&self) -> Vitals {
        Vitals {
            workers: self.data.pulses().to_vec(),
            control: self.control.pulse(),
            store: self.control.store_vitals(),
        }
    }

    /// Waits until the control plane has ended, which it does not do by itself unless it panics.
    pub async fn failed(&mut self) {
        self.control.ended().await;
    }

    /// Drains: readiness says 503, nothing new is accepted, requests and calls under way end within their deadlines, and
    /// what is pending stays in the store. Blocks the thread.
    pub fn stop(self) -> Result<(), StopError> {
        self.control.set_draining();
        self.data.drain(self.control.config().server.limits.drain_timeout);
        let data = self.data.join();
        self.control.stop()?;
        data.map_err(StopError::from)
    }
}
