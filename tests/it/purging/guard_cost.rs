//! The cost of comparing a response with past purges, which is the same for one purged page and for 100,000.
//! valgrind counts the instructions of the rewriting only.

use crate::harness::site::Site;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use origin_shim::config::Config;
use origin_shim::http::head::Headers;
use origin_shim::rewrite::keys::path_key;
use origin_shim::rewrite::{Asked, Edge, Guard, Outcome, Purged, RequestFacts, rewrite};
use std::env;
use std::path::Path;
use std::process::Command;
use std::slice;

const RESPONSES: i64 = 100;
/// The number of recently purged pages. If the variable is absent, there is no guard.
const PURGES: &str = "ORIGIN_SHIM_TEST_PURGES";

#[test]
fn many_purges_cost_a_response_no_more_than_one() {
    let [off, none, one, many] = ["", "0", "1", "100000"].map(instructions);
    eprintln!("instructions: {off} without guard, {none} with it, {one} after a purge, {many} after 100,000");
    // A key whose first slot is taken by another needs a second lookup.
    assert!(many <= one + one / 50, "{one} after one purge, {many} after 100,000");
    assert!(none <= off + off / 50, "{off} without guard, {none} with it while nothing was purged");
}

/// Returns the instructions per response, of a run of [`rewriting`] alone.
fn instructions(purges: &str) -> i64 {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*rewrite::decide::rewrite"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().unwrap())
        .args(["--exact", "purging::guard_cost::rewriting", "--ignored", "--test-threads=1"])
        .env(PURGES, purges)
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    let text = std::fs::read_to_string(out).unwrap();
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
    let count: i64 = totals.trim().parse().unwrap();
    assert!(count > RESPONSES * 100, "nothing was counted: {count}");
    count / RESPONSES
}

#[test]
#[ignore = "is counted by the test above"]
fn rewriting() {
    let purges: Option<i64> = env::var(PURGES).ok().and_then(|count| count.parse().ok());
    let site = Site::www("origin.example.test").varnish_at("127.0.0.1:1").to_string();
    let config = Config::parse(&site, Path::new("cost.toml"), &|_| None).unwrap();
    let (site, purged) = (&config.sites[0], Purged::default());
    if let Some(count) = purges.filter(|count| *count > 0) {
        purged.note((0..count).map(|number| path_key(&format!("/purged/{number}"))), 1_000);
    }
    for number in 0..RESPONSES {
        let path = format!("/blog/2026/page-{:03}.html", number);
        let mut headers = Headers::new();
        headers.append(&CONTENT_TYPE, &HeaderValue::from_static("text/html"));
        headers.append(&CACHE_CONTROL, &HeaderValue::from_static("max-age=60"));
        headers.append(
            &HeaderName::from_static("surrogate-key"),
            &HeaderValue::from_static("product-42 category-7"),
        );
        let request = RequestFacts {
            method: &Method::GET,
            path: &path,
            authorization: false,
            bound: false,
            cookie: false,
            asked: Asked::default(),
        };
        // The response began just before the purges were accepted.
        let guard = purges.map(|_| Guard { purged: &purged, began_ms: 999 });
        let edge = Edge { dialects: slice::from_ref(&site.cdns[0].dialect), fallback: None, guard };
        let (decision, _) = rewrite(&site.policy, request, edge, StatusCode::OK, &mut headers);
        // Among 100,000 pages it may share its slots with a purged one.
        let is_alone = purges.is_none_or(|count| count <= 1);
        assert!(decision.outcome == Outcome::Lengthened || !is_alone);
    }
}
