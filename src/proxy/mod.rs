//! The request path: `site -> opt-in -> forward -> origin -> rewrite -> respond`, all of it in `fetch`.

pub mod access;
pub mod body;
pub mod context;
pub mod edge;
pub mod error;
pub mod fields;
pub mod forward;
pub mod host;
pub mod inbound;
pub mod interim;
pub mod opt_in;
pub mod own_name;
pub mod peer;
pub mod routing;
pub mod target;

mod asking;
mod peer_lines;
mod purge_header;
mod respond;
mod stamp;
mod trailers;
mod untagged;
mod upgrade;
mod worker;

#[cfg(test)]
pub(crate) mod fixture;

use crate::http::request_body::RequestBody;
pub use interim::Interim;
pub use worker::{Shared, Snapshot, Worker};

use crate::config::Mode;
use crate::http::head::{RequestHead, ResponseHead};
use crate::metrics::shard::Limit;
use crate::upstream::{self, Destination, InterimSink, OriginBody, Outgoing, Upload, bound_auth};
use body::ResponseBody;
use context::RequestContext;
use error::ProxyError;
use fields::{KeyFields, Single};
use forward::Forwarding;
use http::{Method, Version};
use interim::Relay;
use opt_in::Caller;
use peer::Peer;
use std::rc::Rc;
use trailers::ToClient;
use untagged::Untagged;

/// Answers one request with its origin's response or with an error of ours. Interim responses are put into
/// `interim`.
pub async fn handle(
    worker: &Rc<Worker>,
    peer: &Peer,
    head: RequestHead,
    body: RequestBody,
    interim: &Interim,
) -> (ResponseHead, ResponseBody) {
    let fields = KeyFields::of(&head.headers);
    let mut context = RequestContext::begin(worker, peer, fields.request_id);
    context.note(peer, &head);
    match fetch(worker, peer, &head, &fields, (body, interim), &mut context).await {
        Ok((head, body)) => (head, ResponseBody::origin(body, context)),
        Err(ProxyError::LastHop) => respond::options(context),
        Err(error) => respond::refuse(&error, &head.method, head.version, context),
    }
}

/// Answers a request on a connection that exceeds the limits.
pub fn turn_away(worker: &Rc<Worker>, peer: &Peer, head: &RequestHead) -> (ResponseHead, ResponseBody) {
    let mut context = RequestContext::begin(worker, peer, KeyFields::of(&head.headers).request_id);
    context.note(peer, head);
    respond::refuse(&ProxyError::Full, &head.method, head.version, context)
}

/// Answers bytes that are not an acceptable request. The caller chooses the method and the version that the answer is
/// made for, because those of the request may be unreadable.
pub fn refuse(
    worker: &Rc<Worker>,
    peer: &Peer,
    error: &ProxyError,
    method: &Method,
    version: Version,
) -> (ResponseHead, ResponseBody) {
    respond::refuse(error, method, version, RequestContext::begin(worker, peer, Single::Absent))
}

/// Gets the response from an origin, and rewrites it if it may be.
async fn fetch(
    worker: &Rc<Worker>,
    peer: &Peer,
    head: &RequestHead,
    key_fields: &KeyFields<'_>,
    (body, early): (RequestBody, &Interim),
    context: &mut RequestContext,
) -> Result<(ResponseHead, (OriginBody, Option<Box<ToClient>>)), ProxyError> {
    let routing = context.routing();
    if worker.is_full(routing.limits.requests_in_flight) {
        worker.counters.limited(Limit::Requests);
        return Err(ProxyError::Full);
    }

    // Find the site.
    let host = inbound::check(head, key_fields, &routing.limits)?;
    let site = routing.site_of(host)?;
    context.enter(site);
    let site = routing.site(site);

    // Decide whether the response may be rewritten, and for which CDN.
    let opt_in = opt_in::decide(site, Caller::of(peer), key_fields);
    let untagged = Untagged::expected(site, &opt_in, key_fields, &head.method);
    if let Some(untagged) = untagged {
        untagged.register(site, context);
    }

    // Send the request to the origin. HTTP/1.0 has neither interim responses nor trailers.
    let rewrites = site.mode == Mode::On && opt_in.edge.is_ok();
    let is_old = head.version < Version::HTTP_11;
    let forwarding = Forwarding {
        peer,
        trusted: context.trusted,
        host,
        id: context.id(),
        opted_in: opt_in.believed,
        unconditional: opt_in.withholds_conditions(site, &head.method),
        upgrade: upgrade::wanted(head, key_fields, &site.upgrades),
        takes_trailers: key_fields.takes_trailers() && !is_old,
        own_name: &routing.own_name,
    };
    let fields = forward::fields(head, key_fields, forwarding)?;
    let limits = site.limits(&routing.limits, head.uri.path());
    let body = Upload::new(body, &worker.clock, limits, (fields.nominated(), trailers::to_origin));
    let binds = key_fields.authorization && bound_auth::is_in_request(&head.headers);
    let takes_interim = !is_old && interim::are_understood(site, &opt_in);
    let relay = Relay::new(early, site, rewrites);
    let sink: &InterimSink<'_> = &|arrived| relay.hand_on(arrived);
    let (since, upgrade, interim) = (context.started, forwarding.upgrade, takes_interim.then_some(sink));
    let mut request = Outgoing { head, fields, body, since, upgrade, binds, interim };
    let counters = site.metrics.shard(worker.index());
    let destination = Destination { site: &site.name, origins: &site.origins, limits, counters };
    let (mut response, body) = upstream::send(&worker.client, destination, &mut request).await?;

    // Commit what the response asks to purge. Few do, so the others keep no room for it.
    if asking::may_change(&head.method)
        && let Some(items) = purge_header::take(site, &mut response, context)
    {
        Box::pin(purge_header::commit(site, items, context)).await;
    }

    // Return the response. HTTP/2 clients accept trailers even if they do not announce it.
    let takes_trailers = forwarding.takes_trailers || head.version == Version::HTTP_2;
    let nominated = respond::head(&mut response, forwarding.upgrade, takes_trailers, site);
    let trailers = takes_trailers.then(|| ToClient::new(nominated, rewrites));
    if let Some(trailers) = &trailers {
        trailers.announce(site, head.version, &mut response);
    }
    let trailers = trailers.filter(|_| body.may_have_trailers()).map(Box::new);
    let facts = respond::facts(head, (key_fields, binds), host, context.trusted, response.status);
    respond::locate(&mut response, site, facts);
    context.status = Some(response.status);
    if let Some(untagged) = untagged {
        untagged.answered(site, &response, context);
    }
    if binds && rewrites {
        bound_auth::make_private(&mut response.headers);
    }
    context.decision = match opt_in.edge {
        Ok(edge) => respond::rewrite(site, edge, facts, &mut response, context),
        Err(reason) => respond::untouched(reason),
    };
    Ok((response, (body, trailers)))
}
