//! What callers ask of us, and what CDNs answer.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use origin_shim::cdn::{
    self, Adapter, Batch, Item, ItemKind, MESSAGE_BYTES, Progress, Reply, SignContext, Verdict,
};
use origin_shim::config::{self, Cdn, Config, Site};
use origin_shim::events::{self, Event};
use origin_shim::purge::{self, PurgeRequest};
use origin_shim::rewrite::CdnType;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const SECRET: &str = "canary-0123456789abcdef";

const SITES: &str = r#"
[[sites]]
name = "www"
hosts = ["www.example.com", "example.com"]
origin = "http://origin.test"
[sites.tags]
sections = 3
CDNS
[[sites]]
name = "aem"
hosts = ["aem.example.com"]
origin = "http://origin.test"
profile = "aem"
[sites.aem]
org = "acme"
site = "website"
content_bus_id = "cb1"
owner = "acme"
repo = "website"
ref = "main"
CDNS
"#;
const CDNS: &str = r#"
[[sites.cdns]]
type = "fastly"
service_id = "S1"
auth_token = "env:TOKEN"
[[sites.cdns]]
type = "akamai"
endpoint = "akab-1.purge.akamaiapis.net"
client_token = "env:TOKEN"
client_secret = "env:TOKEN"
access_token = "env:TOKEN"
[[sites.cdns]]
type = "cloudflare"
zone_id = "z1"
api_token = "env:TOKEN"
[[sites.cdns]]
type = "cloudfront"
distribution_id = "E1"
access_key_id = "A1"
secret_access_key = "env:TOKEN"
tag_header = "Cache-Tag"
[[sites.cdns]]
type = "varnish"
api_urls = ["http://127.0.0.1:6081/", "http://127.0.0.1:6082"]
"#;

/// The configuration above, and the adapter of each CDN.
fn sites() -> &'static (Config, Vec<Arc<dyn Adapter>>) {
    static SITES_: OnceLock<(Config, Vec<Arc<dyn Adapter>>)> = OnceLock::new();
    SITES_.get_or_init(|| {
        let text = SITES.replace("CDNS", CDNS);
        let loaded = config::parse(&text, Path::new("fuzz.toml"), &|_| Some(SECRET.to_owned()));
        let config = loaded.unwrap_or_else(|error| panic!("{error}")).config;
        let adapters = config.sites[0].cdns.iter().map(|cdn| cdn::build(cdn)).collect();
        (config, adapters)
    })
}

fn adapter(cdn: &Cdn) -> &'static Arc<dyn Adapter> {
    let adapters = &sites().1;
    adapters.iter().find(|adapter| adapter.cdn_type() == cdn.dialect.cdn).unwrap()
}

fn sign() -> SignContext {
    SignContext { now_ms: 1_795_435_200_000, nonce: "00000000-0000-4000-8000-000000000000".to_owned() }
}

/// The body of a purge: what is planned can be written as calls of each CDN, and nothing is planned that is empty.
pub fn purge(data: &[u8]) {
    let Ok(request) = serde_json::from_slice::<PurgeRequest>(data) else { return };
    let written = serde_json::to_vec(&request).unwrap();
    assert_eq!(serde_json::from_slice::<PurgeRequest>(&written).unwrap(), request);
    for site in &sites().0.sites {
        let _ = request.purges_everything(site);
        if let Err(errors) = planned(site, &request) {
            assert!(!errors.is_empty() && errors.iter().all(|error| !error.message.is_empty()));
        }
    }
}

fn planned(site: &Site, request: &PurgeRequest) -> Result<(), Vec<purge::ItemError>> {
    for job in purge::plan(site, &|cdn| adapter(cdn).capabilities(), request)? {
        assert!(!job.items.is_empty());
        let cdn = site.cdns.iter().find(|cdn| cdn.name == job.cdn).unwrap();
        for item in job.items {
            let batch = Batch { reference: "r1".to_owned(), items: vec![item] };
            let calls = adapter(cdn).requests(&batch, &sign());
            assert!(calls.is_ok_and(|calls| !calls.is_empty()), "{batch:?}");
        }
    }
    Ok(())
}

/// The body of an event: whatever it purges can be planned.
pub fn event(data: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Event>(data) else { return };
    let event = Event { cdns: None, ..event };
    for site in &sites().0.sites {
        match events::purge_of(site, &event) {
            Ok(request) => {
                assert!(request.item_count() > 0);
                let planned = planned(site, &request);
                assert!(planned.is_ok(), "{event:?}: {planned:?}");
            }
            Err(errors) => assert!(!errors.is_empty()),
        }
    }
}

/// A CDN's answer: two bytes choose the CDN and the status; header lines, an empty line, the body.
pub fn reply(data: &[u8]) {
    const STATUSES: [u16; 16] =
        [200, 201, 202, 204, 301, 400, 401, 403, 404, 408, 413, 422, 429, 500, 503, 507];
    let Some(([cdn, status], rest)) = data.split_first_chunk::<2>() else { return };
    let adapters = &sites().1;
    let adapter = &adapters[usize::from(*cdn) % adapters.len()];
    let mut headers = HeaderMap::new();
    let mut lines = super::lines(rest);
    let mut used = 0;
    for line in lines.by_ref() {
        used += line.len() + 1;
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii())) {
            headers.append(name, value);
        }
    }
    let status = StatusCode::from_u16(STATUSES[usize::from(*status) % STATUSES.len()]).unwrap();
    let body = rest[used.min(rest.len())..].to_vec().into();
    let reply = Reply { status, headers, body };

    let item = |value: &str| Item { kind: ItemKind::Tag, value: value.to_owned(), hard: true };
    let batch = Batch { reference: "r1".to_owned(), items: vec![item("a"), item("b")] };
    for classified in [
        adapter.classify(&reply),
        adapter.judge(&batch, &reply),
        adapter.classify_check(std::slice::from_ref(&reply)),
        adapter.classify_check(&[reply.clone(), reply.clone()]),
    ] {
        assert!(classified.message.len() <= MESSAGE_BYTES, "{classified:?}");
        assert!(!classified.message.chars().any(char::is_control), "{classified:?}");
        // Varnish has no secret.
        let tells = classified.message.contains(SECRET) && adapter.cdn_type() != CdnType::Varnish;
        assert!(!tells, "{classified:?}");
        match classified.verdict {
            Verdict::Done => assert!(status.is_success(), "{status}: {classified:?}"),
            Verdict::Partial(left) => assert!(!left.is_empty() && left.iter().all(|index| *index < 2)),
            Verdict::Later(Some(wait)) => assert!(wait <= Duration::from_secs(3600)),
            _ => {}
        }
    }
    for hint in adapter.rate_hints(&reply) {
        assert!(hint.refreshed_after.is_none_or(|wait| wait <= Duration::from_secs(3600)));
    }
    if let Some(completion) = adapter.completion() {
        if let Some(work) = completion.work(&reply) {
            assert!(status.is_success());
            // Whatever the CDN names its work, asking for it is a valid call or a clear error.
            let _ = completion.ask(&work, &sign());
        }
        let complete = completion.progress(&reply) == Progress::Complete;
        assert!(!complete || status.is_success());
    }
}
