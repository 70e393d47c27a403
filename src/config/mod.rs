//! The resolved configuration: the content of the file, checked, with every default and secret filled in.

pub mod cdns;
pub mod duration;
pub mod log_filter;
pub mod secret;
pub mod template;

mod admin;
mod at;
mod cdn;
mod claims;
mod doubts;
mod error;
mod events;
mod expiry;
mod file;
mod fingerprint;
mod inbound;
mod keys;
mod limits;
mod load;
mod locate;
mod log;
mod origin;
mod places;
mod purge_headers;
mod resolve;
mod server;
mod site;
mod syntax;
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
pub use inbound::{
    Condition, Hook, HookProof, HookRule, HookScheme, Inbound, InboundProtocol, Place, UnknownPattern,
};
pub use limits::{Limits, OtherLimits};
pub use load::{Loaded, load, parse};
pub use log::{Access, Log, LogFormat};
pub use origin::{
    MAX_ORIGINS, OriginCheck, OriginHost, OriginProtocol, OriginSettings, OriginTls, OriginUrl,
};
pub use places::Places;
pub use purge_headers::{HeaderItems, ItemSeparator, PurgeHeader, PurgeHeaders};
pub use server::{Certificate, Server};
pub use site::{Mode, Site, Trust};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::config::Host;

impl Default for Fleet {
    fn default() -> Self {
        Self { instance: None, lease: Duration::from_secs(5), barrier_wait: Duration::from_millis(100) }
    }
}

/// A whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data plane's listeners and limits.
    pub server: Server,
    /// The admin listener and its tokens.
    pub admin: Admin,
    /// The store of accepted purges.
    pub store: Store,
    /// The fleet, if the store is a database.
    pub fleet: Fleet,
    /// The listeners for purge requests of other systems' clients.
    pub inbound: Vec<Inbound>,
    /// The settings of the log.
    pub log: Log,
    /// The sites, in file order.
    pub sites: Vec<Arc<Site>>,
}

/// The `[store]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The SQLite file; `None` for a store in memory (the demo and tests only), or in a database.
    pub path: Option<PathBuf>,
    /// The PostgreSQL database, instead of a file.
    pub database: Option<Database>,
    /// How long ended purges are kept.
    pub retention: Duration,
}

/// A PostgreSQL database.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// The hosts, the database, the user and the password, which is not shown.
    pub url: tokio_postgres::Config,
    /// The way around a pooler, if `url` leads through one.
    pub listen_url: Option<tokio_postgres::Config>,
    /// TLS; `None` if the connection does not leave this machine.
    pub tls: Option<DatabaseTls>,
}

impl Database {
    /// Returns the hosts and the database, in words.
    pub fn name(&self) -> String {
        let host = |host: &Host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(directory) => directory.display().to_string(),
        };
        let hosts: Vec<_> = self.url.get_hosts().iter().map(host).collect();
        format!("{} at {}", self.url.get_dbname().unwrap_or("the user's database"), hosts.join(", "))
    }
}

/// TLS to a database, which is always verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseTls {
    /// The accepted authorities; those of the system if absent.
    pub ca: Option<PathBuf>,
    /// The instance's own certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// The `[fleet]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// The instance's name; `None` for one that is made at the start.
    pub instance: Option<String>,
    /// How long an instance takes part without renewing this.
    pub lease: Duration,
    /// How long the first call of a purge may wait for other instances.
    pub barrier_wait: Duration,
}
