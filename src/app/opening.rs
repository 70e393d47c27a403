//! Opening the store, which may take several attempts. Until then the proxy goes on with short lifetimes, and purges get 503.

use super::beside::{REMIND, REPLACE};
use crate::config::Config;
use crate::store::{OpenError, SqliteStore};
use crate::view::Installation;
use std::error::Error;
use std::time::{Duration, Instant};

/// Between two attempts to open a store that could not be opened.
const REOPEN: Duration = Duration::from_secs(10);

/// One attempt.
pub(super) fn open(config: &Config, installation: &Installation) -> Result<SqliteStore, OpenError> {
    let opened = match &config.store.path {
        Some(path) => SqliteStore::open(path),
        None => SqliteStore::in_memory(),
    };
    let store = opened?;
    installation.is(store.installation());
    Ok(store)
}

/// What was logged of the attempts that failed.
#[derive(Default)]
pub(super) struct Waiting {
    /// The reason that was logged last, and when.
    told: Option<(String, Instant)>,
}

impl Waiting {
    /// An attempt failed. Each reason is logged once, and again after a while; how long to wait for the next attempt.
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

    /// The store is open.
    pub(super) fn ended(&self) {
        if self.told.is_some() {
            tracing::info!("the store could be opened: purges are accepted from now on");
        }
    }
}
