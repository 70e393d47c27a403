//! The keys of purges, by which the proxy compares them with responses. An item without an exact [`Key`] covers every
//! response.

use super::PurgeRequest;
use crate::cdn::{Item, ItemKind};
use crate::config::Site;
use crate::rewrite::keys::{Key, path_key, prefix_key, tag_key, tag_keys};
use crate::rewrite::path::normalise;
use crate::rewrite::{CdnType, tags};
use std::collections::HashSet;
use url::Url;

/// Returns the keys of all that `request` purges, or `None` for everything. A URL covers its page with every host and
/// query, because a CDN may request a page by another URL than the visitor did.
pub fn keys_of(site: &Site, request: &PurgeRequest) -> Option<HashSet<Key>> {
    if request.purges_everything(site) {
        return None;
    }
    if request.tags.iter().any(|tag| site.policy.tags.is_broad(tag.as_bytes())) {
        return None;
    }
    let mut keys = HashSet::new();
    for path in &request.paths {
        keys.insert(path_key(path));
        tags::path_tags(&site.name, path).iter().for_each(|own| keys.extend(tag_keys(own)));
    }
    for prefix in &request.prefixes {
        keys.insert(prefix_key(prefix));
        tags::section_tags(&site.name, prefix).iter().for_each(|own| keys.extend(tag_keys(own)));
    }
    for name in &request.tags {
        keys.extend(tag_keys(name));
    }
    for url in &request.urls {
        keys.insert(path_key(Url::parse(url).ok()?.path()));
    }
    Some(keys)
}

/// Returns the key of the responses that an item of a job for this type of CDN purges, or `None` if it may be any
/// response.
pub fn item_key(cdn: CdnType, item: &Item) -> Option<Key> {
    let value = item.value.as_str();
    match item.kind {
        ItemKind::Everything => None,
        ItemKind::Tag => Some(tag_key(cdn, value)),
        ItemKind::Prefix => {
            let path = &value[value.find('/')?..];
            // The prefix is a path with every query.
            path.strip_suffix('?').map(path_key).or_else(|| below(path))
        }
        ItemKind::Url if cdn.facts().purging.paths => match value.strip_suffix('*') {
            Some(start) => match start.strip_suffix('?') {
                Some(path) => Some(path_key(path)),
                None => below(start),
            },
            None => Some(path_key(value.split('?').next().unwrap_or(value))),
        },
        ItemKind::Url => Some(path_key(Url::parse(value).ok()?.path())),
    }
}

fn below(prefix: &str) -> Option<Key> {
    let prefix = normalise(prefix);
    (prefix.len() > 1 && prefix.ends_with('/')).then(|| prefix_key(&prefix))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{capabilities, site};
    use super::*;
    use crate::purge::plan;

    fn request(json: &str) -> PurgeRequest {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_a_request_covers() {
        let site = site(&[CdnType::Fastly]);
        let check = |json: &str, expected: &[Key]| {
            let keys = keys_of(&site, &request(json)).unwrap();
            assert!(expected.iter().all(|key| keys.contains(key)), "{json}");
        };
        check(r#"{"paths": ["/a//b"]}"#, &[path_key("/a/b")]);
        check(r#"{"urls": ["https://www.example.com/a%62?x=1"]}"#, &[path_key("/ab")]);
        check(r#"{"prefixes": ["/blog/"]}"#, &[prefix_key("/blog/")]);
        check(r#"{"tags": ["a b", "T"]}"#, &[tag_key(CdnType::Akamai, "a b"), tag_key(CdnType::Fastly, "t")]);
        assert_eq!(keys_of(&site, &request(r#"{"everything": true}"#)), None);
        assert_eq!(keys_of(&site, &request(r#"{"prefixes": ["/"]}"#)), None);
    }

    #[test]
    fn what_an_item_covers() {
        let check = |cdn: CdnType, kind: ItemKind, value: &str, expected: Option<Key>| {
            let item = Item { kind, value: value.into(), hard: true };
            assert_eq!(item_key(cdn, &item), expected, "{value}");
        };
        use CdnType::{Cloudfront, Fastly, Varnish};
        use ItemKind::{Everything, Prefix, Tag, Url};
        check(Fastly, Everything, "*", None);
        check(Fastly, Tag, "p-1", Some(tag_key(Fastly, "p-1")));
        check(Fastly, Url, "https://www.example.com/a?b", Some(path_key("/a")));
        check(Fastly, Url, "no URL", None);
        check(Varnish, Prefix, "www.example.com/blog/", Some(prefix_key("/blog/")));
        check(Varnish, Prefix, "www.example.com/", None);
        check(Varnish, Prefix, "www.example.com/a?", Some(path_key("/a")));
        check(Cloudfront, Url, "/a?b=c", Some(path_key("/a")));
        check(Cloudfront, Url, "/a?*", Some(path_key("/a")));
        check(Cloudfront, Url, "/blog/*", Some(prefix_key("/blog/")));
        check(Cloudfront, Url, "/*", None);
        check(Cloudfront, Url, "/blog*", None);
    }

    /// The guard covers no less than the calls: a request covers everything that a CDN is requested to purge.
    #[test]
    fn a_request_covers_all_of_its_items() {
        let types =
            [CdnType::Fastly, CdnType::Akamai, CdnType::Cloudflare, CdnType::Cloudfront, CdnType::Varnish];
        let mut site = site(&types);
        site.policy.tags.sections = 1;
        let request = request(
            r#"{"paths": ["/a", "/b//c", "/d%3a"], "prefixes": ["/f(g)/"], "tags": ["x", "y;z"], "urls": ["https://www.example.com/d?e"]}"#,
        );
        let keys = keys_of(&site, &request).unwrap();
        for job in plan(&site, &capabilities, &request).unwrap() {
            for item in job.items.iter().filter(|_| !job.everything) {
                let key = item_key(job.cdn_type, item).unwrap();
                assert!(keys.contains(&key), "{item:?}");
            }
        }
    }
}
