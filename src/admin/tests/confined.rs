//! A token that is limited to some sites changes nothing of other sites and shows nothing of them, through any
//! route. The test checks this with random sites, hosts, wildcards, tokens and calls. Calls without a token are
//! excluded: they show the same to everybody.

use super::*;
use crate::admin::routes::routes;
use crate::config::Claims;
use crate::purge::testing::capabilities;
use crate::rewrite::tags;
use crate::store::{CdnKey, Filter, PausedBy, SqliteStore};
use proptest::prelude::*;
use url::Url;

const SITES: [&str; 3] = ["www", "shop", "blog"];
const HOSTS: [&str; 9] = [
    "example.com",
    "a.example.com",
    "b.example.com",
    "a.b.example.com",
    "*.example.com",
    "*.b.example.com",
    "*.com",
    "edge.test",
    "*.test",
];
const PAGES: [&str; 3] = ["/", "/blog/x", "/secret"];

/// The existing sites, and the token that is limited to some of them.
#[derive(Clone, Debug)]
struct World {
    /// For each host, the site that it belongs to and the site whose CDN lists it.
    hosts: Vec<(Option<usize>, Option<usize>)>,
    default: Option<usize>,
    own: Vec<bool>,
}

/// A call: a route, and the values of its variables and its body.
#[derive(Clone, Debug)]
struct Call {
    route: usize,
    site: usize,
    other: usize,
    host: usize,
    page: usize,
    kind: usize,
    key: bool,
}

fn worlds() -> impl Strategy<Value = World> {
    let one = || prop::option::of(0..SITES.len());
    let hosts = prop::collection::vec((one(), prop::option::weighted(0.2, 0..SITES.len())), HOSTS.len());
    (hosts, one(), prop::collection::vec(any::<bool>(), SITES.len()))
        .prop_map(|(hosts, default, own)| World { hosts, default, own })
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = (
        0..routes().len(),
        0..=SITES.len(),
        0..SITES.len(),
        0..HOSTS.len(),
        0..PAGES.len(),
        0..9usize,
        any::<bool>(),
    )
        .prop_map(|(route, site, other, host, page, kind, key)| Call {
            route,
            site,
            other,
            host,
            page,
            kind,
            key,
        });
    // Purges are the calls that can reach other sites, so half of the calls are purges.
    let purge = |call: Call| Call { route: if call.kind.is_multiple_of(2) { 0 } else { call.route }, ..call };
    prop::collection::vec(call.prop_map(purge), 1..12)
}

/// Returns a host in a form that a URL can contain.
fn host(index: usize) -> String {
    HOSTS[index].replace('*', "x")
}

impl World {
    fn site(&self, index: usize) -> Site {
        let hosts = HOSTS.iter().zip(&self.hosts).filter(|(_, (of, _))| *of == Some(index));
        let at_cdn =
            HOSTS.iter().zip(&self.hosts).filter(|(host, (_, at))| *at == Some(index) && !host.contains('*'));
        let hosts: Vec<_> = hosts.map(|(host, _)| (*host).to_owned()).collect();
        let exact = hosts.iter().filter(|host| !host.starts_with('*')).cloned();
        let at_cdn: Vec<_> = exact.chain(at_cdn.map(|(host, _)| (*host).to_owned())).collect();
        // All sites share one Fastly service. Both CDNs of a site have the same hosts.
        let fastly = Cdn { hosts: at_cdn.clone(), ..fastly() };
        let varnish = Cdn { hosts: at_cdn, ..varnish() };
        let mut site =
            Site { default: self.default == Some(index), ..site(SITES[index], vec![fastly, varnish]) };
        site.hosts = hosts;
        site.policy.tags.sections = 1;
        site
    }

    fn config(&self) -> Config {
        use Scope::{Operate, Purge, PurgeEverything, Read};
        let mut config = super::config();
        config.sites = (0..SITES.len()).map(|index| Arc::new(self.site(index))).collect();
        let own = SITES.iter().zip(&self.own).filter(|(_, own)| **own).map(|(site, _)| (*site).to_owned());
        let scopes = [Read, Purge, PurgeEverything, Operate];
        config.admin.tokens = vec![
            AdminToken { sites: Some(own.collect()), ..admin_token("limited", &scopes, None) },
            admin_token("root", &scopes, None),
        ];
        config
    }

    fn foreign(&self) -> impl Iterator<Item = &'static str> {
        SITES.into_iter().zip(&self.own).filter(|(_, own)| !**own).map(|(site, _)| site)
    }

    /// Whether a host belongs to a foreign site and is not listed by a CDN of an own one, computed as the
    /// documentation describes it.
    fn is_foreign(&self, host: &str) -> bool {
        let exactly = HOSTS.iter().position(|known| *known == host);
        let at = |index: usize| self.hosts[index].1;
        let of_own_cdn = exactly.is_some_and(|index| at(index).is_some_and(|site| self.own[site]));
        let of_other_cdn = exactly.is_some_and(|index| at(index).is_some_and(|site| !self.own[site]));
        let exact = exactly.and_then(|index| self.hosts[index].0);
        let below = |known: &&(usize, &str)| known.1.strip_prefix('*').is_some_and(|end| host.ends_with(end));
        let wildcard = HOSTS
            .into_iter()
            .enumerate()
            .filter(|known| self.hosts[known.0].0.is_some() && below(&known))
            .max_by_key(|known| known.1.len())
            .and_then(|known| self.hosts[known.0].0);
        let server = exact.or(if of_other_cdn { None } else { wildcard.or(self.default) });
        !of_own_cdn && server.is_none_or(|site| !self.own[site])
    }

    /// Returns a planned item that reaches a foreign site.
    fn reaches_out(&self, jobs: &[JobPlan]) -> Option<Item> {
        let foreign_tags: Vec<_> = self
            .foreign()
            .flat_map(|site| {
                let pages = PAGES.iter().map(move |page| tags::path_tag(site, page));
                pages.chain([tags::site_tag(site), tags::section_tag(site, "/blog/")])
            })
            .collect();
        let is_foreign = |item: &&Item| match item.kind {
            ItemKind::Everything => true,
            ItemKind::Tag => foreign_tags.iter().any(|tag| tag.eq_ignore_ascii_case(&item.value)),
            ItemKind::Prefix => self.is_foreign(item.value.split('/').next().unwrap()),
            ItemKind::Url => {
                self.is_foreign(Url::parse(&item.value).unwrap().host_str().unwrap().trim_end_matches('.'))
            }
        };
        jobs.iter().flat_map(|job| &job.items).find(is_foreign).cloned()
    }
}

/// Returns a body for a route, and asserts that the route is known here.
fn body(id: &str, call: &Call) -> String {
    let (host, page, other) = (host(call.host), PAGES[call.page], SITES[call.other]);
    match id {
        "createPurge" => match call.kind {
            0 | 1 => format!(r#"{{"urls": ["https://{host}{page}"]}}"#),
            2 => format!(r#"{{"urls": ["HTTP://{}.:8080{page}"], "verify": true}}"#, host.to_uppercase()),
            3 => format!(r#"{{"tags": ["{}"]}}"#, tags::site_tag(other)),
            4 => format!(r#"{{"tags": ["{}", "x"]}}"#, tags::path_tag(other, page).to_uppercase()),
            5 => format!(r#"{{"tags": ["{}"]}}"#, tags::section_tag(other, "/blog/")),
            6 => format!(r#"{{"tags": ["{}"], "paths": ["{page}"]}}"#, tags::site_tag(other).to_uppercase()),
            7 => r#"{"prefixes": ["/blog/"]}"#.to_owned(),
            _ => r#"{"everything": true}"#.to_owned(),
        },
        "publish" => format!(r#"{{"event": "publish", "paths": ["{page}"]}}"#),
        "lookAtCopies" => format!(r#"{{"url": "ftp://{host}{page}"}}"#),
        "explain" => format!(r#"{{"url": "https://{host}{page}", "cdn": "fastly"}}"#),
        "setLogFilter" => r#"{"filter": "debug"}"#.to_owned(),
        "pauseCdn" => r#"{"reason": "x"}"#.to_owned(),
        // These calls are made without a body.
        "checkCredentials" | "resumeCdn" | "cancelPurge" | "retryPurge" | "acknowledgePurge"
        | "listPurges" | "getPurge" | "listSites" | "getSite" | "getHistory" | "reload" | "getLogFilter"
        | "listen" => String::new(),
        _ => panic!("what may a limited token do with {id}?"),
    }
}

/// Returns the complete state of the foreign sites.
async fn state_of(api: &Api, store: &SqliteStore, world: &World) -> String {
    let sites: Vec<_> = world.foreign().map(str::to_owned).collect();
    let filter = Filter { sites: Some(sites.clone()), limit: 100, ..Filter::default() };
    let queues = store.status().await.unwrap();
    let queues: Vec<_> = queues.iter().filter(|queue| sites.contains(&queue.key.site)).collect();
    let woken: Vec<_> = api.control.woken().into_iter().filter(|site| sites.contains(site)).collect();
    let purged = |site: &String| {
        let keys = PAGES.map(crate::rewrite::keys::testing::of_path);
        keys.map(|keys| api.state.freshness.site(site).purged.covers(&keys, i64::MIN + 1))
    };
    let purged: Vec<_> = sites.iter().map(purged).collect();
    format!("{:#?} {queues:#?} {woken:?} {purged:?}", store.list(filter).await.unwrap().purges)
}

async fn hold(world: World, calls: Vec<Call>) -> Result<(), TestCaseError> {
    let store = Arc::new(SqliteStore::in_memory().unwrap());
    let mut api = Api::on(store.clone());
    let planned: Arc<std::sync::Mutex<Vec<Vec<JobPlan>>>> = Arc::default();
    let plans = planned.clone();
    let state = Arc::get_mut(&mut api.state).unwrap();
    state.planner = Box::new(move |config, site, request| {
        let jobs = crate::purge::plan_among(&Claims::of(&config.sites), site, &capabilities, request);
        let refused = |error: crate::purge::ItemError| crate::admin::problem::BadItem {
            item: error.item,
            message: error.message,
        };
        let jobs = jobs.map_err(|errors| errors.into_iter().map(refused).collect::<Vec<_>>())?;
        plans.lock().unwrap().push(jobs.clone());
        Ok(jobs)
    });
    state.config.store(Arc::new(world.config()));

    // Each site has a purge, a paused CDN, and words that occur nowhere else.
    let mut ids = Vec::new();
    for site in SITES {
        let body = format!(r#"{{"tags": ["t-of-{site}"], "reason": "words-of-{site}"}}"#);
        let request =
            with_header(post(&format!("/v1/sites/{site}/purges"), "root", &body), "idempotency-key", "k");
        ids.push(api.call(request).await.json()["id"].as_str().unwrap().to_owned());
        let key = CdnKey { site: site.to_owned(), cdn: "varnish".to_owned() };
        store.set_paused(key, PausedBy::Person, Some(format!("words-of-{site}"))).await.unwrap();
    }
    planned.lock().unwrap().clear();
    let stream = open_stream(&api).await;
    let before = state_of(&api, &store, &world).await;

    let table = routes();
    for call in &calls {
        let route = &table[call.route];
        // Calls without a token have the same answer for everybody.
        if route.scopes.is_empty()
            || route.id == "listen"
            || route.id == "checkCredentials" && call.site < SITES.len() && world.own[call.site]
        {
            continue;
        }
        let site = SITES.get(call.site).copied().unwrap_or("nowhere");
        let path =
            route.path.replace("{site}", site).replace("{cdn}", "varnish").replace("{id}", &ids[call.other]);
        let path = match route.id {
            "listPurges" if call.kind.is_multiple_of(3) => format!("{path}?site={site}"),
            "listPurges" => format!("{path}?limit=100&cursor={}", "f".repeat(32)),
            _ => path,
        };
        let mut request = post(&path, "limited", &body(route.id, call));
        *request.method_mut() = route.method.to_uppercase().parse().unwrap();
        if call.key {
            request = with_header(request, "idempotency-key", "k");
        }
        let reply = api.call(request).await;
        prop_assert_ne!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
        for (index, site) in SITES.into_iter().enumerate().filter(|(index, _)| !world.own[*index]) {
            let shown = format!("{:?} {}", reply.headers, reply.body)
                .replace(&path, "")
                .replace(&format!("`{}`", ids[call.other]), "");
            for secret in [format!("words-of-{site}"), format!("t-of-{site}"), ids[index].clone()] {
                prop_assert!(!shown.contains(&secret), "{} shows {secret}: {}", route.id, reply.body);
            }
        }
    }
    for jobs in planned.lock().unwrap().iter() {
        prop_assert_eq!(world.reaches_out(jobs), None);
    }
    prop_assert_eq!(state_of(&api, &store, &world).await, before);

    // Events of foreign sites do not reach the limited token's stream.
    for site in SITES {
        let body = format!(r#"{{"tags": ["t"], "reason": "words-of-{site}"}}"#);
        api.call(post(&format!("/v1/sites/{site}/purges"), "root", &body)).await;
    }
    api.state.readiness.set_draining();
    let heard = stream.collect().await.unwrap().to_bytes();
    let heard = String::from_utf8(heard.to_vec()).unwrap();
    for site in world.foreign() {
        prop_assert!(!heard.contains(&format!("\"site\":\"{site}\"")), "{heard}");
    }
    Ok(())
}

async fn open_stream(api: &Api) -> Body {
    let mut request = get("/v1/events", "limited");
    request.extensions_mut().insert(Peer(SocketAddr::from(([192, 0, 2, 1], 4711))));
    TowerToHyperService::new(router(api.state.clone())).call(request).await.unwrap().into_body()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("ORIGIN_SHIM_LONG").is_some() { 5_000 } else { 48 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_limited_token_neither_changes_nor_shows_what_is_others(world in worlds(), calls in calls()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(hold(world, calls))?;
    }
}
