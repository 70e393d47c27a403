//! Host names in requests: the bytes that are allowed, and the form in which names are looked up.

use std::borrow::Cow;

/// Returns the host of an authority in the form in which sites are looked up: lower case, without port and final
/// dot. Returns `None` if `authority` is not `host` or `host:port`. User information is refused as well (RFC 9110
/// §4.2.4).
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

/// Whether this is a name as used in practice: letters, digits, `-`, `.` and `_`. IPv4 addresses have this form as
/// well.
fn is_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !name.is_empty() && name.len() <= 255 && name.bytes().all(legal) && !name.contains("..")
}

/// Returns the port of a URL that names none.
pub(super) fn default_port(tls: bool) -> &'static [u8] {
    if tls { b"443" } else { b"80" }
}

/// Returns an authority without its port if the port is the default one or empty, and so has no effect (RFC 3986
/// §6.2.3).
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
