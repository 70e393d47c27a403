//! The errors that can occur between us and an origin, and the rules for what may be tried again.

use crate::http::h1::chunked::ChunkedError;
use crate::http::h1::encode::EncodeError;
use crate::http::h1::sending::Unsent;
use crate::http::h2::ping::Lost;
use crate::http::head::limits::HeadError;
use crate::metrics::shard::OriginErrorKind;
use h2::Reason;
use std::fmt;
use std::io;

/// A failed exchange. Its connection is already closed.
#[derive(Debug, thiserror::Error)]
#[error("{phase}")]
pub struct ExchangeError {
    /// The phase in which the exchange failed.
    pub phase: Phase,
    /// Whether the connection had served an exchange before, so that the origin may have closed it in the
    /// meantime.
    pub reused: bool,
    /// Whether any part of the request's body was taken, so that the body cannot be sent again.
    pub body_consumed: bool,
    /// Whether any byte of a response had arrived.
    pub response_started: bool,
    /// The cause.
    #[source]
    pub cause: Cause,
}

/// The phase in which an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the request was written completely.
    Request,
    /// After the request was written, before the head of the final response.
    Head,
    /// After the head of the final response.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "sending the request failed",
            Self::Head => "there is no usable response",
            Self::Body => "the response broke off",
        })
    }
}

/// The reasons why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The request has no safe form on the wire.
    #[error("the request cannot be written")]
    Encode(#[source] EncodeError),
    /// The client's side of the request body failed.
    #[error("the request body broke off")]
    RequestBody(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The request body was shorter or longer than its `Content-Length`.
    #[error("the request body is not as long as its Content-Length")]
    RequestLength,
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// The origin closed the connection before the message was complete.
    #[error("the origin closed the connection")]
    Closed,
    /// The head of the response is not acceptable.
    #[error("the response head is not acceptable")]
    Head(#[source] HeadError),
    /// The chunked coding of the response is not acceptable.
    #[error("the response body is not acceptable")]
    Chunked(#[source] ChunkedError),
    /// The trailers of an HTTP/2 response are not acceptable.
    #[error("the trailers of the response are not acceptable")]
    Trailers(#[source] HeadError),
    /// The request's HTTP/2 stream or its connection failed.
    #[error("the HTTP/2 stream failed")]
    Http2(#[source] Box<h2::Error>),
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<Unsent<E>> for Cause {
    fn from(unsent: Unsent<E>) -> Self {
        match unsent {
            Unsent::Io(error) => Self::Io(error),
            Unsent::Closed => Self::Closed,
            Unsent::Body(error) => Self::RequestBody(error.into()),
            Unsent::Length => Self::RequestLength,
        }
    }
}

impl Cause {
    /// Creates the cause of a failed stream.
    pub(super) fn http2(error: h2::Error) -> Self {
        Self::Http2(Box::new(error))
    }
}

impl ExchangeError {
    /// Whether the same request may be sent again on another connection: a reused connection ended without one
    /// byte of a response, and no part of the body was taken. In HTTP/2, the request may also be sent again if the
    /// origin reports that it has not processed it. The caller must check that the method is safe or idempotent.
    pub fn is_retryable(&self) -> bool {
        self.reused
            && !self.body_consumed
            && !self.response_started
            && match &self.cause {
                Cause::Closed => true,
                Cause::Io(error) => error.kind() != io::ErrorKind::TimedOut,
                Cause::Http2(error) => error.is_io() || self.is_unprocessed(),
                _ => false,
            }
    }

    /// Whether the origin reports that it has not processed the request (RFC 9113 §8.7), so that even an unsafe
    /// one may be sent again: the stream was refused, or a GOAWAY excludes it.
    pub fn is_unprocessed(&self) -> bool {
        let Cause::Http2(error) = &self.cause else { return false };
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        error.is_remote() && (error.is_go_away() || is_refused)
    }
}

/// The reasons why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The request has no safe form on the wire.
    #[error("the request cannot be written")]
    Unsendable(#[source] EncodeError),
    /// The client's body failed, or its length differs from the `Content-Length`.
    #[error("the request body failed")]
    Upload(#[source] ExchangeError),
    /// No origin gave a usable response.
    #[error("the origin failed")]
    Origin(#[source] OriginError),
}

/// The reasons why an origin gave no response.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The host name has no address.
    #[error("its name does not resolve")]
    Resolve(#[source] io::Error),
    /// The origin has its maximum number of requests, and none ended in time.
    #[error("its limit of concurrent requests is reached")]
    Full,
    /// This process had no file descriptor for one more connection, and none became free in time.
    #[error("there is no descriptor for one more connection")]
    NoRoom(#[source] Option<io::Error>),
    /// No address accepts connections.
    #[error("it accepts no connection")]
    Connect(#[source] io::Error),
    /// No connection was established within the limit.
    #[error("no connection was established in time")]
    ConnectTimeout,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// The connection does not use HTTP/2 as it should.
    #[error("no HTTP/2 on the connection")]
    Http2(#[source] Lost),
    /// The connection ended before a response.
    #[error("the connection ended before a response")]
    Closed(#[source] ExchangeError),
    /// No response head arrived within the limit.
    #[error("no response in time")]
    FirstByteTimeout,
    /// The response is not HTTP, exceeds the limits, or must not be forwarded.
    #[error("its response head is not acceptable")]
    Head(#[source] ExchangeError),
    /// The origin switches to a protocol that was not requested.
    #[error("it switches to a protocol that was not asked for")]
    OtherProtocol,
}

impl OriginError {
    /// Returns the metric label.
    pub fn kind(&self) -> OriginErrorKind {
        match self {
            Self::Full => OriginErrorKind::Full,
            Self::NoRoom(_) => OriginErrorKind::NoRoom,
            Self::Resolve(_) => OriginErrorKind::Dns,
            Self::Connect(_) => OriginErrorKind::Connect,
            Self::ConnectTimeout => OriginErrorKind::ConnectTimeout,
            Self::Tls(_) => OriginErrorKind::Tls,
            Self::Closed(_) => OriginErrorKind::Closed,
            Self::FirstByteTimeout => OriginErrorKind::FirstByteTimeout,
            Self::Head(_) | Self::Http2(_) | Self::OtherProtocol => OriginErrorKind::BadResponse,
        }
    }
}

/// The reasons why an origin's body did not arrive completely.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No part of the body arrived within the limit.
    #[error("the response body stalled")]
    Stalled,
    /// The body ended early, or its framing is broken.
    #[error("the response body ended early")]
    Origin(#[source] ExchangeError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stale(cause: Cause) -> ExchangeError {
        ExchangeError {
            phase: Phase::Head,
            reused: true,
            body_consumed: false,
            response_started: false,
            cause,
        }
    }

    fn reset() -> Cause {
        Cause::Io(io::ErrorKind::ConnectionReset.into())
    }

    #[test]
    fn only_a_stale_connection_is_worth_another_try() {
        assert!(stale(Cause::Closed).is_retryable());
        assert!(stale(reset()).is_retryable());
        assert!(ExchangeError { phase: Phase::Request, ..stale(reset()) }.is_retryable());

        assert!(!ExchangeError { reused: false, ..stale(reset()) }.is_retryable());
        assert!(!ExchangeError { body_consumed: true, ..stale(reset()) }.is_retryable());
        assert!(!ExchangeError { response_started: true, ..stale(reset()) }.is_retryable());
        assert!(!stale(Cause::Io(io::ErrorKind::TimedOut.into())).is_retryable());
        assert!(!stale(Cause::Head(HeadError::Upgrade)).is_retryable());
        assert!(!stale(Cause::RequestLength).is_retryable());
    }
}
