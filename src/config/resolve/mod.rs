//! Resolves the file's shape into a [`Config`]: parses every value, and fills in every default and secret. An invalid
//! value is reported and replaced by a placeholder, so that all problems are reported together. A configuration with
//! placeholders is never used, because it has errors.

mod admin;
mod cdn;
mod certificate;
mod events;
pub(super) mod host;
mod inbound;
mod limits;
mod log;
mod name;
mod origin;
mod purge_headers;
mod server;
mod site;
mod store;
mod tags;
pub(super) mod url;

use super::at::At;
use super::file::File;
use super::{Config, Inbound};
use std::sync::Arc;

/// Resolves the whole file.
pub fn resolve(file: &File, at: &At<'_>) -> Config {
    let sites = at.key("sites");
    if file.sites.is_empty() {
        sites.error("at least one site is needed: a [[sites]] table with name, hosts and origin");
    }
    let accounts = cdn::Accounts::of(file);
    let store = store::resolve(&file.store, &at.key("store"));
    Config {
        server: server::resolve(&file.server, &at.key("server")),
        admin: admin::resolve(&file.admin, &at.key("admin")),
        fleet: store::fleet(&file.fleet, &at.key("fleet"), store.database.is_some()),
        store,
        inbound: inbound(file, &at.key("inbound")),
        log: log::resolve(&file.log, &at.key("log")),
        sites: sites
            .each(&file.sites)
            .map(|(at, site)| Arc::new(site::resolve(site, &accounts, &at)))
            .collect(),
    }
}

fn inbound(file: &File, at: &At<'_>) -> Vec<Inbound> {
    let only = match file.sites.as_slice() {
        [only] => Some(only.name.as_str()),
        _ => None,
    };
    at.each(&file.inbound).map(|(at, file)| inbound::resolve(file, only, &at)).collect()
}
