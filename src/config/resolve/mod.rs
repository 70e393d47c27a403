//! Resolves the file's shape into a [`Config`]: parses every value, and fills in every default and secret. An invalid
//! value is reported and replaced by a placeholder, so that all problems are reported together. A configuration with
//! placeholders is never used, because it has errors.

mod admin;
mod cdn;
mod events;
pub(super) mod host;
mod limits;
mod log;
mod name;
mod origin;
mod purge_headers;
mod server;
mod site;
mod tags;
pub(super) mod url;

use super::at::At;
use super::file::{File, Store};
use super::{Config, Store as ResolvedStore};
use std::sync::Arc;
use std::time::Duration;

/// Resolves the whole file.
pub fn resolve(file: &File, at: &At<'_>) -> Config {
    let sites = at.key("sites");
    if file.sites.is_empty() {
        sites.error("at least one site is needed: a [[sites]] table with name, hosts and origin");
    }
    let accounts = cdn::Accounts::of(file);
    Config {
        server: server::resolve(&file.server, &at.key("server")),
        admin: admin::resolve(&file.admin, &at.key("admin")),
        store: store(&file.store, &at.key("store")),
        log: log::resolve(&file.log, &at.key("log")),
        sites: sites
            .each(&file.sites)
            .map(|(at, site)| Arc::new(site::resolve(site, &accounts, &at)))
            .collect(),
    }
}

fn store(file: &Store, at: &At<'_>) -> ResolvedStore {
    let retention = at.key("retention").duration(&file.retention);
    if retention < Duration::from_secs(86_400) {
        at.key("retention").error("must be at least 1d, for which an Idempotency-Key is remembered");
    }
    let url = at.key("url");
    let path = match file.url.split_once(':') {
        Some(("sqlite", ":memory:")) => {
            url.warn("accepted purges are lost when the process ends");
            None
        }
        Some(("sqlite", path)) if !path.is_empty() && !path.starts_with("//") && !path.contains('?') => {
            Some(url.path(path))
        }
        Some(("postgres" | "postgresql", _)) => {
            url.error("fleets are not supported yet: one instance per store, sqlite:PATH");
            None
        }
        _ => {
            url.error("must be sqlite:PATH (without `//` and parameters) or sqlite::memory:");
            None
        }
    };
    ResolvedStore { path, retention }
}
