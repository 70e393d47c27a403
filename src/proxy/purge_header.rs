//! Purges that the origin asks for in a response (RFC 9875 §3, `sites.purge_headers`). The response is handed on once
//! its purge is committed, so that whoever gets it finds no older page afterwards.

use super::asking::read;
use super::context::RequestContext;
use super::routing::Site;
use crate::http::head::ResponseHead;
use crate::metrics::HeaderPurge;
use crate::view::AskedItems;
use tokio::time::timeout;

/// Removes the headers that ask for purges from the response to a request that may change something. Returns what they
/// ask for, if the request was successful.
pub(super) fn take(site: &Site, response: &mut ResponseHead, context: &RequestContext) -> Option<AskedItems> {
    let asking = site.asking.as_ref()?;
    let (mut items, mut is_unreadable) = (AskedItems::default(), false);
    for header in &asking.headers.headers {
        if response.headers.contains(&header.name) {
            is_unreadable |= read(header, &response.headers, &mut items).is_err();
            response.headers.remove(&header.name);
        }
    }
    if !(response.status.is_success() || response.status.is_redirection()) {
        return None;
    }
    if is_unreadable {
        site.metrics.shard(context.worker()).header_purge(HeaderPurge::Unreadable);
        tracing::warn!(
            site = site.name,
            request_id = context.id().as_str(),
            "the origin asked for a purge of something that no purge can name: it is ignored"
        );
    }
    (!items.is_empty()).then_some(items)
}

/// Hands the items to the control plane, and waits for their commit as long as the site allows.
pub(super) async fn commit(site: &Site, items: AskedItems, context: &RequestContext) {
    let Some(asking) = &site.asking else { return };
    let number = asking.queue.ask(&items);
    let in_time = timeout(asking.headers.wait, asking.queue.committed(number)).await.is_ok();
    let result = if in_time { HeaderPurge::Committed } else { HeaderPurge::Late };
    site.metrics.shard(context.worker()).header_purge(result);
    if !in_time {
        tracing::warn!(
            site = site.name,
            request_id = context.id().as_str(),
            "a response is handed on before the purge that it asks for is committed; that is tried again"
        );
    }
}
