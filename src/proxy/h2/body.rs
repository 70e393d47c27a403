//! The body of a response, read from its stream as it is asked for: the origin may send more when it was taken.

use super::Place;
use super::upload::Upload;
use crate::proxy::h1::{Cause, Error, Phase};
use ::h2::RecvStream;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The body of a response. Dropped before its end it resets the stream.
#[derive(Debug)]
pub struct ResponseBody<B> {
    /// `None` once the body has ended.
    reading: Option<Reading>,
    /// What the origin has not yet read of the request when it began to answer.
    upload: Option<Box<Upload<B>>>,
}

/// A body under way.
#[derive(Debug)]
pub(super) struct Reading {
    stream: RecvStream,
    /// Bytes that are still to come, where that was said.
    left: Option<u64>,
    _place: Place,
}

impl Reading {
    pub(super) fn new(stream: RecvStream, length: Option<u64>, place: Place) -> Self {
        Self { stream, left: length, _place: place }
    }

    fn is_end(&self) -> bool {
        self.stream.is_end_stream() && self.left.is_none_or(|left| left == 0)
    }

    /// The next part; none at the end.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Cause>> {
        loop {
            let Some(part) = ready!(self.stream.poll_data(cx)) else {
                // Not reached with a stream that the library has checked; what is missing must never go unnoticed.
                let is_whole = self.left.is_none_or(|left| left == 0);
                return Poll::Ready(if is_whole { Ok(None) } else { Err(Cause::Closed) });
            };
            let part = part.map_err(Cause::http2)?;
            self.stream.flow_control().release_capacity(part.len()).map_err(Cause::http2)?;
            if let Some(left) = &mut self.left {
                *left = left.checked_sub(part.len() as u64).ok_or(Cause::Closed)?;
            }
            if !part.is_empty() {
                return Poll::Ready(Ok(Some(part)));
            }
        }
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn new(reading: Reading, upload: Option<Box<Upload<B>>>) -> Self {
        let mut body = Self { reading: Some(reading), upload };
        body.end_if_complete();
        body
    }

    pub(super) fn empty() -> Self {
        Self { reading: None, upload: None }
    }

    /// The place on the connection is free as soon as the last byte was taken.
    fn end_if_complete(&mut self) {
        if self.reading.as_ref().is_some_and(Reading::is_end) {
            self.end();
        }
    }

    fn end(&mut self) {
        self.reading = None;
        self.upload = None;
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Some(reading) = &mut this.reading else { return Poll::Ready(None) };
        // An upload that fails now fails nothing but itself: the origin has begun to answer without it.
        if this.upload.as_mut().is_some_and(|upload| upload.poll(cx).is_ready()) {
            this.upload = None;
        }
        match ready!(reading.poll_part(cx)) {
            Ok(Some(part)) => {
                this.end_if_complete();
                Poll::Ready(Some(Ok(Frame::data(part))))
            }
            Ok(None) => {
                this.end();
                Poll::Ready(None)
            }
            Err(cause) => {
                this.end();
                let phase = Phase::Body;
                let error = Error { phase, reused: true, body_consumed: true, response_started: true, cause };
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.reading.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.reading.as_ref().map(|reading| reading.left) {
            None => SizeHint::with_exact(0),
            Some(Some(left)) => SizeHint::with_exact(left),
            Some(None) => SizeHint::default(),
        }
    }
}
