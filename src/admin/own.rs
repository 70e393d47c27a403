//! Purges that the shim itself makes, without a call.

use super::caller::Caller;
use super::purges::{self, Asked};
use super::state::State;
use crate::purge::PurgeRequest;
use crate::store::Store;
use axum::http::HeaderMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// The pause between two attempts, if the store did not commit.
const AGAIN: Duration = Duration::from_secs(10);

/// The reason, which the log and the purges show.
const WHY: &str =
    "the store lacks purges that were accepted: it was restored from a backup, or is a different one";

/// Purges everything at every site if the store lacks purges that were accepted, because their items are unknown.
pub async fn make_up_for_lost_purges(state: &Arc<State>, store: &Arc<dyn Store>) {
    loop {
        match store.is_behind().await {
            Ok(false) => return,
            Ok(true) => {}
            Err(_) => {
                sleep(AGAIN).await;
                continue;
            }
        }
        tracing::error!("{WHY}; everything is purged at all sites");
        if purge_all_sites(state, store).await && store.caught_up().await.is_ok() {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// Purges everything at each site that has a CDN. Returns whether all of these purges were accepted.
async fn purge_all_sites(state: &Arc<State>, store: &Arc<dyn Store>) -> bool {
    let caller = Caller::itself(state.config.load_full());
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut all = true;
    for site in caller.config().sites.iter().filter(|site| !site.cdns.is_empty()) {
        let reason = Some(WHY.to_owned());
        let request = PurgeRequest { everything: true, reason, ..PurgeRequest::default() };
        let asked = Asked { request, idempotency: Ok(None) };
        let accepted =
            purges::accept(state, store.clone(), (&caller, peer), site, asked, &HeaderMap::new()).await;
        if let Err(problem) = accepted {
            all = false;
            tracing::error!(
                site = site.name,
                problem = problem.detail(),
                "not everything could be purged; tried again"
            );
        }
    }
    all
}

/// Purges at one site what another instance purged, because copies that its plan does not reach may be in the site's
/// CDNs. This is tried until the store commits.
pub async fn purge_again(state: Arc<State>, store: Arc<dyn Store>, site: String, request: PurgeRequest) {
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    loop {
        let caller = Caller::itself(state.config.load_full());
        let Some(site) = caller.config().sites.iter().find(|known| known.name == site).cloned() else {
            return;
        };
        let asked = Asked { request: request.clone(), idempotency: Ok(None) };
        let accepted =
            purges::accept(&state, store.clone(), (&caller, peer), &site, asked, &HeaderMap::new()).await;
        match accepted {
            Ok(_) => return,
            Err(problem) => tracing::error!(
                site = site.name,
                problem = problem.detail(),
                "a purge of another instance could not be extended to copies without tags; tried again"
            ),
        }
        sleep(AGAIN).await;
    }
}
