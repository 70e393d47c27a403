//! One request and its response, driven by the task that waits for the response.

use super::body::{Reading, ResponseBody};
use super::head;
use super::interim::Interim;
use super::streams::Place;
use super::upload::Upload;
use crate::http::h1::framing::Framing;
use crate::http::head::limits::HeadLimits;
use crate::http::head::{Headers, ResponseHead};
use crate::upstream::error::{Cause, ExchangeError, Phase};
use ::h2::RecvStream;
use ::h2::client::ResponseFuture;
use bytes::Bytes;
use http::Response;
use http_body::Body;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A request that is being sent while its response is waited for. Dropping it resets the stream.
///
/// There are no timeouts here, as in `h1`.
#[derive(Debug)]
#[must_use = "its body is not sent before it is polled"]
pub struct Exchange<B> {
    response: ResponseFuture,
    /// `None` when the request was sent, or cannot be sent any further.
    upload: Option<Upload<B>>,
    sent: bool,
    /// `None` when the exchange has ended.
    place: Option<Place>,
    interim: Interim,
    asked: Asked,
    body_consumed: bool,
}

/// The facts about an exchange that are known from its beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) to_head: bool,
    pub(super) limits: HeadLimits,
    pub(super) reused: bool,
}

impl<B> Exchange<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(
        response: ResponseFuture,
        upload: Option<Upload<B>>,
        place: Place,
        interim: Interim,
        asked: Asked,
    ) -> Self {
        let sent = upload.is_none();
        Self { response, upload, sent, place: Some(place), interim, asked, body_consumed: false }
    }

    /// Whether the request was sent completely, so that the origin must answer next.
    pub fn is_sent(&self) -> bool {
        self.sent
    }

    /// Whether an interim response has arrived. Every head arrives as a whole, so there are no partial ones.
    pub fn response_started(&self) -> bool {
        self.interim.has_come()
    }

    /// Whether interim responses have arrived that were not taken.
    pub fn has_interim(&self) -> bool {
        self.interim.is_any_left()
    }

    /// Returns the interim responses that have arrived since the last call.
    pub fn take_interim(&mut self) -> Vec<ResponseHead> {
        self.interim.take()
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, Cause>> {
        if let Some(upload) = &mut self.upload {
            let progress = upload.poll(cx);
            self.body_consumed = upload.consumed();
            match progress {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => {
                    self.sent = true;
                    self.upload = None;
                }
                // An origin may answer before it has read everything (RFC 9113 §8.1). Its answer then takes
                // precedence over the error.
                Poll::Ready(Err(Cause::Http2(_) | Cause::Closed)) => self.upload = None,
                Poll::Ready(Err(cause)) => return Poll::Ready(Err(cause)),
            }
        }
        self.interim.poll(&mut self.response, cx).map_err(Cause::Head)?;
        Pin::new(&mut self.response).poll(cx).map_err(Cause::http2)
    }

    fn respond(
        &mut self,
        response: Response<RecvStream>,
        place: Place,
    ) -> Result<(ResponseHead, ResponseBody<B>), Cause> {
        let Asked { to_head, limits, .. } = self.asked;
        let framing = head::check(&response, to_head, limits).map_err(Cause::Head)?;
        // An origin that answers with an error does not want the rest. One that answers with success may still be
        // reading.
        let is_success = response.status().is_success();
        let upload = self.upload.take().filter(|_| is_success).map(Box::new);
        let (parts, stream) = response.into_parts();
        let head =
            ResponseHead { status: parts.status, reason: None, headers: Headers::from(&parts.headers) };
        let body = match framing {
            Framing::Empty => ResponseBody::empty(),
            Framing::Length(length) => {
                ResponseBody::new(Reading::new(stream, Some(length), limits, place), upload)
            }
            Framing::Chunked | Framing::Close => {
                ResponseBody::new(Reading::new(stream, None, limits, place), upload)
            }
        };
        Ok((head, body))
    }
}

impl<B> Future for Exchange<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Output = Result<(ResponseHead, ResponseBody<B>), ExchangeError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let response = ready!(this.poll_response(cx));
        let Some(place) = this.place.take() else { return Poll::Pending };
        let response_started = response.is_ok() || this.response_started();
        Poll::Ready(response.and_then(|response| this.respond(response, place)).map_err(|cause| {
            ExchangeError {
                phase: if this.sent { Phase::Head } else { Phase::Request },
                reused: this.asked.reused,
                body_consumed: this.body_consumed,
                response_started,
                cause,
            }
        }))
    }
}
