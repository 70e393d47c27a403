//! The head of a response as the client receives it (RFC 9113 §8.2, §8.3).

use crate::http::head::{Known, MapCache, ResponseHead};
use crate::http::hop;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response};

/// Converts the head of a response. Its body, if it has one, is `size` bytes long if that is known.
///
/// Connection-specific fields are removed, because the `h2` crate refuses a response that has any. `Trailer` stays,
/// which has a meaning in HTTP/2, too.
pub(super) fn head(head: ResponseHead, size: Option<u64>, maps: &mut MapCache) -> Response<()> {
    let is_of_the_connection = |known| hop::is_fixed(known) && known != Known::Trailer;
    let size = size.filter(|_| head.headers.all(Known::ContentLength).next().is_none());
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers.into_map(maps, |line| !is_of_the_connection(line.known()));
    if let Some(size) = size {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    response
}

/// Converts the head of an interim response.
pub(super) fn interim(head: ResponseHead, maps: &mut MapCache) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers.into_map(maps, |_| true);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::fixture;
    use http::StatusCode;

    #[track_caller]
    fn check(fields: &[(&str, &str)], size: Option<u64>, expected: &[(&str, &str)]) {
        let mut response = ResponseHead::new(StatusCode::NOT_FOUND);
        response.headers = fixture::headers(fields);
        let sent = head(response, size, &mut MapCache::default());
        assert_eq!(sent.status(), StatusCode::NOT_FOUND);
        let lines: Vec<_> =
            sent.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_length_that_is_known_is_told_once() {
        check(&[("etag", "1")], None, &[("etag", "1")]);
        check(&[("etag", "1")], Some(7), &[("etag", "1"), ("content-length", "7")]);
        check(&[("content-length", "7"), ("etag", "1")], Some(7), &[("content-length", "7"), ("etag", "1")]);
    }

    #[test]
    fn fields_of_a_name_stay_in_their_order() {
        let fields = [("set-cookie", "a"), ("vary", "x"), ("set-cookie", "b")];
        check(&fields, None, &[("set-cookie", "a"), ("set-cookie", "b"), ("vary", "x")]);
    }

    #[test]
    fn what_belongs_to_a_connection_has_no_place_in_it() {
        let hop = [
            ("connection", "close"),
            ("keep-alive", "5"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x", "1"),
        ];
        check(&hop, None, &[("x", "1")]);
    }
}
