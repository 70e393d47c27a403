//! The head of a response as the client gets it (RFC 9113 §8.2, §8.3).

use crate::head::{Known, ResponseHead};
use crate::proxy::hop;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Response};

/// The head of a response whose body, where it has any, is `size` bytes long if that is known.
///
/// What belongs to a connection has no place in it: the library would refuse all of it.
pub(super) fn head(head: ResponseHead, size: Option<u64>) -> Response<()> {
    let ResponseHead { status, headers, .. } = head;
    let mut map = HeaderMap::with_capacity(headers.len() + 1);
    let mut has_length = false;
    for (known, name, value) in headers.into_fields() {
        if !hop::is_fixed(known) {
            has_length |= known == Known::ContentLength;
            map.append(name, value);
        }
    }
    if let Some(size) = size.filter(|_| !has_length) {
        map.insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = map;
    response
}
