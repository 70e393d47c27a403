//! The names under which a CDN may hold a page. A page that is purged by name is purged by each of them. They are
//! separate items, so that calls, limits and costs include them. Nearly every page has one name.

use crate::cdn::{PrefixNames, row};
use crate::rewrite::CdnType;
use crate::rewrite::spelling::{canonical, spellings, with_upper_hex};
use url::{Position, Url};

/// Returns path and query of the page at `path`, as the CDN's purges name it. A name has a wildcard if a `*` in the
/// path matches more than the page on this CDN.
pub(super) fn targets(cdn: CdnType, path: &str) -> Vec<String> {
    unique(spellings(&as_requested(path)).into_iter().map(row(cdn).page))
}

/// Returns the names of exactly this URL. The query is part of a copy's name as it is, because only the origin can
/// interpret it.
pub(super) fn urls(cdn: CdnType, url: &Url) -> Vec<String> {
    let (before, path) = (&url[..Position::BeforePath], url.path());
    let query = &url[Position::AfterPath..Position::AfterQuery];
    let by_path = cdn.facts().purging.paths;
    unique(spellings(path).into_iter().map(|path| match by_path {
        true => (row(cdn).page)(path + query),
        false => format!("{before}{path}{query}"),
    }))
}

/// Returns the paths that stand for everything below `prefix`.
pub(super) fn prefixes(cdn: CdnType, prefix: &str) -> Vec<String> {
    match row(cdn).prefixes {
        PrefixNames::Canonical => vec![canonical(prefix).into_owned()],
        PrefixNames::UpperHex => {
            unique(spellings(&as_requested(prefix)).iter().map(|spelling| with_upper_hex(spelling)))
        }
        PrefixNames::AsPages => targets(cdn, prefix),
    }
}

/// Returns the path as a browser requests it.
fn as_requested(path: &str) -> String {
    match Url::parse(&format!("https://host.invalid{path}")) {
        Ok(url) => url.path().to_owned(),
        // This cannot happen: after a host, every text that starts with `/` is a path.
        Err(_) => path.to_owned(),
    }
}

fn unique(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut list = Vec::with_capacity(1);
    for name in names {
        if !list.contains(&name) {
            list.push(name);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use CdnType::{Cloudflare, Cloudfront, Fastly, Varnish};

    #[test]
    fn pages() {
        let check = |cdn, path: &str, expected: &[&str]| assert_eq!(targets(cdn, path), expected, "{path}");
        check(Fastly, "/blog/first", &["/blog/first"]);
        check(Fastly, "/café", &["/caf%C3%A9", "/caf%c3%a9"]);
        check(Fastly, "/caf%c3%a9", &["/caf%c3%a9", "/caf%C3%A9"]);
        check(Fastly, "/foo (1).pdf", &["/foo%20(1).pdf", "/foo%20%281%29.pdf"]);
        check(Cloudfront, "/vendors~about.js", &["/vendors%7Eabout.js"]);
        check(Cloudfront, "/a|b", &["/a%7Cb", "/a%7cb"]);
        check(Cloudfront, "/a%2Ab", &["/a%2Ab", "/a*", "/a%2ab"]);
    }

    #[test]
    fn urls_keep_their_query() {
        let check = |cdn, url: &str, expected: &[&str]| {
            assert_eq!(urls(cdn, &Url::parse(url).unwrap()), expected, "{url}");
        };
        check(Fastly, "https://a.test/b?c=%c3%a9", &["https://a.test/b?c=%c3%a9"]);
        check(Varnish, "http://a.test/%28?x", &["http://a.test/%28?x", "http://a.test/(?x"]);
        check(Cloudfront, "https://a.test/~b?c=~", &["/%7Eb?c=%7E"]);
    }

    #[test]
    fn below_a_prefix() {
        let check = |cdn, path: &str, expected: &[&str]| assert_eq!(prefixes(cdn, path), expected, "{path}");
        check(Cloudflare, "/blog/", &["/blog/"]);
        check(Cloudflare, "/caf%c3%a9/", &["/caf%C3%A9/"]);
        check(Cloudflare, "/a(b)/", &["/a(b)/", "/a%28b%29/"]);
        check(Cloudfront, "/café/", &["/caf%C3%A9/", "/caf%c3%a9/"]);
        check(Varnish, "/caf%c3%a9/a%28//", &["/caf%C3%A9/a(/"]);
    }
}
