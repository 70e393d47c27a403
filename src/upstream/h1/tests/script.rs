//! The other side of a connection and of a request body, controlled by a test.

use crate::http::h1::scratch::Scratch;
use crate::http::head::limits::HeadLimits;
use crate::http::head::{Headers, ResponseHead};
use crate::upstream::h1::{Connection, Exchange, Request, ResponseBody};
use crate::upstream::{Cause, ExchangeError};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body::{Body, Frame, SizeHint};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

thread_local! {
    /// The buffers of all exchanges of a test, as a worker has them for all of its exchanges.
    static SCRATCH: Scratch = Scratch::default();
}

/// Our side of the connection.
#[derive(Debug)]
pub struct Io(Rc<RefCell<Wire>>);

/// The origin's side.
#[derive(Clone, Debug)]
pub struct Origin(Rc<RefCell<Wire>>);

#[derive(Debug, Default)]
struct Wire {
    to_us: VecDeque<u8>,
    read_limit: usize,
    origin_closed: bool,
    reset: bool,
    from_us: Vec<u8>,
    writes: usize,
    /// The number of bytes that the origin still accepts.
    room: usize,
    we_closed: bool,
}

impl Origin {
    /// Creates a connection that delivers at most `read_limit` bytes at a time.
    pub fn connect(read_limit: usize) -> (Connection<Io>, Self) {
        let wire = Wire { read_limit, room: usize::MAX, ..Wire::default() };
        let wire = Rc::new(RefCell::new(wire));
        (SCRATCH.with(|scratch| Connection::new(Io(wire.clone()), scratch)), Self(wire))
    }

    pub fn say(&self, bytes: impl AsRef<[u8]>) {
        self.0.borrow_mut().to_us.extend(bytes.as_ref());
    }

    /// Ends the origin's output.
    pub fn close(&self) {
        self.0.borrow_mut().origin_closed = true;
    }

    /// Resets the connection: writing fails, and so does reading after the origin's output.
    pub fn reset(&self) {
        self.0.borrow_mut().reset = true;
    }

    /// Limits the number of bytes that the origin accepts.
    pub fn take(&self, room: usize) {
        self.0.borrow_mut().room = room;
    }

    /// Returns everything that the origin has received since the last call.
    pub fn heard(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.borrow_mut().from_us)).unwrap()
    }

    /// Returns the number of writes since the last call.
    pub fn writes(&self) -> usize {
        std::mem::take(&mut self.0.borrow_mut().writes)
    }

    /// Whether our side has closed the connection.
    pub fn is_closed(&self) -> bool {
        self.0.borrow().we_closed
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.0.borrow_mut().we_closed = true;
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.0.borrow_mut();
        if wire.to_us.is_empty() {
            return if wire.reset {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            } else if wire.origin_closed {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        }
        let length = wire.to_us.len().min(buf.remaining()).min(wire.read_limit);
        buf.put_slice(&wire.to_us.drain(..length).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.borrow_mut();
        if wire.reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let bytes = bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<_>>();
        let length = bytes.len().min(wire.room);
        if length == 0 {
            return Poll::Pending;
        }
        wire.room -= length;
        wire.writes += 1;
        wire.from_us.extend_from_slice(&bytes[..length]);
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A request body whose frames arrive when the test provides them.
#[derive(Clone, Debug, Default)]
pub struct Upload(Rc<RefCell<UploadState>>);

#[derive(Debug, Default)]
struct UploadState {
    frames: VecDeque<Result<Frame<Bytes>, io::Error>>,
    ended: bool,
    size: Option<u64>,
}

impl Upload {
    pub fn unsized_() -> Self {
        Self::default()
    }

    pub fn sized(size: u64) -> Self {
        let upload = Self::default();
        upload.0.borrow_mut().size = Some(size);
        upload
    }

    pub fn push(&self, data: &'static str) {
        self.0.borrow_mut().frames.push_back(Ok(Frame::data(Bytes::from_static(data.as_bytes()))));
    }

    pub fn push_trailers(&self, trailers: HeaderMap) {
        self.0.borrow_mut().frames.push_back(Ok(Frame::trailers(trailers)));
    }

    pub fn fail(&self) {
        self.0.borrow_mut().frames.push_back(Err(io::ErrorKind::UnexpectedEof.into()));
    }

    pub fn end(&self) {
        self.0.borrow_mut().ended = true;
    }

    /// Whether our client has dropped the body.
    pub fn is_dropped(&self) -> bool {
        Rc::strong_count(&self.0) == 1
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut state = self.0.borrow_mut();
        match state.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None if state.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.borrow();
        state.ended && state.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().size.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The pool to which connections return.
#[derive(Clone, Debug, Default)]
pub struct Pool(Rc<RefCell<Option<Connection<Io>>>>);

impl Pool {
    pub fn take(&self) -> Option<Connection<Io>> {
        self.0.borrow_mut().take()
    }
}

impl super::super::Recycle<Io> for Pool {
    fn recycle(self, connection: Connection<Io>) {
        assert!(self.0.borrow_mut().replace(connection).is_none(), "a connection came back twice");
    }
}

pub type TestExchange = Exchange<Io, Upload, Pool>;
pub type TestBody = ResponseBody<Io, Upload, Pool>;

/// Begins an exchange for `/`.
pub fn send(connection: Connection<Io>, method: &Method, body: Option<Upload>, pool: &Pool) -> TestExchange {
    let headers = Headers::from_iter([(header::HOST, HeaderValue::from_static("a.example"))]);
    let request = Request {
        method,
        target: b"/",
        headers: headers.lines(),
        body,
        limits: HeadLimits::default(),
        upgrade: false,
        interim: true,
    };
    connection.send(request, pool.clone()).unwrap()
}

pub fn poll(exchange: &mut TestExchange) -> Poll<Result<(ResponseHead, TestBody), ExchangeError>> {
    Pin::new(exchange).poll(&mut Context::from_waker(Waker::noop()))
}

/// Returns the result of an exchange that has nothing to wait for.
pub fn ready(exchange: &mut TestExchange) -> Result<(ResponseHead, TestBody), ExchangeError> {
    match poll(exchange) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("still waiting"),
    }
}

/// Appends the trailers to the data, one line each.
pub fn write_trailers(data: &mut Vec<u8>, trailers: &HeaderMap) {
    for (name, value) in trailers {
        data.extend_from_slice(format!("\n{name}: ").as_bytes());
        data.extend_from_slice(value.as_bytes());
    }
}

/// Returns the frames that a body has now, and its result, or `None` if more will follow.
pub fn read(body: &mut TestBody) -> (Vec<u8>, Option<Result<(), Cause>>) {
    let mut data = Vec::new();
    loop {
        match Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(part) => data.extend_from_slice(&part),
                Err(trailers) => write_trailers(&mut data, &trailers.into_trailers().unwrap()),
            },
            Poll::Ready(Some(Err(error))) => {
                assert!(body.is_end_stream(), "a body goes on after an error");
                return (data, Some(Err(error.cause)));
            }
            Poll::Ready(None) => return (data, Some(Ok(()))),
            Poll::Pending => return (data, None),
        }
    }
}
