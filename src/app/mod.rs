//! Turns a configuration into a running program: builds both planes, serves, drains.

mod beside;
mod control;
mod error;
mod fleet;
mod glue;
mod inbound;
mod life;
mod opening;
mod recall;
mod reload;

use crate::admin::reload::{NotReloaded, Reloaded};
use crate::config::{Config, Expiry, Fingerprint, Loaded};
use crate::listen::{self, DataPlane, Pulse};
use crate::metrics::Metrics;
use crate::proxy::Shared;
use crate::store::StoreVitals;
use crate::view::PurgeHealthView;
pub(crate) use reload::tell_warnings;

use beside::Door;
pub use error::{StartError, StopError};

use control::{ControlPlane, Given};
use std::fmt;
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

/// The addresses on which a running program listens. A configured port 0 is replaced by the actual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Plain listeners of the data plane.
    pub plain: Vec<SocketAddr>,
    /// TLS listeners of the data plane.
    pub tls: Vec<SocketAddr>,
    /// The admin listener.
    pub admin: SocketAddr,
    /// The inbound listeners; none while another process may have them.
    pub inbound: Vec<SocketAddr>,
}

/// The pulses of a program's threads, for the service manager's watchdog.
#[derive(Debug)]
pub struct Vitals {
    workers: Vec<Arc<Pulse>>,
    control: Arc<OnceLock<Pulse>>,
    store: Arc<OnceLock<StoreVitals>>,
}

impl Vitals {
    /// Returns for how long the quietest thread of either plane has shown no sign of life. Each has several beats
    /// per second. The threads of the store beat whenever they make progress.
    pub fn quiet_for(&self, now: Instant) -> Duration {
        let pulses = self.workers.iter().map(|pulse| &**pulse).chain(self.control.get());
        let store = self.store.get().map(|store| store.quiet_for(now));
        pulses.map(|pulse| pulse.age(now)).chain(store).max().unwrap_or_default()
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("data", &self.data).finish_non_exhaustive()
    }
}

impl App {
    /// Starts both planes with a configuration that did not come from a file and cannot be reloaded. The store may
    /// be unavailable: the proxy then serves short lifetimes, and purges get 503.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::start_from(config, (None, Fingerprint::default()), &[], false)
    }

    /// Starts both planes with the configuration that was loaded from `file`, which a reload reads again.
    pub fn start_with(loaded: Loaded, file: &Path) -> Result<Self, StartError> {
        Self::start_loaded(loaded, file, false)
    }

    /// Starts like [`App::start_with`], while another process may still run with this configuration. Visitors are
    /// served beside it, with short lifetimes, until it has ended and released its admin address and its store.
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
        // This is for the test that proves what the guard prevents; it is not in release builds.
        if cfg!(debug_assertions) && std::env::var_os("ORIGIN_SHIM_TEST_WITHOUT_GUARD").is_some() {
            view.freshness.turn_off();
        }
        if config.store.database.is_some() {
            // A member of a fleet gives no long lifetime before it takes part.
            view.freshness.fence.close();
        }
        let shared = Shared::new(&config, Arc::clone(&metrics), Arc::clone(&view))?;
        let admin = ControlPlane::bind(&config, takes_over)?;
        let inbound = matches!(admin, Door::Ours(_)).then(|| inbound::bind(&config)).transpose()?;
        let origins = shared.origins();
        // The other addresses are shared only with the process that has the admin address.
        let data = match &admin {
            Door::Ours(_) => listen::spawn(&config, shared)?,
            Door::Others(_) => {
                beside::guard(&view.freshness, &config);
                listen::spawn_beside(&config, shared)?
            }
        };
        let given = Given { config, source, serving: data.serving(), metrics, view, origins };
        let control = ControlPlane::start((admin, inbound), given)?;
        control.set_ready();
        Ok(Self { data, control })
    }

    /// Reloads the configuration and the certificates. Returns what changed, or why the previous ones stay in
    /// effect. Both results are logged.
    pub async fn reload(&self) -> Result<Reloaded, NotReloaded> {
        self.control.reload().await
    }

    /// Whether this process has its admin address, which it lacks while it waits for another process to end.
    pub fn has_admin(&self) -> watch::Receiver<bool> {
        self.control.has_admin()
    }

    /// Returns the addresses on which the program listens.
    pub fn addresses(&self) -> Addresses {
        let (data, (admin, inbound)) = (self.data.addresses(), self.control.addresses());
        Addresses { plain: data.plain, tls: data.tls, admin, inbound: inbound.to_vec() }
    }

    /// Returns the pulses of the program's threads.
    pub fn vitals(&self) -> Vitals {
        Vitals {
            workers: self.data.pulses().to_vec(),
            control: self.control.pulse(),
            store: self.control.store_vitals(),
        }
    }

    /// Waits until the control plane has ended. Before [`App::stop`], this happens only if it panics or cannot serve
    /// the admin API.
    pub async fn failed(&mut self) {
        self.control.ended().await;
    }

    /// Drains: readiness becomes 503, nothing new is accepted, and requests and calls in flight end within their
    /// deadlines. Pending purges stay in the store. Blocks the thread.
    pub fn stop(self) -> Result<(), StopError> {
        self.control.set_draining();
        self.data.drain(self.control.config().server.limits.drain_timeout);
        let data = self.data.join();
        self.control.stop()?;
        data.map_err(StopError::from)
    }
}
