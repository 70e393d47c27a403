//! An event purges what the responses carry that it makes old, whatever tags the site adds of its own.

use super::*;
use crate::rewrite::aem::{Partition, Project, page_path, plain_form};
use http::StatusCode;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::HashSet;
use std::sync::LazyLock;

/// Returns a site of AEM with folders and an event of its own.
fn project_site(partition: Partition) -> &'static Site {
    static SITES: LazyLock<[Arc<Site>; 2]> = LazyLock::new(|| {
        ["live", "preview"].map(|partition| {
            site(&format!(
                r#"
                profile = "aem"
                [[sites.events]]
                on = ["own"]
                purge_tags = ["own"]
                [sites.aem]
                org = "org"
                site = "site"
                content_bus_id = "cb1"
                partition = "{partition}"
                [[sites.aem.folders]]
                path = "/products/"
                maps_to = "/products/default"
                [[sites.aem.folders]]
                path = "/app"
                maps_to = "/app.html"
                "#
            ))
        })
    });
    &SITES[usize::from(partition == Partition::Preview)]
}

/// Generates paths of content in all their forms.
fn page() -> impl Strategy<Value = String> {
    let folder = select(&["/", "/a/", "/products/", "/app/", "/en/"]);
    let name = select(&["", "a", "default", "b-c", "index", "metadata", "redirects", "sitemap", "config"]);
    let ending = select(&["", "", "", ".json", ".html", ".xml", ".pdf", ".md", ".plain.html"]);
    (folder, name, ending)
        .prop_map(|(folder, name, ending)| format!("{folder}{name}{ending}"))
        .prop_filter("a name", |path| !path.contains("/."))
}

fn file() -> impl Strategy<Value = String> {
    let name = select(&["/a", "/blocks/b", "/404", "/head", "/robots", "/tools/sidekick/config"]);
    let ending = select(&[".js", ".css", ".html", ".json", ".svg", ".txt", ".woff2"]);
    (name, ending).prop_map(|(name, ending)| format!("{name}{ending}"))
}

fn tags(site: &Site, kind: &str, paths: Vec<String>) -> HashSet<String> {
    let event = Event { event: kind.to_owned(), paths, ..Event::default() };
    purge_of(site, &event).unwrap().tags.into_iter().collect()
}

fn project(site: &Site) -> &Project {
    site.policy.aem.as_ref().unwrap()
}

/// Returns the path and the other paths that show the same page.
fn shown_at(path: &str) -> Vec<String> {
    let page = page_path(path);
    let mut paths = vec![path.to_owned(), page.to_owned()];
    if let Some(plain) = plain_form(page) {
        paths.extend([plain.replace(".plain.html", ".md"), plain]);
    }
    paths
}

fn status() -> impl Strategy<Value = StatusCode> {
    select(&[200u16, 200, 203, 301, 302, 304, 308, 404, 410]).prop_map(|s| StatusCode::from_u16(s).unwrap())
}

proptest! {
    #[test]
    fn a_publish_reaches_the_page_in_every_form(
        path in page(),
        others in prop_oneof![vec(page(), 0..2), vec(page(), 150)],
        kind in select(&["publish", "unpublish", "cache", "own"]),
        partition in select(&[Partition::Live, Partition::Preview]),
        status in status(),
    ) {
        let site = project_site(partition);
        let purged = tags(site, kind, [vec![path.clone()], others].concat());
        // `/head` is not a page of its own.
        prop_assume!(!path.starts_with("/head"));
        for shown in shown_at(&path) {
            let carried = project(site).response_keys(&shown, status);
            let reached = carried.iter().any(|key| purged.contains(&**key));
            prop_assert!(reached, "{} {} carries {:?}, purged {:?}", status, shown, carried, purged);
        }
    }

    #[test]
    fn a_push_reaches_the_file(
        path in file(), others in prop_oneof![vec(file(), 0..2), vec(file(), 20)], status in status(),
    ) {
        let site = project_site(Partition::Live);
        let purged = tags(site, "code", [vec![path.clone()], others].concat());
        let carried = project(site).response_keys(&path, status);
        prop_assert!(carried.iter().any(|key| purged.contains(&**key)), "{:?} {:?}", carried, purged);
    }

    #[test]
    fn below_the_thresholds_every_path_is_named(
        paths in vec(page(), 1..5),
        kind in select(&["publish", "unpublish", "cache", "code", "metadata", "redirects", "sitemap"]),
        aem: bool,
    ) {
        static GENERIC: LazyLock<Arc<Site>> = LazyLock::new(|| site(""));
        let site = if aem { project_site(Partition::Live) } else { &GENERIC };
        let event = Event { event: kind.to_owned(), paths: paths.clone(), ..Event::default() };
        let request = purge_of(site, &event).unwrap();
        prop_assert!(paths.iter().all(|path| request.paths.contains(path)), "{:?} {:?}", paths, request.paths);
        let mut each = request.paths.clone();
        each.sort_unstable();
        each.dedup();
        prop_assert_eq!(each.len(), request.paths.len());
    }
}

#[test]
fn metadata_and_head_reach_every_page() {
    let site = project_site(Partition::Live);
    let page = project(site).response_keys("/a", StatusCode::OK);
    let reaches = |kind: &str, paths: &[&str]| {
        let purged = tags(site, kind, paths.iter().map(|path| (*path).to_owned()).collect());
        page.iter().any(|key| purged.contains(&**key))
    };
    assert!(reaches("metadata", &[]));
    assert!(reaches("publish", &["/metadata.json"]));
    assert!(reaches("code", &["/head.html"]));
    assert!(reaches("publish", &["/redirects.json"]));
    assert!(reaches("config", &[]));
    assert!(!reaches("code", &["/a.js"]));
    assert!(!reaches("publish", &["/b"]));
    // The page that a folder shows, and its metadata, are reached too.
    let product = project(site).response_keys("/products/1", StatusCode::OK);
    for path in ["/products/default", "/products/default/metadata.json"] {
        let purged = tags(site, "publish", vec![path.to_owned()]);
        assert!(product.iter().any(|key| purged.contains(&**key)), "{path}");
    }
}
