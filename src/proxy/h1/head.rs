//! The head of a response: taken off the read buffer without copying values, and judged strictly (RFC 9112).
//!
//! What decides where a message ends must have one meaning, or a response could be taken for the next one's. Everything
//! else is left as the origin sent it; removing hop-by-hop fields is not done here.

use super::scratch::LineCache;
use crate::head::Headers;
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use std::ops::Range;

/// Field lines in a response.
pub const MAX_HEADERS: usize = 256;
/// Bytes of a response's head, the interim responses before it included.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Interim (1xx) responses before the final one.
pub const MAX_INTERIM: u8 = 16;

/// Fields that a rewrite may add before the list has to grow.
const SPARE_FIELDS: usize = 4;
/// How every response begins.
const VERSION: &[u8] = b"HTTP/1.";

/// A final response's head.
#[derive(Debug)]
pub struct Head {
    /// 200 to 599.
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1, as the origin says.
    pub version: Version,
    /// Every field line.
    pub headers: Headers,
    /// The reason phrase, where it is not the usual one.
    pub reason: Option<Bytes>,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the origin lets the connection be used again after the body.
    pub persistent: bool,
}

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none: 204, 304, or the response to HEAD.
    Empty,
    /// After this many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// When the origin closes the connection.
    Close,
}

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not `HTTP/1.0` or `HTTP/1.1`, three digits, and a reason without controls.
    #[error("malformed status line")]
    StatusLine,
    /// Not `name: value`: obsolete folding, NUL, a bare CR, a space before the colon. Counted from 1.
    #[error("header field {0} is malformed")]
    Field(usize),
    /// More than [`HeadLimits::fields`].
    #[error("too many header fields")]
    TooManyHeaders,
    /// More than [`HeadLimits::bytes`].
    #[error("too many bytes")]
    TooLarge,
    /// Below 100 or above 599.
    #[error("status {0} is none of HTTP's")]
    Status(u16),
    /// More than [`MAX_INTERIM`].
    #[error("more than {MAX_INTERIM} interim responses")]
    TooManyInterim,
    /// 101 although the request did not ask for another protocol.
    #[error("a switch of protocols that was not asked for")]
    Upgrade,
    /// Both framings: one of them would be believed by somebody else.
    #[error("Content-Length together with Transfer-Encoding")]
    AmbiguousLength,
    /// Not digits, beyond 64 bits, or repeated.
    #[error("Content-Length is malformed or repeated")]
    ContentLength,
    /// Anything but `chunked`, once; any at all in HTTP/1.0.
    #[error("Transfer-Encoding is not exactly chunked")]
    TransferEncoding,
}

/// How much head an origin may send; beyond [`MAX_HEADERS`] and [`MAX_HEAD_BYTES`] whatever it says here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Fields of one head.
    pub fields: usize,
    /// Bytes, interim responses included.
    pub bytes: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { fields: MAX_HEADERS, bytes: MAX_HEAD_BYTES }
    }
}

/// Waits for the final response in a growing buffer; interim ones are skipped.
#[derive(Debug)]
pub struct HeadReader {
    to_head: bool,
    upgradable: bool,
    limits: HeadLimits,
    /// Bytes of the buffer in which no head ends.
    scanned: usize,
    interim: u8,
    interim_bytes: usize,
}

impl HeadReader {
    /// For the response to a request with this method.
    pub fn new(method: &Method, limits: HeadLimits) -> Self {
        Self {
            to_head: *method == Method::HEAD,
            upgradable: false,
            limits,
            scanned: 0,
            interim: 0,
            interim_bytes: 0,
        }
    }

    /// The same where 101 may be the answer.
    pub fn upgradable(self, upgradable: bool) -> Self {
        Self { upgradable, ..self }
    }

    /// Takes the final head off the front of `buf`, or `None` while it is incomplete.
    ///
    /// # Errors
    /// When the connection cannot be trusted any more.
    pub fn decode(&mut self, buf: &mut BytesMut, cache: &mut LineCache) -> Result<Option<Head>, HeadError> {
        while self.may_be_complete(buf) {
            let Some(lines) = Lines::of_head(buf)? else { break };
            let length = lines.length();
            if self.interim_bytes + length > self.limits.bytes {
                return Err(HeadError::TooLarge);
            }
            if lines.fields() > self.limits.fields {
                return Err(HeadError::TooManyHeaders);
            }
            let block = buf.split_to(length).freeze();
            if let Some(head) = parse(&block, &lines, self, cache)? {
                return Ok(Some(head));
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

    /// Whether the head may have been completed by what came last: one that trickles in must not be searched from its
    /// start at each byte.
    fn may_be_complete(&self, buf: &[u8]) -> bool {
        if self.scanned < VERSION.len() {
            return !buf.is_empty();
        }
        let new = &buf[self.scanned.saturating_sub(2)..];
        new.windows(2).any(|end| end == b"\n\n") || new.windows(3).any(|end| end == b"\n\r\n")
    }
}

/// The lines of a complete head.
struct Lines {
    /// Where each one's LF is, the empty line's included. A head is at most 64 KiB.
    ends: [u16; MAX_HEADERS + 2],
    count: usize,
}

impl Lines {
    /// `None` while `buf` has no empty line. Lines end with CRLF, or with a lone LF as RFC 9112 §2.2 allows.
    fn of_head(buf: &[u8]) -> Result<Option<Self>, HeadError> {
        // What is not HTTP may never have an empty line.
        if !buf.iter().zip(VERSION).all(|(byte, expected)| byte == expected) {
            return Err(HeadError::StatusLine);
        }
        let mut lines = Self { ends: [0; MAX_HEADERS + 2], count: 0 };
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', buf) {
            let last = matches!(buf[start..end], [] | [b'\r']);
            let slot = lines.ends.get_mut(lines.count).ok_or(HeadError::TooManyHeaders)?;
            *slot = u16::try_from(end).map_err(|_| HeadError::TooLarge)?;
            lines.count += 1;
            if last {
                return Ok(Some(lines));
            }
            start = end + 1;
        }
        Ok(None)
    }

    /// Without the status line and the empty line.
    fn fields(&self) -> usize {
        self.count.saturating_sub(2)
    }

    fn length(&self) -> usize {
        usize::from(self.ends[self.count - 1]) + 1
    }

    /// Without the line end and the empty line.
    fn ranges(&self, block: &[u8]) -> impl ExactSizeIterator<Item = Range<usize>> {
        let mut start = 0;
        self.ends[..self.count - 1].iter().map(move |end| {
            let lf = usize::from(*end);
            let line = start..if block[start..lf].ends_with(b"\r") { lf - 1 } else { lf };
            start = lf + 1;
            line
        })
    }
}

/// `None` for an interim response.
fn parse(
    block: &Bytes,
    lines: &Lines,
    reader: &HeadReader,
    cache: &mut LineCache,
) -> Result<Option<Head>, HeadError> {
    let mut lines = lines.ranges(block);
    let line = lines.next().ok_or(HeadError::StatusLine)?;
    let (version, status, reason) = status_line(block, line)?;
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    if switches && !reader.upgradable {
        return Err(HeadError::Upgrade);
    }
    let interim = status.is_informational() && !switches;
    let mut headers = Headers::with_capacity(lines.len() + SPARE_FIELDS);
    let mut semantics = Semantics::default();
    for (index, line) in lines.enumerate() {
        let (name, value) =
            cache.field(&block[line.clone()], || field(block, line)).ok_or(HeadError::Field(index + 1))?;
        if !interim {
            semantics.note(&name, &value)?;
            headers.append(name, value);
        }
    }
    if interim {
        return Ok(None);
    }
    let framing = semantics.framing(status, version, reader.to_head)?;
    let persistent = semantics.persistent(version);
    Ok(Some(Head { status, version, headers, reason, framing, persistent }))
}

/// `HTTP/1.1 200 OK`, where the reason and the space before it may be absent.
fn status_line(block: &Bytes, line: Range<usize>) -> Result<(Version, StatusCode, Option<Bytes>), HeadError> {
    let rest = block[line.clone()].strip_prefix(VERSION).ok_or(HeadError::StatusLine)?;
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
    let reason = (!usual).then(|| block.slice(line.end - reason.len()..line.end));
    let version = if *minor == b'1' { Version::HTTP_11 } else { Version::HTTP_10 };
    Ok((version, status, reason))
}

/// `name: value`. The types check every byte of both: a name is a token (so that nothing may stand before the colon, and a
/// folded line is none), a value has no controls.
fn field(block: &Bytes, line: Range<usize>) -> Option<(HeaderName, HeaderValue)> {
    let bytes = &block[line.clone()];
    let colon = memchr::memchr(b':', bytes)?;
    let name = HeaderName::from_bytes(&bytes[..colon]).ok()?;
    let mut value = line.start + colon + 1..line.end;
    while !value.is_empty() && is_blank(block[value.start]) {
        value.start += 1;
    }
    while !value.is_empty() && is_blank(block[value.end - 1]) {
        value.end -= 1;
    }
    Some((name, HeaderValue::from_maybe_shared(block.slice(value)).ok()?))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// What the fields say about the end of the message and of the connection.
#[derive(Default)]
struct Semantics {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Semantics {
    /// Takes note of one field.
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), HeadError> {
        if *name == CONTENT_LENGTH {
            let length = content_length(value.as_bytes()).ok_or(HeadError::ContentLength)?;
            // Even an equal one: RFC 9112 §6.3 lets us refuse it, and no honest origin repeats itself here.
            if self.length.replace(length).is_some() {
                return Err(HeadError::ContentLength);
            }
        } else if *name == TRANSFER_ENCODING {
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::TransferEncoding);
            }
            self.chunked = true;
        } else if *name == CONNECTION {
            self.close |= has_token(value.as_bytes(), b"close");
            self.keep_alive |= has_token(value.as_bytes(), b"keep-alive");
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

    fn persistent(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }
}

/// `1*DIGIT` within 64 bits: no sign, no blanks, no list.
pub fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |length, byte| match byte {
        b'0'..=b'9' => length.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Whether a comma-separated list has this token.
pub fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What one input comes to, in a form that reads well in a table; and the bytes left after the head.
    fn decode_pieces<'a>(
        method: &Method,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Option<Head>, Vec<u8>), HeadError> {
        let mut reader = HeadReader::new(method, HeadLimits::default());
        let mut cache = LineCache::default();
        let mut buf = BytesMut::new();
        let mut head = None;
        for piece in pieces {
            buf.extend_from_slice(piece);
            if head.is_none() {
                head = reader.decode(&mut buf, &mut cache)?;
            }
        }
        Ok((head, buf.to_vec()))
    }

    /// The same for whole and for one-byte delivery; but what trickles in may be refused no sooner than at its end.
    fn decode(method: &Method, input: &[u8]) -> Result<(Option<Head>, Vec<u8>), HeadError> {
        let whole = decode_pieces(method, [input]);
        let bytes = decode_pieces(method, input.chunks(1));
        let refused_later = whole.is_err() && matches!(bytes, Ok((None, _)));
        assert!(
            refused_later || format!("{whole:?}") == format!("{bytes:?}"),
            "{input:?}: {whole:?}, {bytes:?}"
        );
        whole
    }

    /// The framing and persistence of the response to a GET with this head.
    fn check(head: &str, framing: Framing, persistent: bool) {
        check_for(&Method::GET, head, framing, persistent);
    }

    fn check_for(method: &Method, head: &str, framing: Framing, persistent: bool) {
        let (parsed, rest) = decode(method, format!("{head}\r\n\r\nrest").as_bytes()).unwrap();
        let parsed = parsed.unwrap();
        assert_eq!((parsed.framing, parsed.persistent), (framing, persistent), "{head:?}");
        assert_eq!(rest, b"rest", "{head:?}");
    }

    fn check_error(head: &str, error: HeadError) {
        let result = decode(&Method::GET, format!("{head}\r\n\r\n").as_bytes());
        assert_eq!(result.map(|_| ()), Err(error), "{head:?}");
    }

    #[test]
    fn everything_is_kept_as_it_came() {
        let input = b"HTTP/1.1 203 Somewhat Fine\r\nServer: a\r\nX-One:  two words\t \r\nSet-Cookie: a=b\r\n\
            set-cookie: c=d\r\nX-Latin: \xe9\r\nEmpty:\r\nContent-Length: 3\r\n\r\nabc";
        let (head, rest) = decode(&Method::GET, input).unwrap();
        let head = head.unwrap();
        assert_eq!(head.status, 203);
        assert_eq!(head.version, Version::HTTP_11);
        assert_eq!(head.reason.as_deref(), Some(&b"Somewhat Fine"[..]));
        let fields: Vec<_> =
            head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let expected: [(&str, &[u8]); 7] = [
            ("server", b"a"),
            ("x-one", b"two words"),
            ("set-cookie", b"a=b"),
            ("set-cookie", b"c=d"),
            ("x-latin", b"\xe9"),
            ("empty", b""),
            ("content-length", b"3"),
        ];
        assert_eq!(fields, expected);
        assert_eq!(rest, b"abc");
    }

    #[test]
    fn the_usual_reason_phrase_is_not_kept() {
        for (line, reason) in [
            ("HTTP/1.1 200 OK", None),
            ("HTTP/1.1 200 ", None),
            ("HTTP/1.1 200", None),
            ("HTTP/1.1 200 Fine", Some("Fine")),
            ("HTTP/1.1 599 Odd", Some("Odd")),
        ] {
            let (head, _) = decode(&Method::GET, format!("{line}\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(head.unwrap().reason.as_deref(), reason.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn the_end_of_a_body_has_one_meaning() {
        use Framing::{Chunked, Close, Empty, Length};
        check("HTTP/1.1 200 OK\r\nContent-Length: 5", Length(5), true);
        check("HTTP/1.1 200 OK\r\ncontent-length: 005", Length(5), true);
        check("HTTP/1.1 200 OK\r\nContent-Length: 0", Length(0), true);
        check("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615", Length(u64::MAX), true);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", Chunked, true);
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: \t CHUNKED ", Chunked, true);
        check("HTTP/1.1 200 OK", Close, true);
        check("HTTP/1.0 200 OK", Close, false);
        check("HTTP/1.1 204 No Content", Empty, true);
        check("HTTP/1.1 204 No Content\r\nContent-Length: 5", Empty, true);
        check("HTTP/1.1 304 Not Modified\r\nContent-Length: 5", Empty, true);
        check("HTTP/1.1 205 Reset Content\r\nContent-Length: 0", Length(0), true);
        check_for(&Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5", Empty, true);
        check_for(&Method::HEAD, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", Empty, true);
        check_for(&Method::HEAD, "HTTP/1.1 200 OK", Empty, true);
        check_for(&Method::POST, "HTTP/1.1 200 OK\r\nContent-Length: 5", Length(5), true);
    }

    #[test]
    fn persistence_is_the_origins_word() {
        let length = Framing::Length(0);
        for (fields, http_11, http_10) in [
            ("", true, false),
            ("\r\nConnection: close", false, false),
            ("\r\nConnection: CLOSE", false, false),
            ("\r\nConnection: keep-alive", true, true),
            ("\r\nConnection: x, Keep-Alive ,y", true, true),
            ("\r\nConnection: keep-alive, close", false, false),
            ("\r\nConnection: close\r\nConnection: keep-alive", false, false),
            ("\r\nConnection: keep-alive\r\nConnection: close", false, false),
            ("\r\nConnection: closed", true, false),
            ("\r\nProxy-Connection: keep-alive", true, false),
        ] {
            check(&format!("HTTP/1.1 200 OK\r\nContent-Length: 0{fields}"), length, http_11);
            check(&format!("HTTP/1.0 200 OK\r\nContent-Length: 0{fields}"), length, http_10);
        }
    }

    #[test]
    fn two_meanings_are_refused() {
        for value in
            ["", "+5", "-5", "5 5", "5,5", "5, 5", "0x5", "5.0", "5a", "\u{665}", "18446744073709551616"]
        {
            check_error(&format!("HTTP/1.1 200 OK\r\nContent-Length: {value}"), HeadError::ContentLength);
        }
        for second in ["5", "6"] {
            check_error(
                &format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: {second}"),
                HeadError::ContentLength,
            );
        }
        for value in [
            "",
            "gzip",
            "gzip, chunked",
            "chunked, chunked",
            "chunked;q=1",
            "identity",
            "chunked,",
            "xchunked",
        ] {
            check_error(
                &format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {value}"),
                HeadError::TransferEncoding,
            );
        }
        check_error(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            HeadError::TransferEncoding,
        );
        check_error("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", HeadError::TransferEncoding);
        for status in ["200 OK", "204 No Content", "304 Not Modified"] {
            check_error(
                &format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"),
                HeadError::AmbiguousLength,
            );
            check_error(
                &format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\nContent-Length: 5"),
                HeadError::AmbiguousLength,
            );
        }
    }

    #[test]
    fn status_is_one_of_https() {
        for (status, code) in [("099", 99), ("000", 0), ("600", 600), ("999", 999)] {
            check_error(&format!("HTTP/1.1 {status} x"), HeadError::Status(code));
        }
        for status in ["99", "2000", "20", "-20", "2 0", "abc", ""] {
            check_error(&format!("HTTP/1.1 {status}"), HeadError::StatusLine);
        }
    }

    #[test]
    fn the_grammar_is_kept_to() {
        for line in [
            "\r\nHTTP/1.1 200 OK",
            "\nHTTP/1.1 200 OK",
            " HTTP/1.1 200 OK",
            "http/1.1 200 OK",
            "HTTP/1.2 200 OK",
            "HTTP/1. 200 OK",
            "HTTP/1.1.1 200 OK",
            "HTTP/2.0 200 OK",
            "HTTP/2 200 OK",
            "HTTP/0.9 200 OK",
            "HTTP/1.1  200 OK",
            "HTTP/1.1\t200 OK",
            "HTTP/1.1 200\tOK",
            "HTTP/1.1 200OK",
            "ICY 200 OK",
            "<html>",
            "HTTP/1.1 200 O\0K",
            "HTTP/1.1 200 O\rK",
            "HTTP/1.1 200 OK\r",
            "HTTP/1.1 200 O\u{7f}",
            "HTTP/1.1 200 OK\rA: b",
        ] {
            check_error(line, HeadError::StatusLine);
        }
        for field in [
            "A: b\r\n folded",
            "A: b\r\n\tfolded: too",
            "One: 1\r\n A: b",
            "One: 1\r\nA : b",
            "One: 1\r\nA\t: b",
            "One: 1\r\nA b: c",
            "One: 1\r\n: b",
            "One: 1\r\nno colon",
            "One: 1\r\nA\u{e9}: b",
            "One: 1\r\nA\0: b",
            "One: 1\r\nA: b\0c",
            "One: 1\r\nA: b\rc",
            "One: 1\r\nA: b\r",
            "One: 1\r\nA: b\u{1}",
            "One: 1\r\nA: b\u{7f}",
        ] {
            check_error(&format!("HTTP/1.1 200 OK\r\n{field}\r\nThree: 3"), HeadError::Field(2));
            check_error(&format!("HTTP/1.1 103 Early Hints\r\n{field}\r\nThree: 3"), HeadError::Field(2));
        }
        check_error("HTTP/1.1 200 OK\r\n folded: first", HeadError::Field(1));
    }

    /// A recipient may take a lone LF for the end of a line (RFC 9112 §2.2); it never goes further like that.
    #[test]
    fn bare_line_feeds_in_a_head_are_understood() {
        let (head, rest) = decode(&Method::GET, b"HTTP/1.1 200 OK\nA: b\nContent-Length: 1\n\nx").unwrap();
        assert_eq!(head.unwrap().framing, Framing::Length(1));
        assert_eq!(rest, b"x");
    }

    #[test]
    fn what_is_not_http_is_refused_before_a_line_ends() {
        for input in ["SSH-2.0-OpenSSH_9.2", "\0", "HTTP/2", "220 smtp.example.com ESMTP"] {
            assert_eq!(
                decode(&Method::GET, input.as_bytes()).map(|_| ()),
                Err(HeadError::StatusLine),
                "{input:?}"
            );
        }
    }

    #[test]
    fn interim_responses_are_skipped() {
        let early_hints =
            "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nContent-Length: 9\r\n\r\n";
        let head = format!("HTTP/1.1 100 Continue\r\n\r\n{early_hints}HTTP/1.1 200 OK\r\nContent-Length: 5");
        check(&head, Framing::Length(5), true);
        let (head, _) = decode(&Method::GET, format!("{head}\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(head.unwrap().headers.len(), 1);

        let many = |count| "HTTP/1.1 102 Processing\r\n\r\n".repeat(count);
        check(&format!("{}HTTP/1.1 204 No Content", many(16)), Framing::Empty, true);
        check_error(&many(17), HeadError::TooManyInterim);
        check_error("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket", HeadError::Upgrade);
        check_error("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching Protocols", HeadError::Upgrade);
    }

    #[test]
    fn a_head_is_bounded() {
        let fields = |count| format!("HTTP/1.1 200 OK{}", "\r\nA: b".repeat(count));
        check(&fields(256), Framing::Close, true);
        check_error(&fields(257), HeadError::TooManyHeaders);

        let padded = |size: usize| format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(size - 24));
        check(&padded(64 * 1024 - 5), Framing::Close, true);
        assert_eq!(
            decode_pieces(&Method::GET, [padded(64 * 1024 + 1).as_bytes(), b"\r\n\r\n"]).map(|_| ()),
            Err(HeadError::TooLarge)
        );
        let endless = padded(64 * 1024 + 4);
        assert_eq!(decode_pieces(&Method::GET, [endless.as_bytes()]).map(|_| ()), Err(HeadError::TooLarge));

        let interim = format!("HTTP/1.1 103 Early Hints\r\nA: {}\r\n\r\n", "b".repeat(40_000));
        check(&format!("{interim}HTTP/1.1 200 OK"), Framing::Close, true);
        check_error(&format!("{interim}{interim}HTTP/1.1 200 OK"), HeadError::TooLarge);
    }

    /// What httparse, which hyper relies on, makes of the same bytes.
    /// Status, header lines and length of a head.
    type Decoded = (u16, Vec<(String, Vec<u8>)>, usize);

    fn httparse_decode(input: &[u8]) -> Option<Decoded> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = response.parse(input) else { return None };
        let fields = response.headers.iter().map(|field| (field.name.to_lowercase(), field.value.to_vec()));
        Some((response.code.unwrap(), fields.collect(), length))
    }

    fn lines() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            4 => "[A-Za-z-]{1,6}:[ \t]{0,2}[ -~]{0,8}[ \t]?",
            1 => "HTTP/1\\.[01] [1-5][0-9]{2}( [ -~]{0,4})?",
            1 => "[!-~ \t\r\u{0}\u{7f}\u{e9}]{0,4}:?[!-~ \t\r\u{0}\u{7f}\u{e9}]{0,4}",
        ];
        let status_line = prop_oneof![
            6 => "HTTP/1\\.[01] [1-5][0-9]{2}( [ -~\t\u{e9}]{0,4})?",
            1 => "[HTP/]{0,5}[0-9. ]{0,8}[ -~\t]{0,4}",
        ];
        let line_end = prop_oneof![9 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")];
        (status_line, prop::collection::vec((line, line_end.clone()), 0..6), line_end).prop_map(
            |(first, lines, line_end)| {
                let lines: String = lines.into_iter().map(|(line, end)| line + end).collect();
                format!("{first}{line_end}{lines}{line_end}")
            },
        )
    }

    proptest! {
        /// The grammar is httparse's, but for empty lines before the response.
        #[test]
        fn the_grammar_is_httparses(input in lines()) {
            let complete = Lines::of_head(input.as_bytes()).ok().flatten();
            let parsed = complete.map(|lines| {
                let block = Bytes::copy_from_slice(&input.as_bytes()[..lines.length()]);
                let mut ranges = lines.ranges(&block);
                let (_, status, _) = status_line(&block, ranges.next()?).ok()?;
                let fields: Option<Vec<_>> = ranges.map(|line| {
                    let (name, value) = field(&block, line)?;
                    Some((name.to_string(), value.as_bytes().to_vec()))
                }).collect();
                Some((status.as_u16(), fields?, block.len()))
            });
            let expected = httparse_decode(input.as_bytes()).filter(|_| input.starts_with('H'));
            prop_assert_eq!(parsed.flatten(), expected);
        }

        /// Whatever arrives: no panic, and the boundaries never matter.
        #[test]
        fn heads_are_judged_alike_at_any_boundary(
            lines in prop::collection::vec(prop_oneof![
                Just("HTTP/1.1 200 OK".to_owned()),
                Just("HTTP/1.1 100 Continue".to_owned()),
                Just("Content-Length: 3".to_owned()),
                Just("Transfer-Encoding: chunked".to_owned()),
                Just(String::new()),
                "[ -~\t\r\n]{0,12}",
            ], 0..8),
        ) {
            let _ = decode(&Method::GET, lines.join("\r\n").as_bytes());
        }
    }
}
