//! The byte stream of a connection to an origin, plain or with TLS.

use super::descriptors::Counted;
use super::tls::ALPN_HTTP2;
use crate::config::OriginProtocol;
use crate::http::h1::pipe::Pipe;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection to an origin.
#[derive(Debug)]
pub(super) struct Stream {
    bytes: Bytes,
    _counted: Option<Counted>,
}

#[derive(Debug)]
enum Bytes {
    Plain(TcpStream),
    /// Boxed so that plain streams stay small.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Creates a stream without TLS. `counted` counts it among the open connections as long as it exists.
    pub(super) fn plain(stream: TcpStream, counted: Option<Counted>) -> Self {
        Self { bytes: Bytes::Plain(stream), _counted: counted }
    }

    /// Creates a stream with TLS.
    pub(super) fn tls(stream: TlsStream<TcpStream>, counted: Option<Counted>) -> Self {
        Self { bytes: Bytes::Tls(Box::new(stream)), _counted: counted }
    }

    /// Whether the kernel can move the bytes of the connection into a pipe, which TLS prevents.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.bytes, Bytes::Plain(_))
    }

    /// Moves at most this many bytes that have arrived into an empty pipe. A result of 0 means the end of the stream.
    pub(super) fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        most: u64,
    ) -> Poll<io::Result<usize>> {
        let Bytes::Plain(stream) = &self.bytes else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_io(Interest::READABLE, || pipe.fill(stream, most)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                filled => return Poll::Ready(filled),
            }
        }
    }

    /// Whether the connection uses HTTP/2: with TLS if the origin chose it, and without TLS if it is `wanted`.
    pub(super) fn speaks_http2(&self, wanted: OriginProtocol) -> bool {
        match &self.bytes {
            Bytes::Plain(_) => wanted == OriginProtocol::Http2,
            Bytes::Tls(stream) => stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Bytes::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Bytes::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Bytes::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        // Both kinds of stream support vectored writes.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Bytes::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bytes {
            Bytes::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Bytes::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
