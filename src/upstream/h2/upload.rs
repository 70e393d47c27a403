//! A request's body on its way into a stream, as fast as the origin's window allows.

use crate::http::h2::window::poll_room;
use crate::upstream::error::Cause;
use ::h2::{Reason, SendStream};
use bytes::Bytes;
use http_body::{Body, Frame};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// The rest of a body. Dropping it before its end resets the stream, as soon as the response is not read any more
/// either.
#[derive(Debug)]
pub(super) struct Upload<B> {
    stream: SendStream<Bytes>,
    body: B,
    /// The data that was taken from the body and is not sent yet.
    data: Bytes,
    /// Whether `data` is the last of the body.
    ends: bool,
    /// The number of bytes that are still to come, if the length is known.
    left: Option<u64>,
    consumed: bool,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(stream: SendStream<Bytes>, body: B, length: Option<u64>) -> Self {
        Self { stream, body, data: Bytes::new(), ends: false, left: length, consumed: false }
    }

    /// Whether anything was taken from the body.
    pub(super) fn consumed(&self) -> bool {
        self.consumed
    }

    /// Sends until everything is sent, or until the window or the body has to be waited for.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        loop {
            if !self.data.is_empty() {
                let room = ready!(poll_room(&mut self.stream, self.data.len(), cx)).ok_or(Cause::Closed)?;
                let part = self.data.split_to(room.map_err(Cause::http2)?);
                let is_last = self.ends && self.data.is_empty();
                self.stream.send_data(part, is_last).map_err(Cause::http2)?;
                if is_last {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                // The origin may have refused the rest.
                let reason = ready!(self.stream.poll_reset(cx)).map_err(Cause::http2)?;
                return Poll::Ready(Err(Cause::http2(reason.into())));
            };
            match frame {
                Some(Ok(frame)) => {
                    self.consumed = true;
                    match frame.into_data().map_err(Frame::into_trailers) {
                        Ok(data) => self.take(data)?,
                        Err(Ok(trailers)) => {
                            self.check_end()?;
                            return Poll::Ready(self.stream.send_trailers(trailers).map_err(Cause::http2));
                        }
                        Err(Err(_)) => {}
                    }
                }
                Some(Err(error)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(Cause::RequestBody(error.into())));
                }
                None => {
                    self.check_end()?;
                    return Poll::Ready(self.stream.send_data(Bytes::new(), true).map_err(Cause::http2));
                }
            }
        }
    }

    fn take(&mut self, data: Bytes) -> Result<(), Cause> {
        if let Some(left) = &mut self.left {
            match left.checked_sub(data.len() as u64) {
                Some(rest) => *left = rest,
                None => return Err(self.wrong_length()),
            }
        }
        self.data = data;
        if !self.data.is_empty() && self.body.is_end_stream() {
            self.check_end()?;
            self.ends = true;
        }
        Ok(())
    }

    fn check_end(&mut self) -> Result<(), Cause> {
        match self.left {
            None | Some(0) => Ok(()),
            Some(_) => Err(self.wrong_length()),
        }
    }

    fn wrong_length(&mut self) -> Cause {
        self.stream.send_reset(Reason::CANCEL);
        Cause::RequestLength
    }
}
