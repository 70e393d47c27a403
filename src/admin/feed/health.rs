//! The health of the CDNs, as events.

use super::HealthEvent;
use crate::admin::control::CdnHealth;
use crate::admin::json::rfc3339;
use crate::admin::sites;
use crate::admin::state::State;
use crate::config::Site;
use crate::guard::wall_ms;
use std::sync::Arc;

/// Returns the current health of every CDN, in file order.
pub(super) fn healths(state: &State) -> Vec<HealthEvent> {
    let config = state.config.load();
    let of_site = |site: &Arc<Site>| {
        sites::health(state, site).into_iter().map(|health| event(&site.name, health)).collect::<Vec<_>>()
    };
    config.sites.iter().flat_map(of_site).collect()
}

fn event(site: &str, health: CdnHealth) -> HealthEvent {
    HealthEvent {
        site: site.to_owned(),
        cdn: health.name,
        healthy: health.healthy,
        reasons: health.reasons,
        at: rfc3339(wall_ms()),
    }
}
