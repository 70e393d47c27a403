//! The head of a message: its control data, and its fields in the order in which they arrived (RFC 9110 §6).
//!
//! The fields are a list, not a map, and a list of places in the text that arrived, not of copies. A proxy reads each
//! line one time and writes nearly all of them again. Hashing every name or copying every value for that would cost
//! more than everything else that is done to a head. The limits on heads keep the list short.

mod eight;
pub mod headers;
pub mod known;
pub mod limits;
pub mod line;
pub mod map_cache;
mod names;
pub mod read;
mod sixteen;

#[cfg(test)]
pub(crate) mod fixture;

pub use headers::{Edit, Headers};
pub use known::Known;
pub use line::{FieldLine, Line, Value};
pub use map_cache::MapCache;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Method, StatusCode, Uri, Version};

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The request method.
    pub method: Method,
    /// The request target.
    pub uri: Uri,
    /// The HTTP version of the request.
    pub version: Version,
    /// The fields of the request.
    pub headers: Headers,
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status code.
    pub status: StatusCode,
    /// The reason phrase, if it differs from the usual one.
    pub reason: Option<Bytes>,
    /// The fields of the response.
    pub headers: Headers,
}

impl ResponseHead {
    /// Creates a head without fields.
    pub fn new(status: StatusCode) -> Self {
        Self { status, reason: None, headers: Headers::new() }
    }
}

impl From<http::request::Parts> for RequestHead {
    fn from(parts: http::request::Parts) -> Self {
        let http::request::Parts { method, uri, version, headers, .. } = parts;
        Self { method, uri, version, headers: Headers::from(&headers) }
    }
}

/// Returns the target of a request as its origin gets it (RFC 9112 §3.2.1): without scheme and authority, because a
/// request never chooses its origin.
pub fn origin_form(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", PathAndQuery::as_str)
}
