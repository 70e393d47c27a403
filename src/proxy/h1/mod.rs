//! The origin side's HTTP/1.1 client: small, strict, and driven inside the task of the request that it serves.
//!
//! There is no channel, no second task and no lock: an [`Exchange`] owns its [`Connection`] while a response is waited
//! for, the [`ResponseBody`] owns it while the body is read, and gives it back through [`Recycle`] after a clean end.
//! Whatever ends otherwise closes the connection, so what is in a pool is always between two messages.
//!
//! Strictness protects the pool: where a message could end at two places, the response is refused (RFC 9112 §6.3, §11.2).
//! [`head`] decides that with [`crate::http::h1`]; both are pure and are fuzzed (`tests/fuzz`).
//!
//! The read buffer exists only during an exchange; header values and body frames are slices of it. [`Scratch`] keeps spare
//! ones, and the header lines that origins repeat, for all connections of a worker.

pub mod body;
pub mod error;
pub mod exchange;
pub mod head;

#[cfg(test)]
mod tests;

use crate::http::h1::scratch::Scratch;
pub use body::ResponseBody;
pub use error::{Cause, Error, Fault, Phase};
pub use exchange::Exchange;

use crate::http::h1::encode::{BodySize, Encoded};
use crate::http::h1::input::Input;
use crate::http::h1::sending::Sending;
use crate::http::head::Line;
use crate::http::head::limits::{HeadError, HeadLimits};
use bytes::{Bytes, BytesMut};
use head::{Head, HeadReader};
use http::Method;
use http_body::Body;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection to an origin, between two exchanges.
#[derive(Debug)]
pub struct Connection<IO>(Box<Inner<IO>>);

/// Boxed, since a connection changes hands several times in each exchange.
#[derive(Debug)]
struct Inner<IO> {
    io: IO,
    input: Input,
    reused: bool,
}

/// One request, as it goes on the wire: hop-by-hop fields are the caller's business, framing is not.
#[derive(Debug)]
pub struct Request<'a, B, H> {
    /// Any but CONNECT.
    pub method: &'a Method,
    /// Origin form, or `*`: these bytes are sent.
    pub target: &'a [u8],
    /// Sent in their order. `Host` must be among them.
    pub headers: H,
    /// Absent: the request has none. Otherwise streamed, with `Content-Length` if its exact size is known.
    pub body: Option<B>,
    /// Of the response.
    pub limits: HeadLimits,
    /// Whether 101 may be the answer: `Connection` and `Upgrade` are among the fields.
    pub upgrade: bool,
    /// Whether interim responses are wanted.
    pub interim: bool,
}

/// Takes a connection back after a response has ended well.
pub trait Recycle<IO> {
    /// Called at most once; when the connection cannot be used again, this is dropped instead.
    fn recycle(self, connection: Connection<IO>);
}

impl<IO, F: FnOnce(Connection<IO>)> Recycle<IO> for F {
    fn recycle(self, connection: Connection<IO>) {
        self(connection);
    }
}

impl<IO> Connection<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    /// Takes over a fresh connection, after the TLS handshake if there is one.
    pub fn new(io: IO, scratch: &Scratch) -> Self {
        Self(Box::new(Inner { io, input: Input::new(scratch), reused: false }))
    }

    /// Whether an idle connection is still open and silent. One that has received anything is at odds with us about where
    /// the last message ended, and must be thrown away.
    ///
    /// Costs no system call while nothing has arrived.
    pub fn is_usable(&mut self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.0.io).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    /// Begins an exchange.
    ///
    /// # Errors
    /// When the request has no safe form on the wire; nothing was sent.
    pub fn send<'a, B, P, H>(self, request: Request<'a, B, H>, pool: P) -> Result<Exchange<IO, B, P>, Error>
    where
        H: IntoIterator<Item = Line<'a>>,
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        P: Recycle<IO>,
    {
        let Request { method, target, headers, body, limits, upgrade, interim } = request;
        let size = match &body {
            None => BodySize::None,
            Some(body) => body.size_hint().exact().map_or(BodySize::Unknown, BodySize::Exact),
        };
        // Into one buffer with the start of the body.
        let mut buf = self.0.input.write_buffer();
        match crate::http::h1::encode::request_head(&mut buf, method, target, headers, size) {
            Ok(Encoded { framing, close }) => {
                let upload = Sending::new(buf, framing, body);
                let head = HeadReader::new(method, limits).upgradable(upgrade).keeping_interim(interim);
                Ok(Exchange::new(self, pool, (upload, close), head))
            }
            Err(error) => Err(Error {
                phase: Phase::Request,
                reused: self.is_reused(),
                body_consumed: false,
                response_started: false,
                cause: Cause::Encode(error),
            }),
        }
    }

    fn is_reused(&self) -> bool {
        self.0.reused
    }

    fn io_mut(&mut self) -> &mut IO {
        &mut self.0.io
    }

    fn input(&mut self) -> &mut Input {
        &mut self.0.input
    }

    fn decode_head(&mut self, reader: &mut HeadReader) -> Result<Option<Head>, HeadError> {
        if self.0.input.is_empty() {
            return Ok(None);
        }
        self.0.input.with_lines(|buf, lines| reader.decode(buf, lines))
    }

    /// Reads once, with room for at least `room` bytes. 0 is the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        let Inner { io, input, .. } = &mut *self.0;
        input.poll_fill(cx, io, room)
    }

    /// The connection itself, and what it has received beyond the last message.
    fn into_parts(self) -> (IO, BytesMut) {
        (self.0.io, self.0.input.into_buffer())
    }

    fn into_idle(mut self) -> Self {
        self.0.input.end_message();
        self.0.reused = true;
        self
    }
}
