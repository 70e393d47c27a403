//! The audit line: who changed what, from where. Log target `audit`, so that it can be kept apart. Nothing is done without
//! one: whoever changes something has a place for its line before.

use super::auth::Caller;
use super::problem::{Kind, Problem};
use crate::telemetry::{self, Place};
use std::net::SocketAddr;

/// A change of one purge, CDN or configuration: `object` is its id or name, empty where `site` says it all.
pub(super) fn changed(
    place: Place,
    (caller, peer): (&Caller, SocketAddr),
    site: &str,
    object: &str,
    what: &'static str,
) {
    let token = caller.name();
    place.write(|| tracing::info!(target: "audit", token, %peer, site, object, "{what}"));
}

/// A place for the line of a change that is about to be made.
pub(super) async fn place() -> Result<Place, Problem> {
    telemetry::place_for_change().await.map_err(|_| unread())
}

/// The same of a caller who is refused.
pub(super) fn place_for_refusal() -> Result<Place, Problem> {
    telemetry::place_for_refusal().map_err(|_| unread())
}

fn unread() -> Problem {
    Problem::new(Kind::Unavailable, "Nobody reads the log, and nothing is done without its audit line.")
}
