//! The resolved configuration: the content of the file, checked, with every default and secret filled in.

pub mod cdns;
pub mod duration;
pub mod log_filter;
pub mod secret;

mod admin;
mod at;
mod cdn;
mod claims;
mod error;
mod events;
mod expiry;
mod file;
mod fingerprint;
mod keys;
mod limits;
mod load;
mod locate;
mod log;
mod origin;
mod purge_headers;
mod resolve;
mod server;
mod site;
mod text;
mod validate;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use admin::{Admin, AdminToken, Scope};
pub use cdn::{Cdn, Rate};
pub use cdns::CdnSettings;
pub use claims::Claims;
pub use error::{ConfigError, Problem};
pub use events::{EVENTS, EventRule, Events};
pub use expiry::Expiry;
pub use file::cdn::{AkamaiNetwork, CloudflarePlan, Everything};
pub use file::schema;
pub use fingerprint::{Difference, Fingerprint};
pub use limits::{Limits, OtherLimits};
pub use load::{Loaded, load, parse};
pub use log::{Access, Log, LogFormat};
pub use origin::{
    MAX_ORIGINS, OriginCheck, OriginHost, OriginProtocol, OriginSettings, OriginTls, OriginUrl,
};
pub use purge_headers::{HeaderItems, ItemSeparator, PurgeHeader, PurgeHeaders};
pub use server::{Certificate, Server};
pub use site::{Mode, Site, Trust};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data plane's listeners and limits.
    pub server: Server,
    /// The admin listener and its tokens.
    pub admin: Admin,
    /// The store of accepted purges.
    pub store: Store,
    /// The settings of the log.
    pub log: Log,
    /// The sites, in file order.
    pub sites: Vec<Arc<Site>>,
}

/// The `[store]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The SQLite file; `None` for a store in memory (the demo and tests only).
    pub path: Option<PathBuf>,
    /// How long ended purges are kept.
    pub retention: Duration,
}
