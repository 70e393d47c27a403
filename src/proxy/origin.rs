//! One request to an origin and its response: which connection, which deadline, and what may be tried again.
//!
//! [`send`] and [`OriginBody`] are all that the request path knows of the client below; today that is hyper's,
//! one connection-level client per pooled connection.

use super::body::{DownloadError, Patience, Progress, Upload, UploadError};
use super::connect::{self, Connection};
use super::error::{self, OriginError, ProxyError};
use super::site::{Origin, Site};
use super::worker::Worker;
use crate::config::Limits;
use crate::metrics::shard::SiteShard;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Sends `request` to the first of the site's origins that takes a connection. Every failure is counted here.
pub(super) async fn send(
    worker: &Rc<Worker>,
    limits: &Limits,
    site: &Site,
    mut request: Request<Upload>,
) -> Result<Response<OriginBody>, ProxyError> {
    let counters = site.metrics.shard(worker.index());
    for (index, origin) in site.origins.iter().enumerate() {
        if let Some(host) = &origin.host_header {
            request.headers_mut().insert(header::HOST, host.clone());
        }
        match attempt(worker, limits, counters, origin, request).await {
            Ok(response) => return Ok(response),
            Err(Failure::Upload(error)) => return Err(ProxyError::upload(error)),
            Err(Failure::Sent(error)) => {
                counters.origin_error(error.kind());
                return Err(ProxyError::Origin(error));
            }
            Err(Failure::Unsent(error, unsent)) => {
                counters.origin_error(error.kind());
                if index + 1 == site.origins.len() {
                    return Err(ProxyError::Origin(error));
                }
                tracing::warn!(
                    site = site.name,
                    origin = &*origin.key,
                    error = error::chain(&error),
                    "trying the next origin"
                );
                request = *unsent;
            }
        }
    }
    Err(ProxyError::Origin(OriginError::Connect(io::ErrorKind::AddrNotAvailable.into())))
}

/// Why there is no response, and what may still be done with the request.
enum Failure {
    /// No connection: nothing of the request was used.
    Unsent(OriginError, Box<Request<Upload>>),
    /// It may have reached the origin.
    Sent(OriginError),
    /// The client's side failed.
    Upload(hyper::Error),
}

/// How an exchange on one connection fails.
enum Lost {
    /// The connection ended before a response; here is the request, if none of it had been written.
    Closed(hyper::Error, Option<Box<Request<Upload>>>),
    /// Anything else.
    Otherwise(Failure),
}

/// Sends `request` to one origin: on a pooled connection, and once more on a new one where that was stale.
async fn attempt(
    worker: &Rc<Worker>,
    limits: &Limits,
    counters: &SiteShard,
    origin: &Origin,
    mut request: Request<Upload>,
) -> Result<Response<OriginBody>, Failure> {
    if let Some(connection) = worker.pool.take(&origin.key, limits.origin_idle_timeout) {
        let copy = replay(&request);
        request = match exchange(worker, limits, counters, connection, request).await {
            Ok(response) => return Ok(response),
            Err(Lost::Otherwise(failure)) => return Err(failure),
            Err(Lost::Closed(error, unwritten)) => match unwritten.map(|request| *request).or(copy) {
                Some(request) => request,
                None => return Err(Failure::Sent(OriginError::Closed(error))),
            },
        };
        counters.origin_retries.add(1);
    }
    // Boxed: else the future of every client connection would hold the room for a TLS handshake.
    let connection = match Box::pin(connect::connect(&worker.addresses, limits, origin)).await {
        Ok(connection) => connection,
        Err(error) => return Err(Failure::Unsent(error, Box::new(request))),
    };
    counters.origin_connections.add(1);
    match exchange(worker, limits, counters, connection, request).await {
        Ok(response) => Ok(response),
        Err(Lost::Otherwise(failure)) => Err(failure),
        Err(Lost::Closed(error, _)) => Err(Failure::Sent(OriginError::Closed(error))),
    }
}

/// A copy to send again should the pooled connection turn out to be stale: safe methods without a body only.
fn replay(request: &Request<Upload>) -> Option<Request<Upload>> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    (safe && request.body().is_end_stream()).then(|| {
        let mut copy = Request::new(Upload::none());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.headers_mut() = request.headers().clone();
        copy
    })
}

/// One request and its response head on `connection`.
async fn exchange(
    worker: &Rc<Worker>,
    limits: &Limits,
    counters: &SiteShard,
    mut connection: Connection,
    request: Request<Upload>,
) -> Result<Response<OriginBody>, Lost> {
    let started = Instant::now();
    let progress = request.body().progress();
    let response = connection.sender.try_send_request(request);
    let response = match first_byte(limits.origin_first_byte_timeout, progress.as_deref(), response).await {
        Some(Ok(response)) => response,
        Some(Err(mut failure)) => {
            let unwritten = failure.take_message().map(Box::new);
            return Err(lost(failure.into_error(), unwritten));
        }
        None => return Err(Lost::Otherwise(Failure::Sent(OriginError::FirstByteTimeout))),
    };
    counters.origin_answered(started.elapsed());
    if let Err(flaw) = check(&response) {
        return Err(Lost::Otherwise(Failure::Sent(OriginError::Response(flaw))));
    }
    let lease = Lease { connection, worker: Rc::clone(worker), pool_size: limits.origin_pool_size, progress };
    Ok(response.map(|incoming| OriginBody::new(incoming, limits.origin_body_timeout, lease)))
}

/// Waits for the response head for `limit` from the end of the request on. While the client's body is on its way
/// the wait is the client's; an origin that takes no more of it has the same limit as one that does not answer.
async fn first_byte<T>(
    limit: Duration,
    upload: Option<&Progress>,
    response: impl Future<Output = T>,
) -> Option<T> {
    let mut response = std::pin::pin!(response);
    let mut parts = 0;
    loop {
        if let Ok(response) = tokio::time::timeout(limit, response.as_mut()).await {
            return Some(response);
        }
        let upload = upload.filter(|upload| !upload.ended.get())?;
        if !upload.awaited.get() && upload.parts.get() == parts {
            return None;
        }
        parts = upload.parts.get();
    }
}

fn lost(error: hyper::Error, unwritten: Option<Box<Request<Upload>>>) -> Lost {
    if upload_error(&error).is_some() {
        return Lost::Otherwise(Failure::Upload(error));
    }
    if error.is_parse() {
        return Lost::Otherwise(Failure::Sent(OriginError::Head(error)));
    }
    Lost::Closed(error, unwritten)
}

fn upload_error(error: &hyper::Error) -> Option<&UploadError> {
    error.source().and_then(|source| source.downcast_ref())
}

/// What a response must not be, although it can be parsed: hyper is lenient where a cache would be poisoned.
fn check(response: &Response<Incoming>) -> Result<(), &'static str> {
    let (status, headers) = (response.status(), response.headers());
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("101 that nobody asked for");
    }
    if status.as_u16() > 599 {
        return Err("no such status");
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !codings.next().is_none_or(chunked) || codings.next().is_some() {
        return Err("unknown transfer coding");
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err("both Content-Length and Transfer-Encoding");
    }
    let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    if lengths.next().is_some() || !digits {
        return Err("more than one Content-Length, or one that is no number");
    }
    Ok(())
}

/// An origin's body, and the connection it comes on: that goes back to the pool at the end of the body, and is
/// closed if the body is dropped before.
#[derive(Debug)]
pub struct OriginBody {
    incoming: Incoming,
    patience: Patience,
    lease: Option<Lease>,
}

#[derive(Debug)]
struct Lease {
    connection: Connection,
    worker: Rc<Worker>,
    pool_size: usize,
    progress: Option<Rc<Progress>>,
}

impl OriginBody {
    fn new(incoming: Incoming, limit: Duration, lease: Lease) -> Self {
        let mut body = Self { incoming, patience: Patience::new(limit), lease: Some(lease) };
        body.give_back_at_end();
        body
    }

    fn give_back_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Lease {
    fn give_back(self) {
        // An early response: the rest of the request would be read as the next one.
        if self.progress.is_some_and(|progress| !progress.ended.get()) {
            return;
        }
        let (mut connection, worker, pool_size) = (self.connection, self.worker, self.pool_size);
        if connection.is_ready() {
            worker.pool.put(connection, pool_size);
            return;
        }
        // Its driver has not come round yet, or it is closing.
        tokio::task::spawn_local(async move {
            if connection.sender.ready().await.is_ok() {
                worker.pool.put(connection, pool_size);
            }
        });
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
        loop {
            match Pin::new(&mut this.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.patience.rewarded();
                    this.give_back_at_end();
                    if frame.is_data() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(DownloadError::Origin(error)))),
                Poll::Ready(None) => {
                    this.give_back();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    ready!(this.patience.poll_lost(cx));
                    return Poll::Ready(Some(Err(DownloadError::Stalled)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
