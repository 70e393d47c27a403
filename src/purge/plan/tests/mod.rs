mod tags;
mod untagged;

use super::super::testing::{capabilities, site};
use super::*;
use crate::config::{CdnSettings, CloudflarePlan};
use crate::rewrite::CdnType;
use crate::rewrite::aem::{ComputeKeys, Ids, Partition, Project};
use CdnType::{Akamai, Cloudflare, Cloudfront, Fastly, Varnish};
use http::HeaderName;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const ALL: [CdnType; 5] = [Fastly, Akamai, Cloudflare, Cloudfront, Varnish];

/// Formats the items of a job as `hard tag x`, one per line, then the notes in brackets.
fn text(job: &JobPlan) -> String {
    let items = job.items.iter().map(|item| {
        let hard = if item.hard { "hard" } else { "soft" };
        format!("{hard} {} {}", format!("{:?}", item.kind).to_lowercase(), item.value)
    });
    items.chain(job.fallback.iter().map(|note| format!("[{note}]"))).collect::<Vec<_>>().join("\n")
}

fn with_cdn(cdn_type: CdnType, change: impl FnOnce(&mut Cdn)) -> Site {
    let mut site = site(&[cdn_type]);
    let mut cdn = Cdn::clone(&site.cdns[0]);
    change(&mut cdn);
    site.cdns = vec![Arc::new(cdn)];
    site
}

#[track_caller]
fn check(site: &Site, request: &PurgeRequest, expected: &str) {
    let shown = match plan(site, &capabilities, request) {
        Ok(jobs) => jobs.iter().map(text).collect::<Vec<_>>().join("\n--\n"),
        Err(errors) => errors
            .iter()
            .map(|error| format!("{}: {}", error.item, error.message))
            .collect::<Vec<_>>()
            .join("\n"),
    };
    assert_eq!(shown, expected);
}

/// A publish event names these keys for a page of AEM.
#[test]
fn keys_of_aem_that_paths_stand_for() {
    let ids = Ids { content_bus_id: "cb1".into(), ..Ids::default() };
    let project = Project::new(ids, Partition::Live, vec![], ComputeKeys::Missing);
    let (content, code) = (project.content_key("/a"), project.code_key("/a"));
    let page = PurgeRequest { tags: vec![content, code], ..paths(&["/a", "/a.plain.html"]) };
    let of = |cdn_type| {
        let mut site = site(&[cdn_type]);
        site.policy.aem = Some(project.clone());
        site
    };
    check(
        &of(Cloudfront),
        &page,
        "hard url /a\nhard url /a?*\nhard url /a.plain.html\nhard url /a.plain.html?*",
    );
    let tags = plan(&of(Fastly), &capabilities, &page).unwrap()[0].items.len();
    assert_eq!(tags, 4);
    // These keys also belong to other pages.
    let everything = "hard everything *\n[tags: this CDN takes none here, so everything is purged]\n[everything: this CDN takes no tags here, so its purge-all is used]";
    check(&of(Cloudfront), &PurgeRequest { paths: vec!["/a".into()], ..page.clone() }, everything);
    let more = [page.tags.clone(), vec!["cb1".into()]].concat();
    check(&of(Cloudfront), &PurgeRequest { tags: more, ..page }, everything);
}

fn urls(urls: &[&str]) -> PurgeRequest {
    PurgeRequest { urls: urls.iter().map(|url| (*url).into()).collect(), ..Default::default() }
}

fn paths(paths: &[&str]) -> PurgeRequest {
    PurgeRequest { paths: paths.iter().map(|path| (*path).into()).collect(), ..Default::default() }
}

fn tags(tags: &[&str]) -> PurgeRequest {
    PurgeRequest { tags: tags.iter().map(|tag| (*tag).into()).collect(), ..Default::default() }
}

fn prefixes(prefixes: &[&str]) -> PurgeRequest {
    PurgeRequest { prefixes: prefixes.iter().map(|prefix| (*prefix).into()).collect(), ..Default::default() }
}

fn everything() -> PurgeRequest {
    PurgeRequest { everything: true, ..Default::default() }
}

fn soft(request: PurgeRequest) -> PurgeRequest {
    PurgeRequest { mode: Some(PurgeMode::Soft), ..request }
}

fn path_tag(path: &str) -> String {
    crate::rewrite::tags::path_tag("www", path)
}

fn site_tag() -> String {
    crate::rewrite::tags::site_tag("www")
}

#[test]
fn tags_go_to_cdns_that_take_them() {
    for cdn_type in [Fastly, Akamai, Cloudflare, Varnish] {
        check(&site(&[cdn_type]), &tags(&["a", "b", "a"]), "hard tag a\nhard tag b");
    }
    let cloudfront = with_cdn(Cloudfront, |cdn| {
        cdn.dialect.tag_header = Some(HeaderName::from_static("cache-tag"));
    });
    check(&cloudfront, &tags(&["a"]), "hard tag a");
}

#[test]
fn tags_become_everything_where_there_are_none() {
    check(
        &site(&[Cloudfront]),
        &tags(&["a"]),
        "hard everything *\n\
         [tags: this CDN takes none here, so everything is purged]\n\
         [everything: this CDN takes no tags here, so its purge-all is used]",
    );
}

#[test]
fn paths_by_their_tag() {
    for cdn_type in [Fastly, Akamai, Cloudflare, Varnish] {
        check(
            &site(&[cdn_type]),
            &paths(&["/a", "/b"]),
            &format!("hard tag {}\nhard tag {}", path_tag("/a"), path_tag("/b")),
        );
    }
}

#[test]
fn paths_by_url() {
    let without_path_tags = |cdn_type| {
        let mut site = with_cdn(cdn_type, |cdn| cdn.hosts.push("example.com".into()));
        site.policy.tags.path = false;
        site
    };
    let note = "[paths: without path tags purged by URL, which leaves copies with a query]";
    for cdn_type in [Fastly, Akamai, Varnish] {
        check(
            &without_path_tags(cdn_type),
            &paths(&["/ü b"]),
            &format!(
                "hard url https://www.example.com/%C3%BC%20b\nhard url https://example.com/%C3%BC%20b\n\
                 hard url https://www.example.com/%c3%bc%20b\nhard url https://example.com/%c3%bc%20b\n{note}"
            ),
        );
    }
    check(
        &without_path_tags(Cloudflare),
        &paths(&["/a"]),
        &format!(
            "hard url https://www.example.com/a\nhard url http://www.example.com/a\n\
             hard url https://example.com/a\nhard url http://example.com/a\n{note}"
        ),
    );
    check(&without_path_tags(Cloudfront), &paths(&["/a"]), "hard url /a\nhard url /a?*");
    check(
        &without_path_tags(Cloudfront),
        &paths(&["/vendors~about.js", "/b%2A"]),
        "hard url /vendors%7Eabout.js\nhard url /vendors%7Eabout.js?*\nhard url /b%2A\nhard url /b%2A?*\nhard url /b*\n\
         hard url /b%2a\nhard url /b%2a?*\n\
         [CloudFront has no escape for a `*`: everything that begins like such a path is purged]",
    );
}

#[test]
fn paths_without_tags_or_hosts_are_everything() {
    let mut site = with_cdn(Fastly, |cdn| cdn.hosts.clear());
    site.policy.tags.path = false;
    check(
        &site,
        &paths(&["/a"]),
        &format!(
            "hard tag {}\n[paths: without path tags or a host no URL can be named, so everything is purged]",
            site_tag()
        ),
    );
}

#[test]
fn urls_as_they_are() {
    let request = urls(&[
        "https://www.example.com/a?x=1#top",
        "http://www.example.com/",
        "https://www.example.com/a?x=1",
    ]);
    for cdn_type in [Fastly, Akamai, Cloudflare, Varnish] {
        check(
            &site(&[cdn_type]),
            &request,
            "hard url https://www.example.com/a?x=1\nhard url http://www.example.com/",
        );
    }
    check(&site(&[Cloudfront]), &request, "hard url /a?x=1\nhard url /");
    check(
        &site(&[Cloudfront]),
        &urls(&["https://www.example.com/b%2Aa?x=~"]),
        "hard url /b%2Aa?x=%7E\nhard url /b*\nhard url /b%2aa?x=%7E\n\
         [CloudFront has no escape for a `*`: everything that begins like such a path is purged]",
    );
    // A caller who may not purge everything must not achieve it in other words.
    check(
        &with_cdn(Cloudfront, |cdn| cdn.dialect.tag_header = None),
        &PurgeRequest {
            urls: vec!["https://www.example.com/%2A".into()],
            prefixes: vec!["/%2A/".into()],
            ..paths(&["/%2a"])
        },
        "paths[0]: cloudfront: CloudFront has no escape for its `*`: purge everything instead\n\
         urls[0]: cloudfront: CloudFront has no escape for its `*`: purge everything instead\n\
         prefixes[0]: cloudfront: CloudFront has no escape for its `*`: purge everything instead",
    );
    check(
        &site(&[Varnish]),
        &urls(&["https://www.example.com/foo%20%281%29?x=(1)"]),
        "hard url https://www.example.com/foo%20%281%29?x=(1)\nhard url https://www.example.com/foo%20(1)?x=(1)",
    );
}

#[test]
fn urls_only_where_their_host_is_served() {
    let mut site = site(&[Fastly, Cloudflare]);
    let mut other = Cdn::clone(&site.cdns[1]);
    other.hosts = vec!["shop.example.com".into()];
    site.cdns[1] = Arc::new(other);
    let at = |host: &str| urls(&[&format!("https://{host}/a")]);
    check(&site, &at("www.example.com"), "hard url https://www.example.com/a");
    check(&site, &at("shop.example.com"), "hard url https://shop.example.com/a");
    let fastly = PurgeRequest { cdns: Some(vec!["fastly".into()]), ..at("shop.example.com") };
    check(&site, &fastly, "urls[0]: its host is not one of the CDNs that `cdns` names");
    // A host of the site that no CDN lists may be behind any of them.
    site.hosts.push("new.example.com".into());
    check(
        &site,
        &at("new.example.com"),
        "hard url https://new.example.com/a\n--\nhard url https://new.example.com/a",
    );
}

#[test]
fn prefixes_natively() {
    let request = prefixes(&["/blog/"]);
    check(&site(&[Cloudflare]), &request, "hard prefix www.example.com/blog/");
    check(&site(&[Varnish]), &request, "hard prefix www.example.com/blog/");
    check(&site(&[Cloudfront]), &request, "hard url /blog/*");
    check(
        &with_cdn(Varnish, |cdn| cdn.hosts.clear()),
        &request,
        &format!(
            "hard tag {}\n[prefixes: without a host none can be named, so everything is purged]",
            site_tag()
        ),
    );
}

#[test]
fn prefixes_by_section_tag() {
    let mut site = site(&[Fastly]);
    let tag = |prefix| crate::rewrite::tags::section_tag("www", prefix);
    site.policy.tags.sections = 2;
    check(
        &site,
        &prefixes(&["/blog/", "/blog/2024/"]),
        &format!("hard tag {}\nhard tag {}", tag("/blog/"), tag("/blog/2024/")),
    );
    check(
        &site,
        &prefixes(&["/a/", "/a/b/c/"]),
        "prefixes[1]: fastly: it has no prefix purge, and section tags (2 levels) do not reach this deep; \
         purge paths, a tag or everything",
    );
}

#[test]
fn everything_by_the_sites_tag_or_the_cdns_own() {
    for cdn_type in [Fastly, Akamai, Cloudflare, Varnish] {
        check(&site(&[cdn_type]), &everything(), &format!("hard tag {}", site_tag()));
    }
    for cdn_type in [Fastly, Cloudflare, Varnish] {
        let own = with_cdn(cdn_type, |cdn| cdn.everything = Everything::Cdn);
        check(&own, &everything(), "hard everything *");
        let mut untagged = site(&[cdn_type]);
        untagged.policy.tags.site = false;
        check(
            &untagged,
            &everything(),
            "hard everything *\n[everything: the site has no tag of its own, so the CDN's purge-all is used]",
        );
    }
    let mut akamai = site(&[Akamai]);
    akamai.policy.tags.site = false;
    check(
        &akamai,
        &everything(),
        "everything: akamai: Akamai purges everything by CP code, and cp_codes is empty",
    );
}

#[test]
fn everything_absorbs_the_rest() {
    let mut request = paths(&["/a"]);
    request.everything = true;
    request.urls = vec!["https://www.example.com/b".into()];
    request.prefixes = vec!["/too/deep/".into()];
    let expected = format!("hard tag {}", site_tag());
    check(&site(&[Fastly]), &request, &expected);
    for also in [tags(&["a", &site_tag(), "b"]), tags(&[&site_tag().to_uppercase()]), prefixes(&["/"])] {
        assert!(also.purges_everything(&site(&[Fastly])));
        check(&site(&[Fastly]), &also, &expected);
    }
    assert!(!tags(&["site"]).purges_everything(&site(&[Fastly])));
}

#[test]
fn everything_below_enterprise_if_only_that_may_be_surgical() {
    let cloudflare = |plan| {
        with_cdn(Cloudflare, |cdn| {
            if let CdnSettings::Cloudflare(crate::config::cdns::Cloudflare {
                plan: now,
                enterprise_only,
                ..
            }) = &mut cdn.settings
            {
                (*now, *enterprise_only) = (plan, true);
            }
        })
    };
    let without_tags = |cdn: &Cdn| Capabilities { tags: false, prefixes: false, ..capabilities(cdn) };
    let jobs = plan(&cloudflare(CloudflarePlan::Business), &without_tags, &paths(&["/a"])).unwrap();
    assert_eq!(
        text(&jobs[0]),
        "hard everything *\n\
         [surgical_purge is \"enterprise-only\" and the plan is not: everything is purged]\n\
         [everything: this CDN takes no tags here, so its purge-all is used]"
    );
    check(&cloudflare(CloudflarePlan::Enterprise), &tags(&["a"]), "hard tag a");
}

#[test]
fn soft_where_it_is_possible() {
    for cdn_type in [Fastly, Akamai, Cloudflare, Varnish] {
        check(&site(&[cdn_type]), &soft(tags(&["a"])), "soft tag a");
        let soft_by_default = with_cdn(cdn_type, |cdn| cdn.hard = false);
        check(&soft_by_default, &tags(&["a"]), "soft tag a");
        check(&soft_by_default, &PurgeRequest { mode: Some(PurgeMode::Hard), ..tags(&["a"]) }, "hard tag a");
    }
    check(
        &site(&[Cloudfront]),
        &soft(urls(&["https://www.example.com/"])),
        "hard url /\n[URLs: this CDN cannot mark them stale, so they are purged hard]",
    );
    let own = |cdn_type| with_cdn(cdn_type, |cdn| cdn.everything = Everything::Cdn);
    check(&own(Cloudflare), &soft(everything()), "soft everything *");
    check(
        &own(Fastly),
        &soft(everything()),
        "hard everything *\n[everything: this CDN cannot mark them stale, so they are purged hard]",
    );
    check(&site(&[Cloudflare]), &soft(prefixes(&["/a/"])), "soft prefix www.example.com/a/");
    check(
        &site(&[Varnish]),
        &soft(prefixes(&["/a/"])),
        "hard prefix www.example.com/a/\n[prefixes: this CDN cannot mark them stale, so they are purged hard]",
    );
}

#[test]
fn a_job_for_each_cdn_that_is_asked_for() {
    let site = site(&ALL);
    let names = |request: &PurgeRequest| {
        let jobs = plan(&site, &capabilities, request).unwrap();
        jobs.into_iter().map(|job| (job.cdn, job.cdn_type)).collect::<Vec<_>>()
    };
    let all: Vec<_> = ALL.map(|cdn| (format!("{cdn:?}").to_lowercase(), cdn)).into();
    assert_eq!(names(&tags(&["a"])), all);
    let some = PurgeRequest { cdns: Some(vec!["varnish".into(), "fastly".into()]), ..tags(&["a"]) };
    assert_eq!(names(&some), [("fastly".into(), Fastly), ("varnish".into(), Varnish)]);
    let nowhere = plan(&super::super::testing::site(&[]), &capabilities, &tags(&["a"])).unwrap_err();
    assert_eq!(nowhere[0].item, "cdns", "a purge that reaches nothing would be done at once");
}

#[test]
fn repeats_of_items_and_of_everything() {
    let site = with_cdn(Fastly, |cdn| {
        cdn.repeat_after = Duration::from_secs(2);
        cdn.repeat_everything_after = Duration::from_secs(30);
    });
    let repeat = |request| plan(&site, &capabilities, &request).unwrap()[0].repeat_after_ms;
    assert_eq!((repeat(tags(&["a"])), repeat(everything())), (2_000, 30_000));
}

#[test]
fn errors_of_every_cdn_are_told() {
    check(
        &site(&[Fastly, Cloudflare, Akamai]),
        &prefixes(&["/a/"]),
        "prefixes[0]: fastly: it has no prefix purge, and section tags (0 levels) do not reach this deep; \
         purge paths, a tag or everything\n\
         prefixes[0]: akamai: it has no prefix purge, and section tags (0 levels) do not reach this deep; \
         purge paths, a tag or everything",
    );
}

/// A page below a folder, in two spellings. CloudFront cannot name a path that begins with a star.
fn respelt() -> impl Strategy<Value = (String, String)> {
    crate::rewrite::spelling::testing::respelt()
        .prop_map(|(held, named)| (format!("/p{held}"), format!("/p{}", named.replace('*', "%2A"))))
}

/// Whether the job purges a copy that a cache holds under this target, with these tags.
fn reaches(job: &JobPlan, target: &str, held_tags: &[String]) -> bool {
    job.items.iter().any(|item| match item.kind {
        ItemKind::Everything => true,
        ItemKind::Tag => held_tags.contains(&item.value),
        // CloudFront matches both spellings of the characters that invalidations escape.
        ItemKind::Url if job.cdn_type == Cloudfront => {
            let target = (crate::cdn::row(Cloudfront).page)(target.to_owned());
            item.value == target
                || item.value.strip_suffix('*').is_some_and(|start| target.starts_with(start))
        }
        ItemKind::Url => item.value == format!("https://www.example.com{target}"),
        // The shim's VCL compares canonical forms. Other CDNs compare names.
        ItemKind::Prefix if job.cdn_type == Varnish => {
            format!("www.example.com{}", crate::rewrite::spelling::canonical(target)).starts_with(&item.value)
        }
        ItemKind::Prefix => format!("www.example.com{target}").starts_with(&item.value),
    })
}

proptest! {
    /// The page is purged whatever its spelling in the purge and in the request that fetched the copy.
    #[test]
    fn a_page_is_purged_in_every_spelling((held, named) in respelt()) {
        use crate::rewrite::{keys, path::normalise, spelling};
        let site = site(&ALL);
        let request = paths(&[&named]);
        let tags = [path_tag(&held), path_tag(&spelling::canonical(&held))];
        let keys_of = crate::purge::keys_of(&site, &request).unwrap();
        prop_assert!(keys_of.contains(&keys::path_key(&held)));
        let guarded = keys::testing::of_path(&normalise(&held));
        prop_assert!(guarded.any(|key| keys_of.contains(&key)));
        for job in plan(&site, &capabilities, &request).unwrap() {
            // Without tags a page is purged by name, and so in every usual spelling only.
            let usual = if job.cdn_type == Cloudfront { spelling::spellings(&spelling::canonical(&held)) } else { vec![held.clone()] };
            for held in usual {
                prop_assert!(reaches(&job, &held, &tags), "{} at {:?}: {:?}", held, job.cdn_type, job.items);
            }
        }
    }

    /// The adapter can write each spelling into a call.
    #[test]
    fn every_spelling_makes_a_call((_, named) in respelt()) {
        let mut site = site(&ALL);
        site.policy.tags.path = false;
        let url = format!("https://www.example.com{named}");
        let request = PurgeRequest { urls: vec![url], ..paths(&[&named]) };
        let sign = crate::cdn::SignContext { now_ms: 1_700_000_000_000, nonce: "n".into() };
        for job in plan(&site, &capabilities, &request).unwrap() {
            let cdn = site.cdns.iter().find(|cdn| cdn.name == job.cdn).unwrap();
            let batch = crate::cdn::Batch { reference: "r".into(), items: job.items.clone() };
            let calls = crate::cdn::build(cdn).requests(&batch, &sign);
            prop_assert!(calls.is_ok(), "{:?} of {:?}", calls.err(), job.items);
        }
    }

    #[test]
    fn a_prefix_is_purged_in_every_usual_spelling((held, named) in respelt()) {
        use crate::rewrite::spelling;
        let mut site = site(&ALL);
        site.policy.tags.sections = 16;
        let (held, named) = (held + "/", named + "/");
        let request = prefixes(&[&named]);
        prop_assume!(!request.purges_everything(&site));
        let tags = [&held[..], &spelling::canonical(&held)].map(|form| crate::rewrite::tags::section_tag("www", form));
        prop_assert!(crate::purge::keys_of(&site, &request).unwrap().contains(&crate::rewrite::keys::prefix_key(&held)));
        for job in plan(&site, &capabilities, &request).unwrap() {
            // Cloudflare's own normalisation produces upper case.
            let is_upper = |path: &String| job.cdn_type != Cloudflare || spelling::with_upper_hex(path) == *path;
            for held in spelling::spellings(&spelling::canonical(&held)).into_iter().filter(is_upper) {
                prop_assert!(reaches(&job, &(held.clone() + "page"), &tags), "{} at {:?}: {:?}", held, job.cdn_type, job.items);
            }
        }
    }

    #[test]
    fn a_url_is_purged_in_every_usual_spelling((held, named) in respelt()) {
        use crate::rewrite::spelling;
        let site = site(&ALL);
        let request = urls(&[&format!("https://www.example.com{}?x=(1)", named)]);
        for job in plan(&site, &capabilities, &request).unwrap() {
            for held in spelling::spellings(&spelling::canonical(&held)) {
                prop_assert!(reaches(&job, &format!("{held}?x=(1)"), &[]), "{} at {:?}: {:?}", held, job.cdn_type, job.items);
            }
        }
    }
}

/// Whether `job` purges all of `names`, or everything.
fn covers(job: &JobPlan, names: &[String]) -> bool {
    let has = |name: &String| job.items.iter().any(|item| item.value == *name);
    has(&"*".into()) || has(&site_tag()) || names.iter().all(has)
}

proptest! {
    #[test]
    fn every_item_is_covered_on_every_cdn(
        paths in prop::collection::vec("/[a-c]{1,2}", 0..6),
        tags in prop::collection::vec("[a-c]{1,2}", 0..6),
        urls in prop::collection::vec("/[a-c]\\?[a-c]", 0..6),
        path_tags: bool,
        site_tags: bool,
        mode in prop::option::of(prop::sample::select(&[PurgeMode::Soft, PurgeMode::Hard])),
    ) {
        prop_assume!(!(paths.is_empty() && tags.is_empty() && urls.is_empty()));
        let mut site = site(&[Fastly, Cloudflare, Cloudfront, Varnish]);
        site.policy.tags.path = path_tags;
        site.policy.tags.site = site_tags;
        let request = PurgeRequest {
            urls: urls.iter().map(|target| format!("https://www.example.com{target}")).collect(),
            paths: paths.clone(),
            tags: tags.clone(),
            mode,
            ..Default::default()
        };
        let jobs = plan(&site, &capabilities, &request).unwrap();
        prop_assert_eq!(jobs.len(), site.cdns.len());
        for job in &jobs {
            let is_cloudfront = job.cdn_type == Cloudfront;
            let host = if is_cloudfront { "" } else { "https://www.example.com" };
            let of_path = |path: &String| if path_tags && !is_cloudfront { path_tag(path) } else { format!("{host}{path}") };
            prop_assert!(covers(job, &paths.iter().map(of_path).collect::<Vec<_>>()));
            let of_url = |target: &String| format!("{host}{target}");
            prop_assert!(covers(job, &urls.iter().map(of_url).collect::<Vec<_>>()));
            prop_assert!(covers(job, &tags));
            // A hard purge never becomes soft.
            if mode != Some(PurgeMode::Soft) {
                prop_assert!(job.items.iter().all(|item| item.hard));
            }
            let once: HashSet<_> = job.items.iter().collect();
            prop_assert_eq!(once.len(), job.items.len());
        }
    }
}
