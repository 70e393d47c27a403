//! The complete results for each type of CDN and the same responses. A change to a CDN's facts shows here.

use super::*;
use crate::http::head::Value;
use std::fmt::Write;

/// Responses for which the types differ: prohibitions, lifetimes for CDNs, statuses and methods.
fn exchanges() -> Vec<Exchange> {
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT";
    let mut exchanges: Vec<Exchange> = [
        &[][..],
        &["cache-control: private"],
        &["cache-control: no-store"],
        &["cache-control: no-cache"],
        &["cache-control: private, no-store, max-age=0"],
        &["cache-control: max-age=0"],
        &["cache-control: public private"],
        &["pragma: no-cache"],
        &[date, "expires: 0"],
        &["cache-control: no-store", "surrogate-control: max-age=60"],
        &["cache-control: private", "surrogate-control: max-age=60"],
        &["cache-control: max-age=60", "surrogate-control: no-store"],
        &["cache-control: max-age=60", "surrogate-control: content=\"ESI/1.0\""],
        &["cache-control: max-age=60", "cdn-cache-control: no-store"],
        &["cache-control: no-store", "cdn-cache-control: max-age=60"],
        &["cache-control: max-age=60", "cloudflare-cdn-cache-control: max-age=90"],
        &["cache-control: max-age=60", "akamai-cache-control: max-age=90, private"],
        &["cache-control: max-age=60", "edge-control: no-store"],
        &["cache-control: max-age=60", "edge-control: !no-store, max-age=1h"],
        &["cache-control: max-age=60", "set-cookie: a=b"],
        &["cache-tag: node:1,a*b,(x)", "surrogate-key: A a"],
    ]
    .into_iter()
    .map(get)
    .collect();
    for status in [204, 206, 302, 304, 308, 404, 500] {
        exchanges.push(get(&["cache-control: max-age=60", "surrogate-key: a"]).status(status));
    }
    exchanges.push(get(&["cache-control: no-store"]).status(500));
    exchanges.push(get(&[]).unhealthy());
    for method in [Method::OPTIONS, Method::POST] {
        exchanges.push(Exchange { method, ..get(&["cache-control: max-age=60"]) });
    }
    exchanges.push(get(&[]).path("/a%62/caf%c3%a9"));
    exchanges
}

#[test]
fn what_it_gets() {
    let policy =
        Policy { tags: TagPolicy { path: true, site: true, sections: 1, ..TagPolicy::default() }, ..site() };
    let old = Purged::default();
    old.note_everything(1_000);
    let mut text = String::new();
    for exchange in exchanges() {
        let Exchange { method, path, status, unhealthy, headers, .. } = &exchange;
        let healthy = if *unhealthy { ", unhealthy" } else { "" };
        writeln!(text, "## {method} {path} {status}{healthy} [{}]", super::text(headers)).unwrap();
        for cdn in CdnType::ALL {
            let dialect = dialect(cdn);
            let is_kept = exchange.clone().told(&policy, &dialect).1.is_some();
            let (decision, headers) = exchange.clone().rewritten(&policy, &dialect);
            let (guarded, of_old) = exchange.clone().held_against(&old, 500, &policy, &dialect);
            let kept = if is_kept { "kept" } else { "not kept" };
            writeln!(text, "{}: {} {}, {kept}", cdn.as_str(), decision.outcome, decision.reason).unwrap();
            writeln!(text, "    {}", super::text(&headers)).unwrap();
            writeln!(text, "    old: {} {} | {}", guarded.outcome, guarded.reason, super::text(&of_old))
                .unwrap();
        }
        text.push('\n');
    }
    insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!("what_each_cdn_gets", text) });
}

/// The format of tags must not change, because CDNs hold copies with the old form for as long as the longest lifetime.
#[test]
fn what_its_tags_may_be() {
    let mut text = String::new();
    for cdn in CdnType::ALL {
        let is_legal = |tag: &str| dialect(cdn).encode(tag) == tag;
        let legal: String = (0_u8..128).map(char::from).filter(|c| is_legal(&c.to_string())).collect();
        let longest = (1..2_000).filter(|length| is_legal(&"x".repeat(*length))).max().unwrap();
        let many = |count: usize, length: usize| {
            let list: Vec<_> = (0..count).map(|n| format!("{n:0length$}")).collect();
            let (decision, headers) =
                get(&[&format!("cache-tag: {}", list.join(","))]).rewritten(&site(), &dialect(cdn));
            let name = dialect(cdn).tag_header.unwrap();
            let lines: Vec<_> = headers.get_all(name.as_str()).map(Value::as_bytes).collect();
            let count = lines.iter().flat_map(|line| line.split(|b| matches!(b, b' ' | b','))).count();
            let bytes: usize = lines.iter().map(|line| line.len()).sum();
            format!("{count} tags, {bytes} bytes in {} lines, {}", lines.len(), decision.reason)
        };
        let cases = get(&["cache-tag: A,a"]).rewritten(&site(), &dialect(cdn)).1;
        let cases = cases.get(dialect(cdn).tag_header.unwrap()).unwrap();
        writeln!(
            text,
            "{}: {legal}\n    longest {longest}\n    short ones: {}\n    long ones: {}\n    A and a: {}",
            cdn.as_str(),
            many(3_000, 4),
            many(3_000, 40),
            cases.to_str().unwrap(),
        )
        .unwrap();
    }
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!("what_tags_of_each_cdn_may_be", text);
    });
}
