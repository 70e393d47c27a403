//! The head of a response as the client receives it, and the framing of its body (RFC 9112 §4, §6).

use crate::http::h1::framing::{Framing, content_length};
use crate::http::head::{Known, ResponseHead};
use bytes::BytesMut;
use http::{StatusCode, Version};

/// The properties of a request that its response depends on.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The request's version: HTTP/1.0 has no chunks.
    pub version: Version,
    /// Whether the method is HEAD, so that the response has no body.
    pub to_head: bool,
    /// Whether another request may follow.
    pub persistent: bool,
}

/// The result of writing a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The framing that the body must have.
    pub framing: Framing,
    /// Whether another request may follow, as the response announces.
    pub persistent: bool,
}

/// Appends the head of a response whose body has `size` bytes, if that is known.
///
/// Only this function decides the framing. A `Content-Length` among the fields keeps its place and a
/// `Transfer-Encoding` is replaced by ours. `Connection` is also replaced, except in a switch of protocols.
pub fn encode(out: &mut BytesMut, head: &ResponseHead, asked: Asked, size: Option<u64>) -> Written {
    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let has_no_body = switches || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let has_no_length = switches || head.status == StatusCode::NO_CONTENT;
    status_line(out, head, asked.version);
    let mut declared = None;
    let mut closes = false;
    let of_the_message = Known::Connection.bit() | Known::ContentLength.bit() | Known::TransferEncoding.bit();
    head.headers.write(out, of_the_message, |line| match line.known() {
        Known::Connection if !switches => {
            closes = true;
            false
        }
        Known::ContentLength => {
            let length = content_length(line.value().as_bytes());
            let stays = !has_no_length && length.is_some() && declared.is_none();
            declared = if stays { length } else { declared };
            stays
        }
        Known::TransferEncoding => false,
        _ => true,
    });

    let framing = if asked.to_head || has_no_body {
        Framing::Empty
    } else if let Some(length) = declared {
        Framing::Length(length)
    } else if let Some(size) = size {
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(size.to_string().as_bytes());
        out.extend_from_slice(b"\r\n");
        Framing::Length(size)
    } else if asked.version == Version::HTTP_11 {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        Framing::Chunked
    } else {
        Framing::Close
    };
    let persistent = asked.persistent && !closes && !switches && framing != Framing::Close;
    out.extend_from_slice(match (persistent, asked.version) {
        _ if switches => b"",
        (false, _) => b"connection: close\r\n",
        (true, Version::HTTP_10) => b"connection: keep-alive\r\n",
        (true, _) => b"",
    });
    out.extend_from_slice(b"\r\n");
    Written { framing, persistent }
}

/// Appends the head of an interim response, which has no body. Clients of HTTP/1.0 must not receive any.
pub fn encode_interim(out: &mut BytesMut, head: &ResponseHead) {
    status_line(out, head, Version::HTTP_11);
    head.headers.write(out, 0, |_| true);
    out.extend_from_slice(b"\r\n");
}

fn status_line(out: &mut BytesMut, head: &ResponseHead, version: Version) {
    let is_11 = version == Version::HTTP_11;
    if is_11 && head.status == StatusCode::OK && head.reason.is_none() {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    let usual = head.status.canonical_reason().unwrap_or_default().as_bytes();
    let reason = head.reason.as_deref().unwrap_or(usual);
    let version: &[u8] = if is_11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " };
    for part in [version, head.status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderName, HeaderValue};

    const ASKED: Asked = Asked { version: Version::HTTP_11, to_head: false, persistent: true };

    /// Checks the head that is written, line by line, and the framing of the body.
    #[track_caller]
    fn check(
        asked: Asked,
        (status, lines): (u16, &[(&'static str, &'static str)]),
        size: Option<u64>,
        expected: &str,
        framing: Framing,
    ) {
        let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
        for (name, value) in lines {
            head.headers.append(&HeaderName::from_static(name), &HeaderValue::from_static(value));
        }
        let mut out = BytesMut::new();
        let written = encode(&mut out, &head, asked, size);
        let text = String::from_utf8(out.to_vec()).unwrap();
        assert_eq!(text.trim_end().replace("\r\n", "|"), expected);
        assert!(text.ends_with("\r\n\r\n"));
        let persistent = asked.persistent && !text.contains("connection: close") && status != 101;
        assert_eq!(written, Written { framing, persistent });
    }

    #[test]
    fn fields_keep_their_order() {
        let fields =
            [("etag", "1"), ("set-cookie", "a"), ("vary", "x"), ("set-cookie", "b"), ("content-length", "5")];
        let expected = "HTTP/1.1 200 OK|etag: 1|set-cookie: a|vary: x|set-cookie: b|content-length: 5";
        check(ASKED, (200, &fields), None, expected, Framing::Length(5));
    }

    #[test]
    fn framing() {
        let old = Asked { version: Version::HTTP_10, ..ASKED };
        let ok = "HTTP/1.1 200 OK";
        check(ASKED, (200, &[]), None, &format!("{ok}|transfer-encoding: chunked"), Framing::Chunked);
        check(ASKED, (200, &[]), Some(0), &format!("{ok}|content-length: 0"), Framing::Length(0));
        check(ASKED, (200, &[]), Some(17), &format!("{ok}|content-length: 17"), Framing::Length(17));
        check(old, (200, &[]), None, "HTTP/1.0 200 OK|connection: close", Framing::Close);
        check(
            old,
            (200, &[]),
            Some(3),
            "HTTP/1.0 200 OK|content-length: 3|connection: keep-alive",
            Framing::Length(3),
        );
        let length = [("content-length", "9")];
        check(ASKED, (200, &length), Some(3), &format!("{ok}|content-length: 9"), Framing::Length(9));
        let coding = [("transfer-encoding", "gzip"), ("content-length", "x"), ("content-length", "9")];
        check(ASKED, (200, &coding), None, &format!("{ok}|content-length: 9"), Framing::Length(9));
    }

    #[test]
    fn responses_without_a_body() {
        let head = Asked { to_head: true, ..ASKED };
        let length = [("content-length", "9")];
        check(head, (200, &length), None, "HTTP/1.1 200 OK|content-length: 9", Framing::Empty);
        check(head, (200, &[]), None, "HTTP/1.1 200 OK", Framing::Empty);
        check(ASKED, (304, &length), Some(0), "HTTP/1.1 304 Not Modified|content-length: 9", Framing::Empty);
        check(ASKED, (204, &length), Some(0), "HTTP/1.1 204 No Content", Framing::Empty);
        let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
        let expected = "HTTP/1.1 101 Switching Protocols|connection: upgrade|upgrade: websocket";
        check(ASKED, (101, &upgrade), Some(0), expected, Framing::Empty);
    }

    #[test]
    fn interim_responses_are_heads_alone() {
        let mut head = ResponseHead::new(StatusCode::EARLY_HINTS);
        head.headers.append(&HeaderName::from_static("link"), &HeaderValue::from_static("</a.css>"));
        let mut out = BytesMut::new();
        encode_interim(&mut out, &head);
        encode_interim(&mut out, &ResponseHead::new(StatusCode::PROCESSING));
        let expected = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
        assert_eq!(out, expected);
    }

    #[test]
    fn the_end_of_the_connection_is_told() {
        let last = Asked { persistent: false, ..ASKED };
        check(
            last,
            (200, &[]),
            Some(0),
            "HTTP/1.1 200 OK|content-length: 0|connection: close",
            Framing::Length(0),
        );
        let close = [("connection", "close")];
        let expected = "HTTP/1.1 400 Bad Request|content-length: 0|connection: close";
        check(ASKED, (400, &close), Some(0), expected, Framing::Length(0));
    }

    #[test]
    fn reason_phrases() {
        let line = |status: u16, reason: Option<&'static str>| {
            let mut head = ResponseHead::new(StatusCode::from_u16(status).unwrap());
            head.reason = reason.map(|reason| Bytes::from_static(reason.as_bytes()));
            let mut out = BytesMut::new();
            encode(&mut out, &head, ASKED, Some(0));
            String::from_utf8(out.to_vec()).unwrap().lines().next().unwrap().to_owned()
        };
        assert_eq!(line(200, None), "HTTP/1.1 200 OK");
        assert_eq!(line(200, Some("Fine")), "HTTP/1.1 200 Fine");
        assert_eq!(line(404, None), "HTTP/1.1 404 Not Found");
        assert_eq!(line(299, None), "HTTP/1.1 299 ");
        assert_eq!(line(299, Some("Odd")), "HTTP/1.1 299 Odd");
    }
}
