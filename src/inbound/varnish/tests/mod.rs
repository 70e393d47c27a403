mod laws;

use super::*;
use crate::purge::PurgeMode;
use serde::Deserialize;

/// Returns a request with these headers.
fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request.body(Bytes::new()).unwrap()
}

/// Returns what a request asks for, with the shim's defaults.
fn asked(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Asked, Refused> {
    read(&request(method, target, headers), &Reading::default())
}

#[derive(Deserialize)]
struct Vectors {
    requests: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    client: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    expect: Expected,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Expected {
    hosts: Vec<String>,
    host: Option<String>,
    tags: Vec<String>,
    pages: Vec<String>,
    prefixes: Vec<String>,
    urls: Vec<(String, String, String)>,
    everything: bool,
    mode: Option<PurgeMode>,
    status: u16,
}

impl Default for Expected {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            host: None,
            tags: Vec::new(),
            pages: Vec::new(),
            prefixes: Vec::new(),
            urls: Vec::new(),
            everything: false,
            mode: None,
            status: 200,
        }
    }
}

#[test]
fn what_each_client_sends_is_understood() {
    let vectors: Vectors =
        serde_json::from_str(include_str!("../../../../tests/vectors/varnish.json")).unwrap();
    assert!(vectors.requests.len() > 30);
    for one in vectors.requests {
        let headers: Vec<(&str, &str)> =
            one.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let read = asked(&one.method, &one.target, &headers)
            .unwrap_or_else(|error| panic!("{}: {error}", one.client));
        let is_souin = one.expect.status == 204;
        assert_eq!(accepted(&read, "p1").status(), one.expect.status, "{}", one.client);
        let urls = one.expect.urls.into_iter();
        let urls = urls.map(|(authority, path, query)| Named { authority, path, query }).collect();
        let hosts = match (&*one.expect.hosts, one.expect.host) {
            ([], Some(host)) => vec![host],
            ([], None) => read.hosts.clone(),
            (hosts, _) => hosts.to_vec(),
        };
        let Expected { tags, pages, prefixes, everything, mode, .. } = one.expect;
        let widened = None;
        let expected = Asked { hosts, tags, pages, prefixes, urls, everything, mode, widened, is_souin };
        assert_eq!(read, expected, "{}", one.client);
    }
}

#[test]
fn a_url_of_another_host_is_the_page_on_every_host() {
    let purge = |target: &str, host: &str| {
        let read = asked("PURGE", target, &[("host", host)]).unwrap();
        let request = read.request(|host| host == "www.example.com");
        (request.urls, request.paths)
    };
    let both = |rest: &str| ["http", "https"].map(|scheme| format!("{scheme}://{rest}")).to_vec();
    assert_eq!(purge("/a?b=1", "www.example.com:443"), (both("www.example.com/a?b=1"), vec![]));
    assert_eq!(purge("/a", "WWW.example.com:8080"), (both("www.example.com:8080/a"), vec![]));
    assert_eq!(purge("/a?b=1", "cache.internal"), (vec![], vec!["/a".to_owned()]));
    assert_eq!(purge("/a?b=*", "www.example.com"), (vec![], vec!["/a".to_owned()]));
}

#[test]
fn unknown_patterns_are_refused_or_widened() {
    let tags = |value| ("BAN", "/", vec![("x-cache-tags", value)]);
    let pages = |value| ("BAN", "/", vec![("x-url", value)]);
    let method = |target, value| ("PURGE", target, vec![("x-purge-method", value)]);
    for (verb, target, headers) in [
        tags("(^|,)(a.*)(,|$)"),
        tags("(^|,)(a|b)"),
        tags("(^|,)(a|)(,|$)"),
        tags("(^|,)(a*)(,|$)"),
        tags(r"(^|,)(a\*)(,|$)"),
        tags(r"(^|,)(\d)(,|$)"),
        tags("^a$"),
        tags("(^|,)a|b(,|$)"),
        ("BAN", "/", vec![("cache-tags", "node:*")]),
        ("BAN", "/", vec![("apiplatform-ban-regex", "/books.*")]),
        pages("^/blog"),
        pages("^/blog.*"),
        pages("/blog/"),
        pages("/blog/.*"),
        pages("/blog/first"),
        pages("^/a.b/"),
        pages(r"\.css$"),
        pages("^/(en|de|)/"),
        pages("^/a|^/b"),
        pages("^/ab?$"),
        pages("^/ab*"),
        pages("(?i)^/blog/"),
        pages("^blog/"),
        method("/blog", "regex"),
        method("/blog.*", "regex"),
        method("/.*/blog", "regex"),
        method("/blog/*", "default"),
        ("PURGE", "/blog/*", vec![]),
        ("PURGE", "/blog.*", vec![]),
        ("BAN", "/blog", vec![]),
        ("BAN", "/", vec![("x-host", "^(www|de)\\."), ("x-url", ".*")]),
        ("BAN", "/", vec![("x-url", ".*"), ("x-content-type", "image/png")]),
        ("PURGE", "/souin-api/souin/.*blog", vec![]),
    ] {
        let what = format!("{verb} {target} {headers:?}");
        match asked(verb, target, &headers) {
            Err(error) => assert_eq!(error.status, StatusCode::UNPROCESSABLE_ENTITY, "{what}"),
            Ok(asked) => panic!("{what}: {asked:?}"),
        }
        let reading = Reading { widen: true, ..Reading::default() };
        let widened = read(&request(verb, target, &headers), &reading).unwrap();
        assert!(widened.everything && widened.widened.is_some(), "{what}");
        assert!(widened.request(|_| true).reason.unwrap().contains("not understood"));
    }
}

#[test]
fn what_is_no_purge_is_refused_in_either_way() {
    for (method, target, headers, status) in [
        ("GET", "/", vec![], 405),
        ("POST", "/", vec![], 405),
        ("REFRESH", "/a", vec![], 405),
        ("purge", "/a", vec![], 405),
        ("PURGEKEYS", "/", vec![], 400),
        ("PURGETAGS", "/", vec![("x-cache-tags", " , ")], 400),
        ("PURGE", "/", vec![("xkey", "")], 400),
        ("PURGE", "/souin-api/souin", vec![], 400),
        ("POST", "/souin-api/souin", vec![], 400),
        ("GET", "/souin-api/souin", vec![], 501),
    ] {
        for widen in [false, true] {
            let reading = Reading { widen, ..Reading::default() };
            let error = read(&request(method, target, &headers), &reading).unwrap_err();
            assert_eq!(error.status.as_u16(), status, "{method} {target}");
            assert_eq!(refused(&error).headers().contains_key("allow"), status == 405);
        }
    }
}

#[test]
fn some_forms_are_only_read_on_demand() {
    let reading = Reading {
        refresh: true,
        tag_headers: vec![HeaderName::from_static("x-shop-tags")],
        ..Reading::default()
    };
    let url = read(&request("REFRESH", "/a", &[("host", "a.test")]), &reading).unwrap();
    assert_eq!(url.urls[0].path, "/a");
    let request = request("PURGE", "/", &[("x-shop-tags", "a b")]);
    assert_eq!(read(&request, &reading).unwrap().tags, ["a", "b"]);
    assert!(read(&request, &Reading::default()).unwrap().tags.is_empty());
}

#[test]
fn of_several_headers_each_is_purged_in_the_hardest_mode() {
    let read = asked("PURGE", "/", &[("xkey-softpurge", "a b"), ("xkey-purge", "b c")]).unwrap();
    assert_eq!((read.tags, read.mode), (["b", "c", "a"].map(str::to_owned).to_vec(), Some(PurgeMode::Hard)));
    // Tags say more than a URL does.
    let read = asked("BAN", "/x", &[("x-cache-tags", "(^|,)(a)(,|$)"), ("x-url", "^/b")]).unwrap();
    assert_eq!((read.tags, read.everything), (vec!["a".to_owned()], false));
    // A proxy in between may add the public host.
    let read = asked("PURGE", "/x", &[("host", "a.test"), ("x-host", "b.test")]).unwrap();
    assert_eq!((read.urls.len(), read.everything), (1, false));
}

#[test]
fn souins_invalidations() {
    let post = |body: &str| {
        let mut request = request("POST", "/souin-api/souin", &[]);
        *request.body_mut() = Bytes::from(body.to_owned());
        read(&request, &Reading::default())
    };
    let group = post(r#"{"type":"group","groups":["a","b"],"purge":true}"#).unwrap();
    assert_eq!((group.tags, group.mode), (vec!["a".to_owned(), "b".to_owned()], None));
    let uri = post(r#"{"type":"uri","selectors":["https://www.example.com/a?b"]}"#).unwrap();
    assert_eq!((&*uri.urls[0].query, uri.mode), ("?b", Some(PurgeMode::Soft)));
    let below = post(r#"{"type":"uri-prefix","selectors":["https://www.example.com/a/"]}"#).unwrap();
    assert_eq!((below.prefixes, below.hosts), (vec!["/a/".to_owned()], vec!["www.example.com".to_owned()]));
    assert!(post(r#"{"type":"origin","selectors":["https://www.example.com"]}"#).unwrap().everything);
    let status = |body| post(body).unwrap_err().status.as_u16();
    assert_eq!(status(r#"{"type":"uri-prefix","selectors":["https://www.example.com/a"]}"#), 422);
    assert_eq!(status(r#"{"type":"uri","selectors":["/a"]}"#), 400);
    assert_eq!(status(r#"{"type":"group"}"#), 400);
    assert_eq!(status(r#"{"type":"other"}"#), 400);
}
