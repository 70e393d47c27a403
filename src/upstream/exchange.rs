//! One request on one connection, in either version of HTTP, and its response: the deadlines, and the connection's
//! return to the pool.

use super::address::OriginId;
use super::client::Client;
use super::connection::{Connection, Route};
use super::error::{Cause, DownloadError, ExchangeError, OriginError, SendError};
use super::h1::{self, Recycle};
use super::h2;
use super::origin::Origin;
use super::request::{Fields, InterimSink, Outgoing};
use super::stream::Stream;
use super::tunnel::Tunnel;
use super::upload::{Progress, Upload};
use crate::config::Limits;
use crate::http::h1::pipe::Pipe;
use crate::http::head::limits::HeadLimits;
use crate::http::head::{ResponseHead, origin_form};
use crate::http::timer::IdleTimeout;
use bytes::Bytes;
use http::StatusCode;
use http::uri::Scheme;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// The reasons why there is no response.
pub(super) enum Failure {
    /// There was no connection, so no part of the request was used.
    Unsent(OriginError),
    /// The request may have reached the origin.
    Sent {
        fault: Fault,
        route: Route,
        /// Whether any byte of a response has arrived.
        response_started: bool,
    },
}

/// The faults of a request that was sent.
pub(super) enum Fault {
    Exchange(ExchangeError),
    /// The request has reached the origin, as far as is known, but no response head arrived in time.
    FirstByteTimeout,
    /// The origin answered with a switch to a protocol that was not requested.
    OtherProtocol,
}

impl Fault {
    /// Returns the origin's error, or fails if the request itself is at fault.
    pub(super) fn of_origin(self) -> Result<OriginError, SendError> {
        let failure = match self {
            Self::Exchange(failure) => failure,
            Self::FirstByteTimeout => return Ok(OriginError::FirstByteTimeout),
            Self::OtherProtocol => return Ok(OriginError::OtherProtocol),
        };
        match &failure.cause {
            Cause::Io(_) | Cause::Closed => Ok(OriginError::Closed(failure)),
            // If the `h2` crate itself found the fault, the origin has sent something that is not acceptable.
            // Otherwise the stream or the connection ended without an answer.
            Cause::Http2(error) if !error.is_library() => Ok(OriginError::Closed(failure)),
            Cause::Head(_) | Cause::Chunked(_) | Cause::Trailers(_) | Cause::Http2(_) => {
                Ok(OriginError::Head(failure))
            }
            Cause::Encode(error) => Err(SendError::Unsendable(*error)),
            Cause::RequestBody(_) | Cause::RequestLength => Err(SendError::Upload(failure)),
        }
    }
}

/// Begins one request on `connection`.
pub(super) fn begin<'a, F: Fields>(
    client: &Rc<Client>,
    limits: &Limits,
    origin: &Origin,
    (connection, route): (Connection, Route),
    request: &mut Outgoing<'a, F>,
) -> Result<Exchange<'a>, Failure> {
    let body = request.body.take();
    let upload = body.as_ref().map(Upload::progress);
    let (method, uri) = (&request.head.method, &request.head.uri);
    let headers = request.fields.lines(origin.host_header.as_ref());
    let head_limits = HeadLimits { fields: limits.origin_headers, bytes: limits.origin_header_bytes };
    let interim = request.interim.is_some();
    let begun = match connection {
        Connection::Http1(connection) => {
            let target = origin_form(uri).as_bytes();
            let upgrade = request.upgrade.is_some();
            let lease = Lease {
                client: Rc::clone(client),
                origin: origin.upstream.id,
                route: Rc::clone(&route),
                // A connection that its request may have authenticated is not kept.
                pool_size: if request.binds { 0 } else { limits.origin_pool_size },
            };
            let limits = head_limits;
            let outgoing = h1::Request { method, target, headers, body, limits, upgrade, interim };
            connection.send(outgoing, lease).map(Begun::Http1)
        }
        Connection::Http2(connection) => {
            let scheme = if origin.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
            let (target, limits) = (uri, head_limits);
            let outgoing = h2::Request { method, target, scheme, headers, body, limits, interim };
            connection.send(outgoing).map(|exchange| Begun::Http2(Box::new(exchange)))
        }
    };
    let exchange = match begun {
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
        sink: request.interim,
        idle_timeout: IdleTimeout::new(&client.clock, limits.origin_first_byte_timeout),
        body_timeout: limits.origin_body_timeout,
        tunnel_timeout: limits.tunnel_timeout,
    })
}

/// A response: its head, and its streamed body.
pub type Response = (ResponseHead, OriginBody);

/// Waits for the response head. The time limit restarts with each part of the request that is sent, so after the last
/// part it runs from the end of the request. While the next part of the client's body has not arrived, the client's
/// limit applies instead. An origin that accepts no more of the body has the same limit as one that does not answer.
///
/// This is a struct because an `async fn` would hold the exchange twice, and every client connection has room for
/// this.
pub(super) struct Exchange<'a> {
    exchange: Begun,
    route: Route,
    upload: Option<Rc<Progress>>,
    /// The progress of the request at the last check: whether it was sent, and how many parts of its body.
    stage: (bool, u64),
    sink: Option<&'a InterimSink<'a>>,
    idle_timeout: IdleTimeout,
    body_timeout: Duration,
    tunnel_timeout: Duration,
}

impl Future for Exchange<'_> {
    type Output = Result<(Response, Route), Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = this.exchange.poll(cx);
        if this.exchange.has_interim() {
            let arrived = this.exchange.take_interim();
            if let Some(sink) = this.sink {
                sink(arrived);
            }
        }
        if let Poll::Ready(result) = polled {
            let (head, body) = match result {
                Ok(answer) => answer,
                Err(error) => {
                    let response_started = error.response_started;
                    return Poll::Ready(Err(this.failure(Fault::Exchange(error), response_started)));
                }
            };
            let limit = match head.status {
                StatusCode::SWITCHING_PROTOCOLS => this.tunnel_timeout,
                _ => this.body_timeout,
            };
            let idle_timeout = this.idle_timeout.with_limit(limit);
            let body = OriginBody { body, idle_timeout, failed: None, place: None };
            return Poll::Ready(Ok(((head, body), Rc::clone(&this.route))));
        }
        let upload = this.upload.as_deref();
        let stage = (this.exchange.is_sent(), upload.map_or(0, |upload| upload.parts.get()));
        let is_clients_turn = upload.is_some_and(|upload| upload.awaited.get());
        if stage != this.stage || is_clients_turn {
            this.stage = stage;
            this.idle_timeout.reset();
        }
        if is_clients_turn {
            return Poll::Pending;
        }
        ready!(this.idle_timeout.poll_expired(cx));
        Poll::Ready(Err(this.failure(Fault::FirstByteTimeout, this.exchange.response_started())))
    }
}

impl Exchange<'_> {
    fn failure(&self, fault: Fault, response_started: bool) -> Failure {
        Failure::Sent { fault, route: Rc::clone(&self.route), response_started }
    }
}

/// An exchange in either version of HTTP.
#[expect(
    clippy::large_enum_variant,
    reason = "that of HTTP/2 is boxed so that it takes no room where there is none"
)]
enum Begun {
    Http1(h1::Exchange<Stream, Upload, Lease>),
    Http2(Box<h2::Exchange<Upload>>),
}

impl Begun {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(ResponseHead, Received), ExchangeError>> {
        Poll::Ready(match self {
            Self::Http1(exchange) => {
                ready!(Pin::new(exchange).poll(cx)).map(|(head, body)| (head, Received::Http1(body)))
            }
            Self::Http2(exchange) => ready!(Pin::new(exchange).poll(cx))
                .map(|(head, body)| (head, Received::Http2(Box::new(body)))),
        })
    }

    fn is_sent(&self) -> bool {
        match self {
            Self::Http1(exchange) => exchange.is_sent(),
            Self::Http2(exchange) => exchange.is_sent(),
        }
    }

    fn response_started(&self) -> bool {
        match self {
            Self::Http1(exchange) => exchange.response_started(),
            Self::Http2(exchange) => exchange.response_started(),
        }
    }

    fn has_interim(&self) -> bool {
        match self {
            Self::Http1(exchange) => exchange.has_interim(),
            Self::Http2(exchange) => exchange.has_interim(),
        }
    }

    fn take_interim(&mut self) -> Vec<ResponseHead> {
        match self {
            Self::Http1(exchange) => exchange.take_interim(),
            Self::Http2(exchange) => exchange.take_interim(),
        }
    }
}

/// The body of a response in either version of HTTP.
#[derive(Debug)]
enum Received {
    Http1(h1::ResponseBody<Stream, Upload, Lease>),
    Http2(Box<h2::ResponseBody<Upload>>),
}

impl Received {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        match self {
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}

/// The return of a connection to the pool.
#[derive(Debug)]
struct Lease {
    client: Rc<Client>,
    origin: OriginId,
    route: Route,
    pool_size: usize,
}

impl Recycle<Stream> for Lease {
    fn recycle(self, connection: h1::Connection<Stream>) {
        self.client.pool.put(self.origin, connection, self.route, self.pool_size);
    }
}

/// An origin's body and its connection. In HTTP/1.1, the connection returns to the pool at the end of the body,
/// and is closed if the body is dropped before. In HTTP/2, dropping the body only resets the stream.
#[derive(Debug)]
pub struct OriginBody {
    body: Received,
    idle_timeout: IdleTimeout,
    /// The error that the next read returns.
    failed: Option<Box<DownloadError>>,
    /// The request's place at an origin with a limit of concurrent requests, held until the body is dropped.
    pub(super) place: Option<OwnedSemaphorePermit>,
}

impl OriginBody {
    /// Whether trailers may follow.
    pub fn may_have_trailers(&self) -> bool {
        match &self.body {
            Received::Http1(body) => !body.is_end_stream() && body.size_hint().exact().is_none(),
            Received::Http2(body) => !body.is_end_stream(),
        }
    }

    /// The number of bytes that the kernel could move from the origin's socket to another one.
    pub fn spliceable_bytes(&self) -> u64 {
        match &self.body {
            Received::Http1(body) if self.failed.is_none() => body.spliceable_bytes(),
            Received::Http1(_) | Received::Http2(_) => 0,
        }
    }

    /// Moves some of these bytes into an empty pipe, and returns how many. Everything taken before must have been
    /// written, because a failure is not delayed.
    pub fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<Result<usize, DownloadError>> {
        let Received::Http1(body) = &mut self.body else { return Poll::Ready(Ok(0)) };
        let Poll::Ready(moved) = body.poll_splice(cx, pipe) else {
            ready!(self.idle_timeout.poll_expired(cx));
            return Poll::Ready(Err(DownloadError::Stalled));
        };
        self.idle_timeout.reset();
        Poll::Ready(moved.map_err(DownloadError::Origin))
    }

    /// Returns the connection after 101, when it carries another protocol.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        match &mut self.body {
            Received::Http1(body) => {
                let (stream, early) = body.take_switched()?;
                Some(Tunnel::new(stream, early, self.idle_timeout.renewed()))
            }
            Received::Http2(_) => None,
        }
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
        let Poll::Ready(frame) = this.body.poll_frame(cx) else {
            ready!(this.idle_timeout.poll_expired(cx));
            return Poll::Ready(Some(Err(DownloadError::Stalled)));
        };
        this.idle_timeout.reset();
        match frame.transpose() {
            Ok(frame) => Poll::Ready(frame.map(Ok)),
            Err(error) => {
                // The error is delayed, because earlier data, at least the head, is still on its way to the
                // client.
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
