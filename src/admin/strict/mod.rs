//! Checks what comes in on a connection before hyper reads it. Each head is checked by the rules of the data
//! plane, and what these refuse is refused here (RFC 9112 §2.2, §3.2, §6.3). In addition, no line may end with a
//! lone LF: no API client sends that.
//!
//! An accepted head is passed on as it is. A refused head is replaced by an empty request, whose verdict holds the
//! reason. So the refusal is written in its proper place, after the answers to all earlier requests.

use crate::config::Limits;
use crate::http::h1::chunked::{ChunkedError, Decoded};
use crate::http::h1::decoder::BodyDecoder;
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

/// The limits of a head.
pub(super) const HEADS: HeadLimits = HeadLimits { fields: 64, bytes: 32 << 10, target: 8 << 10 };
/// The number of bytes that are read at once.
const READ: usize = 8 << 10;
/// The number of bytes that suffice to recognize that something is no request at all.
const BEGINNING: usize = 32;
/// The request that is passed on instead of a refused head.
const NOTHING: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

static LIMITS: LazyLock<Limits> = LazyLock::new(|| Limits {
    request_headers: HEADS.fields,
    target_bytes: HEADS.target,
    ..Limits::default()
});

/// The host that a request is for, or the reason for its refusal.
pub(super) type Verdict = Result<String, ProxyError>;

/// The verdicts on the heads that were passed on, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdicts(Arc<Mutex<VecDeque<Verdict>>>);

impl Verdicts {
    /// Returns the verdict on the next request.
    pub(super) fn next(&self) -> Option<Verdict> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn push(&self, verdict: Verdict) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(verdict);
    }
}

/// A connection whose requests are checked.
#[derive(Debug)]
pub(super) struct Strict<S> {
    stream: S,
    verdicts: Verdicts,
    /// Bytes that have not been checked yet.
    input: BytesMut,
    /// Bytes to be passed on.
    judged: BytesMut,
    place: Reading,
}

/// The position within the requests.
#[derive(Debug)]
enum Reading {
    /// Within a head, of which this number of bytes is known not to contain its end.
    Head(usize),
    /// Within a body.
    Body(BodyDecoder),
    /// Behind a refused head.
    Refused,
}

impl<S> Strict<S> {
    pub(super) fn new(stream: S, verdicts: Verdicts) -> Self {
        let (input, judged) = (BytesMut::new(), BytesMut::new());
        Self { stream, verdicts, input, judged, place: Reading::Head(0) }
    }

    /// Checks the available input, until something can be passed on or more is needed.
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
                // Nothing uses this input. It is read all the same, because closing a connection with unread bytes
                // could destroy the answer.
                Reading::Refused => self.input.clear(),
            }
        }
        Ok(())
    }
}

/// Returns a whole head, its host, and the decoder of its body, or `None` while the head is incomplete.
fn head(
    input: &mut BytesMut,
    searched: &mut usize,
) -> Result<Option<(BytesMut, String, BodyDecoder)>, ProxyError> {
    // Some clients send an empty line after a body (RFC 9112 §2.2).
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
    let request = Reader::default().decode(&mut rest, HEADS)?;
    let request = match request {
        Some(request) if end.is_some() && rest.is_empty() => request,
        None if end.is_none() => {
            *searched = input.len();
            return Ok(None);
        }
        // If the two disagree on the end of a head, the start of the next one is unknown.
        Some(_) | None => return Err(ProxyError::BadRequest("the head does not end where it seems to")),
    };
    let host = inbound::check(&request.head, &KeyFields::of(&request.head.headers), &LIMITS)?;
    let host = host.to_str().ok_or(ProxyError::BadRequest("the Host is not legal"))?.to_owned();
    let trailers = limits::HeadLimits { fields: HEADS.fields, bytes: HEADS.bytes };
    Ok(Some((head, host, BodyDecoder::new(request.framing, trailers))))
}

/// Returns the number of bytes of `input` that belong to the body.
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
