//! What can go wrong between us and an origin, and what may be done about it.

use crate::http::h1::chunked::ChunkedError;
use crate::http::h1::encode::EncodeError;
use crate::http::h1::sending::Unsent;
use crate::http::head::limits::HeadError;
use h2::Reason;
use std::fmt;
use std::io;

/// A failed exchange. Its connection is closed already.
#[derive(Debug, thiserror::Error)]
#[error("{phase}")]
pub struct Error {
    /// How far it had got.
    pub phase: Phase,
    /// Whether the connection had served an exchange before, so that the origin may have closed it in the meantime.
    pub reused: bool,
    /// Whether anything was taken from the request's body, which can then not be sent again.
    pub body_consumed: bool,
    /// Whether any byte of a response had arrived.
    pub response_started: bool,
    /// What happened.
    #[source]
    pub cause: Cause,
}

/// The part of an exchange that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the request was written to its end.
    Request,
    /// After that, before the head of the final response.
    Head,
    /// After that.
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

/// Why an exchange failed.
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
    /// The trailers of a response in HTTP/2 are not acceptable.
    #[error("the trailers of the response are not acceptable")]
    Trailers(#[source] HeadError),
    /// The request's stream failed, or its connection ([`h2`](crate::proxy::h2), which has its errors in common with `h1`).
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
    /// What a stream failed of.
    pub(in crate::proxy) fn http2(error: h2::Error) -> Self {
        Self::Http2(Box::new(error))
    }
}

/// Whose fault a failure is, which decides the status that the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client's: 400, or nothing since it is gone.
    Client,
    /// The origin's: 502.
    Origin,
    /// The network gave up waiting for the origin: 504.
    Timeout,
    /// Ours, for a request that should never have come this far: 500.
    Ours,
}

impl Error {
    /// Whether the same request may be sent once more on another connection: a reused connection ended without one byte
    /// of a response, and nothing of the body is lost. That the method is safe or idempotent, the caller must know.
    /// In HTTP/2 also where the origin says that it has done nothing with it.
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

    /// Whether the origin says that it has done nothing with the request (RFC 9113 §8.7), so that even one that is not safe
    /// may be sent again: the stream was refused, or is above those that a GOAWAY names.
    pub fn is_unprocessed(&self) -> bool {
        let Cause::Http2(error) = &self.cause else { return false };
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        error.is_remote() && (error.is_go_away() || is_refused)
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match &self.cause {
            Cause::Encode(_) => Fault::Ours,
            Cause::RequestBody(_) | Cause::RequestLength => Fault::Client,
            Cause::Io(error) if error.kind() == io::ErrorKind::TimedOut => Fault::Timeout,
            Cause::Io(_)
            | Cause::Closed
            | Cause::Head(_)
            | Cause::Chunked(_)
            | Cause::Trailers(_)
            | Cause::Http2(_) => Fault::Origin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stale(cause: Cause) -> Error {
        Error { phase: Phase::Head, reused: true, body_consumed: false, response_started: false, cause }
    }

    fn reset() -> Cause {
        Cause::Io(io::ErrorKind::ConnectionReset.into())
    }

    #[test]
    fn only_a_stale_connection_is_worth_another_try() {
        assert!(stale(Cause::Closed).is_retryable());
        assert!(stale(reset()).is_retryable());
        assert!(Error { phase: Phase::Request, ..stale(reset()) }.is_retryable());

        assert!(!Error { reused: false, ..stale(reset()) }.is_retryable());
        assert!(!Error { body_consumed: true, ..stale(reset()) }.is_retryable());
        assert!(!Error { response_started: true, ..stale(reset()) }.is_retryable());
        assert!(!stale(Cause::Io(io::ErrorKind::TimedOut.into())).is_retryable());
        assert!(!stale(Cause::Head(HeadError::Upgrade)).is_retryable());
        assert!(!stale(Cause::RequestLength).is_retryable());
    }

    #[test]
    fn the_fault_has_one_owner() {
        for (cause, fault) in [
            (Cause::Encode(EncodeError::Target), Fault::Ours),
            (Cause::RequestLength, Fault::Client),
            (Cause::RequestBody("gone".into()), Fault::Client),
            (Cause::Io(io::ErrorKind::TimedOut.into()), Fault::Timeout),
            (reset(), Fault::Origin),
            (Cause::Closed, Fault::Origin),
            (Cause::Head(HeadError::ContentLength), Fault::Origin),
            (Cause::Chunked(ChunkedError::Size), Fault::Origin),
        ] {
            assert_eq!(stale(cause).fault(), fault);
        }
    }
}
