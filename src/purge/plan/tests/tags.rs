//! Tags that are broad, and tags in the form of their CDN.

use super::*;
use crate::purge::{item_key, keys_of};
use crate::rewrite::broad::TagPattern;
use crate::rewrite::tags::TagForm;

/// Responses do not carry a broad tag, so only a purge of everything reaches their pages, on every CDN.
#[test]
fn a_broad_tag_purges_everything() {
    let mut site = site(&CdnType::ALL);
    site.policy.tags.broad = vec![TagPattern::new("config:*").unwrap()];
    let planned = |tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let request = PurgeRequest { tags, paths: vec!["/a".into()], ..Default::default() };
        (plan(&site, &capabilities, &request).unwrap(), keys_of(&site, &request))
    };
    let (jobs, keys) = planned(&["node:1", "config:a"]);
    assert!(jobs.iter().all(|job| job.everything && job.items.len() == 1), "{jobs:?}");
    assert!(jobs.iter().all(|job| job.fallback[0].contains("`config:a`")), "{jobs:?}");
    assert_eq!(keys, None, "the guard covers everything, too");
    let (jobs, keys) = planned(&["node:1", "config"]);
    let takes_tags = |job: &&JobPlan| job.cdn_type != Cloudfront;
    assert!(jobs.iter().filter(takes_tags).all(|job| !job.everything) && keys.is_some());
}

/// A purge names a tag in the form that the CDN's responses carry, and the guard knows every form.
#[test]
fn a_tag_is_purged_in_the_form_of_its_cdn() {
    let mut site = site(&[CdnType::Fastly, CdnType::Varnish]);
    let mut short = Cdn::clone(&site.cdns[1]);
    short.dialect.tag_form = TagForm::Short;
    site.cdns[1] = Arc::new(short);
    let request = PurgeRequest { tags: vec!["product-42".into()], ..Default::default() };
    let jobs = plan(&site, &capabilities, &request).unwrap();
    let keys = keys_of(&site, &request).unwrap();
    for (job, expected) in jobs.iter().zip(["product-42", "4ag5ebtb"]) {
        assert_eq!(job.items[0].value, expected);
        assert!(keys.contains(&item_key(job.cdn_type, &job.items[0]).unwrap()));
    }
    let everything = PurgeRequest { everything: true, ..Default::default() };
    let jobs = plan(&site, &capabilities, &everything).unwrap();
    assert_eq!(jobs[1].items[0].value, "pfapmlrf");
}
