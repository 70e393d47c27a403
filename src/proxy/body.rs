//! The body of a response, streamed frame by frame and never collected.

use super::context::RequestContext;
use super::trailers::ToClient;
use crate::guard::in_flight::Ticket;
use crate::http::h1::pipe::Pipe;
use crate::upstream::{DownloadError, OriginBody, Tunnel};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The body of a response: an origin's, or the shim's own line of text.
#[derive(Debug)]
pub struct ResponseBody {
    content: Content,
    // Counts the request when the body is dropped, whether it was written completely or not.
    context: RequestContext,
}

#[derive(Debug)]
enum Content {
    Origin {
        body: OriginBody,
        /// The filter for the origin's trailers, or `None` if the client accepts no trailers. Boxed because few
        /// clients accept any.
        trailers: Option<Box<ToClient>>,
    },
    Text(Option<Bytes>),
}

impl ResponseBody {
    /// Creates the body of an origin's response, with the filter for its trailers.
    pub(super) fn origin(
        (body, trailers): (OriginBody, Option<Box<ToClient>>),
        context: RequestContext,
    ) -> Self {
        Self { content: Content::Origin { body, trailers }, context }
    }

    /// Returns the connection to the origin after 101, when it carries another protocol.
    pub fn take_tunnel(&mut self) -> Option<Tunnel> {
        match &mut self.content {
            Content::Origin { body, .. } => body.take_tunnel(),
            Content::Text(_) => None,
        }
    }

    /// The number of bytes that the kernel could move from the origin's socket to the client's.
    pub fn spliceable_bytes(&self) -> u64 {
        match &self.content {
            Content::Origin { body, .. } => body.spliceable_bytes(),
            Content::Text(_) => 0,
        }
    }

    /// Moves some of these bytes into an empty pipe, and returns how many. Everything taken before must have been
    /// written.
    pub fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<Result<usize, DownloadError>> {
        let Content::Origin { body, .. } = &mut self.content else { return Poll::Ready(Ok(0)) };
        let moved = ready!(body.poll_splice(cx, pipe));
        if let Err(error) = &moved {
            self.context.download_failed(error);
        }
        Poll::Ready(moved)
    }

    /// Returns the ticket of a response in flight, to be dropped when the last byte has been written.
    pub fn take_ticket(&mut self) -> Option<Ticket> {
        self.context.take_ticket()
    }

    /// Creates a body of the shim's own text, or an empty one for answers to HEAD.
    pub(super) fn text(text: Option<Bytes>, context: RequestContext) -> Self {
        Self { content: Content::Text(text), context }
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
                        this.context.download_failed(&error);
                        Some(Err(error))
                    }
                    Some(Ok(frame)) => match frame.into_trailers() {
                        // Trailers end the body even if none of them is forwarded.
                        Ok(trailers) => this.context.site().and_then(|site| {
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
