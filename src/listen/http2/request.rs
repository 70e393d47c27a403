//! A request as the `h2` crate ("the library" below) delivers it: its head in our form, and its body, read from its
//! stream as the origin takes it.

use crate::http::h1::framing::content_length;
use crate::http::h2::parts::Parts;
use crate::http::head::limits::HeadLimits;
use crate::http::head::{Headers, Known, RequestHead, Value};
use crate::http::request_body::BoxError;
use crate::http::request_body::RequestBody;
use ::h2::RecvStream;
use bytes::Bytes;
use http::header::COOKIE;
use http::{HeaderValue, Method};
use http_body::{Body, Frame, SizeHint};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Whether a 100 has to be sent because the body is wanted and has not begun to arrive; `None` if the client does not
/// wait for one (`Expect: 100-continue`).
pub(super) type Continue = Option<Rc<Cell<bool>>>;

/// Converts the head of a request.
pub(super) fn head(parts: http::request::Parts) -> RequestHead {
    let mut head = RequestHead::from(parts);
    join_cookies(&mut head.headers);
    head
}

/// Joins the cookie fields into one: HTTP/2 lets a client split the field, but other versions do not (RFC 9113
/// §8.2.3).
fn join_cookies(headers: &mut Headers) {
    let crumbs: Vec<_> = headers.all(Known::Cookie).map(Value::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        headers.insert(&COOKIE, &cookie);
    }
}

/// Returns the body of a request with this head, whose trailers have these limits. CONNECT asks for a tunnel, which
/// has no body. It is refused later (`proxy/inbound.rs`).
pub(super) fn body(head: &RequestHead, stream: RecvStream, limits: HeadLimits) -> (RequestBody, Continue) {
    if stream.is_end_stream() || head.method == Method::CONNECT {
        return (RequestBody::Empty, None);
    }
    // The library has checked that there is at most one length, and holds the body to it.
    let length = head.headers.all(Known::ContentLength).next();
    let length = length.and_then(|length| content_length(length.as_bytes()));
    let mut expected = head.headers.all(Known::Expect);
    let waits = expected.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let asked = waits.then(Rc::default);
    let body = Incoming { parts: Parts::new(stream, length, limits), asked: asked.clone() };
    (RequestBody::incoming(body), asked)
}

/// A body in flight. If it is dropped before its end it takes no more bytes, and the end of the response resets
/// the stream.
struct Incoming {
    parts: Parts,
    /// Taken at the first read, which decides whether a 100 has to be sent.
    asked: Continue,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let part = self.parts.poll_part(cx);
        if let Some(asked) = self.asked.take() {
            // A client that has begun to send does not wait.
            asked.set(part.is_pending());
        }
        part.map(|part| part.map_err(Into::into).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        self.parts.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::fixture;

    #[test]
    fn crumbs_become_one_cookie() {
        let check = |fields: &[(&str, &str)], expected: &[(&str, &str)]| {
            let mut headers = fixture::headers(fields);
            join_cookies(&mut headers);
            assert_eq!(headers, fixture::headers(expected));
        };
        check(&[("a", "1")], &[("a", "1")]);
        check(&[("cookie", "a=1; b=2")], &[("cookie", "a=1; b=2")]);
        check(
            &[("cookie", "a=1"), ("x", "1"), ("cookie", "b=2"), ("cookie", "c=3; d=4")],
            &[("cookie", "a=1; b=2; c=3; d=4"), ("x", "1")],
        );
    }
}
