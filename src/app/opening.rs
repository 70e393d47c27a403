//! Opening the store, which may take several attempts. Until it is open, the proxy serves short lifetimes, and
//! purges get 503.

use super::beside::{REMIND, REPLACE};
use crate::config::Config;
use crate::store::{OpenError, SqliteStore};
use crate::view::Installation;
use std::error::Error;
use std::time::{Duration, Instant};

/// The pause between two attempts to open the store.
const REOPEN: Duration = Duration::from_secs(10);

/// Makes one attempt.
pub(super) fn open(config: &Config, installation: &Installation) -> Result<SqliteStore, OpenError> {
    let opened = match &config.store.path {
        Some(path) => SqliteStore::open(path),
        None => SqliteStore::in_memory(),
    };
    let store = opened?;
    installation.is(store.installation());
    Ok(store)
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
        error: &OpenError,
        config: &Config,
        installation: &Installation,
    ) -> Duration {
        if self.told.is_none() && config.server.id.is_none() {
            tracing::warn!(
                name = installation.name().to_str().unwrap_or_default(),
                "until the store is open, CDN-Loop has a name of this process only, not of the installation"
            );
        }
        let pause = match error {
            OpenError::InUse { .. } => REPLACE,
            _ => REOPEN,
        };
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
