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

mod body;
mod connection;
mod exchange;
pub mod head;

#[cfg(test)]
mod tests;

pub use body::ResponseBody;
pub use connection::{Connection, Recycle};
pub use exchange::Exchange;

use super::error::{Cause, ExchangeError, Phase};
use crate::http::h1::encode::{BodySize, Encoded};
#[cfg(doc)]
use crate::http::h1::scratch::Scratch;
use crate::http::h1::sending::Sending;
use crate::http::head::Line;
use crate::http::head::limits::HeadLimits;
use bytes::Bytes;
use head::HeadReader;
use http::Method;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};

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

impl<IO> Connection<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    /// Begins an exchange.
    ///
    /// # Errors
    /// When the request has no safe form on the wire; nothing was sent.
    pub fn send<'a, B, P, H>(
        mut self,
        request: Request<'a, B, H>,
        pool: P,
    ) -> Result<Exchange<IO, B, P>, ExchangeError>
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
        let mut buf = self.input().write_buffer();
        match crate::http::h1::encode::request_head(&mut buf, method, target, headers, size) {
            Ok(Encoded { framing, close }) => {
                let upload = Sending::new(buf, framing, body);
                let head = HeadReader::new(method, limits).upgradable(upgrade).keeping_interim(interim);
                Ok(Exchange::new(self, pool, (upload, close), head))
            }
            Err(error) => Err(ExchangeError {
                phase: Phase::Request,
                reused: self.is_reused(),
                body_consumed: false,
                response_started: false,
                cause: Cause::Encode(error),
            }),
        }
    }
}
