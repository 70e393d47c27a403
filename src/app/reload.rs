//! Reloading: the file is read again, and takes effect everywhere or nowhere.
//!
//! Everything that can fail happens before anything is replaced: the file is read and checked, certificates are
//! loaded, and the sites are compiled. Then the proxy, the delivery tasks and the admin API take over, in this order,
//! without waiting.

use super::glue::Delivery;
use crate::admin::Events;
use crate::admin::problem::BadItem;
use crate::admin::reload::{Change, ChangeKind, NotReloaded, Reload, ReloadEvent, Reloaded};
use crate::base::with_causes;
use crate::config::{self, Config, ConfigError, Difference, Fingerprint, Loaded};
use crate::delivery::Engine;
use crate::listen::Serving;
use crate::metrics::Metrics;
use crate::telemetry;
use arc_swap::ArcSwap;
use std::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// The parts that a reload replaces, and those that report it.
pub(super) struct Reloader {
    /// The configuration file; `None` if there is no file to read again.
    pub(super) file: Option<PathBuf>,
    /// The fingerprint of the current configuration. The lock is held during a reload, so that only one runs at a
    /// time.
    pub(super) current: Mutex<Arc<Fingerprint>>,
    /// The configuration that the process was started with.
    pub(super) started: Config,
    pub(super) serving: Serving,
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) delivery: Arc<Delivery>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Arc<Events>,
}

impl Reload for Reloader {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<Reloaded, NotReloaded>> + Send + '_>> {
        Box::pin(async {
            let result = self.take_over().await;
            self.metrics.config_reload(result.is_ok());
            self.events.reload(&ReloadEvent::of(&result));
            match &result {
                Ok(reloaded) => tell(reloaded),
                Err(error) => {
                    tracing::error!("{} The previous configuration stays in effect.", error.detail);
                    for problem in error.problems.iter().take(TOLD) {
                        tracing::error!("{}: {}", problem.item, problem.message);
                    }
                }
            }
            result
        })
    }

    fn compare(&self) -> Pin<Box<dyn Future<Output = Result<Reloaded, NotReloaded>> + Send + '_>> {
        Box::pin(self.compared())
    }
}

impl Reloader {
    /// Reads the file, and returns how it differs from what runs.
    async fn compared(&self) -> Result<Reloaded, NotReloaded> {
        let known = Arc::clone(&*self.current.lock().await);
        let file = self.file.clone().ok_or_else(no_file)?;
        let reading = tokio::task::spawn_blocking(move || {
            let loaded = config::load(&file).map_err(|error| wrong(&error))?;
            let changes = known.differences(&loaded.fingerprint).into_iter().map(change).collect();
            Ok((loaded, changes))
        });
        let (Loaded { config, warnings, .. }, changes) =
            reading.await.map_err(|error| unusable(&error))??;
        let restart_needed = self.restart_needed(&config);
        Ok(Reloaded { changes, restart_needed, warnings: warnings.iter().map(ToString::to_string).collect() })
    }

    async fn take_over(&self) -> Result<Reloaded, NotReloaded> {
        let mut current = self.current.lock().await;
        let file = self.file.clone().ok_or_else(no_file)?;
        let (serving, known) = (self.serving.clone(), Arc::clone(&current));
        // Reading files, and compiling and comparing sites that may be many, must not block the thread that
        // purges.
        let replacing = tokio::task::spawn_blocking(move || {
            let loaded = config::load(&file).map_err(|error| wrong(&error))?;
            serving.reload(&loaded.config).map_err(|error| unusable(&error))?;
            let changes = known.differences(&loaded.fingerprint).into_iter().map(change).collect();
            Ok((loaded, changes))
        });
        let replaced = replacing.await.map_err(|error| unusable(&error))?;
        let (Loaded { config, warnings, fingerprint, expiries, .. }, changes) = replaced?;
        self.metrics.certificates(expiries.iter().map(|expiry| (&*expiry.path, expiry.ends_s)));

        let engine = self.delivery.engine();
        if let Some(engine) = engine {
            engine.reload(&config);
        }
        let restart_needed = self.restart_needed(&config);
        // A filter that was set by hand stays until the filter in the file changes.
        if self.config.load().log.filter != config.log.filter {
            telemetry::configured_filter(&config.log.filter).unwrap_or_else(|error| {
                tracing::warn!(error = &error as &dyn Error, "the log filter stays as it was");
            });
        }
        let former =
            (self.config.swap(Arc::new(config)), std::mem::replace(&mut *current, Arc::new(fingerprint)));
        // Dropping many sites takes time, so this happens on another thread, too.
        drop(tokio::task::spawn_blocking(move || drop(former)));
        // Only the answer waits for the store: all parts have taken over by now.
        let moved = match engine {
            Some(engine) => moved(engine).await,
            None => Vec::new(),
        };
        let warnings = warnings.iter().map(ToString::to_string).chain(moved).collect();
        Ok(Reloaded { changes, restart_needed, warnings })
    }

    /// Returns the keys that differ and are used only at the start, when sockets are bound and the store is
    /// opened.
    fn restart_needed(&self, config: &Config) -> Vec<String> {
        let (then, now) = (&self.started, config);
        // A store that is not open yet will be opened as configured now.
        let store = self.delivery.engine().is_some()
            && (&then.store.path, &then.store.database) != (&now.store.path, &now.store.database);
        let keys = [
            ("server.workers", then.server.workers != now.server.workers),
            ("admin.listen", then.admin.listen != now.admin.listen),
            ("inbound.listen", listeners(then) != listeners(now)),
            ("store.url", store),
            ("fleet", then.fleet != now.fleet),
            ("log.format", then.log.format != now.log.format),
            ("store.retention", then.store.retention != now.store.retention),
        ];
        keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key.to_owned()).collect()
    }
}

/// The time for the store's part of the answer to a reload. If it takes longer, the answer goes without that part.
const LONGEST: Duration = Duration::from_secs(5);

/// Returns what is pending and was moved to another name, or has become an orphan.
async fn moved(engine: &Engine) -> Vec<String> {
    match timeout(LONGEST, engine.moved()).await {
        Ok(moved) => moved.iter().map(ToString::to_string).collect(),
        Err(_) => {
            vec!["the store has not reported yet what is pending for changed CDNs: see readyz".to_owned()]
        }
    }
}

/// Returns the addresses of the inbound listeners.
fn listeners(config: &Config) -> Vec<SocketAddr> {
    config.inbound.iter().flat_map(|inbound| inbound.listen.iter().copied()).collect()
}

/// The number of changes that one log line names, and of warnings that are logged.
const TOLD: usize = 100;

fn tell(reloaded: &Reloaded) {
    let changes = reloaded.changes.iter().take(TOLD);
    let changes: Vec<_> = changes.map(|change| format!("{} {}", word(change.change), change.key)).collect();
    let more = match reloaded.changes.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let changes = if changes.is_empty() { "nothing".to_owned() } else { changes.join(", ") + &more };
    tracing::info!(changes, "reloaded");
    for key in &reloaded.restart_needed {
        tracing::warn!(key, "this key takes effect only after a restart");
    }
    tell_warnings(&reloaded.warnings);
}

/// Logs the warnings of a configuration. Many sites may have the same fault, so only the first ones are logged.
pub(crate) fn tell_warnings(warnings: &[impl Display]) {
    for warning in warnings.iter().take(TOLD) {
        tracing::warn!("{warning}");
    }
    let more = warnings.len().saturating_sub(TOLD);
    if more > 0 {
        tracing::warn!(more, "the configuration has more warnings: `origin-shim check` shows them all");
    }
}

fn word(change: ChangeKind) -> &'static str {
    match change {
        ChangeKind::Added => "added",
        ChangeKind::Changed => "changed",
        ChangeKind::Removed => "removed",
    }
}

fn change((key, difference): (String, Difference)) -> Change {
    let change = match difference {
        Difference::Added => ChangeKind::Added,
        Difference::Changed => ChangeKind::Changed,
        Difference::Removed => ChangeKind::Removed,
    };
    Change { key, change }
}

fn no_file() -> NotReloaded {
    refused("The configuration did not come from a file that could be read again.", Vec::new())
}

fn refused(detail: &str, problems: Vec<BadItem>) -> NotReloaded {
    NotReloaded { detail: detail.to_owned(), problems }
}

fn wrong(error: &ConfigError) -> NotReloaded {
    let place = |problem: &config::Problem| BadItem {
        item: format!("{}:{}:{}", problem.file.display(), problem.line, problem.column),
        message: format!("{}: {}", problem.key, problem.message).trim_start_matches(": ").to_owned(),
    };
    match error {
        ConfigError::Wrong(problems) => {
            refused("The configuration file is invalid.", problems.iter().map(place).collect())
        }
        ConfigError::Unreadable { .. } => unusable(error),
    }
}

fn unusable(error: &(dyn Error + 'static)) -> NotReloaded {
    refused(&format!("{}.", with_causes(error)), Vec::new())
}
