//! Webhooks, and the requests of clients that speak a CDN's API.

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use origin_shim::config::HookScheme;
use origin_shim::config::template::{Names, Template};
use origin_shim::inbound::webhook::verify::{Sent, Verifier};
use origin_shim::inbound::{akamai, cloudflare, fastly};
use origin_shim::rewrite::nameable;
use serde_json::Value;

/// A template in the first line, and the body of a webhook.
pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (template, body) = text.split_once('\n').unwrap_or((text, "null"));
    let (Ok(template), Ok(body)) = (Template::parse(template), serde_json::from_str::<Value>(body)) else {
        return;
    };
    const MOST: usize = 1_000;
    let fill = |names: Names| {
        let mut made = Vec::new();
        let filled = template.fill(&body, names, MOST, &mut made);
        assert!(made.len() <= MOST && (filled.is_ok() || made.is_empty()));
        made
    };
    let (tags, paths) = (fill(Names::Tags), fill(Names::Paths));
    assert_eq!(tags.len(), paths.len());
    // Whatever is in a value, a path that is legal without it is legal with it.
    let line = text.split('\n').next().unwrap_or_default();
    if line.starts_with('/') && line.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#*\\".contains(&byte))
    {
        paths.iter().for_each(|path| assert!(nameable::path(path).is_ok(), "{path}"));
    }
}

/// A webhook that nobody has signed: header lines, an empty line and the body.
pub fn signature(data: &[u8]) {
    let (head, body) = match data.windows(2).position(|window| window == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &[][..]),
    };
    let mut headers = HeaderMap::new();
    for line in super::lines(head) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    let header = HeaderName::from_static("x-signature");
    for scheme in [
        HookScheme::HmacSha256,
        HookScheme::HmacSha1,
        HookScheme::Bearer,
        HookScheme::Basic,
        HookScheme::Contentful,
        HookScheme::Sanity,
        HookScheme::Storyblok,
        HookScheme::Kontent,
    ] {
        let verifier = Verifier { scheme, header: &header, secret: b"nobody knows this secret" };
        let sent = Sent { method: "POST", target: "/entries", headers: &headers, body };
        assert!(verifier.verify(sent, 1_795_432_954_000).is_err(), "{scheme:?}");
    }
    let mut request = Request::post("/service/S1/purge").body(body.to_vec().into()).unwrap();
    *request.headers_mut() = headers;
    if let Ok(fastly::Asked::Purge(purge)) = fastly::read(&request) {
        assert!((1..=256).contains(&purge.request.item_count()));
    }
    *request.uri_mut() = "/zones/z1/purge_cache".parse().unwrap();
    if let Ok(cloudflare::Asked::Purge { request, .. }) = cloudflare::read(&request) {
        assert!(request.item_count() > 0);
    }
    *request.uri_mut() = "/ccu/v3/delete/tag".parse().unwrap();
    if let Ok(purge) = akamai::read(&request) {
        assert!(purge.item_count() > 0);
    }
    if let Ok(signed) = akamai::Signed::of(&request) {
        assert!(signed.verify(&request, "nobody knows this secret", 1_795_432_954).is_err());
    }
}
