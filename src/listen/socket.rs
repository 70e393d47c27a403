//! A client's socket. Its send queue can be queried by code that waits for a response to arrive, even when the
//! client is no longer served: the kernel delivers what it was given, however long the client takes.

use super::acknowledged;
use crate::guard::in_flight::outlet::{Outlet, Queue, Sent};
use crate::http::h1::pipe::Pipe;
use crate::proxy::Worker;
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The socket as the task that serves the client uses it.
#[derive(Debug)]
pub(super) struct ClientSocket {
    kept: Rc<Kept>,
    outlet: Rc<Outlet>,
    worker: Rc<Worker>,
}

/// The socket as queries use it.
#[derive(Debug)]
struct Kept {
    /// The connection; `None` after it was closed.
    stream: RefCell<Option<TcpStream>>,
    /// The number of bytes that the kernel was given.
    given: Cell<u64>,
    /// The last known state before the close.
    last: Cell<Option<Sent>>,
}

impl ClientSocket {
    /// Wraps a client's connection. `write_timeout` is the longest time for which the client may accept no bytes.
    pub(super) fn new(stream: TcpStream, worker: &Rc<Worker>, write_timeout: Duration) -> Self {
        let stream = RefCell::new(Some(stream));
        let kept = Rc::new(Kept { stream, given: Cell::new(0), last: Cell::new(None) });
        let idle_timeout_ms = i64::try_from(write_timeout.as_millis()).unwrap_or(i64::MAX);
        let outlet = Outlet::new(Rc::clone(&kept) as Rc<dyn Queue>, idle_timeout_ms);
        Self { kept, outlet, worker: Rc::clone(worker) }
    }

    /// Returns the outlet through which responses leave.
    pub(super) fn outlet(&self) -> Rc<Outlet> {
        Rc::clone(&self.outlet)
    }

    /// Moves bytes from a pipe into the send queue, and returns how many.
    pub(super) fn poll_drain(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        self.kept.write(|stream| {
            loop {
                ready!(stream.poll_write_ready(cx))?;
                match stream.try_io(Interest::WRITABLE, || pipe.drain(&*stream)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    drained => return Poll::Ready(drained),
                }
            }
        })
    }

    /// Reads without consuming.
    pub(super) async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| match &*self.kept.stream.borrow() {
            Some(stream) => stream.poll_peek(cx, &mut ReadBuf::new(bytes)),
            None => Poll::Ready(Ok(0)),
        })
        .await
    }

    /// Whether bytes have arrived, even if no reader has been woken yet.
    pub(super) fn has_bytes(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let stream = self.kept.stream.borrow();
        stream.as_ref().is_some_and(|stream| SockRef::from(stream).peek(&mut byte).is_ok_and(|n| n > 0))
    }
}

impl Drop for ClientSocket {
    fn drop(&mut self) {
        self.worker.in_flight.let_go(&self.outlet, self.worker.time.now_ms());
    }
}

impl Kept {
    fn with<T>(&self, poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *self.stream.borrow_mut() {
            Some(stream) => poll(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn write(
        &self,
        poll: impl FnOnce(Pin<&mut TcpStream>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = self.with(poll);
        if let Poll::Ready(Ok(n)) = &written {
            self.given.set(self.given.get() + *n as u64);
        }
        written
    }
}

impl Queue for Kept {
    fn given(&self) -> u64 {
        self.given.get()
    }

    fn ask(&self) -> Option<Sent> {
        match &*self.stream.borrow() {
            Some(_) if self.given.get() == 0 => Some(Sent { acknowledged: 0, quiet_ms: 0, over: false }),
            Some(stream) => acknowledged::ask(stream.as_fd()),
            None => self.last.get(),
        }
    }

    fn finish(&self) {
        if let Some(stream) = &*self.stream.borrow() {
            // The shutdown fails only if the client is already gone, so the error is ignored.
            let _ = SockRef::from(stream).shutdown(Shutdown::Write);
        }
    }

    fn close(&self, aborted: bool) {
        let Some(stream) = self.stream.take() else { return };
        if aborted {
            let known = acknowledged::ask(stream.as_fd());
            self.last.set(known.map(|sent| Sent { quiet_ms: 0, over: true, ..sent }));
            // With a linger time of zero the kernel discards what it has, and the client sees a broken connection.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        } else {
            // Everything relevant has been delivered, or there was nothing.
            self.last.set(Some(Sent { acknowledged: self.given.get(), quiet_ms: 0, over: true }));
        }
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.kept.with(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.kept.write(|stream| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.kept.write(|stream| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // This socket holds nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.kept.with(|stream| stream.poll_shutdown(cx))
    }
}
