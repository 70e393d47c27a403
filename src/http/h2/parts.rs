//! The parts of a received body, in either direction. Taking a part lets the peer send more.

use crate::http::head::limits::{HeadError, HeadLimits, MAX_HEAD_BYTES, MAX_HEADERS};
use ::h2::RecvStream;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use std::task::{Context, Poll, ready};

/// A body that is being received, and the trailers that end it.
#[derive(Debug)]
pub struct Parts {
    stream: RecvStream,
    /// The number of bytes still to come, if the length was declared.
    left: Option<u64>,
    /// The limits of the trailers.
    limits: HeadLimits,
}

/// The reason why a body did not arrive completely.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The stream or its connection failed.
    #[error("the HTTP/2 stream failed")]
    Http2(#[from] ::h2::Error),
    /// The length differs from the declared one. The `h2` crate checks this itself, so this is not reached with
    /// its streams. It is checked again because missing bytes must never go unnoticed.
    #[error("the body is not as long as its Content-Length")]
    Length,
    /// The trailers have more fields or more bytes than a head may have.
    #[error("the trailers are not acceptable")]
    Trailers(#[from] HeadError),
}

impl Parts {
    /// Creates the parts of a body of this length, if declared, whose trailers have these limits.
    pub fn new(stream: RecvStream, length: Option<u64>, limits: HeadLimits) -> Self {
        Self { stream, left: length, limits }
    }

    /// Whether everything has been taken.
    pub fn is_end(&self) -> bool {
        self.stream.is_end_stream() && self.left.is_none_or(|left| left == 0)
    }

    /// The number of bytes still to come, if known.
    pub fn left(&self) -> Option<u64> {
        self.left
    }

    /// Returns the next part, which is not empty, or `None` at the end. A stream that was reset has no end,
    /// whatever its reason code.
    pub fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Broken>> {
        loop {
            let Some(part) = ready!(self.stream.poll_data(cx)) else {
                if self.left.is_some_and(|left| left > 0) {
                    return Poll::Ready(Err(Broken::Length));
                }
                let Some(trailers) = ready!(self.stream.poll_trailers(cx))? else {
                    return Poll::Ready(Ok(None));
                };
                measure(&trailers, self.limits)?;
                return Poll::Ready(Ok(Some(Frame::trailers(trailers))));
            };
            let part = part?;
            self.stream.flow_control().release_capacity(part.len())?;
            if let Some(left) = &mut self.left {
                *left = left.checked_sub(part.len() as u64).ok_or(Broken::Length)?;
            }
            if !part.is_empty() {
                return Poll::Ready(Ok(Some(Frame::data(part))));
            }
        }
    }
}

/// Returns the number of bytes that these fields would have in HTTP/1.1, or an error if they exceed a limit.
pub fn measure(headers: &HeaderMap, limits: HeadLimits) -> Result<usize, HeadError> {
    if headers.len() > limits.fields.min(MAX_HEADERS) {
        return Err(HeadError::TooManyHeaders);
    }
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > limits.bytes.min(MAX_HEAD_BYTES) { Err(HeadError::TooLarge) } else { Ok(bytes) }
}
