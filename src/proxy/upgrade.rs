//! Other protocols on a client's connection (RFC 9110 §7.8), WebSocket above all: asked for by the client, allowed by the
//! site, and begun by the origin's 101. Before that no byte of the client's reaches the origin, or it could be read there
//! as a request that nobody checked (CVE-2026-2833).

use super::key_fields::KeyFields;
use super::stream::Stream;
use crate::http::h1::framing::has_token;
use crate::http::head::{Headers, RequestHead};
use crate::http::timer::Patience;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Version, header};
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};

/// Of each direction.
const BUFFER: usize = 16 * 1024;

/// The protocol that a request asks for, where its site allows it. A wish that is not granted is not passed on; what is
/// left is an ordinary request.
pub(super) fn wanted<'h>(
    head: &RequestHead,
    fields: &KeyFields<'h>,
    allowed: &[String],
) -> Option<&'h HeaderValue> {
    let protocol = fields.upgrade.once()?;
    let is_allowed = |name: &String| protocol.as_bytes().eq_ignore_ascii_case(name.as_bytes());
    let has_body = fields.content_length.is_some_and(|length| length.as_bytes() != b"0")
        || fields.transfer_encoding != Default::default();
    let is_plain = head.version == Version::HTTP_11 && head.method == Method::GET && !has_body;
    (is_plain && has_upgrade(fields.connection()) && allowed.iter().any(is_allowed)).then_some(protocol)
}

/// Whether a 101 switches to the protocol that was asked for.
pub(super) fn is_granted(headers: &Headers, wanted: &HeaderValue) -> bool {
    let mut protocols = headers.get_all(&header::UPGRADE);
    let is_wanted = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(wanted.as_bytes());
    protocols.next().is_some_and(is_wanted)
        && protocols.next().is_none()
        && has_upgrade(headers.get_all(&header::CONNECTION))
}

fn has_upgrade<'h>(mut connection: impl Iterator<Item = &'h HeaderValue>) -> bool {
    connection.any(|line| has_token(line.as_bytes(), b"upgrade"))
}

/// An origin's connection after its 101.
#[derive(Debug)]
pub struct Tunnel {
    stream: Stream,
    /// What followed the 101 at once.
    early: Bytes,
    /// With both sides, while neither sends anything.
    patience: Patience,
}

impl Tunnel {
    pub(super) fn new(stream: Stream, early: BytesMut, patience: Patience) -> Self {
        Self { stream, early: early.freeze(), patience }
    }

    /// Carries bytes both ways until both sides have ended, or nothing has passed for as long as its patience lasts.
    /// `early` is what the client sent before it had the 101.
    pub async fn run<C>(self, mut client: C, early: Bytes) -> io::Result<()>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { stream, early: answered, mut patience } = self;
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
                patience.rewarded();
            }
            patience.poll_lost(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
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
    use crate::proxy::fixture;

    #[test]
    fn which_wishes_are_granted() {
        let check = |version: Version, method: &str, lines: &[(&str, &str)], expected: Option<&str>| {
            let head = fixture::request(version, method, "/", lines);
            let fields = KeyFields::of(&head.headers);
            let allowed = ["websocket".to_owned(), "x/1".to_owned()];
            let wanted = wanted(&head, &fields, &allowed).map(|value| value.to_str().unwrap());
            assert_eq!(wanted, expected, "{method} {lines:?}");
        };
        let asks = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        let with = |line| [&asks[..], &[line]].concat();
        check(Version::HTTP_11, "GET", &asks, Some("WebSocket"));
        check(Version::HTTP_11, "GET", &with(("content-length", "0")), Some("WebSocket"));
        check(Version::HTTP_11, "GET", &[("connection", "upgrade"), ("upgrade", "x/1")], Some("x/1"));
        check(Version::HTTP_10, "GET", &asks, None);
        check(Version::HTTP_2, "GET", &asks, None);
        check(Version::HTTP_11, "POST", &asks, None);
        check(Version::HTTP_11, "GET", &with(("content-length", "1")), None);
        check(Version::HTTP_11, "GET", &with(("transfer-encoding", "chunked")), None);
        check(Version::HTTP_11, "GET", &with(("upgrade", "websocket")), None);
        check(Version::HTTP_11, "GET", &asks[1..], None);
        check(Version::HTTP_11, "GET", &[("connection", "upgrade"), ("upgrade", "h2c")], None);
        check(Version::HTTP_11, "GET", &[("connection", "upgrade"), ("upgrade", "websocket, h2c")], None);
    }

    #[test]
    fn which_answers_grant_one() {
        let check = |lines: &[(&str, &str)], expected| {
            let wanted = HeaderValue::from_static("websocket");
            assert_eq!(is_granted(&fixture::headers(lines), &wanted), expected, "{lines:?}");
        };
        check(&[("connection", "Upgrade"), ("upgrade", "WebSocket")], true);
        check(&[("upgrade", "websocket")], false);
        check(&[("connection", "upgrade")], false);
        check(&[("connection", "upgrade"), ("upgrade", "h2c")], false);
        check(&[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")], false);
        check(&[("connection", "close"), ("upgrade", "websocket")], false);
    }
}
