//! Bodies in both directions: streamed frame by frame, never collected, each with a limit on how long the next
//! part may take. What of their trailers goes on is in [`trailers`].

use super::exchange::OriginBody;
use super::flight::Flight;
use super::h1;
use super::metered::Metered;
use super::trailers;
use super::upgrade::Tunnel;
use crate::guard::in_flight::Ticket;
use crate::http::request_body::BoxError;
use crate::http::timer::{Clock, Patience};
use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Why a client's body did not arrive whole.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// No part of it for too long.
    #[error("it stalled")]
    Stalled,
    /// Too little of it for too long.
    #[error("it is too slow")]
    TooSlow,
    /// More of it than the limit.
    #[error("it is too large")]
    TooLarge,
    /// The client went away, or its framing is broken.
    #[error("it cannot be read")]
    Client(#[source] BoxError),
}

/// Why an origin's body did not arrive whole.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No part of it for too long.
    #[error("the response body stalled")]
    Stalled,
    /// It ended before its end, or its framing is broken.
    #[error("the response body ended early")]
    Origin(#[source] h1::Error),
}

/// How far a client's body has come, for those who wait for the origin meanwhile.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// It is the client's turn: the next part has not arrived.
    pub(super) awaited: Cell<bool>,
    /// Parts handed on.
    pub(super) parts: Cell<u64>,
}

/// A client's body on its way to an origin.
#[derive(Debug)]
pub struct Upload {
    incoming: Metered,
    patience: Patience,
    progress: Rc<Progress>,
    /// By `Connection`.
    nominated: Vec<HeaderName>,
}

impl Upload {
    /// The body of a request, whose parts may take `limit` each; none where there is no body. Trailers that are `nominated` end
    /// here.
    pub fn new(
        incoming: Metered,
        clock: &Rc<Clock>,
        limit: Duration,
        nominated: &[HeaderName],
    ) -> Option<Self> {
        (!incoming.is_end_stream()).then(|| Self {
            incoming,
            patience: Patience::new(clock, limit),
            progress: Rc::default(),
            nominated: nominated.to_vec(),
        })
    }

    /// How far it has come.
    pub(super) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                this.progress.awaited.set(true);
                ready!(this.patience.poll_lost(cx));
                return Poll::Ready(Some(Err(UploadError::Stalled)));
            }
        };
        this.patience.rewarded();
        this.progress.awaited.set(false);
        this.progress.parts.set(this.progress.parts.get() + 1);
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_trailers() {
                // They are the end, even where none of them goes on.
                Ok(trailers) => trailers::to_origin(trailers, &this.nominated).map(Frame::trailers).map(Ok),
                Err(frame) => Some(Ok(frame)),
            },
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Nobody waits for the client any more.
        self.progress.awaited.set(false);
    }
}

/// The body of a response: an origin's, or the shim's own line of text.
#[derive(Debug)]
pub struct ResponseBody {
    content: Content,
    // Counts the request when the body is dropped, whether it was written to its end or not.
    flight: Flight,
}

#[derive(Debug)]
enum Content {
    Origin(OriginBody),
    Text(Option<Bytes>),
}

impl ResponseBody {
    /// An origin's body.
    pub(super) fn origin(body: OriginBody, flight: Flight) -> Self {
        Self { content: Content::Origin(body), flight }
    }

    /// After 101: what the connection to the origin has become.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        match &mut self.content {
            Content::Origin(body) => body.take_tunnel(),
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
            Content::Origin(body) => {
                let part = ready!(Pin::new(&mut *body).poll_frame(cx));
                Poll::Ready(match part {
                    Some(Err(error)) => {
                        this.flight.download_failed(&error);
                        Some(Err(error))
                    }
                    Some(Ok(frame)) => match frame.into_trailers() {
                        // They are the end, even where none of them goes on.
                        Ok(trailers) => this.flight.site().and_then(|site| {
                            let passed = body.trailers.as_ref()?.pass(site, trailers)?;
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
            Content::Origin(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Content::Origin(body) => body.size_hint(),
        }
    }
}
