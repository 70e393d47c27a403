//! The audit line: who changed what, from where. Log target `audit`, so that it can be kept apart.

use super::auth::Caller;
use std::net::SocketAddr;

/// A change of one purge, CDN or configuration: `object` is its id or name, empty where `site` says it all.
pub(super) fn changed(caller: &Caller, peer: SocketAddr, site: &str, object: &str, what: &'static str) {
    let token = caller.name();
    tracing::info!(target: "audit", token, %peer, site, object, "{what}");
}
