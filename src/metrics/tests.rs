use super::shard::OriginErrorKind;
use super::*;
use crate::rewrite::{Decision, Outcome, Reason};

/// Returns metrics with one series of each.
fn touched() -> Metrics {
    let metrics = Metrics::new(2);
    let decision = Decision { outcome: Outcome::Lengthened, reason: Reason::TtlTable };
    let site = metrics.site("www");
    for worker in 0..2 {
        let shard = site.shard(worker);
        shard.request(200, decision, Duration::from_millis(3));
        shard.observed(decision);
        shard.origin_answered(Duration::from_micros(900));
        shard.origin_error(OriginErrorKind::Connect);
        shard.header_purge(HeaderPurge::Late);
        shard.origin_connections.add(1);
        shard.origin_retries.add(1);
        metrics.worker(worker).plain_connections.add(1);
        metrics.worker(worker).sent.add(512);
    }
    metrics.purge("www", "done");
    metrics.purge_fallback("www", "cloudfront");
    metrics.inbound("webhook", "other", "accepted");
    metrics.purge_follow_ups("www", "fastly", 2);
    metrics.cdn_call("www", "fastly", "done", Duration::from_millis(40));
    metrics.cdn_items("www", "fastly", "done", 3);
    metrics.purge_queue("www", "fastly", 2, 1.5);
    metrics.purge_healthy("www", "fastly", true);
    metrics.purge_standing("www", "fastly", false, 1);
    metrics.purge_orphans("www", "fastly:S1", 1, 0);
    metrics.store_healthy(true);
    metrics.publish_to_purged("www", "fastly", Duration::from_millis(400));
    metrics.publish_to_verified("www", "fastly", Duration::from_millis(500));
    metrics.verification("www", "fastly", "fresh");
    metrics.config_reload(true);
    metrics.certificates([(Path::new("/etc/cert.pem"), 1_800_000_000)].into_iter());
    metrics.log_lines(3, 1);
    metrics.origin_addresses([("www", "https://origin.example.com", (2, 1))].into_iter());
    metrics
}

/// Returns the type, name and label names of each metric, in the order of the text.
fn contract(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut kind = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            kind = rest.split(' ').nth(1).unwrap_or_default().to_owned();
        }
        if line.starts_with('#') || line.contains("_bucket{") {
            continue;
        }
        let series = line.split(' ').next().unwrap_or_default();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels: Vec<&str> = labels
            .trim_end_matches('}')
            .split(',')
            .filter_map(|l| l.split_once('=').map(|(n, _)| n))
            .collect();
        let entry = format!("{kind} {name}{{{}}}", labels.join(","));
        if lines.last() != Some(&entry) {
            lines.push(entry);
        }
    }
    lines.join("\n")
}

#[test]
fn names_types_and_labels_are_a_contract() {
    insta::assert_snapshot!(contract(&touched().render()));
}

#[test]
fn every_help_text_is_there_and_ends_the_exposition_well() {
    let text = touched().render();
    let helps = text.lines().filter(|line| line.starts_with("# HELP ")).count();
    let types = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(helps, types);
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn shards_of_all_workers_are_folded() {
    let text = touched().render();
    for line in [
        r#"origin_shim_requests_total{site="www",status="2xx",decision="lengthened",reason="ttl-table"} 2"#,
        r#"origin_shim_request_duration_seconds_sum{site="www"} 0.006"#,
        r#"origin_shim_request_duration_seconds_bucket{le="0.0025",site="www"} 0"#,
        r#"origin_shim_request_duration_seconds_bucket{le="0.005",site="www"} 2"#,
        r#"origin_shim_request_duration_seconds_bucket{le="+Inf",site="www"} 2"#,
        r#"origin_shim_origin_duration_seconds_bucket{le="0.001",site="www"} 2"#,
        r#"origin_shim_origin_errors_total{site="www",kind="connect"} 2"#,
        r#"origin_shim_connections{listener="plain"} 2"#,
        "origin_shim_sent_bytes_total 1024",
    ] {
        assert!(text.lines().any(|l| l == line), "missing {line} in\n{text}");
    }
}

#[test]
fn series_that_never_counted_are_not_emitted() {
    let metrics = Metrics::new(1);
    metrics.site("idle");
    assert!(!metrics.render().contains("idle"));
}

#[test]
fn nothing_of_a_cdn_that_is_gone_stays() {
    let metrics = touched();
    metrics.cdn_call("www", "fastly", "unreachable", Duration::from_millis(40));
    for cdn in ["fastly", "cloudfront"] {
        metrics.forget_cdn("www", cdn);
    }
    metrics.purge_orphans("www", "fastly:S1", 0, 0);
    let text = metrics.render();
    let left: Vec<_> = text.lines().filter(|line| line.contains("cdn=")).collect();
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn a_refused_reload_is_an_increase_from_zero() {
    let line = "origin_shim_config_reloads_total{result=\"refused\"} 0";
    assert!(Metrics::new(1).render().lines().any(|l| l == line));
}

#[test]
fn a_site_keeps_its_counters_over_reloads() {
    let metrics = Metrics::new(1);
    assert!(Arc::ptr_eq(&metrics.site("www"), &metrics.site("www")));
}

#[test]
fn enums_index_their_tables() {
    assert!(Outcome::ALL.iter().enumerate().all(|(i, outcome)| *outcome as usize == i));
    assert!(Reason::ALL.iter().enumerate().all(|(i, reason)| *reason as usize == i));
    assert!(OriginErrorKind::ALL.iter().enumerate().all(|(i, kind)| *kind as usize == i));
}
