//! Cloudflare's purge API, as its clients use it
//! (<https://developers.cloudflare.com/api/resources/cache/methods/purge/>), and what they ask before they purge.
//! Everything here is pure: requests become purges, and their results become answers.
//!
//! The token is one of the admin API's, as a bearer token or in `X-Auth-Key`. A zone is a site, or the `zone_id` of
//! one of its CDNs.

use super::refused::Refused;
use crate::purge::{PurgeMode, PurgeRequest};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A purge of a zone.
    Purge {
        /// The zone: a site's name, or the id of a zone.
        zone: String,
        /// What is purged.
        request: PurgeRequest,
    },
    /// Facts.
    Facts(Facts),
}

/// Facts that clients ask for before they purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facts {
    /// A zone.
    Zone(String),
    /// All zones, or those with this name.
    Zones(Option<String>),
    /// The zones of another page than the first, which has all of them.
    NoZones,
    /// Whether the token is valid.
    Token,
}

/// Returns the token of a request.
pub fn token(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = || {
        let value = headers.get(header::AUTHORIZATION)?.as_bytes();
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
    };
    headers.get("x-auth-key").map(HeaderValue::as_bytes).or_else(bearer)
}

/// Reads a request. Clients put the API's prefix `/client/v4` before the path, or leave it out.
pub fn read(request: &Request<Bytes>) -> Result<Asked, Refused> {
    let path = request.uri().path();
    let path = path.strip_prefix("/client/v4").unwrap_or(path);
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
    let method = request.method();
    match (method, &*segments) {
        (&Method::POST | &Method::DELETE, ["zones", zone, "purge_cache"]) => {
            purge(zone, None, request.body())
        }
        (&Method::POST | &Method::DELETE, ["zones", zone, "invalidate_cache"]) => {
            purge(zone, Some(PurgeMode::Soft), request.body())
        }
        // Libraries ask for one page after the other until one is empty.
        (&Method::GET, ["zones"]) if query(request, "page").is_some_and(|page| page != "1") => {
            Ok(Asked::Facts(Facts::NoZones))
        }
        (&Method::GET, ["zones"]) => Ok(Asked::Facts(Facts::Zones(query(request, "name")))),
        (&Method::GET, ["zones", zone]) => Ok(Asked::Facts(Facts::Zone((*zone).to_owned()))),
        (&Method::GET, ["user", "tokens", "verify"]) => Ok(Asked::Facts(Facts::Token)),
        _ => Err(Refused::not_ours(&format!("{method} {path}"))),
    }
}

/// The body of a purge.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    files: Vec<File>,
    tags: Vec<String>,
    hosts: Vec<String>,
    prefixes: Vec<String>,
    purge_everything: bool,
}

/// A URL, with or without headers by which its copies differ. All of its copies are purged.
#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    Url(String),
    WithHeaders { url: String },
}

fn purge(zone: &str, mode: Option<PurgeMode>, body: &[u8]) -> Result<Asked, Refused> {
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| Refused::bad(format!("the body is not a purge of Cloudflare's API: {error}")))?;
    let urls = body.files.into_iter().map(|file| match file {
        File::Url(url) | File::WithHeaders { url } => url,
    });
    let mut request = PurgeRequest {
        urls: unique(urls),
        tags: unique(body.tags.into_iter()),
        // No item of ours is a single host, so the site goes as a whole.
        everything: body.purge_everything || !body.hosts.is_empty(),
        mode,
        reason: Some("asked for through Cloudflare's API".to_owned()),
        ..PurgeRequest::default()
    };
    for prefix in unique(body.prefixes.into_iter()) {
        let without_scheme = prefix.split_once("://").map_or(&*prefix, |(_, rest)| rest);
        match without_scheme.split_once('/') {
            Some((_, "")) | None => request.everything = true,
            Some((_, path)) => {
                let path = format!("/{}", path.trim_end_matches('/'));
                request.prefixes.push(format!("{path}/"));
                // The page at the prefix itself.
                if !prefix.ends_with('/') {
                    request.paths.push(path);
                }
            }
        }
    }
    if request.item_count() == 0 {
        return Err(Refused::bad("nothing to purge: give files, tags, hosts, prefixes or purge_everything"));
    }
    Ok(Asked::Purge { zone: zone.to_owned(), request })
}

/// Returns each text one time. Some clients repeat a URL for each kind of device.
fn unique(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    texts.filter(|text| seen.insert(text.clone())).collect()
}

fn query(request: &Request<Bytes>, name: &str) -> Option<String> {
    let query = request.uri().query()?;
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Returns the answer to a purge that was committed under this id.
pub fn accepted(id: &str) -> Response<Bytes> {
    success(&json!({ "id": id }))
}

/// A site as a zone.
#[derive(Clone, Copy, Debug)]
pub struct Zone<'a> {
    /// The id by which the client knows the zone, or else the name of the site.
    pub id: &'a str,
    /// The name of the site.
    pub site: &'a str,
    /// The site's hosts.
    pub hosts: &'a [String],
}

impl Zone<'_> {
    /// Whether a client means this zone by a domain.
    fn has(&self, name: &str) -> bool {
        let is_within = |host: &String| {
            let host = host.strip_prefix("*.").unwrap_or(host);
            host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
        };
        self.site == name || self.hosts.iter().any(is_within)
    }

    fn json(&self, name: &str) -> Value {
        json!({ "id": self.id, "name": name, "status": "active", "paused": false, "type": "full" })
    }
}

/// Returns the answer to a question. `zones` are those that the token covers.
pub fn facts(facts: &Facts, zones: &[Zone<'_>]) -> Result<Response<Bytes>, Refused> {
    let name_of = |zone: &Zone<'_>| zone.hosts.first().map_or(zone.site, String::as_str).to_owned();
    match facts {
        Facts::Token => Ok(success(&json!({ "id": "origin-shim", "status": "active" }))),
        Facts::Zone(id) => {
            let zone = zones.iter().find(|zone| zone.id == id || zone.site == id);
            let detail = format!("there is no zone or site `{id}`");
            let zone = zone.ok_or(Refused { status: StatusCode::NOT_FOUND, detail })?;
            Ok(success(&zone.json(&name_of(zone))))
        }
        Facts::Zones(_) | Facts::NoZones => {
            let all: Vec<Value> = match facts {
                Facts::Zones(Some(name)) => {
                    zones.iter().filter(|zone| zone.has(name)).map(|zone| zone.json(name)).collect()
                }
                Facts::Zones(None) => zones.iter().map(|zone| zone.json(&name_of(zone))).collect(),
                _ => Vec::new(),
            };
            let count = all.len();
            let info = json!({
                "page": 1, "per_page": count.max(20), "total_pages": 1, "count": count, "total_count": count
            });
            let body =
                json!({ "success": true, "errors": [], "messages": [], "result": all, "result_info": info });
            Ok(answer(StatusCode::OK, &body))
        }
    }
}

/// Returns the answer to a request that is refused.
pub fn refused(refused: &Refused) -> Response<Bytes> {
    let code = match refused.status {
        StatusCode::UNAUTHORIZED => 10_000,
        StatusCode::FORBIDDEN => 9_109,
        StatusCode::NOT_FOUND => 7_003,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => 1_012,
        status => status.as_u16(),
    };
    let body = json!({
        "success": false, "errors": [{ "code": code, "message": refused.detail }], "messages": [], "result": null
    });
    answer(refused.status, &body)
}

fn success(result: &Value) -> Response<Bytes> {
    answer(StatusCode::OK, &json!({ "success": true, "errors": [], "messages": [], "result": result }))
}

fn answer(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(method: &str, target: &str, body: &Value) -> Request<Bytes> {
        Request::builder().method(method).uri(target).body(Bytes::from(body.to_string())).unwrap()
    }

    fn purge(method: &str, target: &str, body: &Value) -> PurgeRequest {
        match read(&request(method, target, body)) {
            Ok(Asked::Purge { zone, request }) => {
                assert_eq!(zone, "z1");
                request
            }
            other => panic!("{method} {target}: {other:?}"),
        }
    }

    #[test]
    fn every_kind_of_purge() {
        let soft = purge("POST", "/client/v4/zones/z1/invalidate_cache", &json!({ "tags": ["a", "b"] }));
        assert_eq!((soft.tags, soft.mode), (vec!["a".to_owned(), "b".to_owned()], Some(PurgeMode::Soft)));
        // Cloudflare's WordPress plug-in: DELETE, and each URL again for mobile devices.
        let url = "https://www.example.com/a?b=1";
        let files = json!({ "files": [url, { "url": url, "headers": { "CF-Device-Type": "mobile" } }] });
        let by_url = purge("DELETE", "/client/v4/zones/z1/purge_cache", &files);
        assert_eq!((by_url.urls, by_url.mode), (vec![url.to_owned()], None));
        assert!(purge("POST", "/zones/z1/purge_cache/", &json!({ "purge_everything": true })).everything);
        assert!(purge("POST", "/zones/z1/purge_cache", &json!({ "hosts": ["www.example.com"] })).everything);
        let prefixes = json!({ "prefixes": ["www.example.com/blog", "https://www.example.com/docs/"] });
        let below = purge("POST", "/zones/z1/purge_cache", &prefixes);
        assert_eq!(below.prefixes, ["/blog/", "/docs/"]);
        assert_eq!((below.paths, below.everything), (vec!["/blog".to_owned()], false));
        assert!(
            purge("POST", "/zones/z1/purge_cache", &json!({ "prefixes": ["www.example.com/"] })).everything
        );
    }

    #[test]
    fn what_is_no_purge_is_refused() {
        for (method, target, body, status) in [
            ("POST", "/zones/z1/purge_cache", json!({}), 400),
            ("POST", "/zones/z1/purge_cache", json!({ "tags": [] }), 400),
            ("POST", "/zones/z1/purge_cache", json!({ "tags": "a" }), 400),
            ("POST", "/zones/z1/purge_cache", json!([1]), 400),
            ("PATCH", "/zones/z1/purge_cache", json!({ "tags": ["a"] }), 501),
            ("PATCH", "/zones/z1/settings/cache_level", json!({}), 501),
        ] {
            let error = read(&request(method, target, &body)).unwrap_err();
            assert_eq!(error.status, status, "{method} {target} {body}");
            let answer: Value = serde_json::from_slice(refused(&error).body()).unwrap();
            assert_eq!(answer["success"], false);
            assert!(answer["errors"][0]["code"].is_u64() && answer["errors"][0]["message"].is_string());
        }
    }

    #[test]
    fn tokens_come_in_either_header() {
        let of = |name: &str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
            token(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(of("authorization", "Bearer abc"), Some(b"abc".to_vec()));
        assert_eq!(of("authorization", "bearer  abc "), Some(b"abc".to_vec()));
        assert_eq!(of("x-auth-key", "abc"), Some(b"abc".to_vec()));
        assert_eq!(of("authorization", "Basic abc"), None);
        assert_eq!(of("authorization", "B"), None);
    }

    #[test]
    fn questions_get_answers() {
        let hosts = ["www.example.com".to_owned(), "*.preview.example.com".to_owned()];
        let zones =
            [Zone { id: "z1", site: "www", hosts: &hosts }, Zone { id: "shop", site: "shop", hosts: &[] }];
        let ask = |target: &str| {
            let Ok(Asked::Facts(asked)) = read(&request("GET", target, &json!(null))) else {
                panic!("{target}")
            };
            facts(&asked, &zones).map(|answer| serde_json::from_slice::<Value>(answer.body()).unwrap())
        };
        let named = ask("/client/v4/zones/?name=example.com&status=active").unwrap();
        assert_eq!(named["result"][0]["id"], "z1");
        assert_eq!(
            (&named["result"][0]["name"], named["result_info"]["count"].as_u64()),
            (&json!("example.com"), Some(1))
        );
        assert_eq!(ask("/zones?name=ample.com").unwrap()["result"], json!([]));
        assert_eq!(ask("/zones").unwrap()["result"].as_array().unwrap().len(), 2);
        assert_eq!(ask("/zones/z1").unwrap()["result"]["name"], "www.example.com");
        assert_eq!(ask("/zones/shop").unwrap()["result"]["status"], "active");
        assert_eq!(ask("/zones/other").unwrap_err().status, 404);
        assert_eq!(ask("/user/tokens/verify").unwrap()["result"]["status"], "active");
        assert_eq!(serde_json::from_slice::<Value>(accepted("p1").body()).unwrap()["result"]["id"], "p1");
    }

    proptest! {
        #[test]
        fn nothing_that_was_named_is_missing(
            tags in prop::collection::vec("[a-z]{1,3}", 1..9),
            path in "[a-z]{1,3}(/[a-z]{1,3}){0,2}/?",
        ) {
            let body = json!({ "tags": tags, "prefixes": [format!("www.example.com/{path}")] });
            let request = purge("POST", "/zones/z1/purge_cache", &body);
            prop_assert!(tags.iter().all(|tag| request.tags.contains(tag)));
            prop_assert_eq!(&request.prefixes, &[format!("/{}/", path.trim_end_matches('/'))]);
        }
    }
}
