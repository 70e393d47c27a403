//! The head of a response: taken from the read buffer without copying values, and checked strictly (RFC 9112).
//!
//! The fields that define where a message ends must have one meaning. Otherwise a response could be mistaken for
//! that of the next request. Everything else stays as the origin sent it. Hop-by-hop fields are removed elsewhere.

use crate::http::h1::framing::{Framing, Persistence, content_length};
use crate::http::head::limits::{HeadError, HeadLimits, MAX_HEAD_BYTES, MAX_HEADERS, MAX_INTERIM};
use crate::http::head::read::{self, Refused};
use crate::http::head::{Headers, Known, Line, ResponseHead};
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, Version};

/// The beginning of every response.
const VERSION: &[u8] = b"HTTP/1.";

/// The head of a final response.
#[derive(Debug)]
pub struct Head {
    /// The status, from 200 to 599, or 101.
    pub status: StatusCode,
    /// The origin's version, HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Every field line.
    pub headers: Headers,
    /// The reason phrase, if it is not the usual one.
    pub reason: Option<Bytes>,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the origin lets the connection be used again after the body.
    pub persistent: bool,
}

/// Waits for the final response in a growing buffer, and keeps interim ones if they are wanted.
#[derive(Debug)]
pub struct HeadReader {
    to_head: bool,
    upgradable: bool,
    limits: HeadLimits,
    /// The number of bytes at the start of the buffer in which no head ends.
    scanned: usize,
    interim: u8,
    interim_bytes: usize,
    keeps_interim: bool,
    kept: Vec<ResponseHead>,
}

impl HeadReader {
    /// Creates the reader for the response to a request with this method.
    pub fn new(method: &Method, limits: HeadLimits) -> Self {
        let limits =
            HeadLimits { fields: limits.fields.min(MAX_HEADERS), bytes: limits.bytes.min(MAX_HEAD_BYTES) };
        Self {
            to_head: *method == Method::HEAD,
            upgradable: false,
            limits,
            scanned: 0,
            interim: 0,
            interim_bytes: 0,
            keeps_interim: false,
            kept: Vec::new(),
        }
    }

    /// Sets whether 101 is allowed as the answer.
    pub fn upgradable(self, upgradable: bool) -> Self {
        Self { upgradable, ..self }
    }

    /// Sets whether interim responses are kept.
    pub fn keeping_interim(self, keeps_interim: bool) -> Self {
        Self { keeps_interim, ..self }
    }

    /// Returns the limits of this head, which apply to trailers as well.
    pub fn limits(&self) -> HeadLimits {
        self.limits
    }

    /// Whether interim responses have arrived that were not taken.
    pub fn has_interim(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Returns the interim responses that have arrived since the last call. 100 is not among them, because it
    /// answers an expectation, and we forward none (RFC 9110 §10.1.1).
    pub fn take_interim(&mut self) -> Vec<ResponseHead> {
        std::mem::take(&mut self.kept)
    }

    /// Takes the final head from the front of `buf`. Returns `None` while it is incomplete.
    ///
    /// # Errors
    /// Returns an error if the connection cannot be trusted any more.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Head>, HeadError> {
        while self.may_be_complete(buf) {
            // Input that is not HTTP may never contain an empty line.
            if !buf.iter().zip(VERSION).all(|(byte, expected)| byte == expected) {
                return Err(HeadError::StatusLine);
            }
            let Some((line, start)) = read::first_line(buf) else { break };
            let (version, status, reason) = status_line(&buf[line])?;
            let Some((headers, length)) = read::fields(buf, start, self.limits.fields)? else { break };
            if self.interim_bytes + length > self.limits.bytes {
                return Err(HeadError::TooLarge);
            }
            let headers = headers.with_text(buf.split_to(length).freeze());
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                let head = ResponseHead { status, reason, headers };
                return self.end(version, head).map(Some);
            }
            if self.keeps_interim && status != StatusCode::CONTINUE {
                self.kept.push(ResponseHead { status, reason, headers });
            }
            self.scanned = 0;
            self.interim_bytes += length;
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(HeadError::TooManyInterim);
            }
        }
        self.scanned = buf.len();
        if self.interim_bytes + buf.len() >= self.limits.bytes {
            return Err(HeadError::TooLarge);
        }
        Ok(None)
    }

    fn may_be_complete(&self, buf: &[u8]) -> bool {
        if self.scanned < VERSION.len() { !buf.is_empty() } else { read::may_have_ended(buf, self.scanned) }
    }

    /// Finds out where the body of the final response ends.
    fn end(&self, version: Version, head: ResponseHead) -> Result<Head, HeadError> {
        let ResponseHead { status, reason, headers } = head;
        if status == StatusCode::SWITCHING_PROTOCOLS && !self.upgradable {
            return Err(HeadError::Upgrade);
        }
        let mut semantics = Semantics::default();
        headers.among(Semantics::FIELDS).try_for_each(|line| semantics.note(line))?;
        let framing = semantics.framing(status, version, self.to_head)?;
        let persistent = semantics.persistence.holds(version);
        Ok(Head { status, version, headers, reason, framing, persistent })
    }
}

impl From<Refused> for HeadError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooMany => Self::TooManyHeaders,
            Refused::Malformed(number) => Self::Field(number),
        }
    }
}

/// Parses `HTTP/1.1 200 OK`. The reason and the space before it may be absent.
fn status_line(line: &[u8]) -> Result<(Version, StatusCode, Option<Bytes>), HeadError> {
    let rest = line.strip_prefix(VERSION).ok_or(HeadError::StatusLine)?;
    let [minor @ (b'0' | b'1'), b' ', hundreds, tens, ones, rest @ ..] = rest else {
        return Err(HeadError::StatusLine);
    };
    let code = [hundreds, tens, ones]
        .into_iter()
        .try_fold(0, |code, digit| digit.is_ascii_digit().then(|| code * 10 + u16::from(digit - b'0')));
    let code = code.ok_or(HeadError::StatusLine)?;
    let reason = match rest {
        [] => rest,
        [b' ', reason @ ..] => reason,
        _ => return Err(HeadError::StatusLine),
    };
    if !reason.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..)) {
        return Err(HeadError::StatusLine);
    }
    let status = match StatusCode::from_u16(code) {
        Ok(status) if code < 600 => status,
        _ => return Err(HeadError::Status(code)),
    };
    let usual = reason.is_empty() || status.canonical_reason().map(str::as_bytes) == Some(reason);
    let reason = (!usual).then(|| Bytes::copy_from_slice(reason));
    let version = if *minor == b'1' { Version::HTTP_11 } else { Version::HTTP_10 };
    Ok((version, status, reason))
}

/// The fields that define the end of the message and of the connection.
#[derive(Default)]
struct Semantics {
    length: Option<u64>,
    chunked: bool,
    persistence: Persistence,
}

impl Semantics {
    /// [Bits](Known::bit) of the fields that are evaluated.
    const FIELDS: u64 = Known::ContentLength.bit() | Known::TransferEncoding.bit() | Known::Connection.bit();

    /// Evaluates one field.
    fn note(&mut self, line: Line<'_>) -> Result<(), HeadError> {
        let value = line.value().as_bytes();
        match line.known() {
            Known::ContentLength => {
                let length = content_length(value).ok_or(HeadError::ContentLength)?;
                // Even an equal value is refused, as RFC 9112 §6.3 allows: no honest origin repeats this field.
                if self.length.replace(length).is_some() {
                    return Err(HeadError::ContentLength);
                }
            }
            Known::TransferEncoding => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::TransferEncoding);
                }
                self.chunked = true;
            }
            Known::Connection => self.persistence.note(value),
            _ => {}
        }
        Ok(())
    }

    fn framing(&self, status: StatusCode, version: Version, to_head: bool) -> Result<Framing, HeadError> {
        if self.chunked && self.length.is_some() {
            return Err(HeadError::AmbiguousLength);
        }
        if self.chunked && version == Version::HTTP_10 {
            return Err(HeadError::TransferEncoding);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let is_plain = self.length.is_none() && !self.chunked && version == Version::HTTP_11;
            return if is_plain { Ok(Framing::Empty) } else { Err(HeadError::Upgrade) };
        }
        if to_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
            return Ok(Framing::Empty);
        }
        Ok(match self.length {
            Some(length) => Framing::Length(length),
            None if self.chunked => Framing::Chunked,
            None => Framing::Close,
        })
    }
}

#[cfg(test)]
mod tests;
