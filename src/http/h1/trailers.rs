//! The trailer section of a chunked message (RFC 9112 §7.1.2), in both directions. Its fields are kept apart from
//! those of the head. Merging them would let the end of a message change the meaning of its beginning (RFC 9110
//! §6.5.1).

use super::chunked_error::ChunkedError;
use crate::http::head::limits::HeadLimits;
use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The fields read so far, and the line being read.
#[derive(Debug, Default)]
pub(super) struct Section {
    fields: HeaderMap,
    line: Vec<u8>,
    bytes: usize,
}

impl Section {
    /// Adds a byte of a line whose grammar the caller has checked.
    pub(super) fn push(&mut self, byte: u8, limits: HeadLimits) -> Result<(), ChunkedError> {
        self.bytes += 1;
        if self.bytes > limits.bytes {
            return Err(ChunkedError::TrailersTooLong);
        }
        self.line.push(byte);
        Ok(())
    }

    /// Completes the line.
    pub(super) fn end_line(&mut self, limits: HeadLimits) -> Result<(), ChunkedError> {
        if self.fields.len() >= limits.fields {
            return Err(ChunkedError::TooManyTrailers);
        }
        let colon = memchr::memchr(b':', &self.line).ok_or(ChunkedError::Trailer)?;
        let (name, value) = (&self.line[..colon], self.line[colon + 1..].trim_ascii());
        let name = HeaderName::from_bytes(name).map_err(|_| ChunkedError::Trailer)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| ChunkedError::Trailer)?;
        self.fields.try_append(name, value).map_err(|_| ChunkedError::TooManyTrailers)?;
        self.line.clear();
        Ok(())
    }

    pub(super) fn into_fields(self) -> HeaderMap {
        self.fields
    }
}

/// Appends the last chunk and this trailer section, which end the message.
pub(super) fn write(out: &mut BytesMut, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
}
