//! The head of a request: taken from the read buffer without copying values, and validated strictly (RFC 9112).
//!
//! Everything that decides where the message ends must mean the same to every reader. A CDN that finds the end of
//! a request elsewhere would treat the rest as another request (RFC 9112 §11.2). The content of a request is
//! checked later, in `proxy/inbound.rs`.

use crate::http::h1::framing::{Framing, Persistence, content_length};
use crate::http::head::read::{self, Refused};
use crate::http::head::{Known, Line, RequestHead};
use crate::proxy::error::ProxyError;
use crate::proxy::target;
use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Uri, Version};

/// A request whose body has not been read yet.
#[derive(Debug)]
pub struct Request {
    /// The request's head.
    pub head: RequestHead,
    /// The framing of the body; a length is never 0.
    pub framing: Framing,
    /// Whether the client may send another request on the connection.
    pub persistent: bool,
    /// Whether the client waits for 100 before it sends the body.
    pub expects_continue: bool,
}

/// The limits on a request head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// The number of field lines.
    pub fields: usize,
    /// The size of the whole head in bytes.
    pub bytes: usize,
    /// The size of the target in bytes. A longer target is not refused here if it is valid, but in `proxy/inbound.rs`.
    pub target: usize,
}

/// Waits for a complete head in a growing buffer.
#[derive(Debug, Default)]
pub struct Reader {
    /// The length of the part of the buffer in which no head ends.
    searched: usize,
}

impl Reader {
    /// Takes a head from the front of `buf`; returns `None` while the head is incomplete.
    ///
    /// # Errors
    ///
    /// Fails if the request must be refused. Nothing that follows on the connection can be trusted.
    pub fn decode(&mut self, buf: &mut BytesMut, limits: HeadLimits) -> Result<Option<Request>, ProxyError> {
        if matches!(buf.first(), Some(b'\r' | b'\n')) {
            skip_empty_lines(buf);
            self.searched = 0;
        }
        if self.searched > 0 && !read::may_have_ended(buf, self.searched) {
            return self.unfinished(buf, limits);
        }
        let Some((line, start)) = read::first_line(buf) else { return self.unfinished(buf, limits) };
        let Some((headers, length)) = read::fields(buf, start, limits.fields)? else {
            return self.unfinished(buf, limits);
        };
        if length > limits.bytes {
            return Err(too_large(buf, limits));
        }
        self.searched = 0;
        let (method, uri, version) = asked_for(&buf[line], limits)?;
        let headers = headers.with_text(buf.split_to(length).freeze());
        end(RequestHead { method, uri, version, headers }).map(Some)
    }

    fn unfinished(&mut self, buf: &[u8], limits: HeadLimits) -> Result<Option<Request>, ProxyError> {
        // Other data may never contain an empty line, and may be sent to harm a server that waits for one.
        if buf.iter().take(MAX_METHOD).any(|byte| !is_text(*byte)) {
            return Err(ProxyError::BadRequest("not a request"));
        }
        if buf.len() >= limits.bytes {
            return Err(too_large(buf, limits));
        }
        self.searched = buf.len();
        Ok(None)
    }
}

impl From<Refused> for ProxyError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooMany => Self::TooManyHeaders,
            Refused::Malformed(_) => Self::BadRequest("malformed header field"),
        }
    }
}

/// The number of bytes at the start within which the method must end.
const MAX_METHOD: usize = 32;

fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t' | 0x80..)
}

/// Skips empty lines before a request: some clients send one after a body (RFC 9112 §2.2).
fn skip_empty_lines(buf: &mut BytesMut) {
    let empty = buf.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    // A lone CR may be the first half of an empty line.
    let empty = if buf[..empty].ends_with(b"\r") { empty - 1 } else { empty };
    if empty > 0 {
        buf.advance(empty);
    }
}

fn too_large(buf: &[u8], limits: HeadLimits) -> ProxyError {
    let target = memchr::memchr(b'\n', buf).unwrap_or(buf.len());
    if target > limits.target + MAX_METHOD { ProxyError::TargetTooLong } else { ProxyError::HeadTooLarge }
}

/// Parses the first line.
fn asked_for(line: &[u8], limits: HeadLimits) -> Result<(Method, Uri, Version), ProxyError> {
    let (method, target, version) =
        request_line(line).ok_or(ProxyError::BadRequest("malformed request line"))?;
    let uri = target::of_http1(&method, Bytes::copy_from_slice(target)).ok_or(
        match target.len() > limits.target {
            true => ProxyError::TargetTooLong,
            false => ProxyError::BadRequest("malformed target"),
        },
    )?;
    Ok((method, uri, version))
}

/// Finds out where the request ends.
fn end(head: RequestHead) -> Result<Request, ProxyError> {
    let version = head.version;
    let mut semantics = Semantics::default();
    head.headers.among(Semantics::FIELDS).try_for_each(|line| semantics.note(line))?;
    let framing = semantics.framing(version)?;
    Ok(Request {
        persistent: semantics.persistence.holds(version),
        expects_continue: semantics.expects_continue
            && framing != Framing::Empty
            && version == Version::HTTP_11,
        framing,
        head,
    })
}

/// Parses `GET /path HTTP/1.1`, with one space between the parts.
fn request_line(line: &[u8]) -> Option<(Method, &[u8], Version)> {
    let version = match line.last_chunk::<9>()? {
        b" HTTP/1.1" => Version::HTTP_11,
        b" HTTP/1.0" => Version::HTTP_10,
        _ => return None,
    };
    let space = memchr::memchr(b' ', line)?;
    let target = line.get(space + 1..line.len() - 9)?;
    // A fragment is not part of a target (RFC 9112 §3.2). Servers that accepted one disagreed on the path
    // (CVE-2023-45539).
    if target.is_empty() || target.iter().any(|byte| matches!(byte, 0..=b' ' | b'#' | 0x7f)) {
        return None;
    }
    let method = match &line[..space] {
        b"GET" => Method::GET,
        other => Method::from_bytes(other).ok()?,
    };
    Some((method, target, version))
}

/// The fields that determine the end of the message and of the connection.
#[derive(Default)]
struct Semantics {
    length: Option<u64>,
    codings: Codings,
    persistence: Persistence,
    expects_continue: bool,
}

impl Semantics {
    /// [Bits](Known::bit) of the fields that are evaluated.
    const FIELDS: u64 = Known::Expect.bit()
        | Known::Connection.bit()
        | Known::ContentLength.bit()
        | Known::TransferEncoding.bit();

    fn note(&mut self, line: Line<'_>) -> Result<(), ProxyError> {
        let value = line.value().as_bytes();
        match line.known() {
            Known::Expect => self.expects_continue = value.eq_ignore_ascii_case(b"100-continue"),
            Known::Connection => self.persistence.note(value),
            Known::ContentLength => {
                let length = content_length(value);
                // Equal lengths count as one, as RFC 9112 §6.3 allows.
                if length.is_none() || self.length.is_some_and(|other| Some(other) != length) {
                    return Err(ProxyError::BadRequest("malformed Content-Length"));
                }
                self.length = length;
            }
            Known::TransferEncoding => self.codings = self.codings.and(value),
            _ => {}
        }
        Ok(())
    }

    fn framing(&self, version: Version) -> Result<Framing, ProxyError> {
        match (self.codings, self.length) {
            (Codings::None, None | Some(0)) => Ok(Framing::Empty),
            (Codings::None, Some(length)) => Ok(Framing::Length(length)),
            (_, Some(_)) => Err(ProxyError::BadRequest("Content-Length together with Transfer-Encoding")),
            _ if version == Version::HTTP_10 => {
                Err(ProxyError::BadRequest("Transfer-Encoding in an old version of HTTP"))
            }
            (Codings::Chunked, None) => Ok(Framing::Chunked),
            (Codings::ChunkedLast, None) => Err(ProxyError::TransferCoding),
            (Codings::Endless, None) => {
                Err(ProxyError::BadRequest("the last transfer coding is not chunked"))
            }
        }
    }
}

/// The transfer codings of a body (RFC 9112 §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Codings {
    #[default]
    None,
    /// Only `chunked`, one time.
    Chunked,
    /// Several codings, with `chunked` last.
    ChunkedLast,
    /// The last coding is not `chunked`, so the end of the body cannot be found.
    Endless,
}

impl Codings {
    /// Adds the codings of one more line.
    fn and(self, line: &[u8]) -> Self {
        let last = line.rsplit(|byte| *byte == b',').next().unwrap_or_default();
        if !last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            Self::Endless
        } else if self == Self::None && last.len() == line.len() {
            Self::Chunked
        } else {
            Self::ChunkedLast
        }
    }
}

#[cfg(test)]
mod tests;
