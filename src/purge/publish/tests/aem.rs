//! `profile = "aem"`: tests for everything that AEM's admin service purges.

use super::*;
use crate::rewrite::aem::{Partition, Project, key};

const AEM: &str = r#"
    profile = "aem"
    [sites.aem]
    org = "org"
    site = "site"
    content_bus_id = "cb1"
    owner = "owner"
    repo = "repo"
    bulk_threshold = 3
    code_threshold = 2
    metadata = ["/metadata.json", "/seo.json"]
"#;

const R: &str = "main--repo--owner";

/// Checks the items of an event, in the notation of [`computed`].
#[track_caller]
fn check(json: &str, expected: &str) {
    check_at(&site(AEM), json, expected);
}

#[track_caller]
fn check_at(site: &Site, json: &str, expected: &str) {
    assert_eq!(text(site, json), computed(expected), "{json}");
}

/// Expands `tag C_metadata, tag K(C/a)`: `C` and `R` are IDs, and `K(…)` is the key of its content.
fn computed(words: &str) -> String {
    let ids = |text: &str| match text.split_at_checked(1) {
        Some(("C", rest)) => format!("cb1{rest}"),
        Some(("R", rest)) => format!("{R}{rest}"),
        _ => text.to_owned(),
    };
    let tag = |tag: &str| {
        let (prefix, tag) = tag.strip_prefix("p_").map_or(("", tag), |tag| ("p_", tag));
        let hashed = tag.strip_prefix("K(").and_then(|rest| rest.split_once(')'));
        match hashed {
            Some((inner, rest)) => format!("{prefix}{}{rest}", key(&ids(inner))),
            None => format!("{prefix}{}", ids(tag)),
        }
    };
    let item = |item: &str| match item.strip_prefix("tag ") {
        Some(name) => format!("tag {}", tag(name)),
        None => item.to_owned(),
    };
    words.split(", ").map(item).collect::<Vec<_>>().join(", ")
}

/// The key of the site's configuration.
const CONFIG: &str = "tag K(site--org_config.json)";

#[test]
fn a_page() {
    let page = "path /a, path /a.plain.html, tag K(C/a), tag K(R/a)";
    check(r#"{"event": "publish", "paths": ["/a"]}"#, page);
    check(r#"{"event": "unpublish", "paths": ["/a"], "mode": "soft"}"#, &format!("hard, {page}"));
    check(
        r#"{"event": "publish", "paths": ["/x/"]}"#,
        "path /x/, path /x/index.plain.html, tag K(C/x/), tag K(R/x/)",
    );
    check(r#"{"event": "publish", "paths": ["/"]}"#, "path /, path /index.plain.html, tag K(C/), tag K(R/)");
    // The page may be named in several ways.
    for (named, page) in
        [("/a.plain.html", "/a"), ("/a.md", "/a"), ("/x/index", "/x/"), ("/x/index.md", "/x/")]
    {
        let request = |path: &str| {
            let json = format!(r#"{{"event": "publish", "paths": ["{path}"]}}"#);
            purge_of(&site(AEM), &event(&json)).unwrap()
        };
        assert_eq!(request(named).tags, request(page).tags);
        assert!(request(page).paths.iter().all(|path| request(named).paths.contains(path)), "{named}");
    }
}

#[test]
fn json_and_other_files() {
    check(r#"{"event": "publish", "paths": ["/a.json"]}"#, "path /a.json, tag K(C/a.json), tag K(R/a.json)");
    check(r#"{"event": "publish", "paths": ["/a.pdf"]}"#, "path /a.pdf, tag K(C/a.pdf), tag K(R/a.pdf)");
    check(r#"{"event": "publish", "paths": ["/a.html"]}"#, "path /a.html, tag K(C/a.html)");
}

#[test]
fn metadata() {
    let sheet = |path: &str| format!("path {path}, {CONFIG}, tag C_metadata, tag K(C{path})");
    check(r#"{"event": "publish", "paths": ["/metadata.json"]}"#, &sheet("/metadata.json"));
    check(r#"{"event": "metadata", "paths": ["/seo.json"]}"#, &sheet("/seo.json"));
    check(
        r#"{"event": "metadata"}"#,
        &format!(
            "path /metadata.json, path /seo.json, {CONFIG}, tag C_metadata, tag K(C/metadata.json), tag K(C/seo.json)"
        ),
    );
    // The sheet of a folder.
    let folder = "path /products/metadata.json, tag K(C/products)_metadata, tag K(C/products/metadata.json)";
    check(r#"{"event": "publish", "paths": ["/products/metadata.json"]}"#, folder);
    check(r#"{"event": "metadata", "paths": ["/products/metadata.json"]}"#, folder);
    // A sheet that the configuration does not name.
    check(
        r#"{"event": "metadata", "paths": ["/more.json"]}"#,
        &format!("path /more.json, tag K(C/more.json), tag K(R/more.json), {CONFIG}, tag C_metadata"),
    );
}

#[test]
fn head() {
    check(r#"{"event": "publish", "paths": ["/head"]}"#, "path /head, tag R_head");
    check(r#"{"event": "publish", "paths": ["/head.html"]}"#, "path /head.html, tag R_head");
}

#[test]
fn redirects() {
    let sheet = "path /redirects.json";
    let keys = "tag K(C/redirects.json), tag K(R/redirects.json)";
    check(
        r#"{"event": "redirects", "paths": ["/old", "/x/index", "/y.md"]}"#,
        &format!(
            "{sheet}, path /old, path /x/, path /x/index, path /y, path /y.md, {keys}, tag K(C/old), tag K(C/x/), tag K(C/y)"
        ),
    );
    // The sources are not known, or there are many.
    check(r#"{"event": "redirects"}"#, &format!("{sheet}, {keys}, tag C"));
    check(r#"{"event": "redirects", "paths": ["/1", "/2", "/3", "/4"]}"#, &format!("{sheet}, {keys}, tag C"));
    check(r#"{"event": "publish", "paths": ["/redirects.json"]}"#, &format!("{sheet}, tag C, {keys}"));
}

#[test]
fn in_bulk() {
    check(
        r#"{"event": "publish", "paths": ["/a", "/x/", "/b.json"]}"#,
        "path /a, path /a.plain.html, path /x/, path /x/index.plain.html, path /b.json, \
         tag K(C/a), tag K(R/a), tag K(C/a.plain.html), tag K(C/x/), tag K(R/x/), tag K(C/x/index.plain.html), \
         tag K(C/b.json), tag K(R/b.json)",
    );
    check(r#"{"event": "publish", "paths": ["/1", "/2", "/3", "/4"]}"#, "tag C");
    check(r#"{"event": "unpublish", "paths": ["/1", "/2", "/3", "/4"]}"#, "hard, tag C");
    // The key of all content does not reach these.
    check(
        r#"{"event": "publish", "paths": ["/1", "/2", "/metadata.json", "/a.js"]}"#,
        &format!("path /a.js, tag C, {CONFIG}, tag K(C/a.js), tag K(R/a.js)"),
    );
}

#[test]
fn code() {
    check(
        r#"{"event": "code", "paths": ["/a.js", "/b.css"]}"#,
        "path /a.js, path /b.css, tag K(R/a.js), tag K(R/b.css)",
    );
    check(r#"{"event": "code", "paths": ["/a.js", "/b.css", "/c.css"]}"#, "tag R_code");
    check(
        r#"{"event": "code", "paths": ["/head.html"]}"#,
        &format!("path /head.html, tag K(R/head.html), tag R_head, {CONFIG}"),
    );
    check(
        r#"{"event": "code", "paths": ["/fstab.yaml"]}"#,
        "path /fstab.yaml, tag K(R/fstab.yaml), tag R_head, tag R_404",
    );
    check(r#"{"event": "code", "paths": ["/404.html"]}"#, "path /404.html, tag K(R/404.html), tag R_404");
    check(
        r#"{"event": "code", "paths": ["/a.js", "/b.js", "/head.html", "/robots.txt"]}"#,
        &format!("tag R_code, tag R_head, {CONFIG}"),
    );
    let all = format!("tag R_code, tag R_head, tag R_404, {CONFIG}");
    check(r#"{"event": "code"}"#, &all);
    check(r#"{"event": "branch-deleted"}"#, &format!("hard, {all}"));
}

#[test]
fn the_sites_configuration() {
    check(r#"{"event": "config"}"#, &format!("{CONFIG}, tag R_code, tag C"));
    for (changed, also) in [
        ("robots", ""),
        ("headers", ", tag R_code, tag C"),
        ("access", ", tag R_code, tag C"),
        ("folders", ", tag C"),
        ("cdn.prod.host", ", tag C"),
        ("a part of tomorrow", ", tag R_code, tag C"),
    ] {
        check(&format!(r#"{{"event": "config", "changed": ["{changed}"]}}"#), &format!("{CONFIG}{also}"));
    }
    check(
        r#"{"event": "config", "changed": ["code"], "previous": {"repo": "old"}}"#,
        &format!(
            "{CONFIG}, tag R_code, tag R_head, tag R_404, tag main--old--owner_code, tag main--old--owner_head, tag main--old--owner_404"
        ),
    );
    check(
        r#"{"event": "config", "changed": ["content"], "previous": {"content_bus_id": "cb0"}}"#,
        &format!("{CONFIG}, tag C, tag cb0"),
    );
    check(
        r#"{"event": "config", "changed": ["code", "content"]}"#,
        "previous: give the `owner`, `repo` or `ref` of the code that it was\nprevious: give the `content_bus_id` that it was",
    );
    check(
        r#"{"event": "config", "previous": {"repo": "a b"}}"#,
        "previous: an id has 1 to 128 letters, digits, `.`, `_` and `-`",
    );
    check(
        r#"{"event": "publish", "paths": ["/a"], "changed": ["code"]}"#,
        "changed, previous: belong to the event `config`",
    );
}

#[test]
fn sitemaps() {
    check(r#"{"event": "sitemap"}"#, "path /sitemap.xml, tag K(C/sitemap.xml)");
    check(
        r#"{"event": "sitemap", "paths": ["/en/sitemap.xml"]}"#,
        "path /en/sitemap.xml, tag K(C/en/sitemap.xml)",
    );
}

#[test]
fn both_partitions_and_one() {
    check(
        r#"{"event": "cache", "paths": ["/a"]}"#,
        "path /a, path /a.plain.html, tag K(C/a), tag K(R/a), tag p_K(C/a)",
    );
    check(r#"{"event": "cache", "paths": ["/1", "/2", "/3", "/4"]}"#, "tag C, tag p_C");
    let preview = site(&format!("{AEM}partition = \"preview\""));
    check_at(
        &preview,
        r#"{"event": "publish", "paths": ["/a"]}"#,
        "path /a, path /a.plain.html, tag p_K(C/a), tag K(R/a)",
    );
    check_at(
        &preview,
        r#"{"event": "config", "changed": ["content"], "previous": {"content_bus_id": "cb0"}}"#,
        &format!("{CONFIG}, tag p_C, tag p_cb0"),
    );
    let project: &Project = preview.policy.aem.as_ref().unwrap();
    assert_eq!(project.in_partition(Partition::Live).content(), "cb1");
}

#[test]
fn thresholds_as_aem_has_them() {
    let default = site(&AEM.replace("bulk_threshold = 3", "").replace("code_threshold = 2", ""));
    let of = |event: &str, count: usize, ending: &str| {
        let paths: Vec<_> = (0..count).map(|n| format!("/{n}{ending}")).collect();
        let json = serde_json::json!({ "event": event, "paths": paths }).to_string();
        text(&default, &json)
    };
    assert_eq!(of("publish", 100, "").matches("path ").count(), 200);
    assert_eq!(of("publish", 101, ""), "tag cb1");
    assert_eq!(of("code", 10, ".js").matches("path ").count(), 10);
    assert_eq!(of("code", 11, ".js"), format!("tag {R}_code"));
}

#[test]
fn rules_add_to_what_aem_purges() {
    let rule = r#"
        [[sites.events]]
        path = "/blog/**"
        parents = 1
        purge_tags = ["posts"]
    "#;
    check_at(
        &site(&format!("{AEM}{rule}")),
        r#"{"event": "publish", "paths": ["/blog/first"]}"#,
        "path /blog/first, path /blog/first.plain.html, path /blog/, path /blog/index.plain.html, \
         tag K(C/blog/first), tag K(R/blog/first), tag posts, tag K(C/blog/), tag K(R/blog/)",
    );
}

#[test]
fn without_ids_there_are_no_keys() {
    check_at(
        &site("profile = \"aem\""),
        r#"{"event": "publish", "paths": ["/a"]}"#,
        "event: the site has profile = \"aem\" but no [sites.aem]: its ids are needed for the keys",
    );
}
