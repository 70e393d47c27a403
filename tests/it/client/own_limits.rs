//! The limits of a site and of its rules: long polls, event streams, and heads with thousands of tags.

use crate::harness::h2;
use crate::harness::h2_origin::Frames;
use crate::harness::in_process::{Shim, cdn, config, site};
use crate::harness::recorder::{all_answers, recorded};
use crate::harness::scripted::Origin;
use crate::harness::wire::{LIMIT, get, get_with, header, status};
use origin_shim::config::{OriginProtocol, OtherLimits};
use origin_shim::rewrite::pattern::PathPattern;
use origin_shim::rewrite::{CdnType, Rule};
use std::time::Duration;

const SOON: Duration = Duration::from_millis(100);

/// One event, a pause that is longer than is allowed elsewhere, and another event; or only the pause, before the head.
/// Who asks for silence gets no more than that.
fn quiet() -> Origin {
    Origin::playing(|served| {
        while let Some((request, _)) = served.request() {
            let silent = request.contains("silent");
            if request.contains("/polls") {
                if silent {
                    continue;
                }
                std::thread::sleep(SOON * 6);
                served.wire.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnew");
                continue;
            }
            served.wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\none,\r\n");
            if silent {
                continue;
            }
            std::thread::sleep(SOON * 6);
            served.wire.send("3\r\ntwo\r\n0\r\n\r\n");
        }
    })
}

fn rule(path: &str) -> Rule {
    Rule {
        path: PathPattern::new(path).unwrap(),
        edge_ttl: None,
        browser_ttl: None,
        allow_override: false,
        tags: vec![],
    }
}

/// The status of the response for `path`, and the body as far as it arrived.
fn got(shim: &Shim, path: &str) -> (u16, String) {
    let answer = all_answers(shim, get_with(path, "connection: close\r\n"));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (status(head), body.to_owned())
}

#[test]
fn r67_a_rule_may_have_its_own_timeouts() {
    let origin = quiet();
    let mut www = site(&[origin.address]);
    let long = OtherLimits {
        origin_body_timeout: Some(LIMIT),
        origin_first_byte_timeout: Some(LIMIT),
        ..OtherLimits::default()
    };
    // The first rule that matches decides, also where it says nothing.
    www.policy.rules = vec![rule("/live/none"), rule("/live/**"), rule("/polls")];
    www.rule_limits = vec![OtherLimits::default(), long, long];
    let mut config = config(vec![www]);
    config.server.limits.origin_body_timeout = SOON;
    config.server.limits.origin_first_byte_timeout = SOON;
    let shim = Shim::start(&config);
    let whole = "4\r\none,\r\n3\r\ntwo\r\n0\r\n\r\n";
    let broken = "4\r\none,\r\n";
    assert_eq!(got(&shim, "/live/a"), (200, whole.to_owned()));
    assert_eq!(got(&shim, "/%6cive/./a?b"), (200, whole.to_owned()));
    assert_eq!(got(&shim, "/live/none?silent"), (200, broken.to_owned()));
    assert_eq!(got(&shim, "/elsewhere?silent"), (200, broken.to_owned()));
    assert_eq!(got(&shim, "/polls"), (200, "new".to_owned()));
    assert_eq!(got(&shim, "/polls/?silent").0, 504);
}

#[test]
fn r67_a_site_may_have_its_own_timeouts() {
    let origin = quiet();
    let mut www = site(&[origin.address]);
    let mut other = site(&[origin.address]);
    (other.name, other.hosts) = ("other".into(), vec!["other.test".into()]);
    other.limits.origin_body_timeout = Some(LIMIT);
    www.policy.rules = vec![rule("/live/**")];
    www.rule_limits = vec![OtherLimits { body_timeout: Some(LIMIT), ..OtherLimits::default() }];
    www.limits.origin_body_timeout = Some(SOON);
    let shim = Shim::start(&config(vec![www, other]));
    assert_eq!(got(&shim, "/?silent"), (200, "4\r\none,\r\n".to_owned()));
    // What a rule does not say the site does.
    assert_eq!(got(&shim, "/live/a?silent"), (200, "4\r\none,\r\n".to_owned()));
    let answer = all_answers(&shim, "GET / HTTP/1.1\r\nhost: other.test\r\nconnection: close\r\n\r\n");
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[test]
fn r67_a_slow_upload_has_the_time_that_its_rule_gives_it() {
    let (origin, _) = recorded();
    let mut www = site(&[origin.address]);
    www.policy.rules = vec![rule("/upload")];
    www.rule_limits =
        vec![OtherLimits { body_timeout: Some(LIMIT), body_min_rate: Some(0), ..OtherLimits::default() }];
    let mut config = config(vec![www]);
    config.server.limits.body_timeout = SOON;
    let shim = Shim::start(&config);
    let put = |path: &str| {
        let mut client = shim.connect();
        client.send(format!("PUT {path} HTTP/1.1\r\nhost: www.example.com\r\ncontent-length: 4\r\n\r\nab"));
        if path == "/upload" {
            std::thread::sleep(SOON * 6);
            client.send("cd");
        }
        status(&client.head())
    };
    assert_eq!(put("/upload"), 200);
    assert_eq!(put("/"), 408);
}

/// 250 KiB of tags, as Magento sends them in one head.
fn many_tags() -> String {
    let tags: Vec<_> = (0..22_000).map(|n| format!("cat_p_{n}")).collect();
    let tags = tags.join(",");
    assert!((240_000..256_000).contains(&tags.len()), "{}", tags.len());
    tags
}

fn tagged(tags: &str) -> Origin {
    let answer = format!("HTTP/1.1 200 OK\r\nx-magento-tags: {tags}\r\ncontent-length: 2\r\n\r\nok");
    Origin::playing(move |served| {
        while served.request().is_some() {
            served.wire.send(&answer);
        }
    })
}

#[test]
fn r68_heads_of_many_tags() {
    let tags = many_tags();
    let origin = tagged(&tags);
    let mut www = site(&[origin.address]);
    www.cdns = vec![cdn(CdnType::Cloudfront)];
    std::sync::Arc::make_mut(&mut www.cdns[0]).dialect.tag_header =
        Some(http::HeaderName::from_static("x-magento-tags"));
    let mut config = config(vec![www]);
    config.server.limits.origin_header_bytes = 256 * 1024;
    let shim = Shim::start(&config);
    shim.health.cell("www", "cloudfront").set(true);
    // Not opted in: every byte of it, in both versions.
    let (head, body) = shim.request(&get("/"));
    assert_eq!((header(&head, "x-magento-tags"), body.as_str()), (Some(tags.as_str()), "ok"));
    let mut client = h2::Client::connect(shim.address());
    client.request(1, &h2::request("GET", "/", "www.example.com"), true);
    assert_eq!(client.status(1), 200);
    client.next_of(1, |frame| frame.kind == h2::DATA).unwrap();
    // Opted in: they do not fit, so the page lives shortly.
    let (head, _) = shim.request(&get_with("/", "x-push-invalidation: enabled\r\n"));
    assert!(header(&head, "x-magento-tags").is_some_and(|tags| tags.len() <= 8_192), "{}", head.len());
    shim.counts(
        r#"origin_shim_requests_total{site="www",status="2xx",decision="fallback",reason="tags-too-many"} 1"#,
    );
    // The default limit is below that.
    let (head, _) = Shim::before(&origin).request(&get("/"));
    assert_eq!(status(&head), 502);
}

#[test]
fn r68_heads_of_many_tags_over_http2() {
    let tags = many_tags();
    let sent = tags.clone();
    let origin = Frames::playing(move |peer, _| {
        while let Some((stream, _)) = peer.next_request() {
            peer.respond(stream, &[(":status", "200"), ("x-magento-tags", &sent)], false);
            peer.send(h2::frame(h2::DATA, h2::END_STREAM, stream, b"ok"));
        }
    });
    let mut www = site(&[origin.address]);
    www.origin.protocol = OriginProtocol::Http2;
    let mut config = config(vec![www]);
    config.server.limits.origin_header_bytes = 256 * 1024;
    let (head, _) = Shim::start(&config).request(&get("/"));
    assert_eq!(header(&head, "x-magento-tags"), Some(tags.as_str()));
    config.server.limits.origin_header_bytes = 128 * 1024;
    let shim = Shim::start(&config);
    for _ in 0..2 {
        assert_eq!(status(&shim.request(&get("/")).0), 502);
    }
    // Only that request fails, and the connection goes on.
    assert_eq!(origin.connections(), 2);
}
