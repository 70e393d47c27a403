use super::*;
use crate::proxy::{fixture, opt_in};
use crate::upstream::Fields as _;
use crate::view::Installation;
use std::sync::Arc;

/// A request as it arrives: its head, and the facts about it.
struct Case {
    method: &'static str,
    target: &'static str,
    version: Version,
    trusted: bool,
    opted_in: bool,
    unconditional: bool,
}

const PLAIN: Case = Case {
    method: "GET",
    target: "/a?b=c",
    version: Version::HTTP_11,
    trusted: false,
    opted_in: false,
    unconditional: false,
};

impl Case {
    /// Returns the head that the origin receives.
    fn forward(&self, lines: &[(&str, &str)]) -> Result<Headers, ProxyError> {
        let head = fixture::request(self.version, self.method, self.target, lines);
        let host = HeaderValue::from_static("www.example.com");
        let forwarding = Forwarding {
            peer: &Peer::new("192.0.2.7".parse().unwrap(), true),
            trusted: self.trusted,
            host: Value::from(&host),
            id: &RequestId::of(KeyFields::of(&head.headers).request_id, self.trusted, || 0xabc),
            opted_in: self.opted_in,
            unconditional: self.unconditional,
            upgrade: None,
            takes_trailers: self.version > Version::HTTP_10 && KeyFields::of(&head.headers).takes_trailers(),
            own_name: &OwnName::new(Some("us"), &Arc::new(Installation::new(0))),
        };
        let fields = fields(&head, &KeyFields::of(&head.headers), forwarding)?;
        let mut sent = Headers::new();
        fields.lines(None).for_each(|line| sent.push(line));
        Ok(sent)
    }

    /// Forwards `lines` and expects these lines in addition to those that are always sent.
    #[track_caller]
    fn check(&self, lines: &[(&str, &str)], expected: &[(&str, &str)]) {
        let always = [
            ("host", "www.example.com"),
            ("via", "1.1 origin-shim"),
            ("cdn-loop", "origin-shim-us"),
            ("x-request-id", "00000000000000000000000000000abc"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "www.example.com"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=192.0.2.7;host=www.example.com;proto=https"),
        ];
        let sent = self.forward(lines).unwrap();
        let mut rest = fixture::lines(&sent);
        for line in always {
            if let Some(at) = rest.iter().position(|sent| *sent == line) {
                rest.remove(at);
            }
        }
        assert_eq!(rest, expected, "{lines:?}");
    }
}

#[test]
fn what_the_origin_gets() {
    let sent = PLAIN.forward(&[("accept", "text/html"), ("host", "www.example.com")]).unwrap();
    let text: Vec<String> =
        fixture::lines(&sent).iter().map(|(name, value)| format!("{name}: {value}")).collect();
    insta::assert_snapshot!(text.join("\n"), @r"
    host: www.example.com
    accept: text/html
    via: 1.1 origin-shim
    cdn-loop: origin-shim-us
    x-request-id: 00000000000000000000000000000abc
    x-forwarded-for: 192.0.2.7
    x-forwarded-host: www.example.com
    x-forwarded-proto: https
    forwarded: for=192.0.2.7;host=www.example.com;proto=https
    ");
}

/// A line that is written down must have the form that is composed for others.
#[test]
fn fixed_lines_are_written_like_others() {
    let options = [UPGRADE_OPTION, TE_OPTION, UPGRADE_AND_TE, TE_TRAILERS];
    for line in [VIA_10, VIA_11, VIA_2, PROTO_HTTP, PROTO_HTTPS].into_iter().chain(options) {
        let name: HeaderName = line.name().parse().unwrap();
        assert_eq!(FieldLine::new(&name, &line.value().to_owned()).line(), line);
    }
}

#[test]
fn end_to_end_headers_pass() {
    let lines = [
        ("accept", "*/*"),
        ("authorization", "Basic x"),
        ("cookie", "a=b"),
        ("x-byo-cdn-type", "fastly"),
        ("if-none-match", "\"1\""),
        ("range", "bytes=0-1"),
        ("x-custom", "1"),
        ("x-custom", "2"),
        ("snake_case", "1"),
    ];
    PLAIN.check(&lines, &lines);
}

#[test]
fn hop_by_hop_headers_end_here() {
    PLAIN.check(
        &[
            ("connection", "keep-alive, X-Hop, upgrade"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("te", "gzip, deflate;q=0.5"),
            ("trailer", "host, content-length"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("x-end", "1"),
        ],
        &[("x-end", "1")],
    );
    PLAIN.check(&[("connection", "x-a"), ("connection", "close, x-b"), ("x-a", "1"), ("x-b", "1")], &[]);
}

/// RFC 9110 §10.1.4: `trailers` in `TE` is forwarded because it is about the message, and `Connection` nominates
/// `TE` because the field is this hop's.
#[test]
fn trailers_are_asked_for_and_announced_again() {
    let asked = [("connection", "te"), ("te", "trailers")];
    PLAIN.check(&[("te", "trailers")], &asked);
    PLAIN.check(&[("connection", "TE, x-hop"), ("te", "gzip;q=0.5, Trailers"), ("x-hop", "1")], &asked);
    PLAIN.check(&[("te", "gzip"), ("te", "trailers")], &asked);
    PLAIN.check(&[("te", "x-trailers")], &[]);
    PLAIN.check(&[("te", "")], &[]);
    let old = Case { version: Version::HTTP_10, ..PLAIN };
    old.check(&[("te", "trailers")], &[("via", "1.0 origin-shim")]);

    let lines = [("trailer", "X-Sum, host, x-hop"), ("connection", "x-hop"), ("trailer", "x-other")];
    PLAIN.check(&lines, &[("trailer", "x-sum, x-other")]);
}

#[test]
fn connection_may_not_nominate_end_to_end_headers() {
    let nominations = [
        "host",
        "Content-Length",
        "authorization",
        "close, Cookie",
        "cache-control",
        "x-forwarded-for",
        "X-Forwarded-Anything",
        "x-push-invalidation",
        "x-byo-cdn-type",
        "x-origin-shim-secret",
        "cdn-loop",
    ];
    for nomination in nominations {
        let refused = PLAIN.forward(&[("connection", nomination)]).unwrap_err();
        assert!(matches!(refused, ProxyError::Nominated(_)), "{nomination}");
        assert_eq!(refused.answer().status, 400);
    }
}

#[test]
fn the_opt_in_goes_on_only_where_it_is_believed() {
    let opt_in = ("x-push-invalidation", "enabled");
    PLAIN.check(&[opt_in], &[]);
    Case { opted_in: true, ..PLAIN }.check(&[opt_in], &[opt_in]);
    PLAIN.check(&[opt_in, opt_in], &[]);
}

#[test]
fn the_secret_never_reaches_the_origin() {
    let secret = ("x-origin-shim-secret", "swordfish");
    PLAIN.check(&[secret], &[]);
    Case { opted_in: true, trusted: true, ..PLAIN }.check(&[secret], &[]);
    Case { opted_in: true, trusted: true, ..PLAIN }.check(&[("x_origin_shim_secret", "swordfish")], &[]);
}

#[test]
fn aliases_with_underscores_are_dropped() {
    for name in [
        "x_push_invalidation",
        "x_byo-cdn_type",
        "x_forwarded_for",
        "x-forwarded_host",
        "x_real_ip",
        "x_request_id",
        "cdn_loop",
        "content_length",
        "transfer_encoding",
        "cf_connecting_ip",
        "proxy_authorization",
    ] {
        Case { opted_in: true, trusted: true, ..PLAIN }.check(&[(name, "1")], &[]);
    }
}

#[test]
fn a_peer_that_is_not_trusted_tells_nothing_of_the_client() {
    PLAIN.check(
        &[
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-for", "203.0.113.10"),
            ("x-forwarded-host", "evil.test"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-prefix", "/x"),
            ("forwarded", "for=203.0.113.9"),
            ("x-real-ip", "203.0.113.9"),
            ("true-client-ip", "203.0.113.9"),
            ("fastly-client-ip", "203.0.113.9"),
            ("cf-connecting-ip", "203.0.113.9"),
            ("x-request-id", "mine"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("tracestate", "a=b"),
        ],
        &[],
    );
}

#[test]
fn a_trusted_peer_is_appended_to() {
    let trusted = Case { trusted: true, ..PLAIN };
    trusted.check(&[], &[]);
    trusted.check(
        &[
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-host", "shop.test"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-port", "80"),
            ("forwarded", "for=203.0.113.9"),
            ("x-real-ip", "203.0.113.9"),
            ("x-request-id", "theirs"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ],
        &[
            ("x-forwarded-host", "shop.test"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-port", "80"),
            ("x-real-ip", "203.0.113.9"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("x-request-id", "theirs"),
            ("x-forwarded-for", "203.0.113.9, 198.51.100.1, 192.0.2.7"),
            ("forwarded", "for=203.0.113.9, for=192.0.2.7;host=www.example.com;proto=https"),
        ],
    );
}

#[test]
fn via_and_cdn_loop_are_appended() {
    PLAIN.check(
        &[("via", "1.1 edge"), ("cdn-loop", "Fastly; v=1")],
        &[("via", "1.1 edge"), ("cdn-loop", "Fastly; v=1")],
    );
    let via = |version| Case { version, ..PLAIN }.forward(&[]).unwrap().get(&header::VIA).unwrap().to_owned();
    assert_eq!(via(Version::HTTP_2), "2.0 origin-shim");
    assert_eq!(via(Version::HTTP_10), "1.0 origin-shim");
}

#[test]
fn a_request_that_has_been_here_is_a_loop() {
    let looped = |value: &str| matches!(PLAIN.forward(&[("cdn-loop", value)]), Err(ProxyError::Loop));
    assert!(looped("origin-shim-us"));
    assert!(looped("Fastly, Origin-Shim-US;v=1, x"));
    // This name was used before the store was open.
    assert!(looped("origin-shim-0000000000000000"));
    // The name of another installation is not a loop.
    assert!(!looped("origin-shim-them"));
    assert!(!looped("origin-shim"));
    assert!(!looped("not-origin-shim-us"));
    assert!(!looped("Fastly; by=\"origin-shim-us\""));
}

#[test]
fn options_go_as_far_as_they_may() {
    let options = Case { method: "OPTIONS", ..PLAIN };
    options.check(&[("max-forwards", "1")], &[("max-forwards", "0")]);
    options.check(&[("max-forwards", "010"), ("a", "b")], &[("a", "b"), ("max-forwards", "9")]);
    // A number that is too large is capped.
    options.check(&[("max-forwards", "99999999999999999999")], &[("max-forwards", "18446744073709551614")]);
    options.check(&[], &[]);
    let ended = |value| matches!(options.forward(&[("max-forwards", value)]), Err(ProxyError::LastHop));
    assert!(ended("0") && ended("000"));
    let refused = |lines: &[(&str, &str)]| matches!(options.forward(lines), Err(ProxyError::BadRequest(_)));
    for malformed in ["", "-1", "+1", "1.0", "1, 2", "one"] {
        assert!(refused(&[("max-forwards", malformed)]), "{malformed}");
    }
    assert!(refused(&[("max-forwards", "2"), ("max-forwards", "2")]));
    // The field has no meaning for other methods.
    PLAIN.check(&[("max-forwards", "0")], &[("max-forwards", "0")]);
}

#[test]
fn conditions_are_withheld_where_a_304_would_lose_the_tags() {
    let lines = [
        ("if-none-match", "\"1\""),
        ("if-modified-since", "Tue, 01 Jul 2025 00:00:00 GMT"),
        ("if-match", "1"),
    ];
    PLAIN.check(&lines, &lines);
    Case { unconditional: true, ..PLAIN }.check(&lines, &[("if-match", "1")]);
}

#[test]
fn the_origin_may_be_told_another_host() {
    let head = fixture::request(Version::HTTP_11, "GET", "/", &[("host", "www.example.com")]);
    let (peer, id) = (
        Peer::new("192.0.2.7".parse().unwrap(), true),
        RequestId::of(KeyFields::of(&head.headers).request_id, false, || 1),
    );
    let host = HeaderValue::from_static("www.example.com");
    let (opted_in, unconditional) = (false, false);
    let own_name = OwnName::new(None, &Arc::default());
    let forwarding = Forwarding {
        peer: &peer,
        trusted: false,
        host: Value::from(&host),
        id: &id,
        opted_in,
        unconditional,
        upgrade: None,
        takes_trailers: false,
        own_name: &own_name,
    };
    let fields = fields(&head, &KeyFields::of(&head.headers), forwarding).unwrap();
    let hosts = |host| -> Vec<HeaderValue> {
        let fields = fields.lines(host).filter(|line| matches!(line.name(), "host" | "x-forwarded-host"));
        fields.map(|line| line.value().to_owned()).collect()
    };
    assert_eq!(hosts(None), ["www.example.com", "www.example.com"]);
    let inner = FieldLine::new(&header::HOST, &HeaderValue::from_static("inner.test"));
    assert_eq!(hosts(Some(&inner)), ["inner.test", "www.example.com"]);
}

proptest::proptest! {
    /// Whatever a client sends, no hop-by-hop field, no secret and no untrusted opt-in is forwarded, and a
    /// forwarded request that comes back is recognised as a loop.
    #[test]
    fn laws(
        lines in proptest::collection::vec(
            (
                proptest::sample::select(vec![
                    "connection", "te", "upgrade", "keep-alive", "transfer-encoding", "proxy-authorization",
                    "x-push-invalidation", "x-origin-shim-secret", "x_origin_shim_secret", "x-forwarded-for",
                    "x-forwarded-port", "forwarded", "x-request-id", "via", "cdn-loop", "x-a", "x-b", "cookie",
                ]),
                "[ -~]{0,24}",
            ),
            0..12,
        ),
        trusted: bool,
        opted_in: bool,
    ) {
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let case = Case { trusted, opted_in, ..PLAIN };
        let Ok(sent) = case.forward(&lines) else { return Ok(()) };
        let sent = fixture::lines(&sent);
        for (name, value) in &sent {
            let name: HeaderName = name.parse().unwrap();
            proptest::prop_assert!(!hop::is_fixed(Known::of(name.as_str())), "{name}: {value}");
            proptest::prop_assert!(!name.as_str().replace('_', "-").contains("shim-secret"), "{name}: {value}");
            proptest::prop_assert!(opted_in || name != opt_in::OPT_IN, "{name}: {value}");
            proptest::prop_assert!(trusted || name != "x-forwarded-port", "{name}: {value}");
        }
        let client = sent.iter().find(|(name, _)| *name == "x-forwarded-for").unwrap().1;
        let told = if trusted { client.ends_with("192.0.2.7") } else { client == "192.0.2.7" };
        proptest::prop_assert!(told, "{client}");
        proptest::prop_assert!(matches!(case.forward(&sent), Err(ProxyError::Loop)));
    }
}
