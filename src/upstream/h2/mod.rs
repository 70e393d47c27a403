//! The HTTP/2 client for origins. The `h2` crate handles the frames. This module decides what is sent and what is
//! accepted.
//!
//! A [`Connection`] is shared by the requests of one worker. A small task reads and writes its frames, and checks
//! from time to time whether the origin is still there. Everything else, including the bodies of both directions,
//! is driven inside the task of the request, as in [`h1`](super::h1).
//!
//! hyper's client is not used because it treats a body that the origin breaks off with `NO_ERROR` as complete: a
//! CDN would keep the part for days.

mod body;
mod driver;
mod exchange;
mod head;
mod interim;
mod streams;
mod upload;

pub use body::ResponseBody;
pub use exchange::Exchange;

use super::error::{Cause, ExchangeError, Phase};
use crate::http::h2::ping::Lost;
use crate::http::head::Line;
use crate::http::head::limits::HeadLimits;
use crate::http::timer::Clock;
use ::h2::client::{Builder, SendRequest};
use bytes::Bytes;
use driver::Driver;
use exchange::Asked;
use head::Encoded;
use http::uri::Scheme;
use http::{Method, Uri};
use http_body::Body;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use streams::{Place, Streams};
use tokio::io::{AsyncRead, AsyncWrite};

/// The maximum number of concurrent requests on one connection, if the origin allows as many.
const MAX_STREAMS: usize = 64;
/// The number of bytes that an origin may send of one response before the client has taken them: enough for 12
/// MB/s over 10 ms.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for the connection, with all of its streams, so that clients that take nothing do not block the
/// others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS as u32;
/// The maximum number of bytes of a client's body that the `h2` crate holds until they are written to the connection.
const SEND_BUFFER: usize = 64 * 1024;
/// The number of bytes that RFC 9113 §6.5.2 adds for a field in addition to its name and value.
const FIELD_OVERHEAD: usize = 32;
/// The multiple of the limit of a head up to which the `h2` crate accepts it. A larger head ends the connection, and
/// with it other requests. A head between the limit and this multiple fails alone.
const HEAD_EXCESS: usize = 4;

/// A connection to an origin, shared by requests.
#[derive(Clone, Debug)]
pub struct Connection {
    sender: SendRequest<Bytes>,
    streams: Rc<Streams>,
    reused: bool,
}

/// One request. [`Connection::send`] leaves out its hop-by-hop fields.
#[derive(Debug)]
pub struct Request<'a, B, H> {
    /// Any method except CONNECT.
    pub method: &'a Method,
    /// The target, of which path and query are sent.
    pub target: &'a Uri,
    /// The scheme of the connection.
    pub scheme: Scheme,
    /// The header lines, in their order. `Host` must be among them, and becomes `:authority`.
    pub headers: H,
    /// The body, or `None` if the request has none.
    pub body: Option<B>,
    /// The limits of the response head.
    pub limits: HeadLimits,
    /// Whether interim responses are wanted.
    pub interim: bool,
}

/// Begins HTTP/2 on `io`, and waits until the origin has proved that it supports it. The origin's settings have
/// arrived then, including the number of concurrent requests that it accepts. Must be called in a runtime with local
/// tasks (`spawn_local`).
///
/// # Errors
/// Returns an error if the connection ends, or if the origin does not use HTTP/2.
pub async fn open<IO>(io: IO, clock: &Rc<Clock>, limits: HeadLimits) -> Result<Connection, Lost>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let list = (limits.bytes + limits.fields * FIELD_OVERHEAD) * HEAD_EXCESS;
    let handshake = Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(io);
    let (sender, connection) = handshake.await?;
    let mut driver = Driver::new(connection, clock)?;
    driver.settled().await?;
    let streams = Streams::new(clock);
    tokio::task::spawn_local(driver.run(Rc::clone(&streams)));
    Ok(Connection { sender, streams, reused: false })
}

impl Connection {
    /// Whether requests may be sent: the connection is open, and the origin has not announced its end (GOAWAY).
    pub fn is_open(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(self.sender.poll_ready(&mut cx), Poll::Ready(Ok(())))
    }

    /// Whether the origin accepts one more request now.
    pub fn has_room(&self) -> bool {
        self.streams.open() < self.sender.current_max_send_streams().min(MAX_STREAMS)
    }

    /// Returns since when there has been no request on the connection, or `None` if there is one.
    pub fn idle_since(&self) -> Option<Instant> {
        self.streams.idle_since()
    }

    /// Returns the same connection for one more request.
    pub fn again(&self) -> Self {
        Self { reused: true, ..self.clone() }
    }

    /// Begins an exchange.
    ///
    /// # Errors
    /// Returns an error if the request has no safe form, or if the connection accepts no more requests. Nothing
    /// was sent then.
    pub fn send<'a, B, H>(mut self, request: Request<'a, B, H>) -> Result<Exchange<B>, ExchangeError>
    where
        H: IntoIterator<Item = Line<'a>>,
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Request { method, target, scheme, headers, body, limits, interim } = request;
        let reused = self.reused;
        let failed = |cause| ExchangeError {
            phase: Phase::Request,
            reused,
            body_consumed: false,
            response_started: false,
            cause,
        };
        let size = body.as_ref().map(|body| body.size_hint().exact());
        let Encoded { head, length } = head::request(method, target, scheme, headers, size)
            .map_err(|error| failed(Cause::Encode(error)))?;
        let sent = self.sender.send_request(head, body.is_none());
        let (response, stream) = sent.map_err(|error| failed(Cause::Http2(Box::new(error))))?;
        let upload = body.map(|body| upload::Upload::new(stream, body, length));
        let interim = interim::Interim::new(interim, limits);
        let asked = Asked { to_head: *method == Method::HEAD, limits, reused };
        Ok(Exchange::new(response, upload, Place::take(&self.streams), interim, asked))
    }
}
