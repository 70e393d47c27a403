//! What was read from a connection and not yet used. It takes memory only while there is something to read, of a size that
//! fits what the other side sends.

use super::scratch::{Scratch, Size};
use super::{MAX_READ_BYTES, READ_BYTES};
use crate::http::head::LineCache;
use bytes::BytesMut;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A read buffer. What is taken off its front may be kept: it is not copied.
#[derive(Debug)]
pub struct Input {
    scratch: Scratch,
    buf: BytesMut,
    size: Size,
    usual_room: usize,
    /// Bytes of the message under way.
    received: usize,
}

impl Input {
    /// An empty one.
    pub fn new(scratch: &Scratch) -> Self {
        Self {
            scratch: scratch.clone(),
            buf: BytesMut::new(),
            size: Size::Small,
            usual_room: READ_BYTES,
            received: 0,
        }
    }

    /// What is there.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buf
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// What is there, and the lines that came before.
    pub fn with_lines<T>(&mut self, run: impl FnOnce(&mut BytesMut, &mut LineCache) -> T) -> T {
        let Self { scratch, buf, .. } = self;
        scratch.with_lines(|lines| run(buf, lines))
    }

    /// An empty buffer to write a head into.
    pub fn write_buffer(&self) -> BytesMut {
        self.scratch.buffer(Size::Small)
    }

    /// Takes a spent write buffer as the read buffer, unless there is one already.
    pub fn lend(&mut self, mut buf: BytesMut) {
        if self.buf.capacity() == 0 {
            buf.clear();
            self.buf = buf;
        }
    }

    /// Takes a spent write buffer for whoever needs one next.
    pub fn keep(&self, buf: BytesMut) {
        self.scratch.keep(buf, Size::Small);
    }

    /// Room for the next read where nothing else is known: it doubles whenever a read filled all there was.
    pub fn usual_room(&self) -> usize {
        self.usual_room
    }

    /// Reads once, with room for at least `room` bytes. 0 is the end of the stream.
    pub fn poll_fill<IO>(&mut self, cx: &mut Context<'_>, io: &mut IO, room: usize) -> Poll<io::Result<usize>>
    where
        IO: AsyncRead + Unpin,
    {
        let Self { buf, size, usual_room, scratch, received } = self;
        if buf.is_empty() {
            if room > READ_BYTES && !buf.try_reclaim(room) {
                scratch.keep(std::mem::replace(buf, scratch.buffer(Size::Large)), *size);
                *size = Size::Large;
            } else if buf.capacity() == 0 {
                *buf = scratch.buffer(Size::Small);
            }
        }
        buf.reserve(room);
        let spare = buf.capacity() - buf.len();
        let Poll::Ready(read) = pin!(io.read_buf(buf)).poll(cx) else {
            if buf.is_empty() {
                // Whoever waits needs no memory for it.
                scratch.keep(std::mem::take(buf), *size);
                *size = Size::Small;
            }
            return Poll::Pending;
        };
        let read = read?;
        *received = received.saturating_add(read);
        if read == spare {
            *usual_room = (*usual_room * 2).min(MAX_READ_BYTES);
        }
        Poll::Ready(Ok(read))
    }

    /// Gives back the memory, if all that is there was used.
    pub fn rest(&mut self) {
        if self.buf.is_empty() && self.buf.capacity() > 0 {
            self.scratch.keep(std::mem::take(&mut self.buf), self.size);
            self.size = Size::Small;
        }
    }

    /// Nothing of what is there will be used.
    pub fn forget(&mut self) {
        self.buf.clear();
        self.rest();
    }

    /// A message has ended: what comes next is likely to be of the same kind.
    pub fn end_message(&mut self) {
        self.rest();
        let was_large = std::mem::take(&mut self.received) > READ_BYTES;
        self.usual_room = if was_large { MAX_READ_BYTES } else { READ_BYTES };
    }

    /// What is there, for whoever goes on with the connection.
    pub fn into_buffer(self) -> BytesMut {
        self.buf
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;
    use std::task::Waker;

    /// An input that has read these bytes, with room for as many as a large body has.
    fn filled(mut bytes: &[u8]) -> Input {
        let mut input = Input::new(&Scratch::default());
        let mut cx = Context::from_waker(Waker::noop());
        let room = MAX_READ_BYTES;
        assert!(matches!(input.poll_fill(&mut cx, &mut bytes, room), Poll::Ready(Ok(n)) if n > 0));
        assert!(input.buf.capacity() >= room);
        input
    }

    #[test]
    fn memory_is_given_back_when_all_is_used() {
        let mut input = filled(b"part");
        input.rest();
        assert_eq!(input.buffer(), "part");
        input.buffer().advance(4);
        input.rest();
        assert_eq!(input.buf.capacity(), 0);
        // Once more is nothing.
        input.rest();
        assert!(input.is_empty());
    }

    #[test]
    fn what_is_forgotten_takes_no_memory() {
        let mut input = filled(b"whatever");
        input.forget();
        assert!(input.is_empty());
        assert_eq!(input.buf.capacity(), 0);
    }

    #[test]
    fn whoever_waits_needs_no_memory() {
        let (mut near, _far) = tokio::io::duplex(8);
        let mut input = Input::new(&Scratch::default());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(input.poll_fill(&mut cx, &mut near, READ_BYTES).is_pending());
        assert_eq!(input.buf.capacity(), 0);
    }
}
