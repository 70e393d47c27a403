//! The purge protocol between the shim's Varnish adapter and `config/varnish.vcl`, as implemented by the latter.

use super::cache::{Cache, Hardness, Key};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use std::net::IpAddr;
use std::time::Instant;

/// The purge that a `PURGE` or `BAN` request describes.
#[derive(Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// Every object with one of the tags.
    Tags(Vec<String>, Hardness),
    /// Every variant of one URL.
    Url(Key, Hardness),
    /// Everything of a host below a prefix.
    Prefix {
        /// Host in lower case, without port.
        host: String,
        /// A canonical path.
        prefix: String,
    },
    /// The whole cache.
    Everything,
}

/// Why nothing was purged.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The response status, 400 or 403.
    pub status: StatusCode,
    /// The reason, for people.
    pub reason: &'static str,
}

impl Invalidation {
    /// Whether the request belongs to this protocol.
    pub fn is_meant_by(request: &Parts) -> bool {
        matches!(request.method.as_str(), "PURGE" | "BAN")
    }

    /// Parses the request. `peer` must be on this machine.
    pub fn parse(request: &Parts, peer: IpAddr) -> Result<Self, Refusal> {
        let headers = &request.headers;
        // A forwarded request is refused, because a proxy on this machine would make every visitor appear local.
        if !peer.to_canonical().is_loopback() || headers.contains_key("x-forwarded-for") {
            return Err(Refusal { status: StatusCode::FORBIDDEN, reason: "Not allowed to purge" });
        }
        if request.method.as_str() == "BAN" { ban(headers) } else { purge(request) }
    }

    /// Applies the purge to `cache`; returns the number of purged objects.
    pub fn apply(&self, cache: &mut Cache, now: Instant) -> usize {
        match self {
            Self::Tags(tags, hardness) => cache.purge_tags(tags.iter().map(String::as_str), *hardness, now),
            Self::Url(key, hardness) => cache.purge_url(key, *hardness, now),
            Self::Prefix { host, prefix } => cache.purge_prefix(host, prefix, now),
            Self::Everything => cache.purge_everything(),
        }
    }
}

/// Returns the cache key of a request, or `None` if it has no host.
pub fn key(request: &Parts) -> Option<Key> {
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    let host = match request.uri.host() {
        Some(host) => host,
        None => text(&request.headers, "host")?,
    };
    Some(Key { host: bare_host(host)?, target: target.to_owned() })
}

fn purge(request: &Parts) -> Result<Invalidation, Refusal> {
    let hard = tags(&request.headers, "xkey-purge");
    let soft = tags(&request.headers, "xkey-softpurge");
    match (hard.is_empty(), soft.is_empty()) {
        (false, true) => return Ok(Invalidation::Tags(hard, Hardness::Hard)),
        (true, false) => return Ok(Invalidation::Tags(soft, Hardness::Soft)),
        (false, false) => return Err(bad("Either xkey-purge or xkey-softpurge")),
        (true, true) => {}
    }
    let hardness = match text(&request.headers, "x-purge-mode") {
        Some("hard") => Hardness::Hard,
        Some("soft") => Hardness::Soft,
        _ => return Err(bad("Needs xkey-purge, xkey-softpurge or x-purge-mode")),
    };
    Ok(Invalidation::Url(key(request).ok_or(bad("Needs Host"))?, hardness))
}

fn ban(headers: &HeaderMap) -> Result<Invalidation, Refusal> {
    if text(headers, "x-ban-everything") == Some("1") {
        return Ok(Invalidation::Everything);
    }
    let host = text(headers, "x-ban-host").and_then(bare_host);
    let prefix =
        text(headers, "x-ban-prefix").and_then(canonical_of).filter(|prefix| prefix.starts_with('/'));
    match (host, prefix) {
        (Some(host), Some(prefix)) => Ok(Invalidation::Prefix { host, prefix }),
        _ => Err(bad("Needs x-ban-host and x-ban-prefix, or x-ban-everything")),
    }
}

fn bad(reason: &'static str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, reason }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn tags(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split([' ', ','])).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

fn bare_host(host: &str) -> Option<String> {
    let authority: http::uri::Authority = host.parse().ok()?;
    (!authority.host().is_empty()).then(|| authority.host().to_ascii_lowercase())
}

/// Returns the canonical path that a regular expression of the adapter stands for, or `None` for any other expression.
/// In the adapter's expressions `[cC]` is a hex digit, and of several encodings of a character the first is the
/// canonical one.
fn canonical_of(expression: &str) -> Option<String> {
    let mut literal = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some(character) = rest.chars().next() {
        let taken = if let Some(group) = rest.strip_prefix("(?:") {
            let (first, others) = group.split_once('|')?;
            literal.push_str(&canonical_of(first)?);
            rest.len() - others.split_once(')')?.1.len()
        } else if let [b'[', lower, upper @ b'A'..=b'F', b']', ..] = rest.as_bytes()
            && lower.to_ascii_uppercase() == *upper
        {
            literal.push(char::from(*upper));
            4
        } else if character == '\\' {
            // Before a letter or digit, the backslash would start a class such as `\d`.
            let next = rest.chars().nth(1).filter(|next| !next.is_ascii_alphanumeric())?;
            literal.push(next);
            1 + next.len_utf8()
        } else if ".+*?()|[]{}^$".contains(character) {
            return None;
        } else {
            literal.push(character);
            character.len_utf8()
        };
        rest = &rest[taken..];
    }
    Some(literal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn parse(head: &str, peer: IpAddr) -> Result<Invalidation, (u16, &'static str)> {
        let mut lines = head.lines();
        let (method, target) = lines.next().and_then(|line| line.split_once(' ')).unwrap();
        let mut request = http::Request::builder().method(method).uri(target);
        for line in lines {
            let (name, value) = line.trim().split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let (request, ()) = request.body(()).unwrap().into_parts();
        assert!(Invalidation::is_meant_by(&request));
        Invalidation::parse(&request, peer).map_err(|refusal| (refusal.status.as_u16(), refusal.reason))
    }

    fn tag_list(tags: &[&str]) -> Vec<String> {
        tags.iter().map(|tag| (*tag).to_owned()).collect()
    }

    #[test]
    fn understands_what_the_adapter_sends() {
        fn check(head: &str, expected: Invalidation) {
            assert_eq!(parse(head, LOCAL), Ok(expected), "{head}");
        }
        let key = |target: &str| Key { host: "www.example.com".to_owned(), target: target.to_owned() };
        let prefix = |prefix: &str| Invalidation::Prefix {
            host: "www.example.com".to_owned(),
            prefix: prefix.to_owned(),
        };
        check("PURGE /\nxkey-purge: a b,c", Invalidation::Tags(tag_list(&["a", "b", "c"]), Hardness::Hard));
        check("PURGE /\nxkey-softpurge: a\nxkey-softpurge: b", {
            Invalidation::Tags(tag_list(&["a", "b"]), Hardness::Soft)
        });
        check("PURGE /a?x=1\nhost: WWW.example.com:80\nx-purge-mode: hard", {
            Invalidation::Url(key("/a?x=1"), Hardness::Hard)
        });
        check("PURGE /a\nhost: www.example.com\nx-purge-mode: soft", {
            Invalidation::Url(key("/a"), Hardness::Soft)
        });
        check("BAN /\nx-ban-host: www.example.com\nx-ban-prefix: /blog/", prefix("/blog/"));
        check(
            r"BAN /
            x-ban-host: www.example.com
            x-ban-prefix: /a\.b\-c\\/",
            prefix(r"/a.b-c\/"),
        );
        check(
            r"BAN /
            x-ban-host: www.example.com
            x-ban-prefix: /a(?:\(|%28)(?:\)|%29)(?:%[cC]3|\xC3)(?:%7[cC]|\x7C)%2[fF]/",
            prefix("/a()%C3%7C%2F/"),
        );
        check("BAN /\nx-ban-everything: 1", Invalidation::Everything);
    }

    #[test]
    fn refuses_the_rest() {
        fn check(head: &str, status: u16) {
            assert_eq!(parse(head, LOCAL).map_err(|(status, _)| status), Err(status), "{head}");
        }
        check("PURGE /", 400);
        check("PURGE /\nxkey-purge: , ", 400);
        check("PURGE /\nxkey-purge: a\nxkey-softpurge: b", 400);
        check("PURGE /a\nhost: www.example.com", 400);
        check("PURGE /a\nhost: www.example.com\nx-purge-mode: gentle", 400);
        check("PURGE /a\nx-purge-mode: hard", 400);
        check("BAN /", 400);
        check("BAN /\nx-ban-everything: 0", 400);
        check("BAN /\nx-ban-host: www.example.com", 400);
        check("BAN /\nx-ban-host: www.example.com\nx-ban-prefix: blog/", 400);
        check("BAN /\nx-ban-host: www.example.com\nx-ban-prefix: /.*", 400);
        check(
            r"BAN /
            x-ban-host: www.example.com
            x-ban-prefix: /\d/",
            400,
        );
        check("PURGE /\nxkey-purge: a\nx-forwarded-for: 192.0.2.1", 403);
    }

    #[test]
    fn only_this_machine_may_purge() {
        let allowed = |peer: &str| parse("PURGE /\nxkey-purge: a", peer.parse().unwrap()).is_ok();
        assert!(allowed("127.0.0.1"));
        assert!(allowed("::1"));
        assert!(allowed("::ffff:127.0.0.1"));
        assert!(!allowed("192.0.2.1"));
        assert!(!allowed("2001:db8::1"));
    }
}
