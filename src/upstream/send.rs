//! One request to an origin and its response: the connection, the deadline, and retries.
//!
//! [`send`] and its [`Response`] are all that the request path uses of the clients below, [`h1`](super::h1) and
//! [`h2`](super::h2), which are driven in the task of the request ([`exchange`](super::exchange)).

use super::address::Address;
use super::client::Client;
use super::connect;
use super::connection::Route;
use super::error::{OriginError, SendError};
use super::exchange::{self, Failure, Fault, Response};
use super::origin::Origin;
use super::request::{Destination, Fields, Outgoing};
use super::tunnel;
use crate::base::with_causes;
use crate::config::{Limits, OriginProtocol};
use crate::metrics::shard::SiteShard;
use http::{Method, StatusCode};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Sends `request` to the origins of its destination in turn until one answers. Every failure is counted here.
///
/// # Errors
/// Returns an error if the request cannot be sent, or if no origin gives a usable response.
pub async fn send<F: Fields>(
    client: &Rc<Client>,
    destination: Destination<'_>,
    request: &mut Outgoing<'_, F>,
) -> Result<Response, SendError> {
    let Destination { site, origins, limits, counters } = destination;
    // A request that may have reached an origin is sent to at most one more (or to another address of the same one),
    // and only if it has no body and a safe method.
    let mut may_be_repeated = request.body.is_none() && is_safe(&request.head.method);
    let mut order = Order::of(origins);
    let mut current = order.next(origins);
    let mut silent: Option<Route> = None;
    while let Some(origin) = current {
        let failure = match attempt(client, destination, origin, silent.as_deref(), request).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let (error, next) = match failure {
            // Another origin would need a descriptor as well.
            Failure::Unsent(error @ OriginError::NoRoom(_)) => (error, None),
            Failure::Unsent(error) => (error, order.next(origins)),
            Failure::Sent { fault, route, response_started } => {
                if matches!(fault, Fault::FirstByteTimeout) {
                    route.failed(limits.origin_max_fails, limits.origin_fail_timeout, Instant::now());
                }
                let error = fault.of_origin()?;
                let may_be_repeated = std::mem::take(&mut may_be_repeated) && !response_started;
                let next = match may_be_repeated {
                    true if origin.upstream.has_another(&route) => Some(origin),
                    true => order.next(origins),
                    false => None,
                };
                silent = next.filter(|next| std::ptr::eq(*next, origin)).map(|_| route);
                (error, next)
            }
        };
        counters.origin_error(error.kind());
        if next.is_none() {
            return Err(SendError::Origin(error));
        }
        tracing::warn!(
            site,
            origin = origin.upstream.url,
            error = with_causes(&error),
            "trying the next address or origin"
        );
        current = next;
    }
    Err(SendError::Origin(OriginError::Connect(io::ErrorKind::AddrNotAvailable.into())))
}

/// The order in which origins are tried: as configured, with avoided origins last.
struct Order {
    /// The origins that were not tried yet, as bits. The upper half is for avoided origins.
    left: u64,
}

/// The maximum number of origins of a site.
const MAX_ORIGINS: usize = crate::config::MAX_ORIGINS;

impl Order {
    fn of(origins: &[Origin]) -> Self {
        let place = |(index, origin): (usize, &Origin)| match origin.upstream.is_avoided() {
            true => 1 << (index + MAX_ORIGINS),
            false => 1 << index,
        };
        let left = match origins {
            // With a single origin there is nothing to choose.
            [_] => 1,
            _ => origins.iter().take(MAX_ORIGINS).enumerate().map(place).sum(),
        };
        Self { left }
    }

    fn next<'o>(&mut self, origins: &'o [Origin]) -> Option<&'o Origin> {
        let place = (self.left != 0).then(|| self.left.trailing_zeros() as usize)?;
        self.left &= self.left - 1;
        origins.get(place % MAX_ORIGINS)
    }
}

/// Sends `request` to one origin: on a pooled connection, and again on a new one if the origin had meanwhile closed
/// the pooled one. `silent` is an address that has already received the request without a usable answer.
async fn attempt<F: Fields>(
    client: &Rc<Client>,
    destination: Destination<'_>,
    origin: &Origin,
    silent: Option<&Arc<Address>>,
    request: &mut Outgoing<'_, F>,
) -> Result<Response, Failure> {
    let Destination { limits, counters, .. } = destination;
    let place = match &origin.upstream.places {
        None => None,
        // Boxed because few sites have such a limit.
        Some(places) => Some(Box::pin(place(places, limits)).await.map_err(Failure::Unsent)?),
    };
    // An HTTP/2 connection is never switched to another protocol, nor closed for one of its requests. If TLS
    // negotiates the version, a request that would authenticate the connection can use HTTP/1.1 instead.
    let is_for_one = request.upgrade.is_some() || request.binds && origin.tls.is_some();
    let protocol = if is_for_one { OriginProtocol::Http1 } else { origin.protocol };
    if silent.is_none()
        && let Some(pooled) = client.pool.take(origin.upstream.id, protocol)
    {
        let (has_no_body, is_safe) = (request.body.is_none(), is_safe(&request.head.method));
        match exchange::begin(client, limits, origin, pooled, request)?.await {
            Err(Failure::Sent { fault: Fault::Exchange(error), .. })
                if has_no_body && error.is_retryable() && (is_safe || error.is_unprocessed()) => {}
            result => return answered(counters, request, request.since, place, result),
        }
        counters.origin_retries.add(1);
    }
    // Boxed, because otherwise the future of every client connection would have room for a TLS handshake.
    let but = silent.map(|silent| &**silent);
    let connecting = Box::pin(connect::connect(client, destination, origin, protocol, but));
    let connected = connecting.await.map_err(Failure::Unsent)?;
    let since = Instant::now();
    let result = exchange::begin(client, limits, origin, connected, request)?.await;
    answered(counters, request, since, place, result)
}

/// Waits for a place at an origin with a limit of concurrent requests. Waiting requests form a queue, because
/// refusing them immediately would show visitors errors in every short burst. The queue's length is bounded by
/// `requests_in_flight`.
async fn place(places: &Arc<Semaphore>, limits: &Limits) -> Result<OwnedSemaphorePermit, OriginError> {
    let waiting = Arc::clone(places).acquire_owned();
    // The semaphore is never closed.
    match tokio::time::timeout(limits.origin_queue_timeout, waiting).await {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(_)) | Err(_) => Err(OriginError::Full),
    }
}

/// Counts a response, and refuses a switch to a protocol that was not requested.
fn answered<F>(
    counters: &SiteShard,
    request: &Outgoing<'_, F>,
    since: Instant,
    place: Option<OwnedSemaphorePermit>,
    result: Result<(Response, Route), Failure>,
) -> Result<Response, Failure> {
    let ((head, mut body), route) = result?;
    body.place = place;
    counters.origin_answered(since.elapsed());
    route.answered();
    let is_granted = |wanted| tunnel::is_granted(&head.headers, wanted);
    if head.status == StatusCode::SWITCHING_PROTOCOLS && !request.upgrade.is_some_and(is_granted) {
        return Err(Failure::Sent { fault: Fault::OtherProtocol, route, response_started: true });
    }
    Ok((head, body))
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
