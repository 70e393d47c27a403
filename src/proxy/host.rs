//! Host names in requests: which bytes are one, and how they are looked up.

use std::borrow::Cow;

/// The host of an authority, as sites are looked up by: without port and final dot, lower case. `None`
/// where `authority` is not `host` or `host:port` (user information included: RFC 9110 §4.2.4).
pub fn of_authority(authority: &str) -> Option<Cow<'_, str>> {
    let host = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<std::net::Ipv6Addr>().ok()?;
            if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
                return None;
            }
            &authority[..address.len() + 2]
        }
        None => match authority.split_once(':') {
            Some((name, port)) if is_name(name) && is_port(port) => name,
            None if is_name(authority) => authority,
            _ => return None,
        },
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() {
        return None;
    }
    Some(if host.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}

/// Names as they are in use: letters, digits, `-`, `.` and `_`; also the shape of an IPv4 address.
fn is_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !name.is_empty() && name.len() <= 255 && name.bytes().all(legal) && !name.contains("..")
}

/// The port that a URL means without naming it.
pub(super) fn default_port(tls: bool) -> &'static [u8] {
    if tls { b"443" } else { b"80" }
}

/// An authority without its port, where that says nothing: it is the default one, or empty (RFC 3986 §6.2.3).
pub(super) fn without_port<'a>(authority: &'a [u8], default: &[u8]) -> &'a [u8] {
    match authority.iter().rposition(|b| *b == b':') {
        Some(colon) if matches!(&authority[colon + 1..], port if port.is_empty() || port == default) => {
            &authority[..colon]
        }
        _ => authority,
    }
}

fn is_port(port: &str) -> bool {
    port.is_empty() || (port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let check = |authority: &str, host: Option<&str>| {
            assert_eq!(of_authority(authority).as_deref(), host, "{authority:?}");
        };
        check("www.example.com", Some("www.example.com"));
        check("WWW.Example.com:8080", Some("www.example.com"));
        check("www.example.com.", Some("www.example.com"));
        check("www.example.com:", Some("www.example.com"));
        check("under_score.example", Some("under_score.example"));
        check("192.0.2.1:80", Some("192.0.2.1"));
        check("[2001:DB8::1]:443", Some("[2001:db8::1]"));
        check("[::1]", Some("[::1]"));

        check("", None);
        check(".", None);
        check(":80", None);
        check("a b", None);
        check("a/b", None);
        check("a,b", None);
        check("a@b", None);
        check("a..b", None);
        check("user:pw@host", None);
        check("host:99999", None);
        check("host:80x", None);
        check("host:+80", None);
        check("::1", None);
        check("[::1", None);
        check("[::1]x", None);
        check("[nonsense]", None);
        check("höst", None);
    }

    #[test]
    fn default_ports_say_nothing() {
        let check = |authority: &str, tls, expected: &str| {
            let bare = without_port(authority.as_bytes(), default_port(tls));
            assert_eq!(std::str::from_utf8(bare), Ok(expected), "{authority}");
        };
        check("a.test", false, "a.test");
        check("a.test:", false, "a.test");
        check("a.test:80", false, "a.test");
        check("a.test:80", true, "a.test:80");
        check("a.test:443", true, "a.test");
        check("a.test:8080", false, "a.test:8080");
        check("[::1]:80", false, "[::1]");
        check("[::80]", false, "[::80]");
    }

    proptest::proptest! {
        #[test]
        fn what_is_found_is_its_own_normal_form(authority in "[a-zA-Z0-9.:@\\[\\]_ /-]{0,24}") {
            if let Some(host) = of_authority(&authority) {
                let again = of_authority(&host);
                proptest::prop_assert_eq!(again.as_deref(), Some(&*host));
                proptest::prop_assert!(!host.contains(['@', '/', ' ']), "{}", host);
            }
        }
    }
}
