//! Compares our client with hyper's on the same bytes: hyper's accepts whatever ours accepts, and both results are
//! equal.

use super::script::{Origin, Pool, poll, read, send, write_trailers};
use crate::http::head::{Headers, Value};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::ext::ReasonPhrase;
use proptest::prelude::*;
use std::task::Poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Debug, PartialEq)]
struct Understood {
    status: StatusCode,
    reason: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Understood {
    fn new<'h>(
        status: StatusCode,
        reason: Option<&[u8]>,
        headers: impl Iterator<Item = (&'h str, Value<'h>)>,
        body: Vec<u8>,
    ) -> Self {
        // hyper keeps an absent phrase as an empty one, and drops one that is not ASCII.
        let reason = reason.filter(|reason| !reason.is_empty() && reason.is_ascii()).map(<[u8]>::to_vec);
        Self { status, reason, headers: fields(headers), body }
    }
}

/// Returns the fields in the order of their names, because hyper uses a map. Fields of the same name keep their
/// order. Equal `Content-Length` fields are reduced to one.
fn fields<'h>(headers: impl Iterator<Item = (&'h str, Value<'h>)>) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<_> =
        headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields.dedup_by(|field, earlier| field.0 == "content-length" && earlier.0 == "content-length");
    fields
}

/// Returns our client's result for a connection that carries these bytes and ends.
fn ours(method: &Method, bytes: &[u8]) -> Option<Understood> {
    let (connection, origin) = Origin::connect(usize::MAX);
    origin.say(bytes);
    origin.close();
    let Poll::Ready(Ok((head, mut body))) = poll(&mut send(connection, method, None, &Pool::default()))
    else {
        return None;
    };
    let (data, end) = read(&mut body);
    let understood = Understood::new(head.status, head.reason.as_deref(), head.headers.iter(), data);
    matches!(end, Some(Ok(()))).then_some(understood)
}

fn hypers(method: &Method, bytes: &[u8]) -> Option<Understood> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (here, mut there) = tokio::io::duplex(1 << 20);
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_headers(crate::http::head::limits::MAX_HEADERS)
            .handshake(hyper_util::rt::TokioIo::new(here))
            .await
            .unwrap();
        tokio::spawn(connection);
        let bytes = bytes.to_vec();
        tokio::spawn(async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(there.read_u8().await?);
            }
            there.write_all(&bytes).await?;
            there.shutdown().await
        });
        let request = http::Request::builder()
            .method(method)
            .header("host", "a.example")
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let mut body = body.to_bytes().to_vec();
        write_trailers(&mut body, &trailers);
        let reason = parts.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
        Some(Understood::new(parts.status, reason, Headers::from(&parts.headers).iter(), body))
    })
}

/// Checks that both clients accept this with the same result.
fn check_alike(method: &Method, response: &str) {
    let ours = ours(method, response.as_bytes());
    assert!(ours.is_some(), "{response:?}");
    assert_eq!(ours, hypers(method, response.as_bytes()), "{response:?}");
}

/// Checks that hyper's client accepts this and ours does not.
fn check_stricter(response: &str) {
    assert!(ours(&Method::GET, response.as_bytes()).is_none(), "{response:?}");
    assert!(hypers(&Method::GET, response.as_bytes()).is_some(), "{response:?}");
}

#[test]
fn both_understand_the_same() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 Fine\r\nSet-Cookie: a\r\nX: y\r\nset-cookie: b\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\n\r\nhello",
        "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
        "HTTP/1.1 200\nA: b\nContent-Length: 1\n\nx",
    ] {
        check_alike(&Method::GET, response);
        check_alike(&Method::HEAD, response);
    }
}

/// The complete list of differences. Any other difference is a mistake.
#[test]
fn where_ours_is_stricter() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for response in [
        // A message with two framings, or with a coding that we could not decode.
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        // An invalid status.
        "HTTP/1.1 999 Whatever\r\nContent-Length: 0\r\n\r\n",
        // Bytes before the response.
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        // A protocol that was not requested.
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        // Sizes longer than any body, and control characters in parts that are dropped.
        &format!("{chunked}00000000000000001\r\nx\r\n0\r\n\r\n"),
        &format!("{chunked}1;\0\r\nx\r\n0\r\n\r\n"),
        // More interim responses than any origin sends.
        &format!(
            "{}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 102 Processing\r\n\r\n".repeat(17)
        ),
        // A larger head.
        &format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: {}\r\n\r\n", "b".repeat(70_000)),
    ] {
        check_stricter(response);
    }
}

/// Generates lines and bodies that are mostly valid, so that most responses pass the first check.
fn responses() -> impl Strategy<Value = Vec<u8>> {
    let status = prop_oneof![
        8 => Just("HTTP/1.1 200 OK".to_owned()),
        4 => "HTTP/1\\.[01] (200|204|206|304|404|500|[0-9]{3})( [ -~]{0,8})?",
        1 => "HTTP/1.1 10[0-4] Interim\r\n(A: b\r\n){0,2}\r\nHTTP/1.1 200 OK",
    ];
    let field = prop_oneof![
        4 => "[A-Za-z-]{1,12}:[ \t]{0,2}[ -~]{0,20}",
        2 => "Content-Length: [0-9]{1,2}",
        2 => Just("Transfer-Encoding: chunked".to_owned()),
        1 => "Transfer-Encoding: (chunked|gzip|identity)(, ?chunked)?",
        1 => "Connection: (close|keep-alive|upgrade)",
        1 => "[A-Za-z: \t\u{80}-\u{ff}]{0,6}",
    ];
    let chunk = prop_oneof![
        6 => "[a-z]{1,30}".prop_map(|data| format!("{:x}\r\n{data}\r\n", data.len())),
        1 => "[0-9a-fA-F]{0,3}[ \t;=a-z]{0,4}\r?\n[a-z]{0,12}\r?\n",
    ];
    let body = prop_oneof![
        "[a-z]{0,60}",
        (prop::collection::vec(chunk, 0..5), "0\r\n([A-Z][a-z]{0,4}: [ -~]{0,8}\r\n){0,2}\r\n")
            .prop_map(|(chunks, end)| chunks.concat() + &end),
    ];
    let line_end = prop_oneof![8 => Just("\r\n"), 1 => Just("\n")];
    let mutation = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (status, prop::collection::vec(field, 0..6), line_end, body, mutation).prop_map(
        |(status, fields, line_end, body, mutation)| {
            let mut lines = vec![status];
            lines.extend(fields);
            let mut bytes = format!("{}{line_end}{line_end}{body}", lines.join(line_end)).into_bytes();
            if let Some((at, byte)) = mutation {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn what_ours_accepts_hypers_understands_alike(bytes in responses(), head in prop::bool::weighted(0.1)) {
        let method = if head { Method::HEAD } else { Method::GET };
        if let Some(ours) = ours(&method, &bytes) {
            prop_assert_eq!(Some(ours), hypers(&method, &bytes));
        }
    }
}
