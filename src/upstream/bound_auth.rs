//! Authentication that may apply to a connection instead of a request: NTLM and Negotiate (RFC 4559 §6, MS-NTHT).
//!
//! The authenticated user of such a connection is assumed to be the sender of everything that follows on it. Our
//! connections to an origin carry requests of many visitors, and so do those of a CDN to us. Neither can therefore
//! belong to one visitor: after such an exchange, the connection to the origin is closed, and the response is made
//! private.

use crate::http::head::{Headers, Known, Value};
use http::header::CACHE_CONTROL;
use http::{HeaderName, HeaderValue, StatusCode, header};

const PERSISTENT_AUTH: HeaderName = HeaderName::from_static("persistent-auth");
const PRIVATE: HeaderValue = HeaderValue::from_static("private");

/// Whether a request authenticates the connection on which it is forwarded.
pub fn is_in_request(headers: &Headers) -> bool {
    headers.all(Known::Authorization).any(names_scheme)
}

/// Whether a response requests such authentication, or reports with a 401 or 407 that it was done (`Persistent-Auth`).
/// Other statuses are not examined.
pub(super) fn is_in_response(status: StatusCode, headers: &Headers) -> bool {
    let challenged = match status {
        StatusCode::UNAUTHORIZED => headers.get_all(&header::WWW_AUTHENTICATE).any(names_scheme),
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => headers.all(Known::ProxyAuthenticate).any(names_scheme),
        _ => return false,
    };
    challenged || headers.contains(PERSISTENT_AUTH)
}

/// Makes the response private, whatever its other directives are, so that shared caches do not keep it.
pub fn make_private(headers: &mut Headers) {
    headers.append(&CACHE_CONTROL, &PRIVATE);
}

/// Whether credentials or challenges are of such a scheme. Only the beginning is compared, as in HAProxy, because
/// there is also `Nego2`.
fn names_scheme(value: Value<'_>) -> bool {
    let schemes = value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii_start);
    let begins = |text: &[u8], scheme: &[u8]| {
        text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    schemes.into_iter().any(|text| begins(text, b"ntlm") || begins(text, b"nego"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::fixture;

    #[test]
    fn which_requests() {
        let check = |value: &str, expected| {
            let headers = fixture::headers(&[("authorization", value)]);
            assert_eq!(is_in_request(&headers), expected, "{value}");
        };
        check("NTLM TlRMTVNTUAABAAAA", true);
        check("negotiate YII=", true);
        check("Nego2 x", true);
        check("Basic bnRsbQ==", false);
        check("Bearer negotiate", false);
        check("", false);
    }

    #[test]
    fn which_responses() {
        let check = |status: u16, lines: &[(&str, &str)], expected| {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_in_response(status, &fixture::headers(lines)), expected, "{lines:?}");
        };
        check(401, &[("www-authenticate", "NTLM")], true);
        check(401, &[("www-authenticate", "Basic realm=\"x\""), ("www-authenticate", "Negotiate")], true);
        check(401, &[("www-authenticate", "Basic realm=\"x\", ntlm")], true);
        check(401, &[("www-authenticate", "Basic realm=\"NTLM\"")], false);
        check(401, &[("persistent-auth", "true")], true);
        check(407, &[("proxy-authenticate", "Negotiate")], true);
        check(401, &[], false);
        // The response is not a challenge, so there is nothing to bind.
        check(200, &[("www-authenticate", "NTLM")], false);
    }
}
