//! The ways in which a request can fail, who is responsible, and the resulting status.
//!
//! A `Display` here states one fact and leaves its cause to `source`. The client receives
//! [`ErrorResponse::public`] and never a cause.

use crate::http::h1::encode::EncodeError;
use crate::http::head::limits::HeadError;
use crate::upstream::{Cause, ExchangeError, OriginError, SendError, UploadError};
use http::{HeaderName, StatusCode};
use std::io;

/// The reasons why a request is answered by the shim instead of its origin.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The request may have different meanings for different recipients.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// `Connection` nominates a field that this hop must not remove.
    #[error("the Connection header nominates {0}")]
    Nominated(HeaderName),
    /// The method is CONNECT or TRACE.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// The request target is longer than the limit.
    #[error("the request target is too long")]
    TargetTooLong,
    /// `Expect` has a value other than `100-continue`.
    #[error("unknown expectation")]
    Expectation,
    /// No site serves this host, and there is no default site.
    #[error("no site for host {0:?}")]
    UnknownHost(String),
    /// The request has more header fields than the limit.
    #[error("too many request headers")]
    TooManyHeaders,
    /// The request head has more bytes than the limit.
    #[error("the request head is too large")]
    HeadTooLarge,
    /// `Transfer-Encoding` is anything other than one `chunked`.
    #[error("unknown transfer coding")]
    TransferCoding,
    /// `CDN-Loop` contains the installation's own name (RFC 8586).
    #[error("the request has been here before")]
    Loop,
    /// OPTIONS must not be forwarded any further (`Max-Forwards: 0`, RFC 9110 §7.6.2). This is not a failure, and
    /// the answer is the shim's.
    #[error("the request goes no further")]
    LastHop,
    /// The request has no safe form in which it can be sent to an origin.
    #[error("the request cannot be passed on")]
    Unsendable(#[source] EncodeError),
    /// The limit of connections or requests is reached.
    #[error("the limit of connections or requests is reached")]
    Full,
    /// The client announces a body that is longer than the limit.
    #[error("the request body is too large")]
    BodyTooLarge,
    /// The client's body did not arrive completely.
    #[error("the request body failed")]
    Upload {
        /// The kind of failure.
        fault: UploadFault,
        /// The failed exchange.
        #[source]
        source: ExchangeError,
    },
    /// The origin gave no usable response.
    #[error("the origin failed")]
    Origin(#[source] OriginError),
}

/// The ways in which a client's body fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadFault {
    /// The body ended early, or its framing is broken.
    Broken,
    /// The body stalled, or arrived too slowly.
    Slow,
    /// The body is longer than the limit.
    TooLarge,
}

/// The form in which an error is shown to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    /// The status.
    pub status: StatusCode,
    /// The error type of RFC 9209 §2.3.
    pub proxy_status: &'static str,
    /// One line for people, without any cause.
    pub public: &'static str,
    /// Whether an HTTP/1.1 connection must not be used again because the bytes that follow on it cannot be
    /// trusted.
    pub close: bool,
}

impl From<SendError> for ProxyError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Unsendable(error) => Self::Unsendable(error),
            SendError::Upload(error) => Self::upload(error),
            SendError::Origin(error) => Self::Origin(error),
        }
    }
}

impl ProxyError {
    /// Converts the failure of a client's body. A body that differs from its announced length fails, too.
    fn upload(source: ExchangeError) -> Self {
        let cause = match &source.cause {
            Cause::RequestBody(cause) => cause.downcast_ref(),
            _ => None,
        };
        let fault = match cause {
            Some(UploadError::Stalled | UploadError::TooSlow) => UploadFault::Slow,
            Some(UploadError::TooLarge) => UploadFault::TooLarge,
            Some(UploadError::Client(_)) | None => UploadFault::Broken,
        };
        Self::Upload { fault, source }
    }

    /// Returns the answer for this error, from the only table of statuses.
    pub fn answer(&self) -> ErrorResponse {
        let client = |status, public, close| ErrorResponse {
            status,
            proxy_status: "http_request_error",
            public,
            close,
        };
        match self {
            Self::BadRequest(public) => client(StatusCode::BAD_REQUEST, public, true),
            Self::Nominated(_) => {
                client(StatusCode::BAD_REQUEST, "Connection nominates an end-to-end header", true)
            }
            Self::MethodNotAllowed => {
                client(StatusCode::METHOD_NOT_ALLOWED, "this method is not allowed", false)
            }
            Self::TargetTooLong => client(StatusCode::URI_TOO_LONG, "the request target is too long", true),
            Self::Expectation => client(StatusCode::EXPECTATION_FAILED, "unknown expectation", true),
            Self::UnknownHost(_) => ErrorResponse {
                proxy_status: "destination_not_found",
                ..client(StatusCode::MISDIRECTED_REQUEST, "no site is served under this host name", false)
            },
            Self::TooManyHeaders => {
                client(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many request headers", true)
            }
            Self::HeadTooLarge => {
                client(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request head is too large", true)
            }
            Self::TransferCoding => client(StatusCode::NOT_IMPLEMENTED, "unknown transfer coding", true),
            Self::Loop => ErrorResponse {
                proxy_status: "proxy_loop_detected",
                ..client(StatusCode::LOOP_DETECTED, "the request has been here before", false)
            },
            Self::LastHop => client(StatusCode::OK, "this is the last hop", false),
            Self::Unsendable(_) => client(StatusCode::BAD_REQUEST, "the request cannot be passed on", true),
            Self::Full => ErrorResponse {
                proxy_status: "connection_limit_reached",
                ..client(StatusCode::SERVICE_UNAVAILABLE, "too many concurrent requests", true)
            },
            Self::Upload { fault: UploadFault::Slow, .. } => {
                client(StatusCode::REQUEST_TIMEOUT, "the request body is too slow", true)
            }
            Self::BodyTooLarge | Self::Upload { fault: UploadFault::TooLarge, .. } => {
                client(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large", true)
            }
            Self::Upload { fault: UploadFault::Broken, .. } => {
                client(StatusCode::BAD_REQUEST, "the request body cannot be read", true)
            }
            Self::Origin(error) => of_origin(error),
        }
    }
}

/// Returns the answer for a failure of an origin.
fn of_origin(error: &OriginError) -> ErrorResponse {
    let bad_gateway = |proxy_status, public| ErrorResponse {
        status: StatusCode::BAD_GATEWAY,
        proxy_status,
        public,
        close: false,
    };
    match error {
        OriginError::Full => ErrorResponse {
            status: StatusCode::SERVICE_UNAVAILABLE,
            ..bad_gateway("connection_limit_reached", "the origin is busy")
        },
        OriginError::NoRoom(_) => ErrorResponse {
            status: StatusCode::SERVICE_UNAVAILABLE,
            ..bad_gateway("connection_limit_reached", "too many concurrent connections")
        },
        OriginError::Resolve(_) => bad_gateway("dns_error", "the origin's name does not resolve"),
        OriginError::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            bad_gateway("connection_refused", "the origin refuses connections")
        }
        OriginError::Connect(_) => bad_gateway("destination_ip_unroutable", "the origin cannot be reached"),
        OriginError::ConnectTimeout => {
            bad_gateway("connection_timeout", "the origin cannot be reached in time")
        }
        OriginError::Tls(_) => bad_gateway("tls_protocol_error", "no secure connection to the origin"),
        OriginError::Closed(_) => bad_gateway("connection_terminated", "the origin closed the connection"),
        OriginError::FirstByteTimeout => ErrorResponse {
            status: StatusCode::GATEWAY_TIMEOUT,
            ..bad_gateway("http_response_timeout", "the origin did not answer in time")
        },
        OriginError::Head(ExchangeError {
            cause: Cause::Head(HeadError::TooLarge | HeadError::TooManyHeaders),
            ..
        }) => bad_gateway("http_response_header_section_size", "the origin's response head is too large"),
        OriginError::Http2(_) => bad_gateway("http_protocol_error", "the origin does not speak HTTP/2"),
        OriginError::Head(_) | OriginError::OtherProtocol => {
            bad_gateway("http_protocol_error", "the origin's response is not usable")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h2::ping::Lost;
    use crate::upstream::Phase;

    #[test]
    fn statuses() {
        let check = |error: ProxyError, status: u16, proxy_status: &str| {
            let answer = error.answer();
            assert_eq!((answer.status.as_u16(), answer.proxy_status), (status, proxy_status), "{error}");
        };
        let io = |kind| io::Error::from(kind);
        let origin = ProxyError::Origin;
        check(ProxyError::BadRequest("x"), 400, "http_request_error");
        check(ProxyError::Nominated(http::header::HOST), 400, "http_request_error");
        check(ProxyError::MethodNotAllowed, 405, "http_request_error");
        let lost = |cause| ExchangeError {
            phase: Phase::Head,
            reused: false,
            body_consumed: false,
            response_started: false,
            cause,
        };
        check(ProxyError::Unsendable(EncodeError::Target), 400, "http_request_error");
        let upload = |error: UploadError| ProxyError::upload(lost(Cause::RequestBody(Box::new(error))));
        check(upload(UploadError::Stalled), 408, "http_request_error");
        check(upload(UploadError::TooSlow), 408, "http_request_error");
        check(upload(UploadError::TooLarge), 413, "http_request_error");
        check(ProxyError::upload(lost(Cause::RequestLength)), 400, "http_request_error");
        check(ProxyError::BodyTooLarge, 413, "http_request_error");
        check(ProxyError::Full, 503, "connection_limit_reached");
        check(ProxyError::TargetTooLong, 414, "http_request_error");
        check(ProxyError::Expectation, 417, "http_request_error");
        check(ProxyError::UnknownHost("x".into()), 421, "destination_not_found");
        check(ProxyError::TooManyHeaders, 431, "http_request_error");
        check(ProxyError::HeadTooLarge, 431, "http_request_error");
        check(ProxyError::TransferCoding, 501, "http_request_error");
        check(ProxyError::Loop, 508, "proxy_loop_detected");
        check(ProxyError::LastHop, 200, "http_request_error");
        check(origin(OriginError::Resolve(io(io::ErrorKind::NotFound))), 502, "dns_error");
        check(origin(OriginError::Connect(io(io::ErrorKind::ConnectionRefused))), 502, "connection_refused");
        check(
            origin(OriginError::Connect(io(io::ErrorKind::NetworkUnreachable))),
            502,
            "destination_ip_unroutable",
        );
        check(origin(OriginError::Full), 503, "connection_limit_reached");
        check(origin(OriginError::NoRoom(None)), 503, "connection_limit_reached");
        check(
            origin(OriginError::NoRoom(Some(io::Error::from_raw_os_error(libc::EMFILE)))),
            503,
            "connection_limit_reached",
        );
        check(origin(OriginError::ConnectTimeout), 502, "connection_timeout");
        check(origin(OriginError::Tls(io(io::ErrorKind::InvalidData))), 502, "tls_protocol_error");
        check(origin(OriginError::Http2(Lost::Closed)), 502, "http_protocol_error");
        check(origin(OriginError::FirstByteTimeout), 504, "http_response_timeout");
        check(origin(OriginError::Closed(lost(Cause::Closed))), 502, "connection_terminated");
        let head = |error| origin(OriginError::Head(lost(Cause::Head(error))));
        check(head(HeadError::StatusLine), 502, "http_protocol_error");
        check(head(HeadError::TooLarge), 502, "http_response_header_section_size");
        check(head(HeadError::TooManyHeaders), 502, "http_response_header_section_size");
    }

    #[test]
    fn the_chain_names_every_cause_once() {
        let error = ProxyError::Origin(OriginError::Connect(io::Error::other("no route")));
        assert_eq!(crate::base::with_causes(&error), "the origin failed: it accepts no connection: no route");
    }
}
