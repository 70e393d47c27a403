//! A client connection's byte stream, which counts bytes and reports them to the connection's watch. Bytes that
//! were read to detect the protocol are returned first.

use super::frames::Allowance;
use super::header_blocks::Malformed;
use super::socket::ClientSocket;
use super::watch::{Order, Watch};
use crate::http::h1::pipe::Pipe;
use crate::metrics::shard::{Limit, WorkerShard};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// The first bytes of HTTP/2 connections only: `PRI` is not a method (RFC 9113 §3.4).
const PREFACE: [u8; 4] = *b"PRI ";

/// The first bytes of a connection, as far as they were needed to detect its protocol.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prefix {
    bytes: [u8; PREFACE.len()],
    len: u8,
}

impl Prefix {
    /// Reads until it is clear whether this is HTTP/2. A connection that ends earlier is handled as HTTP/1.1.
    pub(super) async fn read(stream: &mut ClientSocket) -> io::Result<(Self, bool)> {
        let mut prefix = Self::default();
        loop {
            let len = usize::from(prefix.len);
            if prefix.bytes[..len] != PREFACE[..len] {
                return Ok((prefix, false));
            }
            if len == PREFACE.len() {
                return Ok((prefix, true));
            }
            match stream.read(&mut prefix.bytes[len..]).await? {
                0 => return Ok((prefix, false)),
                n => prefix.len += n as u8,
            }
        }
    }
}

/// A transport of a client's bytes.
pub(super) trait Carrier {
    /// Returns the socket below.
    fn socket(&self) -> &ClientSocket;

    /// Whether the bytes of the socket are those of the stream, which TLS prevents.
    fn is_plain(&self) -> bool;
}

impl Carrier for ClientSocket {
    fn socket(&self) -> &ClientSocket {
        self
    }

    fn is_plain(&self) -> bool {
        true
    }
}

impl Carrier for Box<TlsStream<ClientSocket>> {
    fn socket(&self) -> &ClientSocket {
        self.get_ref().0
    }

    fn is_plain(&self) -> bool {
        false
    }
}

/// How many bytes a client may still send after our last byte. A client that sends more is reset.
const PARTING_BYTES: usize = 1024 * 1024;

/// A stream under watch.
#[derive(Debug)]
pub(super) struct Io<S> {
    stream: S,
    prefix: Prefix,
    /// How many bytes of the prefix the reader has been given.
    given: u8,
    watch: Rc<Watch>,
    counters: Arc<WorkerShard>,
    /// The frame allowance of an HTTP/2 connection.
    allowance: Option<Box<Allowance>>,
    parting: Option<Parting>,
}

/// The state after our last byte was sent. Bytes that still come are read and discarded, so that they do not reset
/// the connection.
#[derive(Clone, Copy, Debug)]
struct Parting {
    left: usize,
}

impl<S> Io<S> {
    pub(super) fn new(stream: S, prefix: Prefix, watch: Rc<Watch>, counters: Arc<WorkerShard>) -> Self {
        Self { stream, prefix, given: 0, watch, counters, allowance: None, parting: None }
    }

    /// Waits for the client's next bytes without needing a buffer; they can then be read from here. Returns
    /// whether any came before the end.
    pub(super) fn poll_first_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>>
    where
        S: AsyncRead + Unpin,
    {
        if self.given < self.prefix.len {
            return Poll::Ready(Ok(true));
        }
        let mut buf = ReadBuf::new(&mut self.prefix.bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
        (self.prefix.len, self.given) = (buf.filled().len() as u8, 0);
        Poll::Ready(Ok(self.prefix.len > 0))
    }

    /// Whether the kernel can move bytes into the stream.
    pub(super) fn is_plain(&self) -> bool
    where
        S: Carrier,
    {
        self.stream.is_plain()
    }

    /// Moves bytes from a pipe into a plain stream, and returns how many.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>>
    where
        S: Carrier,
    {
        let drained = self.stream.socket().poll_drain(cx, pipe);
        self.noted(drained)
    }

    /// Whether bytes have arrived, even if no reader has been woken yet.
    pub(super) fn has_bytes(&self) -> bool
    where
        S: Carrier,
    {
        self.given < self.prefix.len || self.stream.socket().has_bytes()
    }

    /// Treats the bytes as HTTP/2 frames. `malformed` receives the malformed requests among them, and
    /// `header_bytes` is the size limit of a request head.
    pub(super) fn with_frames(mut self, malformed: Malformed, header_bytes: usize) -> Self {
        self.allowance = Some(Box::new(Allowance::noting(self.watch.now(), malformed, header_bytes)));
        self
    }

    /// Counts the frames among the received bytes.
    fn frames(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(allowance) = &mut self.allowance else { return Ok(()) };
        if !allowance.received(bytes, self.watch.now()) {
            self.counters.limited(Limit::Frames);
            self.watch.give(Order::Close);
            return Err(io::Error::other("more HTTP/2 control frames than are allowed"));
        }
        if allowance.has_begun() {
            self.watch.multiplexed();
        }
        Ok(())
    }

    fn noted(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(n)) => {
                self.watch.sent();
                self.counters.sent.add(*n as u64);
                if let Some(allowance) = &mut self.allowance {
                    allowance.sent(*n);
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.watch.stalled(),
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if this.given < this.prefix.len {
            let rest = &this.prefix.bytes[usize::from(this.given)..usize::from(this.prefix.len)];
            let n = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..n]);
            this.given += n as u8;
        } else {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        }
        let n = buf.filled().len() - before;
        if n > 0 {
            this.watch.received();
            this.counters.received.add(n as u64);
            this.frames(&buf.filled()[before..])?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Callers flush only after they have written everything, so with this flush all responses so far are written.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.watch.written();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let parting = match &mut this.parting {
            Some(parting) => parting,
            None => {
                match Pin::new(&mut this.stream).poll_shutdown(cx) {
                    Poll::Ready(result) => result?,
                    Poll::Pending => {
                        this.watch.stalled();
                        return Poll::Pending;
                    }
                }
                if !this.watch.parting() {
                    return Poll::Ready(Ok(()));
                }
                this.parting.insert(Parting { left: PARTING_BYTES })
            }
        };
        let mut bytes = [MaybeUninit::uninit(); 4096];
        while parting.left > 0 {
            let mut buf = ReadBuf::uninit(&mut bytes);
            // Both the client's own end and a broken connection end the loop.
            if ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty()
            {
                break;
            }
            parting.left = parting.left.saturating_sub(buf.filled().len());
        }
        parting.left = 0;
        Poll::Ready(Ok(()))
    }
}
