//! What comes in on a connection, before hyper reads it: each head is judged by the rules of the data plane, and what they refuse
//! is refused here (RFC 9112 §2.2, §3.2, §6.3). Besides, no line may end with a lone LF: who sends one is no client of an API.
//!
//! A head that was judged goes on as it is. In the place of one that is refused goes a request for nothing, whose verdict says
//! why: so the refusal is written where it belongs, after the answers to all that came before.

use crate::config::Limits;
use crate::http::h1::chunked::{ChunkedError, Decoded};
use crate::http::h1::decoder::BodyDecoder;
use crate::http::head::LineCache;
use crate::http::head::limits;
use crate::listen::http1::request::{HeadLimits, Reader};
use crate::proxy::error::ProxyError;
use crate::proxy::fields::KeyFields;
use crate::proxy::inbound;
use bytes::{Buf, BytesMut};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Of a head.
pub(super) const HEADS: HeadLimits = HeadLimits { fields: 64, bytes: 32 << 10, target: 8 << 10 };
/// Read at once.
const READ: usize = 8 << 10;
/// By then it shows whether it is a request at all.
const BEGINNING: usize = 32;
/// Goes on instead of a head that is refused.
const NOTHING: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

static LIMITS: LazyLock<Limits> = LazyLock::new(|| Limits {
    request_headers: HEADS.fields,
    target_bytes: HEADS.target,
    ..Limits::default()
});

/// The host that a request is for, or why it is refused.
pub(super) type Verdict = Result<String, ProxyError>;

/// The verdicts on the heads that went on, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdicts(Arc<Mutex<VecDeque<Verdict>>>);

impl Verdicts {
    /// That on the next request.
    pub(super) fn next(&self) -> Option<Verdict> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn push(&self, verdict: Verdict) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(verdict);
    }
}

/// A connection whose requests are judged.
#[derive(Debug)]
pub(super) struct Strict<S> {
    stream: S,
    verdicts: Verdicts,
    /// Not judged yet.
    input: BytesMut,
    /// To go on.
    judged: BytesMut,
    place: Reading,
}

/// Where in the requests it is.
#[derive(Debug)]
enum Reading {
    /// In a head; so many bytes of it are known to have no end in them.
    Head(usize),
    /// In a body.
    Body(BodyDecoder),
    /// Behind what was refused.
    Refused,
}

impl<S> Strict<S> {
    pub(super) fn new(stream: S, verdicts: Verdicts) -> Self {
        let (input, judged) = (BytesMut::new(), BytesMut::new());
        Self { stream, verdicts, input, judged, place: Reading::Head(0) }
    }

    /// Judges what is there, until something can go on or more is needed.
    fn judge(&mut self) -> io::Result<()> {
        while self.judged.is_empty() && !self.input.is_empty() {
            match &mut self.place {
                Reading::Head(searched) => match head(&mut self.input, searched) {
                    Ok(None) => return Ok(()),
                    Ok(Some((head, host, body))) => {
                        self.verdicts.push(Ok(host));
                        (self.judged, self.place) = (head, Reading::Body(body));
                    }
                    Err(why) => {
                        self.verdicts.push(Err(why));
                        (self.judged, self.place) = (BytesMut::from(NOTHING), Reading::Refused);
                    }
                },
                Reading::Body(body) if body.is_end() => self.place = Reading::Head(0),
                Reading::Body(body) => {
                    let length = length(body, &self.input).map_err(io::Error::other)?;
                    self.judged = self.input.split_to(length);
                    if length == 0 {
                        return Ok(());
                    }
                }
                // Nobody wants it. It is read all the same: to close on unread bytes could take the answer with it.
                Reading::Refused => self.input.clear(),
            }
        }
        Ok(())
    }
}

/// A whole head, whom it is for, and how its body ends; none while it is not all there.
fn head(
    input: &mut BytesMut,
    searched: &mut usize,
) -> Result<Option<(BytesMut, String, BodyDecoder)>, ProxyError> {
    // RFC 9112 §2.2: some clients send an empty line after a body.
    while *searched == 0 && input.starts_with(b"\r\n") {
        input.advance(2);
    }
    if matches!(&input[..], b"" | b"\r") {
        return Ok(None);
    }
    if matches!(input[0], b'\r' | b'\n') {
        return Err(ProxyError::BadRequest("the request begins with half an empty line"));
    }
    let from = searched.saturating_sub(3);
    let end = memchr::memmem::find(&input[from..], b"\r\n\r\n").map(|at| from + at + 4);
    let mut ends = memchr::memchr_iter(b'\n', &input[from..end.unwrap_or(input.len())]).map(|at| from + at);
    if ends.any(|at| at == 0 || input[at - 1] != b'\r') {
        return Err(ProxyError::BadRequest("a line ends with a lone LF"));
    }
    if end.is_none() && *searched >= BEGINNING && input.len() < HEADS.bytes {
        *searched = input.len();
        return Ok(None);
    }
    let head = match end {
        Some(end) => input.split_to(end),
        None => input.clone(),
    };
    let mut rest = head.clone();
    let request = Reader::default().decode(&mut rest, HEADS, &mut LineCache::default())?;
    let request = match request {
        Some(request) if end.is_some() && rest.is_empty() => request,
        None if end.is_none() => {
            *searched = input.len();
            return Ok(None);
        }
        // Where the two disagree on the end of a head, nobody knows what the next one is.
        Some(_) | None => return Err(ProxyError::BadRequest("the head does not end where it seems to")),
    };
    let host = inbound::check(&request.head, &KeyFields::of(&request.head.headers), &LIMITS)?;
    let host = host.to_str().map_err(|_| ProxyError::BadRequest("the Host is not legal"))?.to_owned();
    let trailers = limits::HeadLimits { fields: HEADS.fields, bytes: HEADS.bytes };
    Ok(Some((head, host, BodyDecoder::new(request.framing, trailers))))
}

/// How many bytes of `input` are the body's.
fn length(body: &mut BodyDecoder, input: &BytesMut) -> Result<usize, ChunkedError> {
    let mut rest = input.clone();
    loop {
        match body.decode(&mut rest)? {
            Decoded::Data(_) => {}
            Decoded::NeedMore | Decoded::End => return Ok(input.len() - rest.len()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            this.judge()?;
            if !this.judged.is_empty() {
                let length = this.judged.len().min(buffer.remaining());
                buffer.put_slice(&this.judged.split_to(length));
                return Poll::Ready(Ok(()));
            }
            let mut space = [0; READ];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.input.extend_from_slice(read.filled());
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
