//! Publish events: one call with an event makes exactly the affected pages fresh. The conversion of AEM's
//! configuration is tested here, too.

use crate::harness::chain::Chain;
use crate::harness::shim::program;
use serde_json::json;
use std::fs;
use std::process::Output;
use tempfile::TempDir;

#[test]
fn a_page_its_forms_and_its_lists_are_fresh() {
    let rule = r#"
        [[sites.events]]
        path = "/blog/**"
        purge_paths = ["/"]
        "#;
    let chain = Chain::start_with(rule, "");
    let see = |expected: [&str; 3]| {
        let pages = ["/", "/blog/first.html", "/products/42.html"];
        for (page, expected) in pages.into_iter().zip(expected) {
            assert_eq!(chain.see(page), expected, "{page}");
        }
    };
    let first = ["home 1", "/blog/first.html 1", "/products/42.html 1"];
    see(first.map(|page| format!("MISS {page}")).each_ref().map(String::as_str));
    see(first.map(|page| format!("HIT {page}")).each_ref().map(String::as_str));
    chain.nginx.publish("/index.html", "home 2");
    chain.nginx.publish("/blog/first.html", "post 2");
    chain.nginx.publish("/products/42.html", "product 2");
    // The event names another form of the page.
    let purge = chain.shim.publish(&json!({"event": "publish", "paths": ["/blog/first"]}));
    assert_eq!(purge["reason"], "publish");
    see(["MISS home 2", "MISS post 2", "HIT /products/42.html 1"]);

    chain.nginx.publish("/products/42.html", "product 3");
    let purge =
        chain.shim.publish(&json!({"event": "unpublish", "paths": ["/products/42.html"], "mode": "soft"}));
    assert_eq!(purge["mode"], "hard");
    see(["HIT home 2", "HIT post 2", "MISS product 3"]);
}

const AEM: &str = r#"
    profile = "aem"
    tags = { path = false }

    [sites.aem]
    org = "acme"
    site = "website"
    content_bus_id = "cb1"
    bulk_threshold = 2
    "#;

/// Two pages, one of them also without its frame, a script, and a page that does not exist yet.
const PAGES: [&str; 5] = ["/docs/a", "/docs/b", "/docs/a.plain.html", "/scripts/s.js", "/docs/new"];

/// The origin knows nothing of AEM, and the site has no tags for paths: whatever no URL names is reached by the keys
/// that both sides compute.
#[test]
fn the_keys_of_aem_reach_what_they_name() {
    let chain = Chain::start_with(AEM, "");
    let mut version = 1;
    let mut round = |event: serde_json::Value, fresh: &[&str]| {
        let publish = |version: u32| {
            PAGES[..4].iter().for_each(|page| chain.nginx.publish(page, &format!("{page} {version}")));
        };
        publish(version);
        chain.shim.purge(&json!({"everything": true}));
        for page in PAGES {
            chain.visit(page);
        }
        publish(version + 1);
        chain.shim.publish(&event);
        for page in PAGES {
            let answer = chain.visit(page);
            let expected = if fresh.contains(&page) { "MISS" } else { "HIT" };
            assert_eq!(answer.header("x-cache"), expected, "{page} after {event}");
            if page != "/docs/new" {
                let shown = if fresh.contains(&page) { version + 1 } else { version };
                assert_eq!(answer.text(), format!("{page} {shown}"), "after {event}");
            }
        }
        version += 2;
    };
    let page = ["/docs/a", "/docs/a.plain.html"];
    let pages = ["/docs/a", "/docs/b", "/docs/a.plain.html"];
    let content = ["/docs/a", "/docs/b", "/docs/a.plain.html", "/docs/new"];
    round(json!({"event": "publish", "paths": ["/docs/a"]}), &page);
    round(json!({"event": "publish", "paths": ["/docs/a", "/docs/b"]}), &pages);
    round(json!({"event": "publish", "paths": ["/1", "/2", "/3"]}), &content);
    round(json!({"event": "publish", "paths": ["/docs/new"]}), &["/docs/new"]);
    round(json!({"event": "metadata"}), &pages);
    round(json!({"event": "code", "paths": ["/scripts/s.js"]}), &["/scripts/s.js"]);
    round(json!({"event": "code", "paths": ["/head.html"]}), &pages);
    round(json!({"event": "code", "paths": ["/404.html"]}), &["/docs/new"]);
    round(json!({"event": "config", "changed": ["headers"]}), &PAGES);
}

const ROWS: &str = "key,value\ncdn.prod.host,www.example.test\ncdn.prod.type,fastly\ncdn.prod.serviceId,SU1\ncdn.prod.authToken,canary-token\n";

/// Runs `origin-shim import aem FILE` with more arguments, in a directory of its own.
fn import(dir: &TempDir, text: &str, more: &[&str]) -> Output {
    fs::write(dir.path().join("config.csv"), text).unwrap();
    let mut import = program();
    import.current_dir(dir).args(["import", "aem", "config.csv"]).args(more);
    import.output().unwrap()
}

#[test]
fn aems_configuration_becomes_ours() {
    let dir = TempDir::new().unwrap();
    let origin = ["--origin", "https://main--website--acme.aem.live", "--output", "shim.toml"];
    let output = import(&dir, ROWS, &origin);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{said}");
    assert!(said.contains("FASTLY_TOKEN           cdn.prod.authToken"), "{said}");
    let toml = fs::read_to_string(dir.path().join("shim.toml")).unwrap();
    assert!(!format!("{said}{toml}").contains("canary"), "{said}{toml}");

    let mut check = program();
    check.current_dir(&dir).args(["check", "--config", "shim.toml"]);
    for variable in ["ORIGIN_SHIM_TOKEN", "SHIM_EDGE_SECRET", "FASTLY_TOKEN"] {
        check.env(variable, "a-value-of-some-length");
    }
    let output = check.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("https://main--website--acme.aem.live"));

    // A file that may have been edited is not overwritten.
    let output = import(&dir, ROWS, &origin);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write shim.toml"));
}

#[test]
fn a_wrong_file_is_named_with_line_and_key() {
    let dir = TempDir::new().unwrap();
    let output = import(&dir, &ROWS.replace("fastly", "fastest"), &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(said.contains("config.csv:3: cdn.prod.type: must be fastly, akamai"), "{said}");
}
