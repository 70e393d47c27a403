//! One request to an origin and its response: which connection, which deadline, and what may be tried again.
//!
//! [`send`] and [`OriginBody`] are all that the request path knows of the client below: [`h1`](super::h1), driven
//! here, in the task of the request.

use super::body::{DownloadError, Progress, Upload};
use super::clock::Patience;
use super::connect::{self, Connection, Route};
use super::error::{self, OriginError, ProxyError};
use super::forward;
use super::h1::head::HeadLimits;
use super::h1::{self, Cause, Recycle};
use super::site::{Origin, Site};
use super::stream::Stream;
use super::upgrade::{self, Tunnel};
use super::upstream::{Address, OriginId};
use super::worker::Worker;
use crate::config::Limits;
use crate::metrics::shard::SiteShard;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A request on its way to an origin.
pub(super) struct Outgoing<'a> {
    /// The client's method and target.
    pub(super) head: &'a Parts,
    /// What the origin gets of its fields.
    pub(super) fields: forward::Fields<'a>,
    /// Taken by the first origin that has a connection.
    pub(super) body: Option<Upload>,
    /// The protocol that it asks for.
    pub(super) upgrade: Option<&'a HeaderValue>,
    /// When it arrived.
    pub(super) since: Instant,
}

/// Sends `request` to the site's origins in turn, until one answers. Every failure is counted here.
pub(super) async fn send(
    worker: &Rc<Worker>,
    limits: &Limits,
    site: &Site,
    request: &mut Outgoing<'_>,
) -> Result<Response<OriginBody>, ProxyError> {
    let counters = site.metrics.shard(worker.index());
    // What may have reached an origin is sent to one more at most, and only if nothing can happen twice.
    let mut may_be_repeated = request.body.is_none() && is_safe(&request.head.method);
    let mut turns = Turns::of(&site.origins);
    let mut current = turns.next(&site.origins);
    let mut silent: Option<Route> = None;
    while let Some(origin) = current {
        let failure = match attempt(worker, limits, counters, origin, silent.as_deref(), request).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let (error, next) = match failure {
            Failure::Unsent(error) => (error, turns.next(&site.origins)),
            Failure::Sent { fault, route, response_started } => {
                if matches!(fault, Fault::FirstByteTimeout) {
                    route.failed(limits.origin_max_fails, limits.origin_fail_timeout, Instant::now());
                }
                let error = fault.judged()?;
                let may_be_repeated = std::mem::take(&mut may_be_repeated) && !response_started;
                let next = match may_be_repeated {
                    true if origin.upstream.has_another(&route) => Some(origin),
                    true => turns.next(&site.origins),
                    false => None,
                };
                silent = next.filter(|next| std::ptr::eq(*next, origin)).map(|_| route);
                (error, next)
            }
        };
        counters.origin_error(error.kind());
        if next.is_none() {
            return Err(ProxyError::Origin(error));
        }
        tracing::warn!(
            site = site.name,
            origin = origin.upstream.url,
            error = error::chain(&error),
            "trying the next address or origin"
        );
        current = next;
    }
    Err(ProxyError::Origin(OriginError::Connect(io::ErrorKind::AddrNotAvailable.into())))
}

/// In which order origins are tried: in theirs, but those that are to be avoided last.
struct Turns {
    /// The origins that were not tried yet, as bits; those of the second half are to be avoided.
    left: u64,
}

/// How many origins a site may have.
const MAX_ORIGINS: usize = crate::config::MAX_ORIGINS;

impl Turns {
    fn of(origins: &[Origin]) -> Self {
        let place = |(index, origin): (usize, &Origin)| match origin.upstream.is_avoided() {
            true => 1 << (index + MAX_ORIGINS),
            false => 1 << index,
        };
        let left = match origins {
            // Nothing to choose, so nothing to ask.
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

/// Why there is no response.
enum Failure {
    /// No connection: nothing of the request was used.
    Unsent(OriginError),
    /// It may have reached the origin.
    Sent {
        fault: Fault,
        route: Route,
        /// Whether any byte of a response has arrived.
        response_started: bool,
    },
}

/// What came of a request that was sent.
enum Fault {
    Exchange(h1::Error),
    /// It has reached the origin, as far as is known.
    FirstByteTimeout,
    /// It was answered with a switch to another protocol than the one it asks for.
    OtherProtocol,
}

impl Fault {
    /// Whose fault it is: the origin's, or that of the request.
    fn judged(self) -> Result<OriginError, ProxyError> {
        let failure = match self {
            Self::Exchange(failure) => failure,
            Self::FirstByteTimeout => return Ok(OriginError::FirstByteTimeout),
            Self::OtherProtocol => return Ok(OriginError::OtherProtocol),
        };
        match &failure.cause {
            Cause::Io(_) | Cause::Closed => Ok(OriginError::Closed(failure)),
            Cause::Head(_) | Cause::Chunked(_) => Ok(OriginError::Head(failure)),
            Cause::Encode(error) => Err(ProxyError::Unsendable(*error)),
            Cause::RequestBody(_) | Cause::RequestLength => Err(ProxyError::upload(failure)),
        }
    }
}

/// Sends `request` to one origin: on a pooled connection, and once more on a new one where that was stale. `silent` is
/// an address that has had it already.
async fn attempt(
    worker: &Rc<Worker>,
    limits: &Limits,
    counters: &SiteShard,
    origin: &Origin,
    silent: Option<&Arc<Address>>,
    request: &mut Outgoing<'_>,
) -> Result<Response<OriginBody>, Failure> {
    let place = match &origin.upstream.places {
        None => None,
        // Boxed, since few sites have such a limit.
        Some(places) => Some(Box::pin(place(places, limits)).await.map_err(Failure::Unsent)?),
    };
    if silent.is_none()
        && let Some((connection, route)) = worker.pool.take(origin.upstream.id)
    {
        let may_be_repeated = request.body.is_none() && is_safe(&request.head.method);
        match exchange(worker, limits, origin, (connection, route), request)?.await {
            Err(Failure::Sent { fault: Fault::Exchange(error), .. })
                if may_be_repeated && error.is_retryable() => {}
            result => return answered(counters, request, request.since, place, result),
        }
        counters.origin_retries.add(1);
    }
    // Boxed: else the future of every client connection would hold the room for a TLS handshake.
    let connecting = Box::pin(connect::connect(worker, limits, origin, silent.map(|silent| &**silent)));
    let connected = connecting.await.map_err(Failure::Unsent)?;
    counters.origin_connections.add(1);
    let since = Instant::now();
    let result = exchange(worker, limits, origin, connected, request)?.await;
    answered(counters, request, since, place, result)
}

/// Waits for a place at an origin that takes so many requests at a time. Those who wait are in a queue, since turning them
/// away at once would show visitors errors in every short burst; its length is bounded by `requests_in_flight`.
async fn place(places: &Arc<Semaphore>, limits: &Limits) -> Result<OwnedSemaphorePermit, OriginError> {
    let waiting = Arc::clone(places).acquire_owned();
    // Nobody closes it.
    match tokio::time::timeout(limits.origin_queue_timeout, waiting).await {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(_)) | Err(_) => Err(OriginError::Full),
    }
}

/// Counts a response, and refuses a switch to a protocol that the request did not ask for.
fn answered(
    counters: &SiteShard,
    request: &Outgoing<'_>,
    since: Instant,
    place: Option<OwnedSemaphorePermit>,
    result: Result<(Response<OriginBody>, Route), Failure>,
) -> Result<Response<OriginBody>, Failure> {
    let (mut response, route) = result?;
    response.body_mut().place = place;
    counters.origin_answered(since.elapsed());
    route.answered();
    let is_granted = |wanted| upgrade::is_granted(response.headers(), wanted);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && !request.upgrade.is_some_and(is_granted) {
        return Err(Failure::Sent { fault: Fault::OtherProtocol, route, response_started: true });
    }
    Ok(response)
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Begins one request on `connection`.
fn exchange(
    worker: &Rc<Worker>,
    limits: &Limits,
    origin: &Origin,
    (connection, route): (Connection, Route),
    request: &mut Outgoing<'_>,
) -> Result<Exchange, Failure> {
    let body = request.body.take();
    let upload = body.as_ref().map(Upload::progress);
    let outgoing = h1::Request {
        method: &request.head.method,
        target: forward::target(&request.head.uri).as_bytes(),
        headers: request.fields.iter(origin.host_header.as_ref()),
        body,
        limits: HeadLimits { fields: limits.origin_headers, bytes: limits.origin_header_bytes },
        upgrade: request.upgrade.is_some(),
    };
    let lease = Lease {
        worker: Rc::clone(worker),
        origin: origin.upstream.id,
        route: Rc::clone(&route),
        pool_size: limits.origin_pool_size,
    };
    let exchange = match connection.send(outgoing, lease) {
        Ok(exchange) => exchange,
        Err(error) => {
            let fault = Fault::Exchange(error);
            return Err(Failure::Sent { fault, route, response_started: false });
        }
    };
    Ok(Exchange {
        exchange,
        route,
        upload,
        stage: (false, 0),
        patience: Patience::new(&worker.clock, limits.origin_first_byte_timeout),
        body_timeout: limits.origin_body_timeout,
    })
}

/// Waits for the response head, with patience from the end of the request on. While the client's body is on its way
/// the wait is the client's; an origin that takes no more of it has the same limit as one that does not answer.
///
/// A struct, since an `async fn` would hold the exchange twice, and every client connection has room for this.
struct Exchange {
    exchange: h1::Exchange<Stream, Upload, Lease>,
    route: Route,
    upload: Option<Rc<Progress>>,
    /// How far the request was when it was last looked at: sent, and parts of its body.
    stage: (bool, u64),
    patience: Patience,
    body_timeout: Duration,
}

impl Future for Exchange {
    type Output = Result<(Response<OriginBody>, Route), Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(result) = Pin::new(&mut this.exchange).poll(cx) {
            let response = match result {
                Ok(response) => response,
                Err(error) => {
                    let response_started = error.response_started;
                    return Poll::Ready(Err(this.failure(Fault::Exchange(error), response_started)));
                }
            };
            let patience = this.patience.next(this.body_timeout);
            let response = response.map(|body| OriginBody { body, patience, failed: None, place: None });
            return Poll::Ready(Ok((response, Rc::clone(&this.route))));
        }
        let upload = this.upload.as_deref();
        let stage = (this.exchange.is_sent(), upload.map_or(0, |upload| upload.parts.get()));
        let is_clients_turn = upload.is_some_and(|upload| upload.awaited.get());
        if stage != this.stage || is_clients_turn {
            this.stage = stage;
            this.patience.rewarded();
        }
        if is_clients_turn {
            return Poll::Pending;
        }
        ready!(this.patience.poll_lost(cx));
        Poll::Ready(Err(this.failure(Fault::FirstByteTimeout, this.exchange.response_started())))
    }
}

impl Exchange {
    fn failure(&self, fault: Fault, response_started: bool) -> Failure {
        Failure::Sent { fault, route: Rc::clone(&self.route), response_started }
    }
}

type Exchanged = h1::ResponseBody<Stream, Upload, Lease>;

/// The way of a connection back to the pool.
#[derive(Debug)]
struct Lease {
    worker: Rc<Worker>,
    origin: OriginId,
    route: Route,
    pool_size: usize,
}

impl Recycle<Stream> for Lease {
    fn recycle(self, connection: Connection) {
        self.worker.pool.put(self.origin, connection, self.route, self.pool_size);
    }
}

/// An origin's body, and the connection it comes on: that goes back to the pool at the end of the body, and is
/// closed if the body is dropped before.
#[derive(Debug)]
pub struct OriginBody {
    body: Exchanged,
    patience: Patience,
    failed: Option<Box<DownloadError>>,
    /// Held for as long as the body, at an origin where places are limited.
    place: Option<OwnedSemaphorePermit>,
}

impl OriginBody {
    /// After 101: what the connection has become.
    pub(super) fn take_tunnel(&mut self) -> Option<Tunnel> {
        self.body.take_switched().map(|(stream, early)| Tunnel::new(stream, early))
    }
}

impl Body for OriginBody {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        let this = &mut *self;
        if let Some(failure) = this.failed.take() {
            return Poll::Ready(Some(Err(*failure)));
        }
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            ready!(this.patience.poll_lost(cx));
            return Poll::Ready(Some(Err(DownloadError::Stalled)));
        };
        this.patience.rewarded();
        match frame.transpose() {
            Ok(frame) => Poll::Ready(frame.map(Ok)),
            Err(error) => {
                // Not at once: what arrived before it, the head at least, is still on its way to the client.
                this.failed = Some(Box::new(DownloadError::Origin(error)));
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
