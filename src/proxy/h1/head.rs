//! The head of a response: taken off the read buffer without copying values, and judged strictly (RFC 9112).
//!
//! What decides where a message ends must have one meaning, or a response could be taken for the next one's. Everything
//! else is left as the origin sent it; removing hop-by-hop fields is not done here.

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use std::mem::MaybeUninit;

/// Field lines in a response.
pub const MAX_HEADERS: usize = 256;
/// Bytes of a response's head, the interim responses before it included.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Interim (1xx) responses before the final one.
pub const MAX_INTERIM: u8 = 16;

/// Fields that a rewrite may add before the map has to grow.
const SPARE_FIELDS: usize = 4;
/// Up to this many bytes a head is parsed at every read, so that what is not HTTP is refused at once.
const EAGER_BYTES: usize = 64;

/// A final response's head.
#[derive(Debug)]
pub struct Head {
    /// 200 to 599.
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1, as the origin says.
    pub version: Version,
    /// Every field line, but a repeated equal `Content-Length` only once.
    pub headers: HeaderMap,
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
    /// Not HTTP/1, or against its grammar: obsolete folding, NUL, a bare CR, a space before the colon.
    #[error("malformed: {0}")]
    Syntax(httparse::Error),
    /// More than [`MAX_HEADERS`].
    #[error("more than {MAX_HEADERS} header fields")]
    TooManyHeaders,
    /// More than [`MAX_HEAD_BYTES`].
    #[error("more than {MAX_HEAD_BYTES} bytes")]
    TooLarge,
    /// Below 100 or above 599.
    #[error("status {0} is none of HTTP's")]
    Status(u16),
    /// More than [`MAX_INTERIM`].
    #[error("more than {MAX_INTERIM} interim responses")]
    TooManyInterim,
    /// 101 although no request ever asks for another protocol.
    #[error("a switch of protocols that was not asked for")]
    Upgrade,
    /// Both framings: one of them would be believed by somebody else.
    #[error("Content-Length together with Transfer-Encoding")]
    AmbiguousLength,
    /// Not digits, beyond 64 bits, or two that differ.
    #[error("Content-Length is malformed or contradicts itself")]
    ContentLength,
    /// Anything but `chunked`, once; any at all in HTTP/1.0.
    #[error("Transfer-Encoding is not exactly chunked")]
    TransferEncoding,
}

/// Waits for the final response in a growing buffer; interim ones are skipped.
#[derive(Debug)]
pub struct HeadReader {
    to_head: bool,
    /// Bytes of the buffer in which no head ends.
    scanned: usize,
    interim: u8,
    interim_bytes: usize,
}

impl HeadReader {
    /// For the response to a request with this method.
    pub fn new(method: &Method) -> Self {
        Self { to_head: *method == Method::HEAD, scanned: 0, interim: 0, interim_bytes: 0 }
    }

    /// Takes the final head off the front of `buf`, or `None` while it is incomplete.
    ///
    /// # Errors
    /// When the connection cannot be trusted any more.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Head>, HeadError> {
        while self.may_be_complete(buf) {
            match parse(buf, self.to_head)? {
                Parsed::Partial => break,
                Parsed::Interim { length } => {
                    self.interim += 1;
                    self.interim_bytes += length;
                    self.scanned = 0;
                    if self.interim > MAX_INTERIM {
                        return Err(HeadError::TooManyInterim);
                    }
                }
                Parsed::Final { length, .. } if self.interim_bytes + length > MAX_HEAD_BYTES => {
                    return Err(HeadError::TooLarge);
                }
                Parsed::Final { head, .. } => return Ok(Some(head)),
            }
        }
        self.scanned = buf.len();
        if self.interim_bytes + buf.len() >= MAX_HEAD_BYTES {
            return Err(HeadError::TooLarge);
        }
        Ok(None)
    }

    /// Whether parsing is worth its time: a parse starts from the front again, so a head that trickles in must not be
    /// parsed at each byte.
    fn may_be_complete(&self, buf: &[u8]) -> bool {
        if self.scanned < EAGER_BYTES {
            return !buf.is_empty();
        }
        let new = &buf[self.scanned.saturating_sub(2)..];
        new.windows(2).any(|end| end == b"\n\n") || new.windows(3).any(|end| end == b"\n\r\n")
    }
}

enum Parsed {
    Partial,
    Interim { length: usize },
    Final { head: Head, length: usize },
}

/// Where a field is within the head, which is shorter than 64 KiB.
#[derive(Clone, Copy, Default)]
struct Field {
    name: (u16, u16),
    value: (u16, u16),
}

fn parse(buf: &mut BytesMut, to_head: bool) -> Result<Parsed, HeadError> {
    // httparse would skip empty lines; before a response they can only be left over from the last one.
    if matches!(buf.first(), Some(b'\r' | b'\n')) {
        return Err(HeadError::Syntax(httparse::Error::NewLine));
    }
    let mut fields = [Field::default(); MAX_HEADERS];
    let mut slots = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, buf, &mut slots);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooManyHeaders),
        Err(error) => return Err(HeadError::Syntax(error)),
    };
    if length > MAX_HEAD_BYTES {
        return Err(HeadError::TooLarge);
    }
    let code = response.code.unwrap_or_default();
    let status = match StatusCode::from_u16(code) {
        Ok(status) if code < 600 => status,
        _ => return Err(HeadError::Status(code)),
    };
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(HeadError::Upgrade);
    }
    if status.is_informational() {
        drop(buf.split_to(length));
        return Ok(Parsed::Interim { length });
    }
    let version = if response.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };

    let offset = |part: &[u8]| {
        let start = part.as_ptr().addr() - buf.as_ptr().addr();
        (start as u16, (start + part.len()) as u16)
    };
    let reason = response
        .reason
        .filter(|reason| !reason.is_empty() && status.canonical_reason() != Some(reason))
        .map(|reason| offset(reason.as_bytes()));
    let count = response.headers.len();
    for (field, header) in fields.iter_mut().zip(response.headers.iter()) {
        *field = Field { name: offset(header.name.as_bytes()), value: offset(header.value) };
    }

    let block = buf.split_to(length).freeze();
    let slice = |(start, end): (u16, u16)| block.slice(usize::from(start)..usize::from(end));
    let mut headers = HeaderMap::with_capacity(count + SPARE_FIELDS);
    let mut semantics = Semantics::default();
    for field in &fields[..count] {
        let name = &block[usize::from(field.name.0)..usize::from(field.name.1)];
        let name =
            HeaderName::from_bytes(name).map_err(|_| HeadError::Syntax(httparse::Error::HeaderName))?;
        let value = HeaderValue::from_maybe_shared(slice(field.value))
            .map_err(|_| HeadError::Syntax(httparse::Error::HeaderValue))?;
        if semantics.note(&name, &value)? {
            headers.append(name, value);
        }
    }
    let framing = semantics.framing(status, version, to_head)?;
    let head = Head {
        status,
        version,
        headers,
        reason: reason.map(slice),
        framing,
        persistent: semantics.persistent(version),
    };
    Ok(Parsed::Final { head, length })
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
    /// Takes note of one field; whether it is to be kept.
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<bool, HeadError> {
        if *name == CONTENT_LENGTH {
            let length = content_length(value.as_bytes()).ok_or(HeadError::ContentLength)?;
            return match self.length.replace(length) {
                None => Ok(true),
                Some(earlier) if earlier == length => Ok(false),
                Some(_) => Err(HeadError::ContentLength),
            };
        }
        if *name == TRANSFER_ENCODING {
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::TransferEncoding);
            }
            self.chunked = true;
        } else if *name == CONNECTION {
            self.close |= has_token(value.as_bytes(), b"close");
            self.keep_alive |= has_token(value.as_bytes(), b"keep-alive");
        }
        Ok(true)
    }

    fn framing(&self, status: StatusCode, version: Version, to_head: bool) -> Result<Framing, HeadError> {
        if self.chunked && self.length.is_some() {
            return Err(HeadError::AmbiguousLength);
        }
        if self.chunked && version == Version::HTTP_10 {
            return Err(HeadError::TransferEncoding);
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
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |length, byte| match byte {
        b'0'..=b'9' => length.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Whether a comma-separated list has this token.
pub(super) fn has_token(list: &[u8], token: &[u8]) -> bool {
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
        let mut reader = HeadReader::new(method);
        let mut buf = BytesMut::new();
        let mut head = None;
        for piece in pieces {
            buf.extend_from_slice(piece);
            if head.is_none() {
                head = reader.decode(&mut buf)?;
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

    fn check_syntax(head: &str) {
        let result = decode(&Method::GET, format!("{head}\r\n\r\n").as_bytes());
        assert!(matches!(result, Err(HeadError::Syntax(_))), "{head:?}: {result:?}");
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
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", Length(5), true);
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
    fn an_equal_length_is_kept_once() {
        let (head, _) =
            decode(&Method::GET, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n")
                .unwrap();
        assert_eq!(head.unwrap().headers.get_all(CONTENT_LENGTH).iter().count(), 1);
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
        check_error("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6", HeadError::ContentLength);
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
            check_syntax(&format!("HTTP/1.1 {status}"));
        }
    }

    #[test]
    fn the_grammar_is_kept_to() {
        for head in [
            "\r\nHTTP/1.1 200 OK",
            "\nHTTP/1.1 200 OK",
            " HTTP/1.1 200 OK",
            "http/1.1 200 OK",
            "HTTP/1.2 200 OK",
            "HTTP/2.0 200 OK",
            "HTTP/2 200 OK",
            "HTTP/0.9 200 OK",
            "HTTP/1.1  200 OK",
            "HTTP/1.1\t200 OK",
            "ICY 200 OK",
            "<html>",
            "HTTP/1.1 200 O\0K",
            "HTTP/1.1 200 O\rK",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded",
            "HTTP/1.1 200 OK\r\nA: b\r\n\tfolded: too",
            "HTTP/1.1 200 OK\r\n A: b",
            "HTTP/1.1 200 OK\r\nA : b",
            "HTTP/1.1 200 OK\r\nA\t: b",
            "HTTP/1.1 200 OK\r\nA b: c",
            "HTTP/1.1 200 OK\r\n: b",
            "HTTP/1.1 200 OK\r\nno colon",
            "HTTP/1.1 200 OK\r\nA\u{e9}: b",
            "HTTP/1.1 200 OK\r\nA: b\0c",
            "HTTP/1.1 200 OK\r\nA: b\rc",
            "HTTP/1.1 200 OK\r\nA: b\u{1}",
            "HTTP/1.1 200 OK\r\nA: b\u{7f}",
            "HTTP/1.1 200 OK\rA: b",
        ] {
            check_syntax(head);
        }
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
            assert!(matches!(decode(&Method::GET, input.as_bytes()), Err(HeadError::Syntax(_))), "{input:?}");
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

    proptest! {
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
