//! Sending of a message: its head, then its body as it becomes available.

use super::framing::Framing;
use super::{encode, trailers};
use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// The maximum size of a part of a body that is copied behind the bytes before it. For small parts that costs less
/// than a second buffer does in the kernel and in TLS.
const SMALL: usize = 2 * 1024;
/// The number of bytes at which no more parts are gathered.
const GATHERED: usize = 8 * 1024;

/// The reason why a message was not sent completely.
#[derive(Debug)]
pub enum Unsent<E> {
    /// The connection failed.
    Io(io::Error),
    /// The connection accepts no more bytes.
    Closed,
    /// The body failed.
    Body(E),
    /// The length of the body differs from the one in its head.
    Length,
}

/// A message that is being sent. The bytes left to write are `small`, then `data`, then `tail`.
#[derive(Debug)]
pub struct Sending<B> {
    /// The head, small parts, size lines of chunks, and trailers.
    small: BytesMut,
    data: Bytes,
    tail: &'static [u8],
    /// The source of more data; `None` after it has ended.
    body: Option<B>,
    framing: Framing,
    consumed: bool,
}

impl<B> Sending<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// Creates a message with this encoded head. Nothing is written yet, so that the head goes out together with
    /// the start of the body.
    pub fn new(head: BytesMut, framing: Framing, body: Option<B>) -> Self {
        let body = body.filter(|_| framing != Framing::Empty);
        Self { small: head, data: Bytes::new(), tail: b"", body, framing, consumed: false }
    }

    /// Whether anything has been taken from the body.
    pub fn consumed(&self) -> bool {
        self.consumed
    }

    /// Returns the write buffer after all of it has been written.
    pub fn into_buffer(mut self) -> BytesMut {
        self.small.clear();
        self.small
    }

    /// Writes until everything is written and flushed, or until the connection or the body is not ready.
    pub fn poll<IO>(&mut self, cx: &mut Context<'_>, io: &mut IO) -> Poll<Result<(), Unsent<B::Error>>>
    where
        IO: AsyncWrite + Unpin,
    {
        self.poll_until(cx, io, |_| false)
    }

    /// Does the same, but takes no more from a body of known length once `stop` says so. Then everything taken before
    /// is written, and [`Self::body`] has the rest.
    pub fn poll_until<IO>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut IO,
        stop: impl Fn(&B) -> bool,
    ) -> Poll<Result<(), Unsent<B::Error>>>
    where
        IO: AsyncWrite + Unpin,
    {
        let stops =
            |this: &Self| matches!(this.framing, Framing::Length(_)) && this.body.as_ref().is_some_and(&stop);
        loop {
            // A head waits for the start of its body. After that, each part waits until the bytes taken before it
            // are written.
            if self.is_written() || !self.consumed {
                while self.is_small() && self.small.len() < GATHERED && !stops(self) && self.take_frame(cx)? {
                }
            }
            if self.is_written() && stops(self) {
                return Poll::Ready(Ok(()));
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

    /// The body, unless all of it was taken.
    pub fn body(&mut self) -> Option<&mut B> {
        self.body.as_mut()
    }

    /// Records that this many bytes of the body have left it by another way.
    ///
    /// # Errors
    /// Returns an error if the body has another length than its head says.
    pub fn note_spliced(&mut self, bytes: usize) -> Result<(), Unsent<B::Error>> {
        let Framing::Length(left) = &mut self.framing else { return Err(Unsent::Length) };
        *left = left.checked_sub(bytes as u64).ok_or(Unsent::Length)?;
        match self.body.as_ref().is_none_or(Body::is_end_stream) {
            true => self.end(b""),
            false => Ok(()),
        }
    }

    fn is_written(&self) -> bool {
        self.small.is_empty() && self.is_small()
    }

    /// Whether `small` is all that is left.
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

    /// Takes a frame of the body, and returns whether one was ready.
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

    /// Takes the trailers, with which a body ends. Only the chunked coding has room for trailers; with other
    /// framings they are dropped.
    fn take_trailers(&mut self, trailers: &HeaderMap) -> Result<(), Unsent<B::Error>> {
        if self.framing != Framing::Chunked {
            return self.end(b"");
        }
        self.body = None;
        trailers::write(&mut self.small, trailers);
        Ok(())
    }

    /// Copies small parts into one piece.
    fn gather(&mut self) {
        if self.data.len() <= SMALL {
            self.small.extend_from_slice(&std::mem::take(&mut self.data));
            self.small.extend_from_slice(std::mem::take(&mut self.tail));
        }
    }

    /// Ends the body. `chunked_end` is the rest of the chunked coding.
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
