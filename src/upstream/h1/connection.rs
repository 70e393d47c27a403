//! An HTTP/1.1 connection: its stream and its read buffer.

use super::head::{Head, HeadReader};
use crate::http::h1::input::Input;
use crate::http::h1::scratch::Scratch;
use crate::http::head::limits::HeadError;
use bytes::BytesMut;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection to an origin, between two exchanges.
#[derive(Debug)]
pub struct Connection<IO>(Box<Inner<IO>>);

/// The contents of a connection, boxed because a connection is moved several times in each exchange.
#[derive(Debug)]
struct Inner<IO> {
    io: IO,
    input: Input,
    reused: bool,
}

/// Takes a connection back after a response has ended cleanly.
pub trait Recycle<IO> {
    /// Called at most one time. If the connection cannot be used again, this value is dropped instead.
    fn recycle(self, connection: Connection<IO>);
}

impl<IO, F: FnOnce(Connection<IO>)> Recycle<IO> for F {
    fn recycle(self, connection: Connection<IO>) {
        self(connection);
    }
}

impl<IO> Connection<IO>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    /// Takes over a new connection, after the TLS handshake if there is one.
    pub fn new(io: IO, scratch: &Scratch) -> Self {
        Self(Box::new(Inner { io, input: Input::new(scratch), reused: false }))
    }

    /// Whether an idle connection is still open and silent. If any data has arrived, the origin disagrees with us
    /// about where the last message ended, and the connection must be dropped.
    ///
    /// While nothing has arrived, this makes no system call.
    pub fn is_usable(&mut self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.0.io).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    pub(super) fn is_reused(&self) -> bool {
        self.0.reused
    }

    pub(super) fn io(&self) -> &IO {
        &self.0.io
    }

    /// Whether everything that was read is used.
    pub(super) fn is_drained(&self) -> bool {
        self.0.input.is_empty()
    }

    pub(super) fn io_mut(&mut self) -> &mut IO {
        &mut self.0.io
    }

    pub(super) fn input(&mut self) -> &mut Input {
        &mut self.0.input
    }

    pub(super) fn decode_head(&mut self, reader: &mut HeadReader) -> Result<Option<Head>, HeadError> {
        if self.0.input.is_empty() { Ok(None) } else { reader.decode(self.0.input.buffer()) }
    }

    /// Reads one time, with room for at least `room` bytes. 0 is the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        let Inner { io, input, .. } = &mut *self.0;
        input.poll_fill(cx, io, room)
    }

    /// Returns the connection's stream, and the bytes that it has received beyond the last message.
    pub(super) fn into_parts(self) -> (IO, BytesMut) {
        (self.0.io, self.0.input.into_buffer())
    }

    pub(super) fn into_idle(mut self) -> Self {
        self.0.input.end_message();
        self.0.reused = true;
        self
    }
}
