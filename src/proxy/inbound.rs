//! The checks of a request before anything is decided about it: it must have one meaning, for us and for every
//! recipient behind us. The connection's own parser has checked the framing. This module checks method, target,
//! host and codings.

use super::error::ProxyError;
use super::fields::{KeyFields, Single};
use super::{host, target};
use crate::config::Limits;
use crate::http::head::{RequestHead, Value, origin_form};
use http::{Method, Version};

/// Checks a request's head. Returns the host that the request is for: that of its target, otherwise that of its
/// `Host`.
pub fn check<'h>(
    head: &'h RequestHead,
    fields: &KeyFields<'h>,
    limits: &Limits,
) -> Result<Value<'h>, ProxyError> {
    // A proxy to a fixed origin does not need tunnels, and TRACE would show anyone the fields with which the request
    // reached the origin.
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(ProxyError::MethodNotAllowed);
    }
    if head.headers.len() > limits.request_headers {
        return Err(ProxyError::TooManyHeaders);
    }
    asked_for(head, limits)?;
    codings(fields)?;
    length(fields, limits)?;
    host_of(head, fields.host)
}

fn asked_for(head: &RequestHead, limits: &Limits) -> Result<(), ProxyError> {
    if origin_form(&head.uri).len() > limits.target_bytes {
        return Err(ProxyError::TargetTooLong);
    }
    target::check(&head.method, &head.uri)
}

fn codings(fields: &KeyFields<'_>) -> Result<(), ProxyError> {
    match fields.transfer_encoding {
        Single::Absent => {}
        Single::Once(only) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => {}
        // If we forwarded an unknown coding, we could disagree with the origin about where the body ends.
        _ => return Err(ProxyError::TransferCoding),
    }
    let mut expected = fields.expect();
    let known = |value: Value<'_>| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if expected.all(known) { Ok(()) } else { Err(ProxyError::Expectation) }
}

/// Refuses a body that is too long by its `Content-Length` before any of it is read.
fn length(fields: &KeyFields<'_>, limits: &Limits) -> Result<(), ProxyError> {
    let told = fields.content_length.and_then(|length| length.to_str()?.parse::<u64>().ok());
    let within = |length| limits.request_body_bytes == 0 || length <= limits.request_body_bytes;
    if told.is_none_or(within) { Ok(()) } else { Err(ProxyError::BodyTooLarge) }
}

/// Returns the host. The target's authority takes precedence (RFC 9112 §3.2.2). A `Host` that differs from it is
/// refused, because two recipients could see two sites. The default port of the target's scheme is not a
/// difference (RFC 9110 §4.2.3).
fn host_of<'h>(head: &'h RequestHead, host: Single<'h>) -> Result<Value<'h>, ProxyError> {
    if host == Single::Repeated {
        return Err(ProxyError::BadRequest("more than one Host"));
    }
    let host = host.once();
    match (head.uri.authority(), host) {
        (None, None) => Err(ProxyError::BadRequest("no Host")),
        (Some(_), None) if head.version < Version::HTTP_2 => Err(ProxyError::BadRequest("no Host")),
        (None, Some(host)) => Ok(host),
        (Some(authority), Some(host)) => {
            let (host_text, authority) = (host.as_bytes(), authority.as_str().as_bytes());
            let default_port = host::default_port(head.uri.scheme_str() == Some("https"));
            let bare = |text| host::without_port(text, default_port);
            match host_text.eq_ignore_ascii_case(authority)
                || bare(host_text).eq_ignore_ascii_case(bare(authority))
            {
                true => Ok(host),
                false => Err(ProxyError::BadRequest("Host differs from the target")),
            }
        }
        (Some(authority), None) => Ok(Value::from(authority)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fixture;

    /// Returns the host that a request is for, or the status with which it is refused.
    fn checked(version: Version, method: &str, target: &str, lines: &[(&str, &str)]) -> Result<String, u16> {
        let head = fixture::request(version, method, target, lines);
        let mut limits = fixture::limits();
        (limits.request_headers, limits.target_bytes, limits.request_body_bytes) = (5, 20, 10);
        check(&head, &KeyFields::of(&head.headers), &limits)
            .map(|host| host.to_str().unwrap().to_owned())
            .map_err(|refused| refused.answer().status.as_u16())
    }

    #[track_caller]
    fn h1(method: &str, target: &str, lines: &[(&str, &str)], expected: Result<&str, u16>) {
        assert_eq!(checked(Version::HTTP_11, method, target, lines), expected.map(str::to_owned));
    }

    const HOST: (&str, &str) = ("host", "a.test");

    #[test]
    fn methods() {
        h1("GET", "/", &[HOST], Ok("a.test"));
        h1("BREW", "/", &[HOST], Ok("a.test"));
        h1("TRACE", "/", &[HOST], Err(405));
        h1("CONNECT", "a.test:443", &[HOST], Err(405));
    }

    #[test]
    fn targets() {
        h1("GET", "/x//../%2e?q=%00", &[HOST], Ok("a.test"));
        h1("GET", "//x", &[HOST], Ok("a.test"));
        h1("OPTIONS", "*", &[HOST], Ok("a.test"));
        h1("GET", "*", &[HOST], Err(400));
        h1("GET", "a", &[HOST], Err(400));
        h1("GET", "a.test:80", &[HOST], Err(400));
        h1("GET", "http://a.test/", &[HOST], Ok("a.test"));
        h1("GET", "https://a.test/", &[HOST], Ok("a.test"));
        h1("GET", "ftp://a.test/", &[HOST], Err(400));
        h1("GET", "/0123456789012345678", &[HOST], Ok("a.test"));
        h1("GET", "/01234567890123456789", &[HOST], Err(414));
        h1("GET", "/?0123456789012345678", &[HOST], Err(414));
    }

    #[test]
    fn hosts() {
        h1("GET", "/", &[], Err(400));
        h1("GET", "/", &[HOST, HOST], Err(400));
        h1("GET", "http://A.test/", &[HOST], Ok("a.test"));
        h1("GET", "http://b.test/", &[HOST], Err(400));
        h1("GET", "http://a.test:81/", &[HOST], Err(400));
        h1("GET", "http://a.test:80/", &[HOST], Ok("a.test"));
        h1("GET", "http://a.test:/", &[HOST], Ok("a.test"));
        h1("GET", "http://A.test/", &[("host", "a.test:80")], Ok("a.test:80"));
        h1("GET", "https://a.test:443/", &[("host", "a.test:")], Ok("a.test:"));
        h1("GET", "http://a.test:443/", &[HOST], Err(400));
        h1("GET", "https://a.test:80/", &[HOST], Err(400));
        h1("GET", "http://a.test:080/", &[HOST], Err(400));
        h1("GET", "http://a.test/", &[], Err(400));
        let h2 = |lines: &[(&str, &str)]| checked(Version::HTTP_2, "GET", "https://a.test/", lines);
        assert_eq!(h2(&[]), Ok("a.test".into()));
        assert_eq!(h2(&[HOST]), Ok("a.test".into()));
        assert_eq!(h2(&[("host", "b.test")]), Err(400));
        assert_eq!(h2(&[("host", "a.test:443")]), Ok("a.test:443".into()));
        assert_eq!(h2(&[("host", "a.test:80")]), Err(400));
        assert_eq!(checked(Version::HTTP_10, "GET", "/", &[]), Err(400));
    }

    proptest::proptest! {
        /// A default port is ignored by RFC 9110 §4.2.3 and RFC 3986 §6.2.3.
        #[test]
        fn a_default_port_is_no_difference(
            name in "[a-zA-Z]{1,8}", tls: bool, target in 0..3usize, host in 0..3usize,
        ) {
            let (scheme, port) = if tls { ("https", ":443") } else { ("http", ":80") };
            let spelled = ["", ":", port].map(|port| format!("{name}{port}"));
            let uri = format!("{scheme}://{}/", spelled[target].to_uppercase());
            for version in [Version::HTTP_11, Version::HTTP_2] {
                let checked = checked(version, "GET", &uri, &[("host", &spelled[host])]);
                proptest::prop_assert_eq!(checked, Ok(spelled[host].clone()));
            }
            let other = format!("{name}{}", if tls { ":80" } else { ":443" });
            let checked = checked(Version::HTTP_11, "GET", &uri, &[("host", &other)]);
            proptest::prop_assert_eq!(checked, Err(400));
        }
    }

    #[test]
    fn codings_and_expectations() {
        let check = |name, value, expected| h1("POST", "/", &[HOST, (name, value)], expected);
        check("transfer-encoding", "chunked", Ok("a.test"));
        check("transfer-encoding", "Chunked", Ok("a.test"));
        check("transfer-encoding", "gzip, chunked", Err(501));
        check("transfer-encoding", "chunked, chunked", Err(501));
        check("expect", "100-continue", Ok("a.test"));
        check("expect", "100-Continue", Ok("a.test"));
        check("expect", "200-ok", Err(417));
        let twice = ("transfer-encoding", "chunked");
        h1("POST", "/", &[HOST, twice, twice], Err(501));
    }

    #[test]
    fn lengths() {
        let check = |length, expected| h1("POST", "/", &[HOST, ("content-length", length)], expected);
        check("0", Ok("a.test"));
        check("10", Ok("a.test"));
        check("11", Err(413));
        check("18446744073709551615", Err(413));
    }

    #[test]
    fn too_many_headers() {
        h1("GET", "/", &[HOST, ("a", "1"), ("a", "2"), ("b", "3"), ("c", "4")], Ok("a.test"));
        h1("GET", "/", &[HOST, ("a", "1"), ("a", "2"), ("b", "3"), ("c", "4"), ("d", "5")], Err(431));
    }
}
