//! Chooses a few pages of a purge to request from the CDN, and judges their copies. Pure.

use crate::cdn::Reply;
use crate::purge::PurgeRequest;
use crate::rewrite::spelling::canonical;
use crate::rewrite::stamp::{self, STAMP};
use bytes::Bytes;
use http::header::{AGE, HOST};
use http::{Method, Request};
use url::{Position, Url};

/// The number of pages requested.
const MOST: usize = 5;

/// A page as a visitor requests it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) host: String,
    /// The path and query.
    pub(super) target: String,
}

/// Returns a few pages that `request` purged, spread over all that it names. The pages of a tag are unknown. For a
/// prefix, and for everything, the first page is its root.
pub(super) fn of(request: &PurgeRequest, hosts: &[String]) -> Vec<Page> {
    let url = |text: &String| {
        let url = Url::parse(text).ok()?;
        let host = url.host_str().filter(|host| hosts.iter().any(|known| known == host))?.to_owned();
        Some(Page { host, target: url[Position::BeforePath..Position::AfterQuery].to_owned() })
    };
    // The path is spelled as a browser sends it, because another spelling would be another copy.
    let path =
        |text: &String| Some(Page { host: hosts.first()?.clone(), target: canonical(text).into_owned() });
    let everything = request.everything.then(|| "/".to_owned());
    let named = request.urls.iter().filter_map(url);
    let named = named.chain(request.paths.iter().chain(&request.prefixes).filter_map(path));
    let named: Vec<_> = named.chain(everything.iter().filter_map(path)).collect();
    let step = named.len().div_ceil(MOST).max(1);
    named.into_iter().step_by(step).collect()
}

/// Builds the request for a page, at `base` or at its own host, without the body.
pub(super) fn question(page: &Page, base: Option<&str>) -> Option<Request<Bytes>> {
    let uri = match base {
        Some(base) => format!("{base}{}", page.target),
        None => format!("https://{}{}", page.host, page.target),
    };
    Request::builder().method(Method::HEAD).uri(uri).header(HOST, &page.host).body(Bytes::new()).ok()
}

/// The verdict on a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copy {
    Fresh,
    Stale,
    Unknown,
}

/// Judges whether a reply received at `now_ms` is older than a purge of everything fetched until `until_ms`.
/// Without a stamp, the reply's age decides (RFC 9111, 5.1), which is rounded.
pub(super) fn judge(reply: &Reply, until_ms: i64, now_ms: i64) -> Copy {
    if reply.status.is_server_error() {
        return Copy::Unknown;
    }
    if let Some(fetched_ms) = reply.headers.get(STAMP).and_then(stamp::read) {
        return if fetched_ms > until_ms { Copy::Fresh } else { Copy::Stale };
    }
    let age = reply.headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse::<i64>().ok());
    let Some(age) = age.filter(|age| (0..=i64::from(u32::MAX)).contains(age)) else { return Copy::Unknown };
    let latest_ms = now_ms - age * 1_000;
    if latest_ms < until_ms {
        Copy::Stale
    } else if latest_ms - 1_000 > until_ms {
        Copy::Fresh
    } else {
        Copy::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

    fn hosts() -> Vec<String> {
        vec!["www.example.com".into(), "shop.example.com".into()]
    }

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn what_is_looked_at() {
        let check = |request: PurgeRequest, expected: &[&str]| {
            let pages: Vec<_> =
                of(&request, &hosts()).iter().map(|page| format!("{}{}", page.host, page.target)).collect();
            assert_eq!(pages, expected);
        };
        let urls = list(&["https://shop.example.com/a?x=1", "https://other.example.com/"]);
        check(PurgeRequest { urls, ..Default::default() }, &["shop.example.com/a?x=1"]);
        check(PurgeRequest { paths: list(&["/a"]), ..Default::default() }, &["www.example.com/a"]);
        check(
            PurgeRequest { paths: list(&["/a (é)"]), ..Default::default() },
            &["www.example.com/a%20(%C3%A9)"],
        );
        check(PurgeRequest { prefixes: list(&["/b/"]), ..Default::default() }, &["www.example.com/b/"]);
        check(PurgeRequest { everything: true, ..Default::default() }, &["www.example.com/"]);
        check(PurgeRequest { tags: list(&["t"]), ..Default::default() }, &[]);
        let many: Vec<_> = (0..50_000).map(|number| format!("/{number}")).collect();
        let pages = of(&PurgeRequest { paths: many, ..Default::default() }, &hosts());
        assert_eq!((pages.len(), &*pages[4].target), (MOST, "/40000"));
    }

    #[test]
    fn how_it_is_asked_for() {
        let page = Page { host: "www.example.com".into(), target: "/a?b".into() };
        let uri = |base| question(&page, base).unwrap().uri().to_string();
        assert_eq!(uri(None), "https://www.example.com/a?b");
        assert_eq!(uri(Some("http://127.0.0.1:6081")), "http://127.0.0.1:6081/a?b");
        assert_eq!(question(&page, None).unwrap().headers()[HOST], "www.example.com");
    }

    #[test]
    fn what_copies_tell() {
        let check = |status: u16, headers: &[(&'static str, &'static str)], expected: Copy| {
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            let reply = Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::new() };
            assert_eq!(judge(&reply, 100_000, 110_000), expected, "{reply:?}");
        };
        check(200, &[("x-origin-shim-stamp", "100001-0000000a")], Copy::Fresh);
        check(200, &[("x-origin-shim-stamp", "100000-0000000a")], Copy::Stale);
        // The stamp takes precedence.
        check(200, &[("x-origin-shim-stamp", "100001-0000000a"), ("age", "60")], Copy::Fresh);
        check(200, &[("age", "11")], Copy::Stale);
        check(200, &[("age", "10")], Copy::Unknown);
        check(200, &[("age", "9")], Copy::Unknown);
        check(200, &[("age", "8")], Copy::Fresh);
        check(200, &[("age", "x")], Copy::Unknown);
        check(200, &[], Copy::Unknown);
        check(503, &[("age", "60")], Copy::Unknown);
    }
}
