//! The admin API with a store in memory: the fixtures are here, the tests are in one file per subject.

mod accept;
mod auth;
mod confined;
mod copies;
mod dry_run;
mod events;
mod explain;
pub(crate) mod fake;
mod header_purges;
mod history;
mod listener;
mod log;
mod log_filter;
mod openapi;
mod operate;
mod publish;
mod read;
mod reload;
mod untagged;
mod wait;

pub(crate) use fake::{FakeControl, FakeStore};
pub(crate) use listener::start;
use log::Log;

use super::caller::Peer;
use super::router::router;
use super::{Limits, Readiness, State};
use crate::admin::problem::BadItem;
use crate::cdn::{Identity, Item, ItemKind};
use crate::config::secret::Secret;
use crate::config::{
    Admin, AdminToken, Cdn, CdnSettings, Config, Everything, Scope, Server, Site, Store as StoreConfig,
    Trust, testing,
};
use crate::metrics::Metrics;
use crate::purge::{JobPlan, PurgeRequest};
use crate::rewrite::{CdnType, Dialect};
use crate::store::Store;
use arc_swap::ArcSwap;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A text in every secret of the fixtures, which must never occur in an answer.
const CANARY: &str = "canary";

/// Returns a token of the fixtures: `cms` may read and purge `www`, `root` may do everything everywhere, `auditor`
/// may only read, `button` may only purge everything, `idle` may do nothing, `operator` may read and operate
/// `www`.
pub(crate) fn token(name: &str) -> String {
    format!("{CANARY}-{name}")
}

/// An admin API with a fake store and fake workers.
pub(crate) struct Api {
    pub(crate) state: Arc<State>,
    pub(crate) store: Arc<FakeStore>,
    pub(crate) control: Arc<FakeControl>,
}

/// An answer, read to its end.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Api {
    pub(crate) fn new() -> Self {
        let store = Arc::new(FakeStore::default());
        Self::with(Some(store.clone()), store)
    }

    /// Returns an API with the given store.
    fn on(store: Arc<dyn Store>) -> Self {
        Self::with(Some(store), Arc::default())
    }

    /// Returns an API whose store could not be opened.
    fn without_store() -> Self {
        Self::with(None, Arc::default())
    }

    fn with(opened: Option<Arc<dyn Store>>, store: Arc<FakeStore>) -> Self {
        let control = Arc::new(FakeControl::default());
        let state = State {
            config: Arc::new(ArcSwap::from_pointee(config())),
            store: Arc::new(opened.map_or_else(OnceLock::new, OnceLock::from)),
            control: control.clone(),
            freshness: Default::default(),
            planner: Box::new(|_, site, request| {
                crate::purge::testing::check(site, request).map_err(bad_items)?;
                Ok(plan(site, request))
            }),
            sender: crate::cdn::Sender::new().unwrap(),
            reload: control.clone(),
            events: Arc::default(),
            metrics: Arc::new(Metrics::new(1)),
            origins: Arc::default(),
            readiness: Arc::new(Readiness::default()),
            limits: Limits::default(),
        };
        state.readiness.set_ready();
        Self { state: Arc::new(state), store, control }
    }

    /// Calls `POST /v1/sites/www/purges` as `cms`, expects 202, and returns the purge.
    pub(crate) async fn purge(&self, body: &str) -> serde_json::Value {
        let reply = self.call(post("/v1/sites/www/purges", "cms", body)).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.body);
        reply.json()
    }

    async fn call(&self, mut request: Request<Body>) -> Reply {
        if request.extensions().get::<Peer>().is_none() {
            request.extensions_mut().insert(Peer(SocketAddr::from(([192, 0, 2, 1], 4711))));
        }
        let response = TowerToHyperService::new(router(self.state.clone())).call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert!(!body.contains(CANARY) && !format!("{parts:?}").contains(CANARY), "leaked: {body}");
        assert_eq!(parts.headers["cache-control"], "no-store");
        Reply { status: parts.status, headers: parts.headers, body }
    }
}

impl Reply {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

fn get(path: &str, token_name: &str) -> Request<Body> {
    let request = Request::get(path).header("authorization", format!("Bearer {}", token(token_name)));
    request.body(Body::empty()).unwrap()
}

fn post(path: &str, token_name: &str, body: &str) -> Request<Body> {
    let request = Request::post(path).header("authorization", format!("Bearer {}", token(token_name)));
    request.body(Body::from(body.to_owned())).unwrap()
}

fn with_header(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().append(HeaderName::from_static(name), value.parse().unwrap());
    request
}

fn bad_items(errors: Vec<crate::purge::ItemError>) -> Vec<BadItem> {
    errors.into_iter().map(|error| BadItem { item: error.item, message: error.message }).collect()
}

/// Plans one job for each CDN that the request names, with one tag for each item.
fn plan(site: &Site, request: &PurgeRequest) -> Vec<JobPlan> {
    let wanted = |cdn: &&Arc<Cdn>| request.cdns.as_ref().is_none_or(|names| names.contains(&cdn.name));
    let item = |value: String| Item { kind: ItemKind::Tag, value, hard: true };
    let job = |cdn: &Arc<Cdn>| JobPlan {
        cdn: cdn.name.clone(),
        identity: Identity::of(cdn),
        cdn_type: cdn.dialect.cdn,
        items: (0..request.item_count()).map(|index| item(index.to_string())).collect(),
        everything: false,
        untagged: false,
        fallback: Vec::new(),
        repeat_after_ms: 0,
    };
    site.cdns.iter().filter(wanted).map(job).collect()
}

/// Returns a configuration with sites with one CDN, with two, and with none.
fn config() -> Config {
    use Scope::{Operate, Purge, PurgeEverything, Read};
    let mut shop = site("shop", vec![varnish()]);
    shop.trust = Trust::Secret(Secret::new(CANARY));
    Config {
        server: server(),
        admin: Admin {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            hosts: vec!["admin.example.com".to_owned()],
            tokens: vec![
                admin_token("cms", &[Read, Purge], Some("www")),
                admin_token("root", &[Read, Purge, PurgeEverything, Operate], None),
                admin_token("auditor", &[Read], None),
                admin_token("button", &[PurgeEverything], Some("www")),
                admin_token("idle", &[], Some("www")),
                admin_token("operator", &[Read, Operate], Some("www")),
            ],
        },
        store: StoreConfig { path: None, database: None, retention: Duration::from_secs(86_400) },
        fleet: crate::config::Fleet::default(),
        inbound: Vec::new(),
        log: crate::config::Log::default(),
        sites: vec![
            Arc::new(site("www", vec![fastly(), varnish()])),
            Arc::new(shop),
            Arc::new(site("plain", Vec::new())),
        ],
    }
}

fn admin_token(name: &str, scopes: &[Scope], site: Option<&str>) -> AdminToken {
    AdminToken {
        name: name.to_owned(),
        token: Secret::new(token(name)),
        scopes: scopes.to_vec(),
        sites: site.map(|site| vec![site.to_owned()]),
    }
}

fn site(name: &str, cdns: Vec<Cdn>) -> Site {
    Site {
        hosts: vec![format!("{name}.example.com")],
        default: name == "www",
        trust: Trust::Addresses(vec!["10.0.0.0/8".parse().unwrap()]),
        // Pages have no other forms, so exactly the requested items are purged.
        events: Default::default(),
        cdns: cdns.into_iter().map(Arc::new).collect(),
        ..testing::site(name)
    }
}

fn fastly() -> Cdn {
    let settings = CdnSettings::Fastly(crate::config::cdns::Fastly {
        service_id: "service".to_owned(),
        auth_token: Secret::new(CANARY),
        api_url: "https://api.fastly.com".to_owned(),
    });
    cdn("fastly", CdnType::Fastly, "surrogate-key", settings)
}

fn varnish() -> Cdn {
    let settings = CdnSettings::Varnish(crate::config::cdns::Varnish {
        api_urls: vec!["http://127.0.0.1:6081".to_owned()],
    });
    cdn("varnish", CdnType::Varnish, "xkey", settings)
}

fn cdn(name: &str, cdn: CdnType, tag_header: &'static str, settings: CdnSettings) -> Cdn {
    let dialect = Dialect {
        cdn,
        ttl_header: HeaderName::from_static("surrogate-control"),
        tag_header: Some(HeaderName::from_static(tag_header)),
        tag_form: Default::default(),
    };
    Cdn {
        name: name.to_owned(),
        hosts: vec!["www.example.com".to_owned()],
        hard: true,
        everything: Everything::SiteTag,
        repeat_after: Duration::from_secs(2),
        repeat_everything_after: Duration::from_secs(30),
        verify: false,
        verify_url: None,
        account: name.to_owned(),
        rate: Default::default(),
        dialect,
        settings,
    }
}

fn server() -> Server {
    Server::default()
}
