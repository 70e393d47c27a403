//! Switches to other protocols on a client's connection (RFC 9110 §7.8), above all WebSocket: requested by the
//! client, allowed by the site, and started by the origin's 101. Before that, no byte of the client reaches the
//! origin. Otherwise the origin could read it as a request that was never checked (CVE-2026-2833).

use super::fields::KeyFields;
use crate::http::head::{RequestHead, Value};
use crate::upstream::has_upgrade;
use http::{Method, Version};

/// Returns the protocol that a request asks for, if the site allows it. Any other protocol is not forwarded, and
/// the request remains an ordinary one.
pub(super) fn wanted<'h>(
    head: &RequestHead,
    fields: &KeyFields<'h>,
    allowed: &[String],
) -> Option<Value<'h>> {
    let protocol = fields.upgrade.once()?;
    let is_allowed = |name: &String| protocol.as_bytes().eq_ignore_ascii_case(name.as_bytes());
    let has_body = fields.content_length.is_some_and(|length| length.as_bytes() != b"0")
        || fields.transfer_encoding != Default::default();
    let is_plain = head.version == Version::HTTP_11 && head.method == Method::GET && !has_body;
    (is_plain && has_upgrade(fields.connection()) && allowed.iter().any(is_allowed)).then_some(protocol)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fixture;

    #[test]
    fn which_wishes_are_granted() {
        let check = |version: Version, method: &str, lines: &[(&str, &str)], expected: Option<&str>| {
            let head = fixture::request(version, method, "/", lines);
            let fields = KeyFields::of(&head.headers);
            let allowed = ["websocket".to_owned(), "x/1".to_owned()];
            let wanted = wanted(&head, &fields, &allowed).map(|value| value.to_str().unwrap());
            assert_eq!(wanted, expected, "{method} {lines:?}");
        };
        let asks = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        let with = |line| [&asks[..], &[line]].concat();
        check(Version::HTTP_11, "GET", &asks, Some("WebSocket"));
        check(Version::HTTP_11, "GET", &with(("content-length", "0")), Some("WebSocket"));
        check(Version::HTTP_11, "GET", &[("connection", "upgrade"), ("upgrade", "x/1")], Some("x/1"));
        check(Version::HTTP_10, "GET", &asks, None);
        check(Version::HTTP_2, "GET", &asks, None);
        check(Version::HTTP_11, "POST", &asks, None);
        check(Version::HTTP_11, "GET", &with(("content-length", "1")), None);
        check(Version::HTTP_11, "GET", &with(("transfer-encoding", "chunked")), None);
        check(Version::HTTP_11, "GET", &with(("upgrade", "websocket")), None);
        check(Version::HTTP_11, "GET", &asks[1..], None);
        check(Version::HTTP_11, "GET", &[("connection", "upgrade"), ("upgrade", "h2c")], None);
        check(Version::HTTP_11, "GET", &[("connection", "upgrade"), ("upgrade", "websocket, h2c")], None);
    }
}
