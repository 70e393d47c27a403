//! A connection to an origin after a 101. It no longer carries HTTP, so its bytes are forwarded unchanged (RFC
//! 9110 §7.8).

use super::stream::Stream;
use crate::http::h1::framing::has_token;
use crate::http::head::{Headers, Value};
use crate::http::timer::IdleTimeout;
use bytes::{Bytes, BytesMut};
use http::header;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};

/// The size of the buffer of each direction, in bytes.
const BUFFER: usize = 16 * 1024;

/// Whether a 101 switches to the protocol that was requested.
pub(super) fn is_granted(headers: &Headers, wanted: Value<'_>) -> bool {
    let mut protocols = headers.get_all(&header::UPGRADE);
    let is_wanted = |value: Value<'_>| value.as_bytes().eq_ignore_ascii_case(wanted.as_bytes());
    protocols.next().is_some_and(is_wanted)
        && protocols.next().is_none()
        && has_upgrade(headers.get_all(&header::CONNECTION))
}

/// Whether one of these `Connection` fields has the option `upgrade`.
pub fn has_upgrade<'h>(mut connection: impl Iterator<Item = Value<'h>>) -> bool {
    connection.any(|line| has_token(line.as_bytes(), b"upgrade"))
}

/// An origin's connection after its 101.
#[derive(Debug)]
pub struct Tunnel {
    stream: Stream,
    /// The bytes that followed the 101 immediately.
    early: Bytes,
    /// Ends the tunnel if neither side sends anything for so long.
    idle_timeout: IdleTimeout,
}

impl Tunnel {
    pub(super) fn new(stream: Stream, early: BytesMut, idle_timeout: IdleTimeout) -> Self {
        Self { stream, early: early.freeze(), idle_timeout }
    }

    /// Carries bytes both ways until both sides have ended, or until no byte has passed for the whole idle
    /// timeout. `early` holds the bytes that the client sent before it received the 101.
    pub async fn run<C>(self, mut client: C, early: Bytes) -> io::Result<()>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { stream, early: answered, mut idle_timeout } = self;
        let moved = Cell::new(0);
        let mut origin = Noted { stream, moved: &moved };
        let mut exchange = pin!(async {
            client.write_all(&answered).await?;
            client.flush().await?;
            origin.write_all(&early).await?;
            copy_bidirectional_with_sizes(&mut client, &mut origin, BUFFER, BUFFER).await
        });
        let mut seen = 0;
        poll_fn(|cx| {
            if let Poll::Ready(ended) = exchange.as_mut().poll(cx) {
                return Poll::Ready(ended.map(|_| ()));
            }
            if moved.get() != seen {
                seen = moved.get();
                idle_timeout.reset();
            }
            idle_timeout.poll_expired(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }
}

/// A stream whose reads and writes are counted.
struct Noted<'m> {
    stream: Stream,
    moved: &'m Cell<u64>,
}

impl Noted<'_> {
    fn noted<T>(&self, result: Poll<T>) -> Poll<T> {
        self.moved.set(self.moved.get() + u64::from(result.is_ready()));
        result
    }
}

impl AsyncRead for Noted<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.noted(read)
    }
}

impl AsyncWrite for Noted<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.noted(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::fixture;

    #[test]
    fn which_answers_grant_one() {
        let check = |lines: &[(&str, &str)], expected| {
            let wanted = fixture::headers(&[("upgrade", "websocket")]);
            let wanted = wanted.get(&header::UPGRADE).unwrap();
            assert_eq!(is_granted(&fixture::headers(lines), wanted), expected, "{lines:?}");
        };
        check(&[("connection", "Upgrade"), ("upgrade", "WebSocket")], true);
        check(&[("upgrade", "websocket")], false);
        check(&[("connection", "upgrade")], false);
        check(&[("connection", "upgrade"), ("upgrade", "h2c")], false);
        check(&[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")], false);
        check(&[("connection", "close"), ("upgrade", "websocket")], false);
    }
}
