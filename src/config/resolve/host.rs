//! Host names in the lists of sites and CDNs.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Parses a host name or a `*.` wildcard; returns it in lower case.
pub(super) fn pattern(text: &str) -> Result<String, String> {
    match text.strip_prefix("*.") {
        Some(parent) => {
            let parent = exact(parent)?;
            let is_name = !parent.starts_with('[') && parent.parse::<Ipv4Addr>().is_err();
            if is_name {
                Ok(format!("*.{parent}"))
            } else {
                Err("an address has no names below it".to_owned())
            }
        }
        None if text == "*" => Err("to match every host, set `default = true` instead of `*`".to_owned()),
        None if text.contains('*') => Err("a wildcard is `*.` at the start and nothing else".to_owned()),
        None => exact(text),
    }
}

/// Parses a host name or an IP address (IPv6 in brackets); returns it in lower case.
pub(in crate::config) fn exact(text: &str) -> Result<String, String> {
    let host = text.to_ascii_lowercase();
    if let Some(inside) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match inside.parse::<Ipv6Addr>() {
            Ok(_) => Ok(host),
            Err(_) => Err("is not an IPv6 address".to_owned()),
        };
    }
    let problem = if host.is_empty() {
        "must not be empty"
    } else if host.contains("://") || host.contains('/') {
        "must be a host name only, without scheme and path"
    } else if host.contains('*') {
        "must be an exact host name"
    } else if host.contains(':') {
        "must not have a port (write an IPv6 address in brackets)"
    } else if host.ends_with('.') {
        "must not end with a dot"
    } else if !host.is_ascii() {
        "must be ASCII: write an international name in its `xn--` form"
    } else if host.len() > 253 || !host.split('.').all(is_label) {
        "is not a host name: it has parts of 1 to 63 letters, digits, `-` and `_`, separated by dots"
    } else {
        return Ok(host);
    };
    Err(problem.to_owned())
}

// Underscores are not allowed in host names by RFC 952, but container networks and some CDNs use them.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        let result = pattern(text);
        match expected {
            Ok(host) => assert_eq!(result.as_deref(), Ok(host), "{text}"),
            Err(part) => assert!(result.as_ref().unwrap_err().contains(part), "{text}: {result:?}"),
        }
    }

    #[test]
    fn accepts_names_wildcards_and_addresses() {
        check("www.Example.COM", Ok("www.example.com"));
        check("*.Preview.example.com", Ok("*.preview.example.com"));
        check("localhost", Ok("localhost"));
        check("my_app-1", Ok("my_app-1"));
        check("127.0.0.1", Ok("127.0.0.1"));
        check("[::1]", Ok("[::1]"));
        check("xn--bcher-kva.example", Ok("xn--bcher-kva.example"));
    }

    #[test]
    fn says_what_is_wrong() {
        check("", Err("empty"));
        check("*", Err("default = true"));
        check("*.", Err("empty"));
        check("a.*.example.com", Err("at the start"));
        check("*example.com", Err("at the start"));
        check("*.*.example.com", Err("exact"));
        check("*.127.0.0.1", Err("no names below"));
        check("www.example.com:8080", Err("port"));
        check("::1", Err("brackets"));
        check("[::g]", Err("IPv6"));
        check("https://www.example.com", Err("scheme"));
        check("www.example.com/", Err("path"));
        check("www.example.com.", Err("dot"));
        check("bücher.example", Err("xn--"));
        check("a..b", Err("not a host name"));
        check("-a.example", Err("not a host name"));
        check("a b", Err("not a host name"));
        check(&"a".repeat(64), Err("not a host name"));
    }
}
