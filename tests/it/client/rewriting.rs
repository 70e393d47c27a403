//! Opted-in responses on the wire: with a longer lifetime, with the fallback, or only observed.

use crate::harness::in_process::{Shim, cdn, config, site};
use crate::harness::scripted::Origin;
use crate::harness::wire::{get_with, header};
use origin_shim::config::{Mode, Site};
use origin_shim::rewrite::CdnType;

fn www(origin: &Origin, mode: Mode) -> Site {
    let mut www = site(&[origin.address]);
    www.mode = mode;
    www.cdns = vec![cdn(CdnType::Fastly), cdn(CdnType::Akamai)];
    www
}

fn page() -> Origin {
    Origin::answering(
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nsurrogate-key: one\r\ncontent-length: 2\r\n\r\nok",
    )
}

const FASTLY: &str = "x-push-invalidation: enabled\r\ncdn-loop: Fastly\r\n";

#[test]
fn a_healthy_cdn_gets_a_long_ttl_and_an_unhealthy_one_a_short() {
    let origin = page();
    let shim = Shim::start(&config(vec![www(&origin, Mode::On)]));
    let edge = |lines: &str| {
        let (head, body) = shim.request(&get_with("/", lines));
        assert_eq!(body, "ok");
        header(&head, "surrogate-control").map(str::to_owned)
    };
    let short = edge(FASTLY).unwrap();
    assert!(short.contains("max-age=60") && !short.contains("172800"), "{short}");
    shim.health.cell("www", "fastly").set(true);
    assert!(edge(FASTLY).unwrap().contains("max-age=172800"));
    // The header names one CDN and the request came through another. The name applies, and the named CDN is unhealthy.
    let (head, _) = shim.request(&get_with("/", &format!("{FASTLY}x-byo-cdn-type: akamai\r\n")));
    assert!(header(&head, "edge-control").is_some_and(|edge| edge.contains("max-age=60s")), "{head}");
    assert_eq!(header(&head, "surrogate-control"), None);
    // This request does not opt in.
    assert_eq!(edge("cdn-loop: Fastly\r\n"), None);
    shim.health.cell("www", "fastly").set(false);
    assert!(!edge(FASTLY).unwrap().contains("172800"));
    let counted = |decision: &str, reason: &str, n: u8| {
        shim.counts(&format!(
            r#"origin_shim_requests_total{{site="www",status="2xx",decision="{decision}",reason="{reason}"}} {n}"#
        ));
    };
    counted("lengthened", "ttl-table", 1);
    counted("fallback", "purging-unhealthy", 3);
    counted("untouched", "not-opted-in", 1);
}

#[test]
fn observe_changes_nothing_and_counts_what_would_be() {
    let origin = page();
    let shim = Shim::start(&config(vec![www(&origin, Mode::Observe)]));
    shim.health.cell("www", "fastly").set(true);
    let (head, _) = shim.request(&get_with("/", FASTLY));
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nsurrogate-key: one\r\ncontent-length: 2\r\n\r\n"
    );
    shim.counts(
        r#"origin_shim_observed_decisions_total{site="www",decision="lengthened",reason="ttl-table"} 1"#,
    );
}
