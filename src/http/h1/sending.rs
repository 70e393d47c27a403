//! A message on its way into a connection: its head, and its body as it comes.

use super::framing::Framing;
use super::{encode, trailers};
use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Parts of a body up to this size are copied next to what precedes them: that costs less than a second buffer does in
/// the kernel and in TLS.
const SMALL: usize = 2 * 1024;
/// No more parts are gathered once there are this many bytes.
const GATHERED: usize = 8 * 1024;

/// Why a message was not sent whole.
#[derive(Debug)]
pub enum Unsent<E> {
    /// The connection failed.
    Io(io::Error),
    /// The connection takes nothing any more.
    Closed,
    /// The body failed.
    Body(E),
    /// The body is not as long as its head says.
    Length,
}

/// What is left to write: at any time `small`, then `data`, then `tail`.
#[derive(Debug)]
pub struct Sending<B> {
    /// The head, small parts, size lines of chunks, and trailers.
    small: BytesMut,
    data: Bytes,
    tail: &'static [u8],
    /// Where more data comes from; `None` once it has ended.
    body: Option<B>,
    framing: Framing,
    consumed: bool,
}

impl<B> Sending<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// A message with this encoded head. Nothing is written yet, so that the head goes out together with the start of the
    /// body.
    pub fn new(head: BytesMut, framing: Framing, body: Option<B>) -> Self {
        let body = body.filter(|_| framing != Framing::Empty);
        Self { small: head, data: Bytes::new(), tail: b"", body, framing, consumed: false }
    }

    /// Whether anything was taken from the body.
    pub fn consumed(&self) -> bool {
        self.consumed
    }

    /// The write buffer, once all of it is written.
    pub fn into_buffer(mut self) -> BytesMut {
        self.small.clear();
        self.small
    }

    /// Writes until everything is written and flushed, or until the connection or the body has to be waited for.
    pub fn poll<IO>(&mut self, cx: &mut Context<'_>, io: &mut IO) -> Poll<Result<(), Unsent<B::Error>>>
    where
        IO: AsyncWrite + Unpin,
    {
        loop {
            // A head waits for the start of its body; after that each part waits for what was taken before it.
            if self.is_written() || !self.consumed {
                while self.is_small() && self.small.len() < GATHERED && self.take_frame(cx)? {}
            }
            if self.is_written() {
                ready!(Pin::new(&mut *io).poll_flush(cx)).map_err(Unsent::Io)?;
                return if self.body.is_none() { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            let written = ready!(self.poll_write(cx, io)).map_err(Unsent::Io)?;
            if written == 0 {
                return Poll::Ready(Err(Unsent::Closed));
            }
            self.advance(written);
        }
    }

    fn is_written(&self) -> bool {
        self.small.is_empty() && self.is_small()
    }

    /// Whether all that is left is in one piece.
    fn is_small(&self) -> bool {
        self.data.is_empty() && self.tail.is_empty()
    }

    fn poll_write<IO>(&self, cx: &mut Context<'_>, io: &mut IO) -> Poll<io::Result<usize>>
    where
        IO: AsyncWrite + Unpin,
    {
        if self.is_small() {
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

    /// Takes a frame if the body has one ready; whether it had.
    fn take_frame(&mut self, cx: &mut Context<'_>) -> Result<bool, Unsent<B::Error>> {
        while let Some(body) = &mut self.body {
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    self.end(encode::BODY_END)?;
                    self.gather();
                }
                Poll::Ready(Some(Err(error))) => {
                    self.body = None;
                    return Err(Unsent::Body(error));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    self.consumed = true;
                    let data = match frame.into_data() {
                        Ok(data) if data.is_empty() => continue,
                        Ok(data) => data,
                        Err(frame) => {
                            if let Ok(trailers) = frame.into_trailers() {
                                self.take_trailers(&trailers)?;
                            }
                            continue;
                        }
                    };
                    let ended = body.is_end_stream();
                    self.take_data(data)?;
                    if ended {
                        self.end(encode::CHUNK_AND_BODY_END)?;
                    }
                    self.gather();
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn take_data(&mut self, data: Bytes) -> Result<(), Unsent<B::Error>> {
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Unsent::Length)?;
            }
            Framing::Chunked => {
                encode::chunk_size(&mut self.small, data.len());
                self.tail = encode::CHUNK_END;
            }
            Framing::Close => {}
            Framing::Empty => return Err(Unsent::Length),
        }
        self.data = data;
        Ok(())
    }

    /// Trailers are the end of a body. Where that is told otherwise than by chunks there is no room for them, and they are
    /// dropped.
    fn take_trailers(&mut self, trailers: &HeaderMap) -> Result<(), Unsent<B::Error>> {
        if self.framing != Framing::Chunked {
            return self.end(b"");
        }
        self.body = None;
        trailers::write(&mut self.small, trailers);
        Ok(())
    }

    /// Makes one piece of what is small.
    fn gather(&mut self) {
        if self.data.len() <= SMALL {
            self.small.extend_from_slice(&std::mem::take(&mut self.data));
            self.small.extend_from_slice(std::mem::take(&mut self.tail));
        }
    }

    /// The body has ended; `chunked_end` is what the chunked coding still owes.
    fn end(&mut self, chunked_end: &'static [u8]) -> Result<(), Unsent<B::Error>> {
        self.body = None;
        match self.framing {
            Framing::Length(0) | Framing::Empty | Framing::Close => Ok(()),
            Framing::Length(_) => Err(Unsent::Length),
            Framing::Chunked => {
                self.tail = chunked_end;
                Ok(())
            }
        }
    }
}
