//! The audit line: who changed what, from where. The lines have the log target `audit`, so that they can be kept
//! apart. No change happens without its line: a place for the line is reserved before the change.

use super::caller::Caller;
use super::problem::{Kind, Problem};
use crate::telemetry::{self, Place};
use std::net::SocketAddr;

/// Logs a change to one purge, CDN or configuration. `object` is its id or name, or empty if `site` is sufficient.
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

/// Reserves a place for the line of a change that is about to be made.
pub(super) async fn place() -> Result<Place, Problem> {
    telemetry::place_for_change().await.map_err(|_| unread())
}

/// Reserves a place for the line of a refused call.
pub(super) fn place_for_refusal() -> Result<Place, Problem> {
    telemetry::place_for_refusal().map_err(|_| unread())
}

fn unread() -> Problem {
    Problem::new(Kind::Unavailable, "Nobody reads the log, and nothing is done without its audit line.")
}
