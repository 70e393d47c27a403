//! Plans for CDNs that may have copies without the shim's tags.

use super::*;

/// Checks the plan for such a CDN, in the format of [`text`].
#[track_caller]
fn check(site: &Site, request: &PurgeRequest, expected: &str) {
    let means = |cdn: &Cdn| Means { can: capabilities(cdn), untagged: Some("mode observe".to_owned()) };
    let shown = match plan(site, &means, request) {
        Ok(jobs) => {
            assert!(jobs.iter().all(|job| job.untagged));
            jobs.iter().map(text).collect::<Vec<_>>().join("\n--\n")
        }
        Err(errors) => {
            let error = |error: &ItemError| format!("{}: {}", error.item, error.message);
            errors.iter().map(error).collect::<Vec<_>>().join("\n")
        }
    };
    assert_eq!(shown, expected);
}

const WHY: &str = "copies without tags may be in this CDN (mode observe)";
const ALL_OF_IT: &str =
    "[everything: copies without tags may be in this CDN (mode observe), so its purge-all is used]";

#[test]
fn paths_by_their_tag_and_by_url() {
    let tag = path_tag("/a");
    let note = format!("[paths: purged by URL, too: {WHY}]");
    let queries = "[paths: by URL, which leaves copies without tags that have a query]";
    let url = "hard url https://www.example.com/a";
    for cdn_type in [Fastly, Akamai] {
        check(&site(&[cdn_type]), &paths(&["/a"]), &format!("hard tag {tag}\n{url}\n{note}\n{queries}"));
    }
    check(
        &site(&[Cloudflare]),
        &paths(&["/a"]),
        &format!("hard tag {tag}\n{url}\nhard url http://www.example.com/a\n{note}\n{queries}"),
    );
    // Varnish can ban everything that begins with the page and a `?`.
    check(
        &site(&[Varnish]),
        &paths(&["/a"]),
        &format!("hard tag {tag}\n{url}\nhard prefix www.example.com/a?\n{note}"),
    );
    // It has no soft bans.
    check(
        &site(&[Varnish]),
        &PurgeRequest { mode: Some(PurgeMode::Soft), ..paths(&["/a"]) },
        &format!(
            "soft tag {tag}\nsoft url https://www.example.com/a\nhard prefix www.example.com/a?\n{note}"
        ),
    );
    check(&site(&[Cloudfront]), &paths(&["/a"]), "hard url /a\nhard url /a?*");
    let with_tags = with_cdn(Cloudfront, |cdn| {
        cdn.dialect.tag_header = Some(HeaderName::from_static("cache-tag"));
    });
    check(&with_tags, &paths(&["/a"]), &format!("hard tag {tag}\nhard url /a\nhard url /a?*\n{note}"));
}

#[test]
fn paths_without_a_host_are_everything() {
    check(
        &with_cdn(Varnish, |cdn| cdn.hosts.clear()),
        &paths(&["/a"]),
        &format!(
            "hard everything *\n[paths: purged by URL, too: {WHY}]\n\
             [paths: without path tags or a host no URL can be named, so everything is purged]\n{ALL_OF_IT}"
        ),
    );
}

#[test]
fn urls_and_prefixes_as_ever() {
    let url = "https://www.example.com/a";
    for cdn_type in [Fastly, Akamai, Cloudflare, Varnish] {
        check(&site(&[cdn_type]), &urls(&[url]), &format!("hard url {url}"));
    }
    check(&site(&[Varnish]), &prefixes(&["/blog/"]), "hard prefix www.example.com/blog/");
    check(&site(&[Cloudfront]), &prefixes(&["/blog/"]), "hard url /blog/*");
}

#[test]
fn prefixes_by_section_tag_are_refused() {
    let mut site = site(&[Fastly]);
    site.policy.tags.sections = 2;
    check(
        &site,
        &prefixes(&["/blog/"]),
        &format!(
            "prefixes[0]: fastly: it has no prefix purge, and {WHY}, which no section tag reaches; \
             purge paths, URLs or everything"
        ),
    );
}

#[test]
fn tags_and_everything_by_the_cdns_purge_all() {
    for cdn_type in [Fastly, Cloudflare, Varnish] {
        let site = site(&[cdn_type]);
        check(
            &site,
            &tags(&["a"]),
            &format!("hard everything *\n[tags: {WHY}, so everything is purged]\n{ALL_OF_IT}"),
        );
        check(&site, &everything(), &format!("hard everything *\n{ALL_OF_IT}"));
        let own = with_cdn(cdn_type, |cdn| cdn.everything = Everything::Cdn);
        check(&own, &everything(), "hard everything *");
    }
    let akamai = format!(
        "everything: akamai: Akamai purges everything by CP code, and cp_codes is empty; {WHY}: purge paths or URLs"
    );
    check(&site(&[Akamai]), &tags(&["a"]), &akamai);
    check(&site(&[Akamai]), &everything(), &akamai);
}

#[test]
fn keys_of_aem_within_paths_need_no_purge_of_everything() {
    let ids = Ids { content_bus_id: "cb1".into(), ..Ids::default() };
    let project = Project::new(ids, Partition::Live, vec![], ComputeKeys::Missing);
    let key = project.content_key("/a");
    let page = PurgeRequest { tags: vec![key.clone()], ..paths(&["/a", "/a.plain.html"]) };
    let mut site = site(&[Varnish]);
    site.policy.aem = Some(project);
    let means = |cdn: &Cdn| Means { can: capabilities(cdn), untagged: Some("mode off".to_owned()) };
    let items = &plan(&site, &means, &page).unwrap()[0].items;
    assert!(items.iter().all(|item| item.kind != ItemKind::Everything));
    assert!(items.iter().any(|item| item.value == key), "for copies that have it");
    assert!(items.iter().any(|item| item.value == "https://www.example.com/a.plain.html"));
}

#[test]
fn the_widest_is_the_cdns_purge_all() {
    let site = site(&[Varnish, Akamai]);
    let widest = |cdn: &Cdn, untagged: Option<String>| {
        let item = super::widest(&site, cdn, Means { can: capabilities(cdn), untagged }, true)?;
        Some((item.kind, item.value))
    };
    let why = || Some("mode off".to_owned());
    let purge_all = Some((ItemKind::Everything, "*".to_owned()));
    assert_eq!(widest(&site.cdns[0], None), Some((ItemKind::Tag, site_tag())));
    assert_eq!(widest(&site.cdns[0], why()), purge_all);
    assert_eq!(widest(&site.cdns[1], why()), None, "it has no CP code");
    // What `everything` means for a purge that asks for it makes no difference.
    let all = Cdn { everything: Everything::Cdn, ..Cdn::clone(&site.cdns[0]) };
    assert_eq!(widest(&all, None), Some((ItemKind::Tag, site_tag())));
}

/// Whether an item reaches a copy without tags at this target (path and query).
fn reaches(cdn: CdnType, item: &Item, target: &str) -> bool {
    let place = format!("www.example.com{target}");
    match item.kind {
        ItemKind::Everything => true,
        ItemKind::Tag => false,
        ItemKind::Prefix => place.starts_with(&item.value),
        ItemKind::Url if cdn == Cloudfront => match item.value.strip_suffix('*') {
            Some(start) => target.starts_with(start),
            None => item.value == target,
        },
        ItemKind::Url => item.value == format!("https://{place}"),
    }
}

proptest! {
    /// All that a purge covers is reached without any tag, and the tags are sent nevertheless.
    #[test]
    fn copies_with_and_without_tags_are_reached(
        asked in prop::collection::vec("/[a-c]{1,2}", 0..4),
        wanted_tags in prop::collection::vec("[a-c]{1,2}", 0..2),
        wanted_urls in prop::collection::vec("/[a-c]\\?[a-c]", 0..3),
        path_tags: bool,
        site_tags: bool,
        soft: bool,
    ) {
        prop_assume!(!(asked.is_empty() && wanted_tags.is_empty() && wanted_urls.is_empty()));
        let mut site = site(&[Fastly, Cloudflare, Cloudfront, Varnish]);
        site.policy.tags.path = path_tags;
        site.policy.tags.site = site_tags;
        let request = PurgeRequest {
            urls: wanted_urls.iter().map(|target| format!("https://www.example.com{target}")).collect(),
            paths: asked.clone(),
            tags: wanted_tags.clone(),
            mode: soft.then_some(PurgeMode::Soft),
            ..Default::default()
        };
        let means = |cdn: &Cdn| Means { can: capabilities(cdn), untagged: Some("mode off".to_owned()) };
        for job in plan(&site, &means, &request).unwrap() {
            let cdn = job.cdn_type;
            let reached = |target: &str| job.items.iter().any(|item| reaches(cdn, item, target));
            for target in asked.iter().chain(&wanted_urls) {
                prop_assert!(reached(target), "{cdn:?} {target} {:?}", job.items);
            }
            for path in &asked {
                let told = job.fallback.iter().any(|note| note.contains("a query"));
                prop_assert!(reached(&format!("{path}?x=1")) || told, "{cdn:?} {path}");
                let tagged = job.everything || job.items.iter().any(|item| item.value == path_tag(path));
                prop_assert!(tagged || !path_tags || cdn == Cloudfront);
            }
            // It is not known which copies have one of these tags.
            prop_assert!(wanted_tags.is_empty() || reached("/other"));
        }
    }
}
