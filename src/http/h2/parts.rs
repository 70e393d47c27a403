//! What comes in on a stream: the parts of a body, in either direction. The other end may send more when they were taken.

use crate::http::head::limits::{HeadError, HeadLimits, MAX_HEAD_BYTES, MAX_HEADERS};
use ::h2::RecvStream;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use std::task::{Context, Poll, ready};

/// A body under way, and the trailers that end it.
#[derive(Debug)]
pub struct Parts {
    stream: RecvStream,
    /// Bytes that are still to come, where that was said.
    left: Option<u64>,
    /// Of the trailers.
    limits: HeadLimits,
}

/// Why a body did not arrive whole.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The stream failed, or its connection.
    #[error("the HTTP/2 stream failed")]
    Http2(#[from] ::h2::Error),
    /// It is not as long as was said. Not reached with a stream that the library has checked; what is missing must never go
    /// unnoticed.
    #[error("the body is not as long as its Content-Length")]
    Length,
    /// There are more of them than a head may have fields, or they are longer.
    #[error("the trailers are not acceptable")]
    Trailers(#[from] HeadError),
}

impl Parts {
    /// Those of a body of this length, where that was said, whose trailers have these limits.
    pub fn new(stream: RecvStream, length: Option<u64>, limits: HeadLimits) -> Self {
        Self { stream, left: length, limits }
    }

    /// Whether all was taken.
    pub fn is_end(&self) -> bool {
        self.stream.is_end_stream() && self.left.is_none_or(|left| left == 0)
    }

    /// Bytes that are still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        self.left
    }

    /// The next part, which is not empty; none at the end. A stream that was reset has no end, whatever the reason says.
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

/// Bytes of these fields, as many as they would be in HTTP/1.1, unless they break a limit.
pub fn measure(headers: &HeaderMap, limits: HeadLimits) -> Result<usize, HeadError> {
    if headers.len() > limits.fields.min(MAX_HEADERS) {
        return Err(HeadError::TooManyHeaders);
    }
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > limits.bytes.min(MAX_HEAD_BYTES) { Err(HeadError::TooLarge) } else { Ok(bytes) }
}
