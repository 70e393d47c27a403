//! One request to an origin and its response: which connection, which deadline, and what may be tried again.
//!
//! [`send`] and [`OriginBody`] are all that the request path knows of the client below: [`h1`](super::h1), driven
//! here, in the task of the request.

use super::body::{DownloadError, Progress, Upload};
use super::clock::Patience;
use super::connect::{self, Connection};
use super::error::{self, OriginError, ProxyError};
use super::forward;
use super::h1::head::HeadLimits;
use super::h1::{self, Cause, Recycle};
use super::site::{Origin, OriginId, Site};
use super::stream::Stream;
use super::upgrade::{self, Tunnel};
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
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

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

/// Sends `request` to the first of the site's origins that takes a connection. Every failure is counted here.
pub(super) async fn send(
    worker: &Rc<Worker>,
    limits: &Limits,
    site: &Site,
    request: &mut Outgoing<'_>,
) -> Result<Response<OriginBody>, ProxyError> {
    let counters = site.metrics.shard(worker.index());
    for (index, origin) in site.origins.iter().enumerate() {
        let failure = match attempt(worker, limits, counters, origin, request).await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        let (error, unsent) = match failure {
            Failure::Unsent(error) => (error, true),
            Failure::Exchange(failure) => (judged(failure)?, false),
            Failure::FirstByteTimeout => (OriginError::FirstByteTimeout, false),
            Failure::OtherProtocol => (OriginError::OtherProtocol, false),
        };
        counters.origin_error(error.kind());
        if !unsent || index + 1 == site.origins.len() {
            return Err(ProxyError::Origin(error));
        }
        tracing::warn!(
            site = site.name,
            origin = origin.key,
            error = error::chain(&error),
            "trying the next origin"
        );
    }
    Err(ProxyError::Origin(OriginError::Connect(io::ErrorKind::AddrNotAvailable.into())))
}

/// Why there is no response.
enum Failure {
    /// No connection: nothing of the request was used.
    Unsent(OriginError),
    /// It may have reached the origin.
    Exchange(h1::Error),
    /// It has reached the origin, as far as is known.
    FirstByteTimeout,
    /// It was answered with a switch to another protocol than the one it asks for.
    OtherProtocol,
}

/// Whose fault a failed exchange is: the origin's, or that of the request.
fn judged(failure: h1::Error) -> Result<OriginError, ProxyError> {
    match &failure.cause {
        Cause::Io(_) | Cause::Closed => Ok(OriginError::Closed(failure)),
        Cause::Head(_) | Cause::Chunked(_) => Ok(OriginError::Head(failure)),
        Cause::Encode(error) => Err(ProxyError::Unsendable(*error)),
        Cause::RequestBody(_) | Cause::RequestLength => Err(ProxyError::upload(failure)),
    }
}

/// Sends `request` to one origin: on a pooled connection, and once more on a new one where that was stale.
async fn attempt(
    worker: &Rc<Worker>,
    limits: &Limits,
    counters: &SiteShard,
    origin: &Origin,
    request: &mut Outgoing<'_>,
) -> Result<Response<OriginBody>, Failure> {
    if let Some(connection) = worker.pool.take(origin.id) {
        let may_be_repeated = request.body.is_none() && is_safe(&request.head.method);
        match exchange(worker, limits, origin, connection, request)?.await {
            Err(Failure::Exchange(error)) if may_be_repeated && error.is_retryable() => {}
            result => return answered(counters, request, request.since, result),
        }
        counters.origin_retries.add(1);
    }
    // Boxed: else the future of every client connection would hold the room for a TLS handshake.
    let connection = Box::pin(connect::connect(worker, limits, origin)).await.map_err(Failure::Unsent)?;
    counters.origin_connections.add(1);
    let since = Instant::now();
    let result = exchange(worker, limits, origin, connection, request)?.await;
    answered(counters, request, since, result)
}

/// Counts a response, and refuses a switch to a protocol that the request did not ask for.
fn answered<B>(
    counters: &SiteShard,
    request: &Outgoing<'_>,
    since: Instant,
    result: Result<Response<B>, Failure>,
) -> Result<Response<B>, Failure> {
    let response = result?;
    counters.origin_answered(since.elapsed());
    let is_granted = |wanted| upgrade::is_granted(response.headers(), wanted);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS && !request.upgrade.is_some_and(is_granted) {
        return Err(Failure::OtherProtocol);
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
    connection: Connection,
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
    let lease = Lease { worker: Rc::clone(worker), origin: origin.id, pool_size: limits.origin_pool_size };
    Ok(Exchange {
        exchange: connection.send(outgoing, lease).map_err(Failure::Exchange)?,
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
    upload: Option<Rc<Progress>>,
    /// How far the request was when it was last looked at: sent, and parts of its body.
    stage: (bool, u64),
    patience: Patience,
    body_timeout: Duration,
}

impl Future for Exchange {
    type Output = Result<Response<OriginBody>, Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(result) = Pin::new(&mut this.exchange).poll(cx) {
            let patience = this.patience.next(this.body_timeout);
            let respond =
                |response: Response<_>| response.map(|body| OriginBody { body, patience, failed: None });
            return Poll::Ready(result.map(respond).map_err(Failure::Exchange));
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
        this.patience.poll_lost(cx).map(|()| Err(Failure::FirstByteTimeout))
    }
}

type Exchanged = h1::ResponseBody<Stream, Upload, Lease>;

/// The way of a connection back to the pool.
#[derive(Debug)]
struct Lease {
    worker: Rc<Worker>,
    origin: OriginId,
    pool_size: usize,
}

impl Recycle<Stream> for Lease {
    fn recycle(self, connection: Connection) {
        self.worker.pool.put(self.origin, connection, self.pool_size);
    }
}

/// An origin's body, and the connection it comes on: that goes back to the pool at the end of the body, and is
/// closed if the body is dropped before.
#[derive(Debug)]
pub struct OriginBody {
    body: Exchanged,
    patience: Patience,
    failed: Option<Box<DownloadError>>,
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
