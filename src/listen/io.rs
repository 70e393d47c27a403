//! A client connection's bytes, counted and noted on their way. The bytes that were read to tell the protocol
//! come first.

use super::watch::Watch;
use crate::metrics::shard::WorkerShard;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

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
    pub(super) async fn read(stream: &mut TcpStream) -> io::Result<(Self, bool)> {
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

/// A stream under watch.
#[derive(Debug)]
pub(super) struct Io<S> {
    stream: S,
    prefix: Prefix,
    given: u8,
    watch: Rc<Watch>,
    counters: Arc<WorkerShard>,
}

impl<S> Io<S> {
    pub(super) fn new(stream: S, prefix: Prefix, watch: Rc<Watch>, counters: Arc<WorkerShard>) -> Self {
        Self { stream, prefix, given: 0, watch, counters }
    }

    fn noted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(n)) => {
                self.watch.sent();
                self.counters.sent.add(*n as u64);
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
            std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        }
        let n = buf.filled().len() - before;
        if n > 0 {
            this.watch.received();
            this.counters.received.add(n as u64);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Io<S> {
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
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
