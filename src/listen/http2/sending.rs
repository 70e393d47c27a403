//! Writes the body of a response into a stream as fast as the client opens its window. At most one part waits for
//! that.

use crate::http::h2::window::poll_room;
use crate::http::timer::IdleTimeout;
use crate::proxy::body::ResponseBody;
use crate::upstream::DownloadError;
use ::h2::{Reason, SendStream};
use bytes::Bytes;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A body in flight. Dropping it before its end resets the stream.
pub(super) struct Sending<'b> {
    stream: SendStream<Bytes>,
    body: &'b mut ResponseBody,
    /// Bytes taken from the body but not handed on yet.
    part: Bytes,
    /// Whether `part` is the last one.
    ends: bool,
    /// The deadline for the client while a part is ready for it.
    idle_timeout: IdleTimeout,
}

/// Why a response was not sent to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsent {
    /// The client reset the stream, or its connection ended.
    #[error("the HTTP/2 stream failed")]
    Http2(#[from] ::h2::Error),
    /// The stream ended while its window was awaited.
    #[error("the HTTP/2 stream ended")]
    Closed,
    /// The client took no bytes for too long.
    #[error("the client took no bytes for too long")]
    Stalled,
    /// The body broke off.
    #[error("the response body broke off")]
    Body(#[source] DownloadError),
}

impl<'b> Sending<'b> {
    pub(super) fn new(
        stream: SendStream<Bytes>,
        body: &'b mut ResponseBody,
        idle_timeout: IdleTimeout,
    ) -> Self {
        Self { stream, body, part: Bytes::new(), ends: false, idle_timeout }
    }

    /// Sends until all is handed on, or until the client or the body must be waited for.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        loop {
            // Never more than the window has room for is handed on. Bytes that wait for room in the `h2` crate would
            // have no deadline, and the response would count as sent.
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
                // The client may no longer want the response.
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
                    // The reset keeps caches from taking the part for the whole.
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(Err(Unsent::Body(error)));
                }
                None => return Poll::Ready(Ok(self.stream.send_data(Bytes::new(), true)?)),
            }
        }
    }

    /// Waits until the client's window has room, and returns for how many bytes of the part; at least one.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Unsent>> {
        let Poll::Ready(room) = poll_room(&mut self.stream, self.part.len(), cx) else {
            ready!(self.idle_timeout.poll_expired(cx));
            return Poll::Ready(Err(Unsent::Stalled));
        };
        self.idle_timeout.reset();
        Poll::Ready(Ok(room.ok_or(Unsent::Closed)??))
    }
}
