//! The request path: `site -> opt-in -> forward -> origin -> rewrite -> respond`, all of it in `exchange`.

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
pub mod noted;
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

use body::{ResponseBody, Upload};
use error::ProxyError;
use flight::Flight;
use forward::Forwarding;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use noted::Noted;
use origin::Outgoing;
use peer::Peer;
use std::rc::Rc;

/// Answers one request: with its origin's response, or with an error of ours.
pub async fn handle(worker: &Rc<Worker>, peer: &Peer, request: Request<Incoming>) -> Response<ResponseBody> {
    let (head, body) = request.into_parts();
    let noted = Noted::of(&head.headers);
    let mut flight = Flight::begin(worker, peer, noted.request_id);
    match exchange(worker, peer, &head, &noted, body, &mut flight).await {
        Ok(response) => response.map(|body| ResponseBody::origin(body, flight)),
        Err(error) => respond::refuse(&error, &head.method, head.version, flight),
    }
}

async fn exchange(
    worker: &Rc<Worker>,
    peer: &Peer,
    head: &Parts,
    noted: &Noted<'_>,
    body: Incoming,
    flight: &mut Flight,
) -> Result<Response<OriginBody>, ProxyError> {
    let routing = flight.routing();

    // Which site is it for?
    let host = inbound::check(head, noted, &routing.limits)?;
    let site = site::of(&routing, &host)?;
    flight.enter(site);
    let site = routing.site(site);

    // May its response be rewritten, and for which CDN?
    let opt_in = opt_in::decide(site, peer.address(), noted);

    // To the origin.
    let forwarding = Forwarding {
        peer,
        trusted: flight.trusted,
        host: &host,
        id: flight.id(),
        opted_in: opt_in.believed,
        unconditional: opt_in.withholds_conditions(site.mode),
    };
    let fields = forward::fields(head, noted, forwarding)?;
    let body = Upload::new(body, &worker.clock, routing.limits.body_timeout);
    let request = Outgoing { head, fields, body, since: flight.started };
    let (mut response, body) = origin::send(worker, &routing.limits, site, request).await?.into_parts();

    // And back.
    respond::head(&mut response);
    flight.status = Some(response.status);
    flight.decision = match opt_in.edge {
        Ok(edge) => {
            respond::rewrite(site, site.metrics.shard(worker.index()), edge, head, noted, &mut response)
        }
        Err(reason) => respond::untouched(reason),
    };
    Ok(Response::from_parts(response, body))
}
