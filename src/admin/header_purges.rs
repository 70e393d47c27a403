//! Purges that origins ask for in their responses. The proxy puts them into a queue for each site, and here they are
//! committed, as if the admin API had been called. Whatever cannot be committed is tried again.

use super::caller::Caller;
use super::problem::Problem;
use super::purges::{self, Asked};
use super::state::State;
use crate::config::Site;
use crate::purge::PurgeRequest;
use crate::view::{AskedItems, PurgeQueue};
use axum::http::HeaderMap;
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// The least time between two purges of a site. What responses ask for in the meantime becomes one purge.
const APART: Duration = Duration::from_millis(50);

/// The first pause before another attempt, and (`LONGEST`) the longest one.
const AGAIN: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// The reason, which the purges show.
const WHY: &str = "asked for by the origin in a response";

/// Commits what the queues hold, as long as the program runs.
pub async fn commit_header_purges(state: Arc<State>, mut queues: mpsc::UnboundedReceiver<Arc<PurgeQueue>>) {
    let mut serving = JoinSet::new();
    while let Some(queue) = queues.recv().await {
        while serving.try_join_next().is_some() {}
        serving.spawn(serve(Arc::clone(&state), queue));
    }
}

/// Empties one queue.
async fn serve(state: Arc<State>, queue: Arc<PurgeQueue>) {
    while let Some((mut number, mut items)) = queue.take() {
        let next = Instant::now() + APART;
        let mut pause = AGAIN;
        while let Err(problem) = purge(&state, &queue.site, &items).await {
            tracing::error!(
                site = queue.site,
                problem = problem.detail(),
                "a purge that the origin asked for cannot be committed; tried again"
            );
            sleep(pause).await;
            pause = (2 * pause).min(LONGEST);
            number = queue.take_more(&mut items);
        }
        queue.commit(number);
        sleep_until(next).await;
    }
}

/// Purges the items. Those that the site may not purge are ignored, since they would be refused each time.
async fn purge(state: &Arc<State>, site: &str, items: &AskedItems) -> Result<(), Problem> {
    let caller = Caller::itself(state.config.load_full());
    let Ok(site) = caller.site(site) else {
        tracing::warn!(site, "the site of a purge that its origin asked for is no longer configured");
        return Ok(());
    };
    let store = state.store()?;
    let mut request = PurgeRequest {
        tags: items.tags.iter().cloned().collect(),
        paths: items.paths.iter().cloned().collect(),
        everything: items.everything,
        reason: Some(WHY.to_owned()),
        ..PurgeRequest::default()
    };
    while request.item_count() > 0 {
        let asked = Asked { request: request.clone(), idempotency: Ok(None) };
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let accepted =
            purges::accept(state, store.clone(), (&caller, peer), site, asked, &HeaderMap::new()).await;
        match accepted {
            Ok(_) => return Ok(()),
            Err(problem) if problem.errors().is_empty() => return Err(problem),
            Err(problem) => ignore(site, &problem, &mut request),
        }
    }
    Ok(())
}

/// Removes the items that were refused.
fn ignore(site: &Site, problem: &Problem, request: &mut PurgeRequest) {
    let before = request.item_count();
    for error in problem.errors() {
        tracing::warn!(
            site = site.name,
            item = error.item,
            why = error.message,
            "an item of a purge that the origin asked for is refused"
        );
    }
    let refused: HashSet<&str> = problem.errors().iter().map(|error| &*error.item).collect();
    for (list, items) in [("tags", &mut request.tags), ("paths", &mut request.paths)] {
        let mut index = 0;
        items.retain(|_| {
            index += 1;
            !refused.contains(&*format!("{list}[{}]", index - 1))
        });
    }
    if request.item_count() == before {
        // What is refused is not an item, so it would be refused again.
        *request = PurgeRequest::default();
    }
}
