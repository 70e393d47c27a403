//! Opening the store, which may take several attempts. Until it is open, the proxy serves short lifetimes, and
//! purges get 503.

use super::beside::{REMIND, REPLACE};
use crate::base::milliseconds;
use crate::config::{Config, Database, DatabaseTls};
use crate::guard::Clock;
use crate::store::{
    Certificates, Membership, OpenError, PostgresError, PostgresStore, Settings, SqliteStore, Store,
    StoreVitals,
};
use crate::view::Installation;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The pause between two attempts to open the store.
const REOPEN: Duration = Duration::from_secs(10);

/// A store that is open.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    /// The pulses of the threads of an SQLite store.
    pub(super) vitals: Option<StoreVitals>,
    /// The same store, if it is one of a fleet.
    pub(super) fleet: Option<Arc<PostgresStore>>,
}

/// Why the store is not open.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOpen {
    #[error(transparent)]
    File(#[from] OpenError),
    #[error(transparent)]
    Database(#[from] PostgresError),
}

impl NotOpen {
    /// Returns whether another process has the store, which it may give up at any moment.
    pub(super) fn is_in_use(&self) -> bool {
        matches!(self, Self::File(OpenError::InUse { .. }))
    }
}

/// Makes one attempt. `config_hash` tells other instances whether they have the same configuration.
pub(super) fn open(
    config: &Config,
    installation: &Installation,
    clock: Clock,
    config_hash: &[u8],
) -> Result<Opened, NotOpen> {
    if let Some(database) = &config.store.database {
        let settings = settings(config, database, clock, config_hash.to_vec());
        let store = Arc::new(PostgresStore::open(settings)?);
        installation.is(store.installation());
        return Ok(Opened { store: store.clone(), vitals: None, fleet: Some(store) });
    }
    let store = match &config.store.path {
        Some(path) => SqliteStore::open(path)?,
        None => SqliteStore::in_memory()?,
    };
    installation.is(store.installation());
    let vitals = Some(store.vitals().clone());
    Ok(Opened { store: Arc::new(store), vitals, fleet: None })
}

/// The longest time that a response takes which began within a lease, in milliseconds. Only if an instance is
/// stopped or cut off, and not if it ends, do others have to wait for that.
const LONGEST_RESPONSE_MS: i64 = 60_000;

fn settings(config: &Config, database: &Database, clock: Clock, config_hash: Vec<u8>) -> Settings {
    let certificates =
        |tls: &DatabaseTls| Certificates { ca: tls.ca.clone(), identity: tls.identity.clone() };
    Settings {
        config: database.url.clone(),
        listen: database.listen_url.clone(),
        certificates: database.tls.as_ref().map(certificates),
        instance: config.fleet.instance.clone().unwrap_or_else(own_name),
        membership: Membership {
            lease: config.fleet.lease,
            version: env!("CARGO_PKG_VERSION"),
            config_hash,
            max_response_ms: LONGEST_RESPONSE_MS,
        },
        barrier_wait_ms: milliseconds(config.fleet.barrier_wait),
        steady: Some(Box::new(move || clock.steady_ms())),
    }
}

/// Returns the name of an instance that was given none: that of its host, and a random part.
fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "instance",
        host => host,
    };
    format!("{host}-{:04x}", fastrand::u16(..))
}

/// The log of failed attempts.
#[derive(Default)]
pub(super) struct Waiting {
    /// The last reason that was logged, and when.
    told: Option<(String, Instant)>,
}

impl Waiting {
    /// Logs a failed attempt. Each reason is logged one time, and again after a while. Returns the pause before
    /// the next attempt.
    pub(super) fn failed(
        &mut self,
        error: &NotOpen,
        config: &Config,
        installation: &Installation,
    ) -> Duration {
        if self.told.is_none() && config.server.id.is_none() {
            tracing::warn!(
                name = installation.name().to_str().unwrap_or_default(),
                "until the store is open, CDN-Loop has a name of this process only, not of the installation"
            );
        }
        let pause = if error.is_in_use() { REPLACE } else { REOPEN };
        let text = error.to_string();
        let is_known = |(told, at): &(String, Instant)| *told == text && at.elapsed() < REMIND;
        if !self.told.as_ref().is_some_and(is_known) {
            tracing::error!(
                error = error as &dyn Error,
                "the store cannot be opened: no purge is accepted, and no response gets a long TTL; tried again every {pause:?}"
            );
            self.told = Some((text, Instant::now()));
        }
        pause
    }

    /// Logs that the store is open, if a failure was logged before.
    pub(super) fn ended(&self) {
        if self.told.is_some() {
            tracing::info!("the store could be opened: purges are accepted from now on");
        }
    }
}
