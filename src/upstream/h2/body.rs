//! The body of a response, read from its stream on demand. The origin may send more after data was taken.

use super::streams::Place;
use super::upload::Upload;
use crate::http::h2::parts::{Broken, Parts};
use crate::http::head::limits::HeadLimits;
use crate::upstream::error::{Cause, ExchangeError, Phase};
use ::h2::RecvStream;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The body of a response. Dropping it before its end resets the stream.
#[derive(Debug)]
pub struct ResponseBody<B> {
    /// `None` when the body has ended.
    reading: Option<Reading>,
    /// The rest of the request that was not sent when the origin began to answer.
    upload: Option<Box<Upload<B>>>,
}

/// A body in progress.
#[derive(Debug)]
pub(super) struct Reading {
    parts: Parts,
    _place: Place,
}

impl Reading {
    pub(super) fn new(stream: RecvStream, length: Option<u64>, limits: HeadLimits, place: Place) -> Self {
        Self { parts: Parts::new(stream, length, limits), _place: place }
    }
}

impl From<Broken> for Cause {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Http2(error) => Self::http2(error),
            Broken::Length => Self::Closed,
            Broken::Trailers(error) => Self::Trailers(error),
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

    /// Releases the place on the connection as soon as the last byte was taken.
    fn end_if_complete(&mut self) {
        if self.reading.as_ref().is_some_and(|reading| reading.parts.is_end()) {
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
    type Error = ExchangeError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Some(reading) = &mut this.reading else { return Poll::Ready(None) };
        // If the upload fails now, the response is not affected: the origin has begun to answer without the rest.
        if this.upload.as_mut().is_some_and(|upload| upload.poll(cx).is_ready()) {
            this.upload = None;
        }
        match ready!(reading.parts.poll_part(cx)) {
            Ok(Some(part)) => {
                this.end_if_complete();
                Poll::Ready(Some(Ok(part)))
            }
            Ok(None) => {
                this.end();
                Poll::Ready(None)
            }
            Err(broken) => {
                this.end();
                let (phase, cause) = (Phase::Body, broken.into());
                let error =
                    ExchangeError { phase, reused: true, body_consumed: true, response_started: true, cause };
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.reading.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.reading.as_ref().map(|reading| reading.parts.left()) {
            None => SizeHint::with_exact(0),
            Some(Some(left)) => SizeHint::with_exact(left),
            Some(None) => SizeHint::default(),
        }
    }
}
