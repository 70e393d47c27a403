use super::*;
use crate::proxy::fixture;

/// A request at the door: its head, and what is known of it.
struct Case {
    method: &'static str,
    target: &'static str,
    version: Version,
    trusted: bool,
    opted_in: bool,
    unconditional: bool,
    has_body: bool,
}

const PLAIN: Case = Case {
    method: "GET",
    target: "/a?b=c",
    version: Version::HTTP_11,
    trusted: false,
    opted_in: false,
    unconditional: false,
    has_body: false,
};

impl Case {
    fn forward(&self, lines: &[(&str, &str)]) -> Result<Parts, ProxyError> {
        let mut request = http::Request::builder().method(self.method).uri(self.target).version(self.version);
        *request.headers_mut().unwrap() = fixture::headers(lines);
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let peer = Peer::new("192.0.2.7".parse().unwrap(), true);
        let id = RequestId::of(&parts.headers, self.trusted, || 0xabc);
        let forwarding = Forwarding {
            peer: &peer,
            trusted: self.trusted,
            host: &HeaderValue::from_static("www.example.com"),
            id: &id,
            opted_in: self.opted_in,
            unconditional: self.unconditional,
            has_body: self.has_body,
        };
        head(&mut parts, &forwarding).map(|()| parts)
    }

    /// Forwards `lines`, and expects these besides what is always set.
    #[track_caller]
    fn check(&self, lines: &[(&str, &str)], expected: &[(&str, &str)]) {
        let always = [
            ("host", "www.example.com"),
            ("via", "1.1 origin-shim"),
            ("cdn-loop", "origin-shim"),
            ("x-request-id", "00000000000000000000000000000abc"),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "www.example.com"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=192.0.2.7;host=www.example.com;proto=https"),
        ];
        let parts = self.forward(lines).unwrap();
        let mut rest = fixture::lines(&parts.headers);
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
    let parts = PLAIN.forward(&[("host", "www.example.com"), ("accept", "text/html")]).unwrap();
    assert_eq!(parts.uri, "/a?b=c");
    let text: Vec<String> =
        fixture::lines(&parts.headers).iter().map(|(name, value)| format!("{name}: {value}")).collect();
    insta::assert_snapshot!(text.join("\n"), @r"
    host: www.example.com
    accept: text/html
    via: 1.1 origin-shim
    cdn-loop: origin-shim
    x-request-id: 00000000000000000000000000000abc
    x-forwarded-for: 192.0.2.7
    x-forwarded-host: www.example.com
    x-forwarded-proto: https
    forwarded: for=192.0.2.7;host=www.example.com;proto=https
    ");
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
            ("te", "trailers"),
            ("trailer", "x"),
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
            ("x-forwarded-for", "203.0.113.9, 198.51.100.1, 192.0.2.7"),
            ("x-forwarded-host", "shop.test"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-port", "80"),
            ("forwarded", "for=203.0.113.9, for=192.0.2.7;host=www.example.com;proto=https"),
            ("x-real-ip", "203.0.113.9"),
            ("x-request-id", "theirs"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ],
    );
}

#[test]
fn via_and_cdn_loop_are_appended() {
    PLAIN.check(
        &[("via", "1.1 edge"), ("cdn-loop", "Fastly; v=1")],
        &[("via", "1.1 edge"), ("cdn-loop", "Fastly; v=1")],
    );
    let via = |version| Case { version, ..PLAIN }.forward(&[]).unwrap().headers[header::VIA].clone();
    assert_eq!(via(Version::HTTP_2), "2.0 origin-shim");
    assert_eq!(via(Version::HTTP_10), "1.0 origin-shim");
}

#[test]
fn a_request_that_has_been_here_is_a_loop() {
    let looped = |value: &str| matches!(PLAIN.forward(&[("cdn-loop", value)]), Err(ProxyError::Loop));
    assert!(looped("origin-shim"));
    assert!(looped("Fastly, Origin-Shim;v=1, x"));
    assert!(!looped("not-origin-shim"));
    assert!(!looped("Fastly; by=\"origin-shim\""));
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
fn bodies_are_framed_for_this_hop() {
    let post = Case { method: "POST", has_body: true, ..PLAIN };
    let chunked = ("transfer-encoding", "chunked");
    post.check(&[chunked], &[chunked]);
    post.check(&[], &[chunked]);
    post.check(&[("content-length", "3")], &[("content-length", "3")]);
    Case { has_body: true, ..PLAIN }.check(&[chunked], &[chunked]);
    // A body whose end is known to be here needs no framing, except where its lack must be told.
    let bodiless = Case { method: "POST", ..PLAIN };
    bodiless.check(&[], &[]);
    bodiless.check(&[("content-length", "0")], &[("content-length", "0")]);
    let h2 = Case { version: Version::HTTP_2, ..bodiless };
    assert_eq!(h2.forward(&[]).unwrap().headers[header::CONTENT_LENGTH], "0");
}

#[test]
fn the_target_is_a_path_and_never_an_origin() {
    let target = |target| Case { target, ..PLAIN }.forward(&[]).unwrap().uri.to_string();
    assert_eq!(target("http://evil.test/a//../b?c"), "/a//../b?c");
    assert_eq!(target("http://evil.test"), "/");
    assert_eq!(target("//evil.test/x"), "//evil.test/x");
    assert_eq!(target("/%2e%2E/a;b?x=%00"), "/%2e%2E/a;b?x=%00");
    let options = Case { method: "OPTIONS", target: "*", ..PLAIN };
    assert_eq!(options.forward(&[]).unwrap().uri.to_string(), "*");
}

proptest::proptest! {
    /// Whatever a client sends: nothing of the hop, no secret and no unbelieved opt-in goes on, and what goes on
    /// comes back as a loop.
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
        has_body: bool,
    ) {
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let case = Case { trusted, opted_in, has_body, ..PLAIN };
        let Ok(parts) = case.forward(&lines) else { return Ok(()) };
        let sent = fixture::lines(&parts.headers);
        for (name, value) in &sent {
            let name: HeaderName = name.parse().unwrap();
            let framing = has_body && (name.as_str(), *value) == ("transfer-encoding", "chunked");
            proptest::prop_assert!(!hop::is_fixed(&name) || framing, "{name}: {value}");
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
