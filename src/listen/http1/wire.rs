//! The bytes of an HTTP/1.1 connection: heads and bodies of requests, in their order.

use super::request::{HeadLimits, Reader, Request};
use super::response;
use crate::http::h1::chunked::{ChunkedError, Decoded};
use crate::http::h1::decoder::BodyDecoder;
use crate::http::h1::input::Input;
use crate::http::h1::pipe::Pipe;
use crate::http::h1::scratch::Scratch;
use crate::http::head::ResponseHead;
use crate::http::head::limits;
use crate::listen::io::{Carrier, Io};
use crate::proxy::error::ProxyError;
use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The maximum number of unread bytes of a request body that are read and discarded, so that the connection can
/// serve another request.
const MAX_DISCARD: usize = 64 * 1024;

/// A client's connection.
#[derive(Debug)]
pub(super) struct Wire<S> {
    io: Io<S>,
    input: Input,
    reader: Reader,
    /// The body of the request in flight.
    body: BodyDecoder,
    /// Whether the client waits for 100.
    owes_continue: bool,
    /// Interim responses on their way to the client. One that was begun is completed before anything else is
    /// written.
    interim: BytesMut,
    /// Whether some interim responses are not written yet, or are held back by TLS.
    informs: bool,
}

/// Why there is no next request.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The client sent a request that is refused.
    #[error("the request is refused")]
    Refused(#[from] ProxyError),
}

/// Why the body of a request is incomplete.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The chunks are malformed, so the end of the body is unknown.
    #[error("the chunks are broken")]
    Chunked(#[from] ChunkedError),
    /// The client closed the connection.
    #[error("the connection ended")]
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(io: Io<S>, scratch: &Scratch) -> Self {
        let body = BodyDecoder::Length(0);
        Self {
            io,
            input: Input::new(scratch),
            reader: Reader::default(),
            body,
            owes_continue: false,
            interim: BytesMut::new(),
            informs: false,
        }
    }

    /// Reads the next request; `None` if the client has closed the connection.
    pub(super) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        limits: HeadLimits,
    ) -> Poll<Result<Option<Request>, Unread>> {
        loop {
            if !self.input.is_empty() {
                let reader = &mut self.reader;
                let request = reader.decode(self.input.buffer(), limits)?;
                if let Some(request) = request {
                    let HeadLimits { fields, bytes, .. } = limits;
                    self.body = BodyDecoder::new(request.framing, limits::HeadLimits { fields, bytes });
                    self.owes_continue = request.expects_continue;
                    return Poll::Ready(Ok(Some(request)));
                }
            }
            let room = self.input.usual_room();
            if ready!(self.input.poll_fill(cx, &mut self.io, room))? == 0 {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Whether the client has begun to send a request.
    pub(super) fn has_begun(&self) -> bool
    where
        S: Carrier,
    {
        !self.input.is_empty() || self.io.has_bytes()
    }

    /// Whether the kernel can move bytes to the client.
    pub(super) fn is_plain(&self) -> bool
    where
        S: Carrier,
    {
        self.io.is_plain()
    }

    /// Moves bytes from a pipe to the client, and returns how many.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>>
    where
        S: Carrier,
    {
        self.io.poll_drain(cx, pipe)
    }

    /// Whether bytes of the next request were read.
    pub(super) fn has_more(&self) -> bool {
        !self.input.is_empty()
    }

    /// Becomes ready when the client has gone away, as far as that can be detected. Bytes that the client sends
    /// ahead are not consumed.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.body.is_end() || !self.input.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.io.poll_first_bytes(cx)) {
            Ok(true) => Poll::Pending,
            Ok(false) | Err(_) => Poll::Ready(()),
        }
    }

    /// Reads the next part of the body. Between two parts the connection uses no memory for reading: the origin
    /// may be slow, and many clients are.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            match self.body.decode(self.input.buffer())? {
                Decoded::Data(data) => {
                    self.input.rest();
                    return Poll::Ready(Ok(Some(data)));
                }
                Decoded::End => return Poll::Ready(Ok(None)),
                Decoded::NeedMore => {
                    ready!(self.poll_continue(cx))?;
                    let room = self.body.room(self.input.usual_room());
                    if ready!(self.input.poll_fill(cx, &mut self.io, room))? == 0 {
                        return Poll::Ready(Err(Broken::Closed));
                    }
                }
            }
        }
    }

    /// Tells a client that waits for 100 to send the body. Interim responses in progress are written first.
    fn poll_continue(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.owes_continue) {
            self.interim.extend_from_slice(CONTINUE);
            self.informs = true;
        }
        self.poll_interim(cx)
    }

    /// Queues these interim responses.
    pub(super) fn inform(&mut self, heads: &[ResponseHead]) {
        for head in heads {
            response::encode_interim(&mut self.interim, head);
        }
        self.informs = true;
    }

    /// Writes the queued interim responses. Nothing else may be written before this is ready.
    pub(super) fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.informs {
            return Poll::Ready(Ok(()));
        }
        while !self.interim.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.interim))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.interim.advance(written),
            }
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        (self.interim, self.informs) = (BytesMut::new(), false);
        Poll::Ready(Ok(()))
    }

    /// Ends the request after its response was written. Returns whether the connection can serve another request.
    /// For that, the rest of the body is read as far as it has arrived.
    pub(super) fn end_request(&mut self, cx: &mut Context<'_>) -> bool {
        if self.owes_continue {
            // A client that waits for 100 may or may not send the body, so what it sends next is unknown.
            return false;
        }
        let mut left = MAX_DISCARD;
        while !self.body.is_end() {
            match self.poll_part(cx) {
                Poll::Ready(Ok(Some(part))) if part.len() <= left => left -= part.len(),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(_) | Poll::Pending => return false,
            }
        }
        self.body = BodyDecoder::Length(0);
        self.input.end_message();
        true
    }

    /// Returns an empty buffer to write a head into.
    pub(super) fn write_buffer(&self) -> BytesMut {
        self.input.write_buffer()
    }

    /// Returns the buffer for reuse.
    pub(super) fn keep(&self, buf: BytesMut) {
        self.input.keep(buf);
    }

    /// Signals that nothing more will be sent, and gives the client time to notice.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input.forget();
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Returns the connection itself, and the bytes received after the last message.
    pub(super) fn into_parts(self) -> (Io<S>, Bytes) {
        (self.io, self.input.into_buffer().freeze())
    }
}

/// The connection as its response is written, while the request's body may still be read elsewhere.
pub(super) struct Writing<'w, S>(pub(super) &'w RefCell<Wire<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Writing<'_, S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().io).poll_shutdown(cx)
    }
}

/// The body of the request in flight.
pub(super) struct RequestBody<S>(pub(super) Rc<RefCell<Wire<S>>>);

impl<S: AsyncRead + AsyncWrite + Unpin> Body for RequestBody<S> {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut wire = self.0.borrow_mut();
        let part = ready!(wire.poll_part(cx));
        let part = part.map(|part| part.map(Frame::data));
        let frame = part.map(|part| part.or_else(|| wire.body.take_trailers().map(Frame::trailers)));
        Poll::Ready(frame.map_err(Into::into).transpose())
    }

    fn is_end_stream(&self) -> bool {
        let body = &self.0.borrow().body;
        body.is_end() && !body.has_trailers()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().body.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
