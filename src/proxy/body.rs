//! The body of a response, streamed frame by frame and never collected.

use super::flight::Flight;
use super::trailers::ToClient;
use crate::guard::in_flight::Ticket;
use crate::upstream::{DownloadError, OriginBody, Tunnel};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The body of a response: an origin's, or the shim's own line of text.
#[derive(Debug)]
pub struct ResponseBody {
    content: Content,
    // Counts the request when the body is dropped, whether it was written to its end or not.
    flight: Flight,
}

#[derive(Debug)]
enum Content {
    Origin {
        body: OriginBody,
        /// Which of its trailers go on: none if the client takes none. Boxed, since few clients take trailers.
        trailers: Option<Box<ToClient>>,
    },
    Text(Option<Bytes>),
}

impl ResponseBody {
    /// An origin's body, and what decides on its trailers.
    pub(super) fn origin((body, trailers): (OriginBody, Option<Box<ToClient>>), flight: Flight) -> Self {
        Self { content: Content::Origin { body, trailers }, flight }
    }

    /// After 101: what the connection to the origin has become.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        match &mut self.content {
            Content::Origin { body, .. } => body.take_tunnel(),
            Content::Text(_) => None,
        }
    }

    /// Given back when the last byte is written.
    pub fn take_ticket(&mut self) -> Option<Ticket> {
        self.flight.take_ticket()
    }

    /// Our own text; none for answers to HEAD.
    pub(super) fn text(text: Option<Bytes>, flight: Flight) -> Self {
        Self { content: Content::Text(text), flight }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = DownloadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DownloadError>>> {
        let this = &mut *self;
        match &mut this.content {
            Content::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Content::Origin { body, trailers: kept } => {
                let part = ready!(Pin::new(&mut *body).poll_frame(cx));
                Poll::Ready(match part {
                    Some(Err(error)) => {
                        this.flight.download_failed(&error);
                        Some(Err(error))
                    }
                    Some(Ok(frame)) => match frame.into_trailers() {
                        // They are the end, even where none of them goes on.
                        Ok(trailers) => this.flight.site().and_then(|site| {
                            let passed = kept.as_ref()?.pass(site, trailers)?;
                            Some(Ok(Frame::trailers(passed)))
                        }),
                        Err(frame) => Some(Ok(frame)),
                    },
                    None => None,
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Text(text) => text.is_none(),
            Content::Origin { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Content::Origin { body, .. } => body.size_hint(),
        }
    }
}
