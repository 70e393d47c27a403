//! Bytes from the network.

use bytes::BytesMut;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Method, Version};
use origin_shim::http::h1::chunked::{ChunkedError, Decoded, Decoder};
use origin_shim::http::h1::framing::Framing;
use origin_shim::http::head::Value;
use origin_shim::http::head::limits::{HeadError, HeadLimits};
use origin_shim::listen::frames::Allowance;
use origin_shim::listen::http1::request::{self, Reader, Request};
use origin_shim::listen::proxy_protocol;
use origin_shim::upstream::h1::head::{Head, HeadReader};
use std::time::Instant;

/// The first byte chooses the method and the size of the pieces. The rest is sent by an origin.
pub fn head(data: &[u8]) {
    let Some((choice, response)) = data.split_first() else { return };
    let method = if choice & 1 == 0 { Method::GET } else { Method::HEAD };
    let piece = usize::from(choice >> 1) + 1;

    let whole = decode_head(&method, [response]);
    let pieces = decode_head(&method, response.chunks(piece));
    let refused_later = whole.is_err() && matches!(pieces, Ok((None, _)));
    assert!(refused_later || format!("{whole:?}") == format!("{pieces:?}"), "{whole:?} in pieces {pieces:?}");

    if let Ok((Some(head), rest)) = whole {
        check_head(&head, &method, &response[..response.len() - rest.len()]);
    }
}

type HeadResult = Result<(Option<Head>, Vec<u8>), HeadError>;

fn decode_head<'a>(method: &Method, pieces: impl IntoIterator<Item = &'a [u8]>) -> HeadResult {
    let mut reader = HeadReader::new(method, HeadLimits::default());
    let mut buf = BytesMut::new();
    let mut head = None;
    for piece in pieces {
        buf.extend_from_slice(piece);
        if head.is_none() {
            head = reader.decode(&mut buf)?;
        }
    }
    // Names may be in lower case before a head is complete.
    let rest = if head.is_some() { buf.to_vec() } else { buf.to_ascii_lowercase() };
    Ok((head, rest))
}

/// The end of an accepted message has one meaning, and another parser finds the same fields.
fn check_head(head: &Head, method: &Method, bytes: &[u8]) {
    let lengths = head.headers.get_all(&CONTENT_LENGTH).count();
    let codings = head.headers.get_all(&TRANSFER_ENCODING).count();
    assert!(lengths + codings <= 1, "two framings");
    assert!((200..600).contains(&head.status.as_u16()));
    let bodiless = *method == Method::HEAD || matches!(head.status.as_u16(), 204 | 304);
    match head.framing {
        Framing::Empty => assert!(bodiless),
        Framing::Length(_) => assert!(lengths == 1 && !bodiless),
        Framing::Chunked => assert!(codings == 1 && !bodiless && head.version == Version::HTTP_11),
        Framing::Close => assert!(lengths + codings == 0 && !bodiless),
    }

    let mut rest = bytes;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut response = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = response.parse(rest) else { panic!("httparse refuses") };
        rest = &rest[length..];
        if response.code.is_some_and(|code| code >= 200) {
            assert_eq!(response.code, Some(head.status.as_u16()));
            assert_eq!(response.headers.len(), head.headers.len());
            for field in response.headers {
                let name = field.name.to_ascii_lowercase();
                let mut values = head.headers.get_all(&name);
                assert!(values.any(|value| value.as_bytes() == field.value), "{field:?} is lost");
            }
            assert!(rest.is_empty());
            return;
        }
    }
}

/// The first byte is the size of the pieces. The rest is sent by a client. Requests are read until one has a
/// body.
pub fn request(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let whole = decode_requests([bytes]);
    let pieces = decode_requests(bytes.chunks(usize::from(*piece) + 1));
    // Pieces may be refused later than the whole, but only if the whole is refused, too.
    assert_eq!(format!("{:?}", whole.0), format!("{:?}", pieces.0));
    assert!(whole.1.is_some() || pieces.1.is_none(), "{whole:?} in pieces {pieces:?}");

    let mut rest = bytes;
    for request in &whole.0 {
        while let [b'\r' | b'\n', after @ ..] = rest {
            rest = after;
        }
        rest = check_request(request, rest);
    }
}

/// Returns the requests that were read, and the status with which the bytes after them were refused.
fn decode_requests<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Request>, Option<u16>) {
    let limits = request::HeadLimits { fields: 20, bytes: 2048, target: 512 };
    let (mut reader, mut buf, mut requests) = (Reader::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            match reader.decode(&mut buf, limits) {
                Ok(None) => break,
                Ok(Some(request)) => {
                    let has_body = request.framing != Framing::Empty;
                    requests.push(request);
                    if has_body {
                        return (requests, None);
                    }
                }
                Err(refused) => return (requests, Some(refused.answer().status.as_u16())),
            }
        }
    }
    (requests, None)
}

/// The end of an accepted request has one meaning, and another parser finds the same fields. Returns the bytes
/// after it.
fn check_request<'a>(request: &Request, bytes: &'a [u8]) -> &'a [u8] {
    let headers = &request.head.headers;
    let number = |value: Value<'_>| value.to_str()?.parse::<u64>().ok();
    let lengths = headers.get_all(&CONTENT_LENGTH).map(number).collect::<Vec<_>>();
    let codings = headers.get_all(&TRANSFER_ENCODING).count();
    assert!(lengths.iter().all(|length| length.is_some() && *length == lengths[0]));
    match request.framing {
        Framing::Empty => assert!(codings == 0),
        Framing::Length(_) => assert!(codings == 0 && !lengths.is_empty()),
        Framing::Close => panic!("a request without an end"),
        Framing::Chunked => {
            assert!(codings == 1 && lengths.is_empty() && request.head.version == Version::HTTP_11);
        }
    }
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut seen = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = seen.parse(bytes) else { panic!("httparse refuses") };
    assert_eq!(seen.method, Some(request.head.method.as_str()));
    assert_eq!(seen.version, Some(u8::from(request.head.version == Version::HTTP_11)));
    let lines = seen.headers.iter().map(|field| (field.name.to_lowercase(), field.value));
    let ours = headers.iter().map(|(name, value)| (name.to_owned(), value.as_bytes()));
    assert!(lines.eq(ours), "{:?}", request.head);
    &bytes[length..]
}

/// All bytes are sent by a load balancer and its client. Whatever the pieces, a header is the same and ends at
/// the same byte, and a refused one stays refused.
pub fn proxy_header(data: &[u8]) {
    let mut before = Ok(None);
    for length in 0..=data.len() {
        let now = proxy_protocol::parse(&data[..length]);
        assert!(before == Ok(None) || before == now, "{before:?}, then {now:?}");
        if let Ok(Some(header)) = now {
            assert!((15..=length).contains(&header.length));
            assert_eq!(proxy_protocol::parse(&data[..header.length]), now);
        }
        before = now;
    }
}

/// The first byte is the size of the pieces. The rest follows a head.
pub fn chunked(data: &[u8]) {
    let Some((piece, body)) = data.split_first() else { return };
    let whole = decode_chunked([body]);
    let pieces = decode_chunked(body.chunks(usize::from(*piece) + 1));
    assert_eq!(whole, pieces);
    if let Ok((decoded, rest, ended)) = whole {
        assert!(decoded.len() + rest.len() <= body.len());
        assert!(ended || rest.is_empty());
    }
}

fn decode_chunked<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, Vec<u8>, bool), ChunkedError> {
    let mut decoder = Decoder::default();
    let mut buf = BytesMut::new();
    let mut body = Vec::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        while let Decoded::Data(data) = decoder.decode(&mut buf)? {
            assert!(!data.is_empty());
            body.extend_from_slice(&data);
        }
    }
    Ok((body, buf.to_vec(), decoder.is_end()))
}

/// The first byte is the size of the pieces. The rest is sent by an HTTP/2 client at once. Whether it is a
/// flood does not depend on the pieces.
pub fn frames(data: &[u8]) {
    let Some((piece, sent)) = data.split_first() else { return };
    let now = Instant::now();
    let (mut whole, mut pieces) = (Allowance::new(now), Allowance::new(now));
    let within = whole.received(sent, now);
    let pieces_within = sent.chunks(usize::from(*piece) + 1).all(|piece| pieces.received(piece, now));
    assert_eq!(within, pieces_within);
    assert!(!within || whole.has_begun() == pieces.has_begun());
    // No frame is shorter than its header.
    assert!(within || sent.len() > 9 * 1000);
}
