//! The body of a response on its way into a stream, as fast as the client opens its window: at most one part waits for that.

use crate::http::h2::window::poll_room;
use crate::http::timer::Patience;
use crate::proxy::body::ResponseBody;
use crate::upstream::DownloadError;
use ::h2::{Reason, SendStream};
use bytes::Bytes;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A body under way. Dropped before its end it resets the stream.
pub(super) struct Sending<'b> {
    stream: SendStream<Bytes>,
    body: &'b mut ResponseBody,
    /// Taken from the body, not handed on yet.
    part: Bytes,
    /// `part` is the last one.
    ends: bool,
    /// With a client whose turn it is: there is a part for it.
    patience: Patience,
}

/// Why a response did not get to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsent {
    /// The client reset the stream, or its connection ended.
    #[error("the HTTP/2 stream failed")]
    Http2(#[from] ::h2::Error),
    /// The same, seen by who waits for its window.
    #[error("the HTTP/2 stream ended")]
    Closed,
    /// The client took nothing for too long.
    #[error("it takes nothing any more")]
    Stalled,
    /// The body broke off.
    #[error("the response body broke off")]
    Body(#[source] DownloadError),
}

impl<'b> Sending<'b> {
    pub(super) fn new(stream: SendStream<Bytes>, body: &'b mut ResponseBody, patience: Patience) -> Self {
        Self { stream, body, part: Bytes::new(), ends: false, patience }
    }

    /// Sends until all is handed on, or until the client or the body has to be waited for.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        loop {
            // Never more than the window has room for: what waited for that within the library would have no deadline, and the
            // response would count as sent.
            while !self.part.is_empty() {
                let room = ready!(self.poll_room(cx))?;
                let part = self.part.split_to(room);
                let is_last = self.ends && self.part.is_empty();
                self.stream.send_data(part, is_last)?;
                if is_last {
                    return Poll::Ready(Ok(()));
                }
            }
            let Poll::Ready(frame) = Pin::new(&mut *self.body).poll_frame(cx) else {
                // The client may want it no more.
                let reason = ready!(self.stream.poll_reset(cx))?;
                return Poll::Ready(Err(Unsent::Http2(reason.into())));
            };
            match frame {
                Some(Ok(frame)) => {
                    let part = match frame.into_data().map_err(Frame::into_trailers) {
                        Ok(part) if part.is_empty() => continue,
                        Ok(part) => part,
                        Err(Ok(trailers)) => return Poll::Ready(Ok(self.stream.send_trailers(trailers)?)),
                        Err(Err(_)) => continue,
                    };
                    (self.part, self.ends) = (part, self.body.is_end_stream());
                }
                Some(Err(error)) => {
                    // No cache is to take the part for the whole.
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(Err(Unsent::Body(error)));
                }
                None => return Poll::Ready(Ok(self.stream.send_data(Bytes::new(), true)?)),
            }
        }
    }

    /// Bytes of the part that the client's window has room for, at least one.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Unsent>> {
        let Poll::Ready(room) = poll_room(&mut self.stream, self.part.len(), cx) else {
            ready!(self.patience.poll_lost(cx));
            return Poll::Ready(Err(Unsent::Stalled));
        };
        self.patience.rewarded();
        Poll::Ready(Ok(room.ok_or(Unsent::Closed)??))
    }
}
