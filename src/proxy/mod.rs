//! The request path: `site -> opt-in -> forward -> origin -> rewrite -> respond`, all of it in `exchange`.

pub mod access;
pub mod body;
pub mod clock;
pub mod edge;
pub mod error;
pub mod flight;
pub mod forward;
pub mod h1;
pub mod h2;
pub mod hop;
pub mod host;
pub mod in_flight;
pub mod inbound;
pub mod key_fields;
pub mod metered;
pub mod opt_in;
pub mod peer;
pub mod pool;
pub mod request_body;
pub mod roots;
pub mod site;
pub mod upstream;

mod connect;
mod exchange;
mod keeper;
mod origin;
mod respond;
mod stamp;
mod stream;
mod upgrade;
mod worker;

#[cfg(test)]
pub(crate) mod fixture;

pub use exchange::OriginBody;
pub use keeper::Keeper;
pub use request_body::RequestBody;
pub use upgrade::Tunnel;
pub use worker::{Shared, Snapshot, Worker};

use crate::head::{RequestHead, ResponseHead};
use crate::metrics::shard::Limit;
use body::{ResponseBody, Upload};
use error::ProxyError;
use flight::Flight;
use forward::Forwarding;
use http::request::Parts;
use http::{Request, Response};
use key_fields::KeyFields;
use metered::Metered;
use opt_in::Caller;
use origin::Outgoing;
use peer::Peer;
use std::rc::Rc;

/// Answers one request: with its origin's response, or with an error of ours.
pub async fn handle(
    worker: &Rc<Worker>,
    peer: &Peer,
    head: RequestHead,
    body: RequestBody,
) -> (ResponseHead, ResponseBody) {
    let head = parts(head);
    let fields = KeyFields::of(&head.headers);
    let mut flight = Flight::begin(worker, peer, fields.request_id);
    flight.note(peer, &head);
    ours(match exchange(worker, peer, &head, &fields, body, &mut flight).await {
        Ok(response) => response.map(|body| ResponseBody::origin(body, flight)),
        Err(error) => respond::refuse(&error, &head.method, head.version, flight),
    })
}

fn parts(head: RequestHead) -> Parts {
    let mut request = Request::new(());
    *request.method_mut() = head.method;
    *request.uri_mut() = head.uri;
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers.into();
    request.into_parts().0
}

fn ours(response: Response<ResponseBody>) -> (ResponseHead, ResponseBody) {
    let (parts, body) = response.into_parts();
    let reason = parts.extensions.get::<hyper::ext::ReasonPhrase>();
    let reason = reason.map(|reason| bytes::Bytes::copy_from_slice(reason.as_bytes()));
    (ResponseHead { status: parts.status, reason, headers: parts.headers.into() }, body)
}

/// Answers a request on a connection for which there is no room.
pub fn turn_away(worker: &Rc<Worker>, peer: &Peer, head: &RequestHead) -> (ResponseHead, ResponseBody) {
    let head = parts(head.clone());
    let mut flight = Flight::begin(worker, peer, KeyFields::of(&head.headers).request_id);
    flight.note(peer, &head);
    ours(respond::refuse(&ProxyError::Full, &head.method, head.version, flight))
}

/// Answers what is no request that could be read.
pub fn refuse(
    worker: &Rc<Worker>,
    peer: &Peer,
    error: &ProxyError,
    method: &http::Method,
    version: http::Version,
) -> (ResponseHead, ResponseBody) {
    let flight = Flight::begin(worker, peer, key_fields::Single::Absent);
    ours(respond::refuse(error, method, version, flight))
}

async fn exchange(
    worker: &Rc<Worker>,
    peer: &Peer,
    head: &Parts,
    key_fields: &KeyFields<'_>,
    body: RequestBody,
    flight: &mut Flight,
) -> Result<Response<OriginBody>, ProxyError> {
    let routing = flight.routing();
    if worker.is_full(routing.limits.requests_in_flight) {
        worker.counters.limited(Limit::Requests);
        return Err(ProxyError::Full);
    }

    // Which site is it for?
    let host = inbound::check(head, key_fields, &routing.limits)?;
    let site = site::of(&routing, &host)?;
    flight.enter(site);
    let site = routing.site(site);

    // May its response be rewritten, and for which CDN?
    let opt_in = opt_in::decide(site, Caller::of(peer), key_fields);

    // To the origin.
    let forwarding = Forwarding {
        peer,
        trusted: flight.trusted,
        host: &host,
        id: flight.id(),
        opted_in: opt_in.believed,
        unconditional: opt_in.withholds_conditions(site.mode),
        upgrade: upgrade::wanted(head, key_fields, &site.upgrades),
    };
    let fields = forward::fields(head, key_fields, forwarding)?;
    let body = Metered::new(body, &routing.limits);
    let body = Upload::new(body, &worker.clock, routing.limits.body_timeout);
    let mut request = Outgoing { head, fields, body, since: flight.started, upgrade: forwarding.upgrade };
    let response = origin::send(worker, &routing.limits, site, &mut request).await?;
    let (mut response, body) = response.into_parts();

    // And back.
    respond::head(&mut response, forwarding.upgrade);
    flight.status = Some(response.status);
    flight.decision = match opt_in.edge {
        Ok(edge) => respond::rewrite(site, edge, head, key_fields, &mut response, flight),
        Err(reason) => respond::untouched(reason),
    };
    Ok(Response::from_parts(response, body))
}
