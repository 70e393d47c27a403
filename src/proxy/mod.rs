//! The request path: `site -> opt-in -> forward -> origin -> rewrite -> respond`, all of it in `exchange`.

pub mod access;
pub mod body;
pub mod clock;
pub mod edge;
pub mod error;
pub mod flight;
pub mod forward;
pub mod h1;
pub mod hop;
pub mod host;
pub mod inbound;
pub mod metered;
pub mod opt_in;
pub mod peer;
pub mod pool;
pub mod roots;
pub mod site;

mod connect;
mod origin;
mod respond;
mod stream;
mod worker;

#[cfg(test)]
pub(crate) mod fixture;

pub use origin::OriginBody;
pub use worker::{Shared, Snapshot, Worker};

use crate::metrics::shard::Limit;
use body::{ResponseBody, Upload};
use error::ProxyError;
use flight::Flight;
use forward::Forwarding;
use http::{Request, Response};
use hyper::body::Incoming;
use metered::Metered;
use opt_in::Caller;
use origin::Outgoing;
use peer::Peer;
use std::rc::Rc;

/// Answers one request: with its origin's response, or with an error of ours.
pub async fn handle(worker: &Rc<Worker>, peer: &Peer, request: Request<Incoming>) -> Response<ResponseBody> {
    let mut flight = Flight::begin(worker, peer, request.headers());
    flight.note(peer, &request);
    let (method, version) = (request.method().clone(), request.version());
    match exchange(worker, peer, request, &mut flight).await {
        Ok(response) => response.map(|body| ResponseBody::origin(body, flight)),
        Err(error) => respond::refuse(&error, &method, version, flight),
    }
}

/// Answers a request on a connection for which there is no room.
pub fn turn_away<B>(worker: &Rc<Worker>, peer: &Peer, request: &Request<B>) -> Response<ResponseBody> {
    let flight = Flight::begin(worker, peer, request.headers());
    respond::refuse(&ProxyError::Full, request.method(), request.version(), flight)
}

async fn exchange(
    worker: &Rc<Worker>,
    peer: &Peer,
    request: Request<Incoming>,
    flight: &mut Flight,
) -> Result<Response<OriginBody>, ProxyError> {
    let routing = flight.routing();
    if worker.is_full(routing.limits.requests_in_flight) {
        worker.counters.limited(Limit::Requests);
        return Err(ProxyError::Full);
    }
    let (head, body) = request.into_parts();

    // Which site is it for?
    let host = inbound::check(&head, &routing.limits)?;
    let site = site::of(&routing, &host)?;
    flight.enter(site);
    let site = routing.site(site);

    // May its response be rewritten, and for which CDN?
    let opt_in = opt_in::decide(site, Caller::of(peer), &head.headers);

    // To the origin.
    let forwarding = Forwarding {
        peer,
        trusted: flight.trusted,
        host: &host,
        id: flight.id(),
        opted_in: opt_in.believed,
        unconditional: opt_in.withholds_conditions(site.mode),
    };
    let fields = forward::fields(&head, forwarding)?;
    let body = Metered::new(body, &routing.limits);
    let body = Upload::new(body, &worker.clock, routing.limits.body_timeout);
    let request = Outgoing { head: &head, fields, body };
    let (mut response, body) = origin::send(worker, &routing.limits, site, request).await?.into_parts();

    // And back.
    respond::head(&mut response);
    flight.status = Some(response.status);
    flight.decision = match opt_in.edge {
        Ok(edge) => respond::rewrite(site, site.metrics.shard(worker.index()), edge, &head, &mut response),
        Err(reason) => respond::untouched(reason),
    };
    Ok(Response::from_parts(response, body))
}
