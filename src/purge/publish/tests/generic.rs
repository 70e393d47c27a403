//! Tests of `profile = "generic"`.

use super::*;

const RULES: &str = r#"
    [[sites.events]]
    path = "/blog/*"
    parents = 1
    purge_paths = ["/feed.xml"]
    purge_tags = ["posts"]
    [[sites.events]]
    on = ["price"]
    purge_prefixes = ["/shop/"]
    [[sites.events]]
    on = ["config"]
    purge_everything = true
"#;

#[test]
fn a_page_in_all_its_forms() {
    let check = |keys: &str, json: &str, expected: &str| assert_eq!(text(&site(keys), json), expected);
    let forms = "path /a, path /a/, path /a/index.html, path /a.html";
    check("", r#"{"event": "publish", "paths": ["/a"]}"#, forms);
    check("", r#"{"event": "publish", "paths": ["//%61"]}"#, forms);
    check("", r#"{"event": "publish", "paths": ["/a", "/a/"]}"#, forms);
    check("page_forms = []", r#"{"event": "publish", "paths": ["/a/", "/b"]}"#, "path /a/, path /b");
    check(
        "page_forms = [\"\", \".php\"]",
        r#"{"event": "publish", "paths": ["/a"]}"#,
        "path /a, path /a.php",
    );
    check("", r#"{"event": "code", "paths": ["/a.css"], "mode": "soft"}"#, "soft, path /a.css");
}

#[test]
fn unpublished_is_gone() {
    for mode in ["", r#", "mode": "soft""#, r#", "mode": "hard""#] {
        let json = format!(r#"{{"event": "unpublish", "paths": ["/a.css"]{mode}}}"#);
        assert_eq!(text(&site(""), &json), "hard, path /a.css");
    }
}

#[test]
fn rules_add() {
    let check = |json: &str, expected: &str| assert_eq!(text(&site(RULES), json), expected);
    check(
        r#"{"event": "publish", "paths": ["/blog/first.pdf"]}"#,
        "path /blog/first.pdf, path /blog/, path /blog, path /blog/index.html, path /blog.html, path /feed.xml, tag posts",
    );
    // The path may have any form.
    let by_slash = text(&site(RULES), r#"{"event": "unpublish", "paths": ["/blog/first/"]}"#);
    assert!(by_slash.ends_with("path /feed.xml, tag posts"), "{by_slash}");
    // Another path or another event does not match.
    check(r#"{"event": "publish", "paths": ["/a.css"]}"#, "path /a.css");
    check(r#"{"event": "sitemap", "paths": ["/blog/first.pdf"]}"#, "path /blog/first.pdf");
    // A site's own event may have paths or none.
    check(r#"{"event": "price"}"#, "prefix /shop/");
    check(r#"{"event": "price", "paths": ["/x.json"]}"#, "path /x.json, prefix /shop/");
    // Everything replaces the rest.
    check(r#"{"event": "config", "paths": ["/x.json"]}"#, "everything");
}

#[test]
fn what_is_no_event() {
    let check = |json: &str, expected: &str| assert_eq!(text(&site(RULES), json), expected);
    check(
        r#"{"event": "publsh", "paths": ["/a", "b", "/c?d", "/e/*"]}"#,
        "paths[1]: must start with `/`\n\
         paths[2]: must not have a query: a path is the page with every query; for just one of them use `urls`\n\
         paths[3]: must not have a `*`, which is no wildcard here: for everything below a path use `prefixes`, for every query `paths`; a star in the name of a page is written `%2A`\n\
         event: `publsh` is not an event of this site; its events are branch-deleted, cache, code, config, metadata, price, publish, redirects, sitemap, unpublish",
    );
    check(
        r#"{"event": "publish"}"#,
        "paths: purges nothing without `paths`, or a rule in [[sites.events]] for events without",
    );
    check(
        r#"{"event": "publish", "paths": ["/a"], "changed": ["code"]}"#,
        "changed, previous: are for sites with profile = \"aem\"",
    );
}

#[test]
fn the_rest_of_the_event_is_kept() {
    let request = |json: &str| purge_of(&site(""), &event(json)).unwrap();
    let full = request(r#"{"event": "publish", "paths": ["/a"], "cdns": ["x"], "reason": "why"}"#);
    assert_eq!((full.cdns, full.reason.as_deref()), (Some(vec!["x".to_owned()]), Some("why")));
    let brief = request(r#"{"event": "publish", "paths": ["/a"]}"#);
    assert_eq!((brief.cdns, brief.reason.as_deref(), brief.mode), (None, Some("publish"), None));
}
