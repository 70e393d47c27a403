//! Bytes that were read from a connection and are not yet used. The buffer takes memory only while there is
//! something to read, and its size fits what the peer sends.

use super::scratch::{Scratch, Size};
use super::{MAX_READ_BYTES, READ_BYTES};
use bytes::BytesMut;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A read buffer. Slices taken off its front may be kept, because they are not copied.
#[derive(Debug)]
pub struct Input {
    scratch: Scratch,
    buf: BytesMut,
    size: Size,
    usual_room: usize,
    /// Bytes received so far of the current message.
    received: usize,
    /// Whether the kernel moved a part of the current message past this buffer.
    was_spliced: bool,
}

impl Input {
    /// Creates an empty input.
    pub fn new(scratch: &Scratch) -> Self {
        Self {
            scratch: scratch.clone(),
            buf: BytesMut::new(),
            size: Size::Small,
            usual_room: READ_BYTES,
            received: 0,
            was_spliced: false,
        }
    }

    /// Returns the unused bytes.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buf
    }

    /// Whether there are no unused bytes.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Returns an empty buffer to write a head into.
    pub fn write_buffer(&self) -> BytesMut {
        self.scratch.buffer(Size::Small)
    }

    /// Uses a spent write buffer as the read buffer, unless there already is one.
    pub fn lend(&mut self, mut buf: BytesMut) {
        if self.buf.capacity() == 0 {
            buf.clear();
            self.buf = buf;
        }
    }

    /// Keeps a spent write buffer for the next use.
    pub fn keep(&self, buf: BytesMut) {
        self.scratch.keep(buf, Size::Small);
    }

    /// The room for the next read if nothing else is known. It doubles whenever a read fills all of it.
    pub fn usual_room(&self) -> usize {
        self.usual_room
    }

    /// Reads one time, with room for at least `room` bytes. A result of 0 means the end of the stream.
    pub fn poll_fill<IO>(&mut self, cx: &mut Context<'_>, io: &mut IO, room: usize) -> Poll<io::Result<usize>>
    where
        IO: AsyncRead + Unpin,
    {
        let Self { buf, size, usual_room, scratch, received, .. } = self;
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
                // A connection that waits needs no memory.
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

    /// Gives back the memory if there are no unused bytes.
    pub fn rest(&mut self) {
        if self.buf.is_empty() && self.buf.capacity() > 0 {
            self.scratch.keep(std::mem::take(&mut self.buf), self.size);
            self.size = Size::Small;
        }
    }

    /// Discards the unused bytes.
    pub fn forget(&mut self) {
        self.buf.clear();
        self.rest();
    }

    /// Records that the kernel moved a part of the current message past this buffer. The less of the next one is read
    /// together with its head, the more can be moved, too.
    pub fn note_spliced(&mut self) {
        self.was_spliced = true;
    }

    /// Ends a message. The next one is likely to have a similar size.
    pub fn end_message(&mut self) {
        self.rest();
        let was_large = std::mem::take(&mut self.received) > READ_BYTES;
        let is_read = was_large && !std::mem::take(&mut self.was_spliced);
        self.usual_room = if is_read { MAX_READ_BYTES } else { READ_BYTES };
    }

    /// Returns the unused bytes to the code that takes over the connection.
    pub fn into_buffer(self) -> BytesMut {
        self.buf
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;
    use std::task::Waker;

    /// Returns an input that has read these bytes, with the room that a large body gets.
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
        // Another call does nothing.
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
