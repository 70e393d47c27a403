//! Hop-by-hop header fields (RFC 9110 §7.6.1), which end at this hop, in both directions.

use super::head::{Headers, Known, Line, Value};
use http::HeaderName;

/// [Bits](Known::bit) of the fields that belong to their connection regardless of `Connection`.
const FIXED: u64 = Known::Te.bit()
    | Known::Trailer.bit()
    | Known::Upgrade.bit()
    | Known::Connection.bit()
    | Known::KeepAlive.bit()
    | Known::Http2Settings.bit()
    | Known::ProxyConnection.bit()
    | Known::TransferEncoding.bit()
    | Known::ProxyAuthenticate.bit()
    | Known::ProxyAuthorization.bit()
    | Known::ProxyAuthenticationInfo.bit();

/// Whether a field belongs to its connection regardless of `Connection`.
pub fn is_fixed(known: Known) -> bool {
    FIXED & known.bit() != 0
}

/// Returns the fields that the lines of `Connection` nominate, except the fixed ones. Allocates only if there are any.
pub fn nominated<'h>(connection: impl Iterator<Item = Value<'h>>) -> Vec<HeaderName> {
    let tokens = connection.flat_map(|value| value.as_bytes().split(|b| *b == b','));
    tokens
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.eq_ignore_ascii_case(b"close"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !is_fixed(Known::of(name.as_str())))
        .collect()
}

/// Whether a line has one of these names.
pub fn is_among(names: &[HeaderName], line: Line<'_>) -> bool {
    names.iter().any(|name| line.is_named(name.as_str()))
}

/// Whether removing a request field because `Connection` nominates it would change the meaning or the sender of
/// the request. Such a nomination is an attack on the systems behind the shim.
pub fn is_protected_in_request(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || matches!(
            Known::of(name),
            Known::Host
                | Known::ContentLength
                | Known::Authorization
                | Known::Cookie
                | Known::CacheControl
                | Known::Forwarded
                | Known::Via
                | Known::CdnLoop
                | Known::XPushInvalidation
                | Known::XByoCdnType
                | Known::XOriginShimSecret
        )
}

/// The same for responses. Without these fields a private page could look public, an old one new, and a tagged one
/// untagged.
fn is_protected_in_response(name: &str) -> bool {
    name.ends_with("cache-control")
        || matches!(
            Known::of(name),
            Known::Age | Known::Date | Known::Vary | Known::Etag | Known::Pragma | Known::Expires
        )
        || matches!(Known::of(name), Known::SetCookie | Known::ContentLength)
        || matches!(name, "location" | "content-encoding" | "content-range" | "content-type")
}

/// Removes the fields of a response that end at this hop. A nomination of a protected field is ignored. `is_read`
/// returns whether a field is protected because caches read it, in addition to those of HTTP itself.
pub fn strip_response(headers: &mut Headers, is_read: impl Fn(&str) -> bool) {
    strip_response_but(None, headers, is_read);
}

/// Does the same, but keeps one of the fixed fields, which this hop may send again. Returns the nominated fields.
pub fn strip_response_but(
    kept: Option<Known>,
    headers: &mut Headers,
    is_read: impl Fn(&str) -> bool,
) -> Vec<HeaderName> {
    // Only `Connection`, which is fixed itself, nominates others.
    if !headers.may_have(FIXED) {
        return Vec::new();
    }
    let mut nominated = nominated(headers.all(Known::Connection));
    nominated.retain(|name| !is_protected_in_response(name.as_str()) && !is_read(name.as_str()));
    headers.retain(|line| {
        let known = line.known();
        (!is_fixed(known) || kept == Some(known)) && !is_among(&nominated, line)
    });
    nominated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::fixture;

    #[test]
    fn responses_lose_fixed_and_nominated_headers() {
        let check = |before: &[(&str, &str)], after: &[(&str, &str)]| {
            let mut headers = fixture::headers(before);
            strip_response(&mut headers, |name| ["x-own-tags", "xkey", "cache-tag"].contains(&name));
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
        // The origin cannot nominate these: a private page must not lose the fields that make it private.
        check(
            &[
                ("connection", "cache-control, set-cookie, vary, CDN-Cache-Control"),
                ("cache-control", "private"),
            ],
            &[("cache-control", "private")],
        );
        // An old page must not lose its age, nor a tagged one its tags.
        check(
            &[
                ("connection", "age, xkey, Cache-Tag, x-own-tags"),
                ("age", "9"),
                ("xkey", "t"),
                ("x-own-tags", "t"),
            ],
            &[("age", "9"), ("xkey", "t"), ("x-own-tags", "t")],
        );
        check(&[("connection", ", ,(,close"), ("x-a", "1")], &[("x-a", "1")]);
    }

    #[test]
    fn what_connection_may_not_nominate_in_requests() {
        for name in ["host", "cookie", "x-forwarded-proto", "x-push-invalidation", "cdn-loop"] {
            assert!(is_protected_in_request(name), "{name}");
        }
        for name in ["x-trace", "keep-alive", "accept"] {
            assert!(!is_protected_in_request(name), "{name}");
        }
    }
}
