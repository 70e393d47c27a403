//! The HTTP/1.1 client for origins: small, strict, and driven inside the task of the request that it serves.
//!
//! There is no channel, no second task and no lock. An [`Exchange`] owns its [`Connection`] while it waits for the
//! response. The [`ResponseBody`] owns it while the body is read, and returns it through [`Recycle`] after a clean
//! end. Any other end closes the connection, so pooled connections are always between two messages.
//!
//! Strictness protects the pool: if a message could end at two places, the response is refused (RFC 9112 §6.3,
//! §11.2). [`head`] decides that with [`crate::http::h1`]. Both are pure and are fuzzed (`tests/fuzz`).
//!
//! The read buffer exists only during an exchange. Header lines and body frames are slices of it. [`Scratch`] keeps
//! spare buffers for all connections of a worker.

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

/// One request as it is sent. The caller is responsible for hop-by-hop fields, but not for the framing.
#[derive(Debug)]
pub struct Request<'a, B, H> {
    /// Any method except CONNECT.
    pub method: &'a Method,
    /// The target in origin form, or `*`. Exactly these bytes are sent.
    pub target: &'a [u8],
    /// The header lines, sent in their order. `Host` must be among them.
    pub headers: H,
    /// The body, or `None` if the request has none. It is streamed, with `Content-Length` if its exact size is
    /// known.
    pub body: Option<B>,
    /// The limits of the response head.
    pub limits: HeadLimits,
    /// Whether 101 is allowed as the answer. `Connection` and `Upgrade` are then among the fields.
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
    /// Returns an error if the request has no safe form. Nothing was sent then.
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
        // The head goes into one buffer with the start of the body.
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
