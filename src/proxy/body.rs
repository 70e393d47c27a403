//! Bodies in both directions: streamed frame by frame, never collected, each with a limit on how long the next
//! part may take. Trailers end at this hop.

use super::flight::Flight;
use super::metered::Metered;
use super::origin::OriginBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

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
    Client(#[source] hyper::Error),
}

/// Why an origin's body did not arrive whole.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No part of it for too long.
    #[error("the response body stalled")]
    Stalled,
    /// It ended before its end, or its framing is broken.
    #[error("the response body ended early")]
    Origin(#[source] hyper::Error),
}

/// How long the next part of a body may take. The timer is made when a body first makes its reader wait, and
/// then kept: small bodies never need one.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, sleep: None, waiting: false }
    }

    /// A part arrived.
    pub(super) fn rewarded(&mut self) {
        self.waiting = false;
    }

    /// Nothing has arrived: ready when that has been so for the whole limit.
    pub(super) fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.waiting {
            self.waiting = true;
            sleep.as_mut().reset(Instant::now() + limit);
        }
        sleep.as_mut().poll(cx)
    }
}

/// How far a client's body has come, for those who wait for the origin meanwhile.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// It arrived whole.
    pub(super) ended: Cell<bool>,
    /// The client has it: the next part has not arrived.
    pub(super) awaited: Cell<bool>,
    /// Parts handed on.
    pub(super) parts: Cell<u64>,
}

/// A client's body on its way to an origin.
#[derive(Debug)]
pub struct Upload {
    stream: Option<Stream>,
}

#[derive(Debug)]
struct Stream {
    incoming: Metered,
    patience: Patience,
    progress: Rc<Progress>,
}

impl Upload {
    /// The body of a request, whose parts may take `limit` each.
    pub fn new(incoming: Metered, limit: Duration) -> Self {
        let stream = (!incoming.is_end_stream()).then(|| Stream {
            incoming,
            patience: Patience::new(limit),
            progress: Rc::default(),
        });
        Self { stream }
    }

    /// No body.
    pub(super) fn none() -> Self {
        Self { stream: None }
    }

    /// How far it has come; none where there is no body.
    pub(super) fn progress(&self) -> Option<Rc<Progress>> {
        self.stream.as_ref().map(|stream| Rc::clone(&stream.progress))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        let progress = &stream.progress;
        loop {
            match Pin::new(&mut stream.incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    stream.patience.rewarded();
                    progress.awaited.set(false);
                    progress.ended.set(stream.incoming.is_end_stream());
                    if frame.is_data() {
                        progress.parts.set(progress.parts.get() + 1);
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => {
                    progress.awaited.set(false);
                    progress.ended.set(true);
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    progress.awaited.set(true);
                    ready!(stream.patience.poll_lost(cx));
                    return Poll::Ready(Some(Err(UploadError::Stalled)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| stream.incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.as_ref().map_or_else(|| SizeHint::with_exact(0), |stream| stream.incoming.size_hint())
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
                let part = ready!(Pin::new(body).poll_frame(cx));
                if let Some(Err(error)) = &part {
                    this.flight.download_failed(error);
                }
                Poll::Ready(part)
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
