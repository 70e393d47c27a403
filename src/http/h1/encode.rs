//! Encoding of a request (RFC 9112 §3, §6, §7.1).

use super::framing::{Framing, content_length, has_token};
use crate::http::head::{Known, Line};
use bytes::BytesMut;
use http::Method;

/// The size of the body to be sent, as far as the caller knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodySize {
    /// There is no body.
    None,
    /// Exactly this many bytes.
    Exact(u64),
    /// Any number of bytes.
    Unknown,
}

/// The result of [`request_head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The framing that the body must use.
    pub framing: Framing,
    /// Whether the request asks the origin to close the connection.
    pub close: bool,
}

/// The reason why a request cannot be written: on the wire, one request could become two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The target is empty or contains a blank or a control character.
    #[error("the target has a blank or a control character, or is empty")]
    Target,
    /// The method is CONNECT. It would turn the connection into a tunnel, which this client does not support.
    #[error("CONNECT is not a request to an origin")]
    Connect,
    /// `Content-Length` is malformed, contradicts itself, or differs from the size of the body.
    #[error("Content-Length is malformed or not the size of the body")]
    ContentLength,
}

/// Appends the head of a request: the target's bytes unchanged, and the fields in their order.
///
/// The framing is decided here only. A valid `Content-Length` among the fields stays in its place. A
/// `Transfer-Encoding` is replaced by the shim's own.
///
/// # Errors
/// Returns an error if the request would be ambiguous on the wire. `out` must then be discarded.
pub fn request_head<'a>(
    out: &mut BytesMut,
    method: &Method,
    target: &[u8],
    lines: impl IntoIterator<Item = Line<'a>>,
    body: BodySize,
) -> Result<Encoded, EncodeError> {
    if *method == Method::CONNECT {
        return Err(EncodeError::Connect);
    }
    if target.is_empty() || target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return Err(EncodeError::Target);
    }
    out.extend_from_slice(method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");

    let mut declared = None;
    let mut close = false;
    lines.into_iter().try_for_each(|line| {
        match line.known() {
            Known::ContentLength => {
                let length = content_length(line.value().as_bytes()).ok_or(EncodeError::ContentLength)?;
                match declared.replace(length) {
                    None => {}
                    Some(earlier) if earlier == length => return Ok(()),
                    Some(_) => return Err(EncodeError::ContentLength),
                }
            }
            Known::TransferEncoding => return Ok(()),
            // Only the chunked coding has room for trailers.
            Known::Trailer if body != BodySize::Unknown => return Ok(()),
            Known::Connection => close |= has_token(line.value().as_bytes(), b"close"),
            _ => {}
        }
        out.extend_from_slice(line.text());
        Ok(())
    })?;
    let framing = framing(out, method, declared, body)?;
    out.extend_from_slice(b"\r\n");
    Ok(Encoded { framing, close })
}

/// Returns the framing, and appends its field if that is not yet there.
fn framing(
    out: &mut BytesMut,
    method: &Method,
    declared: Option<u64>,
    body: BodySize,
) -> Result<Framing, EncodeError> {
    let length = match (body, declared) {
        (BodySize::None, _) => 0,
        (BodySize::Exact(length), _) | (BodySize::Unknown, Some(length)) => length,
        (BodySize::Unknown, None) => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            return Ok(Framing::Chunked);
        }
    };
    if declared.is_some_and(|declared| declared != length) {
        return Err(EncodeError::ContentLength);
    }
    // RFC 9110 §8.6: a method that anticipates content has a Content-Length even if there is no content.
    let says_length = length > 0 || matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    if declared.is_none() && says_length {
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(length.to_string().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    Ok(if length == 0 { Framing::Empty } else { Framing::Length(length) })
}

/// Appends the size line of a chunk. `length` must not be 0, because an empty chunk would end the body.
pub fn chunk_size(out: &mut BytesMut, length: usize) {
    debug_assert!(length > 0, "an empty chunk ends the body");
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        let value = (length >> (digit * 4)) & 0xf;
        out.extend_from_slice(&[b"0123456789abcdef"[value]]);
    }
    out.extend_from_slice(b"\r\n");
}

/// The end of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The end of a chunk and of the body.
pub const CHUNK_AND_BODY_END: &[u8] = b"\r\n0\r\n\r\n";
/// The end of the body.
pub const BODY_END: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::fixture;

    fn encode(
        method: &Method,
        target: &str,
        headers: &[(&str, &str)],
        body: BodySize,
    ) -> Result<(String, Encoded), EncodeError> {
        let headers = fixture::headers(headers);
        let mut out = BytesMut::new();
        let encoded = request_head(&mut out, method, target.as_bytes(), headers.lines(), body)?;
        Ok((String::from_utf8(out.to_vec()).unwrap(), encoded))
    }

    /// Checks the field lines after `Host` for this method, these declared fields and this body.
    fn check(method: &Method, fields: &[(&str, &str)], body: BodySize, lines: &str, framing: Framing) {
        let (bytes, encoded) = encode(method, "/", fields, body).unwrap();
        assert_eq!(bytes, format!("{method} / HTTP/1.1\r\n{lines}\r\n"));
        assert_eq!(encoded.framing, framing, "{bytes}");
    }

    fn check_error(
        method: &Method,
        target: &str,
        fields: &[(&str, &str)],
        body: BodySize,
        error: EncodeError,
    ) {
        assert_eq!(encode(method, target, fields, body), Err(error));
    }

    #[test]
    fn target_and_fields_are_written_as_they_are() {
        let fields =
            [("host", "a.example"), ("cookie", "a=b"), ("x-Custom", "  caf\u{e9} "), ("cookie", "c=d")];
        let (bytes, encoded) =
            encode(&Method::GET, "/a//b/../%2e%2E?x=%00&y=\"<é>", &fields, BodySize::None).unwrap();
        insta::assert_snapshot!(bytes.replace("\r\n", "\\r\\n\n"), @r#"
        GET /a//b/../%2e%2E?x=%00&y="<é> HTTP/1.1\r\n
        host: a.example\r\n
        cookie: a=b\r\n
        x-custom:   café \r\n
        cookie: c=d\r\n
        \r\n
        "#);
        assert_eq!(encoded, Encoded { framing: Framing::Empty, close: false });
        assert!(
            encode(&Method::OPTIONS, "*", &[], BodySize::None)
                .unwrap()
                .0
                .starts_with("OPTIONS * HTTP/1.1\r\n")
        );
    }

    #[test]
    fn framing_follows_the_body() {
        use BodySize::{Exact, None, Unknown};
        let get = &Method::GET;
        let post = &Method::POST;
        check(get, &[], None, "", Framing::Empty);
        check(post, &[], None, "content-length: 0\r\n", Framing::Empty);
        check(get, &[], Exact(0), "", Framing::Empty);
        check(get, &[("content-length", "0")], None, "content-length: 0\r\n", Framing::Empty);
        check(post, &[], Exact(12), "content-length: 12\r\n", Framing::Length(12));
        check(
            post,
            &[("content-length", "12"), ("a", "b")],
            Exact(12),
            "content-length: 12\r\na: b\r\n",
            Framing::Length(12),
        );
        check(post, &[("content-length", "12")], Unknown, "content-length: 12\r\n", Framing::Length(12));
        check(post, &[], Unknown, "transfer-encoding: chunked\r\n", Framing::Chunked);
    }

    #[test]
    fn one_framing_leaves() {
        let twice = [("content-length", "3"), ("content-length", "3")];
        check(&Method::POST, &twice, BodySize::Exact(3), "content-length: 3\r\n", Framing::Length(3));
        let both = [("transfer-encoding", "gzip"), ("content-length", "3")];
        check(&Method::POST, &both, BodySize::Exact(3), "content-length: 3\r\n", Framing::Length(3));
        let coding = [("transfer-encoding", "chunked")];
        check(&Method::POST, &coding, BodySize::Unknown, "transfer-encoding: chunked\r\n", Framing::Chunked);
        check(&Method::GET, &coding, BodySize::None, "", Framing::Empty);
    }

    #[test]
    fn what_would_be_ambiguous_is_not_written() {
        for target in ["", "/a b", "/\r\nX: y", "/\n", "/\0", "/\t", "/\u{7f}"] {
            check_error(&Method::GET, target, &[], BodySize::None, EncodeError::Target);
        }
        check_error(&Method::CONNECT, "a:443", &[], BodySize::None, EncodeError::Connect);
        for (value, body) in [
            ("5", BodySize::None),
            ("5", BodySize::Exact(6)),
            ("5", BodySize::Exact(0)),
            ("+5", BodySize::Exact(5)),
            ("5, 5", BodySize::Exact(5)),
            ("", BodySize::Unknown),
        ] {
            check_error(&Method::POST, "/", &[("content-length", value)], body, EncodeError::ContentLength);
        }
        let differing = [("content-length", "5"), ("content-length", "6")];
        check_error(&Method::POST, "/", &differing, BodySize::Exact(5), EncodeError::ContentLength);
    }

    #[test]
    fn a_wish_to_close_is_seen() {
        let close =
            |value| encode(&Method::GET, "/", &[("connection", value)], BodySize::None).unwrap().1.close;
        assert!(close("close"));
        assert!(close("TE, Close"));
        assert!(!close("keep-alive"));
    }

    #[test]
    fn chunk_sizes_are_hex() {
        for length in [1, 9, 10, 15, 16, 255, 256, 4096, 65535, 1 << 20, usize::MAX] {
            let mut out = BytesMut::new();
            chunk_size(&mut out, length);
            assert_eq!(out, format!("{length:x}\r\n"));
        }
    }
}
