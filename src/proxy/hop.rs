//! Hop-by-hop headers (RFC 9110 §7.6.1): what ends at this hop, in both directions.

use crate::head::Headers;
use http::{HeaderName, HeaderValue, header};

/// Whether a header belongs to the connection it came on, whatever `Connection` says.
pub fn is_fixed(name: &HeaderName) -> bool {
    let name = name.as_str();
    // By length first: most names are told apart by it alone.
    matches!(
        (name.len(), name),
        (2, "te")
            | (7, "trailer" | "upgrade")
            | (10, "connection" | "keep-alive")
            | (14, "http2-settings")
            | (16, "proxy-connection")
            | (17, "transfer-encoding")
            | (18, "proxy-authenticate")
            | (19, "proxy-authorization")
            | (25, "proxy-authentication-info")
    )
}

/// The headers that the lines of `Connection` nominate, the fixed ones left out. Allocates only where there are any.
pub fn nominated<'h>(connection: impl Iterator<Item = &'h HeaderValue>) -> Vec<HeaderName> {
    let tokens = connection.flat_map(|value| value.as_bytes().split(|b| *b == b','));
    tokens
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.eq_ignore_ascii_case(b"close"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !is_fixed(name))
        .collect()
}

/// Whether removing a request header on `Connection`'s word would change what the request means or who sent
/// it: such a nomination is an attack on what is behind us.
pub fn is_protected_in_request(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-")
        || matches!(
            name,
            "host"
                | "content-length"
                | "authorization"
                | "cookie"
                | "cache-control"
                | "forwarded"
                | "via"
                | "cdn-loop"
                | "x-push-invalidation"
                | "x-byo-cdn-type"
                | "x-origin-shim-secret"
        )
}

/// The same for responses: without these a private page could look public.
fn is_protected_in_response(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.ends_with("cache-control")
        || matches!(
            name,
            "content-length" | "set-cookie" | "vary" | "expires" | "pragma" | "surrogate-control"
        )
        || matches!(name, "edge-control" | "content-encoding" | "content-range" | "content-type" | "etag")
}

/// Removes from a response what ends at this hop. A nomination of a protected header is ignored.
pub fn strip_response(headers: &mut Headers) {
    let mut nominated = nominated(headers.get_all(&header::CONNECTION));
    nominated.retain(|name| !is_protected_in_response(name));
    headers.retain(|name, _| !is_fixed(name) && !nominated.contains(name));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fixture;

    #[test]
    fn responses_lose_fixed_and_nominated_headers() {
        let check = |before: &[(&str, &str)], after: &[(&str, &str)]| {
            let mut headers = fixture::headers(before);
            strip_response(&mut headers);
            assert_eq!(fixture::lines(&headers), after);
        };
        check(&[("etag", "1"), ("x-a", "1")], &[("etag", "1"), ("x-a", "1")]);
        check(&[("connection", "keep-alive, X-A"), ("x-a", "1"), ("x-b", "1")], &[("x-b", "1")]);
        check(&[("connection", "x-a"), ("connection", "x-b"), ("x-a", "1"), ("x-b", "1")], &[]);
        check(
            &[("keep-alive", "5"), ("upgrade", "h2c"), ("trailer", "x"), ("transfer-encoding", "chunked")],
            &[],
        );
        check(&[("proxy-authenticate", "Basic"), ("te", "x"), ("proxy-connection", "close")], &[]);
        // Not on the origin's word: a private page must not lose what makes it private.
        check(
            &[
                ("connection", "cache-control, set-cookie, vary, CDN-Cache-Control"),
                ("cache-control", "private"),
            ],
            &[("cache-control", "private")],
        );
        check(&[("connection", ", ,(,close"), ("x-a", "1")], &[("x-a", "1")]);
    }

    #[test]
    fn what_connection_may_not_nominate_in_requests() {
        for name in ["host", "cookie", "x-forwarded-proto", "x-push-invalidation", "cdn-loop"] {
            assert!(is_protected_in_request(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["x-trace", "keep-alive", "accept"] {
            assert!(!is_protected_in_request(&HeaderName::from_static(name)), "{name}");
        }
    }
}
