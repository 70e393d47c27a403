//! The bytes of one request on their way into a connection.

use super::encode::{self, BodySize, EncodeError, Encoded, Framing};
use super::error::Cause;
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderName, HeaderValue, Method};
use http_body::Body;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// What is left to write: at any time `small`, then `data`, then `tail`.
#[derive(Debug)]
pub(super) struct Upload<B> {
    /// The head, and size lines of chunks.
    small: BytesMut,
    data: Bytes,
    tail: &'static [u8],
    /// Where more data comes from; `None` once it has ended.
    body: Option<B>,
    framing: Framing,
    consumed: bool,
    close_asked: bool,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Encodes the head into `buf`, which must be empty, so that it goes out together with the start of the body.
    pub(super) fn new<'a>(
        mut buf: BytesMut,
        method: &Method,
        target: &[u8],
        headers: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
        body: Option<B>,
    ) -> Result<Self, EncodeError> {
        let size = match &body {
            None => BodySize::None,
            Some(body) => body.size_hint().exact().map_or(BodySize::Unknown, BodySize::Exact),
        };
        let Encoded { framing, close } = encode::request_head(&mut buf, method, target, headers, size)?;
        let body = body.filter(|_| framing != Framing::Empty);
        Ok(Self {
            small: buf,
            data: Bytes::new(),
            tail: b"",
            body,
            framing,
            consumed: false,
            close_asked: close,
        })
    }

    /// Whether anything was taken from the body.
    pub(super) fn consumed(&self) -> bool {
        self.consumed
    }

    /// Whether the request asks the origin to close the connection.
    pub(super) fn close_asked(&self) -> bool {
        self.close_asked
    }

    /// The write buffer, once all of it is written.
    pub(super) fn into_buffer(mut self) -> BytesMut {
        self.small.clear();
        self.small
    }

    /// Writes until everything is written and flushed, or until the connection or the body has to be waited for.
    pub(super) fn poll<IO>(&mut self, cx: &mut Context<'_>, io: &mut IO) -> Poll<Result<(), Cause>>
    where
        IO: AsyncWrite + Unpin,
    {
        loop {
            if self.data.is_empty() && self.tail.is_empty() {
                self.take_frame(cx)?;
            }
            if self.is_written() {
                ready!(Pin::new(&mut *io).poll_flush(cx)).map_err(Cause::Io)?;
                return if self.body.is_none() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            let written = ready!(self.poll_write(cx, io)).map_err(Cause::Io)?;
            if written == 0 {
                return Poll::Ready(Err(Cause::Closed));
            }
            self.advance(written);
        }
    }

    fn is_written(&self) -> bool {
        self.small.is_empty() && self.data.is_empty() && self.tail.is_empty()
    }

    fn poll_write<IO>(&self, cx: &mut Context<'_>, io: &mut IO) -> Poll<std::io::Result<usize>>
    where
        IO: AsyncWrite + Unpin,
    {
        if self.data.is_empty() && self.tail.is_empty() {
            return Pin::new(io).poll_write(cx, &self.small);
        }
        let slices = [IoSlice::new(&self.small), IoSlice::new(&self.data), IoSlice::new(self.tail)];
        Pin::new(io).poll_write_vectored(cx, &slices)
    }

    fn advance(&mut self, mut written: usize) {
        let small = written.min(self.small.len());
        self.small.advance(small);
        written -= small;
        let data = written.min(self.data.len());
        self.data.advance(data);
        self.tail = &self.tail[written - data..];
    }

    /// Takes a frame if the body has one ready. Trailers are dropped.
    fn take_frame(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        while let Some(body) = &mut self.body {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => return self.end(encode::BODY_END),
                Poll::Ready(Some(Err(error))) => {
                    self.body = None;
                    return Err(Cause::RequestBody(error.into()));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    self.consumed = true;
                    let Ok(data) = frame.into_data() else { continue };
                    if data.is_empty() {
                        continue;
                    }
                    let ended = body.is_end_stream();
                    self.take_data(data)?;
                    return if ended { self.end(encode::CHUNK_AND_BODY_END) } else { Ok(()) };
                }
            }
        }
        Ok(())
    }

    fn take_data(&mut self, data: Bytes) -> Result<(), Cause> {
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Cause::RequestLength)?;
            }
            Framing::Chunked => {
                encode::chunk_size(&mut self.small, data.len());
                self.tail = encode::CHUNK_END;
            }
            Framing::Empty => return Err(Cause::RequestLength),
        }
        self.data = data;
        Ok(())
    }

    /// The body has ended; `chunked_end` is what the chunked coding still owes.
    fn end(&mut self, chunked_end: &'static [u8]) -> Result<(), Cause> {
        self.body = None;
        match self.framing {
            Framing::Length(0) | Framing::Empty => Ok(()),
            Framing::Length(_) => Err(Cause::RequestLength),
            Framing::Chunked => {
                self.tail = chunked_end;
                Ok(())
            }
        }
    }
}
