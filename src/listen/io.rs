//! A client connection's bytes, counted and noted on their way. The bytes that were read to tell the protocol
//! come first.

use super::frames::Allowance;
use super::header_blocks::Malformed;
use super::socket::ClientSocket;
use super::watch::{Order, Watch};
use crate::metrics::shard::{Limit, WorkerShard};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

/// What only HTTP/2 connections begin with: `PRI` is no method (RFC 9113 §3.4).
const PREFACE: [u8; 4] = *b"PRI ";

/// The first bytes of a connection, as far as they were needed to tell its protocol.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Prefix {
    bytes: [u8; PREFACE.len()],
    len: u8,
}

impl Prefix {
    /// Reads until it is clear whether this is HTTP/2. A connection that ends before is HTTP/1.1's to judge.
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

/// What carries a client's bytes.
pub(super) trait Carrier {
    /// The connection below.
    fn socket(&self) -> &ClientSocket;
}

impl Carrier for ClientSocket {
    fn socket(&self) -> &ClientSocket {
        self
    }
}

impl Carrier for Box<TlsStream<ClientSocket>> {
    fn socket(&self) -> &ClientSocket {
        self.get_ref().0
    }
}

/// What a client may still send after our last byte; whoever sends more is reset.
const PARTING_BYTES: usize = 1024 * 1024;

/// A stream under watch.
#[derive(Debug)]
pub(super) struct Io<S> {
    stream: S,
    prefix: Prefix,
    given: u8,
    watch: Rc<Watch>,
    counters: Arc<WorkerShard>,
    /// Of an HTTP/2 connection.
    allowance: Option<Box<Allowance>>,
    parting: Option<Parting>,
}

/// Our last byte is sent: what still comes is read and forgotten, so that it does not reset the connection.
#[derive(Clone, Copy, Debug)]
struct Parting {
    left: usize,
}

impl<S> Io<S> {
    pub(super) fn new(stream: S, prefix: Prefix, watch: Rc<Watch>, counters: Arc<WorkerShard>) -> Self {
        Self { stream, prefix, given: 0, watch, counters, allowance: None, parting: None }
    }

    /// Waits for the client's next bytes, to be read again from here; whether there are any before the end. Needs no buffer.
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

    /// Whether bytes have arrived, even if nobody has been told yet.
    pub(super) fn has_bytes(&self) -> bool
    where
        S: Carrier,
    {
        self.given < self.prefix.len || self.stream.socket().has_bytes()
    }

    /// The same, whose bytes are HTTP/2 frames. `malformed` learns which requests among them are, and `header_bytes` is what
    /// the head of one may have.
    pub(super) fn with_frames(mut self, malformed: Malformed, header_bytes: usize) -> Self {
        self.allowance = Some(Box::new(Allowance::noting(self.watch.now(), malformed, header_bytes)));
        self
    }

    /// Counts frames among the bytes that came.
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
        // Asked for once what is handed over has been passed on to the stream.
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
            // The client's own end, or a broken connection: both are the end.
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
