//! Requests of the admin API's callers.

use origin_shim::cdn::{self, Adapter, Batch, SignContext};
use origin_shim::config::{self, Cdn, Config, Site};
use origin_shim::purge::publish::{self, Event};
use origin_shim::purge::{self, PurgeRequest};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The secret of every CDN that has one.
pub const SECRET: &str = "canary-0123456789abcdef";

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

/// Returns the configuration above, and the adapter of each CDN.
pub fn sites() -> &'static (Config, Vec<Arc<dyn Adapter>>) {
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

/// Returns a context with a fixed time, noon, and a fixed nonce.
pub fn sign() -> SignContext {
    SignContext { now_ms: 1_795_435_200_000, nonce: "00000000-0000-4000-8000-000000000000".to_owned() }
}

/// The body of a purge. The plan can be written as calls of each CDN, and contains nothing empty.
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

/// The body of an event. Every purge that it causes can be planned.
pub fn event(data: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Event>(data) else { return };
    let event = Event { cdns: None, ..event };
    for site in &sites().0.sites {
        match publish::purge_of(site, &event) {
            Ok(request) => {
                assert!(request.item_count() > 0);
                let planned = planned(site, &request);
                assert!(planned.is_ok(), "{event:?}: {planned:?}");
            }
            Err(errors) => assert!(!errors.is_empty()),
        }
    }
}
