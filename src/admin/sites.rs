//! The configured sites, without secrets, and the state of purging at each CDN.

use super::ask::STORE_TIMEOUT;
use super::caller::Caller;
use super::control::CdnHealth;
use super::extract::{Query, Segment};
use super::json::rfc3339;
use super::problem::{Kind, Problem};
use super::state::State;
use crate::config::duration::print as duration;
use crate::config::{self, Mode, OriginHost, Trust};
use crate::purge::PurgeMode;
use crate::rewrite::tags::TagForm;
use crate::rewrite::{BrowserTtl, CdnType, Conditional, Profile};
use crate::store::{CdnKey, QueueStatus};
use crate::view::OriginStatus;
use axum::extract;
use axum::response::Json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The largest and the default number of sites on a page.
const PAGE: usize = 100;

/// The answer of `GET /v1/sites`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Sites {
    /// The sites, sorted by name.
    sites: Vec<Site>,
    /// The `cursor` of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// The query of `GET /v1/sites`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Number of sites on the page, 1 to 100 (default 100).
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    /// The `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// A site, with the keys and values of the configuration file.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Site {
    name: String,
    hosts: Vec<String>,
    default: bool,
    mode: Mode,
    profile: &'static str,
    origin: Vec<String>,
    /// The state of the origins.
    origins: Vec<OriginJson>,
    origin_host: String,
    origin_settle: String,
    opt_in: OptIn,
    cache: Cache,
    tags: Tags,
    /// The number of rules.
    rules: usize,
    cdns: Vec<Cdn>,
}

/// An origin and its addresses. The list is empty if the origin's name has not been resolved.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Origin")]
struct OriginJson {
    url: String,
    addresses: Vec<AddressJson>,
}

/// An address of an origin.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Address")]
struct AddressJson {
    address: String,
    /// The reason why other addresses are preferred; null if the address is healthy, as far as is known.
    avoided: Option<&'static str>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct OptIn {
    trust: TrustJson,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum TrustJson {
    Word(&'static str),
    Addresses(Vec<String>),
}

#[derive(Debug, Serialize, JsonSchema)]
struct Cache {
    edge_ttl: String,
    browser_ttl: String,
    fallback_ttl: String,
    not_found_ttl: String,
    guard_ttl: String,
    follow_up_margin: String,
    stale_while_revalidate: String,
    stale_if_error: String,
    conditional: Conditional,
    vary: Vec<String>,
    max_purge_lag: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Tags {
    path: bool,
    site: bool,
    sections: u8,
    read: Vec<String>,
    broad: Vec<String>,
}

/// A CDN: its health and its settings without secrets.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Cdn {
    name: String,
    #[serde(rename = "type")]
    cdn_type: CdnType,
    /// Whether purges are known to reach the CDN, so that its responses get their long TTL.
    healthy: bool,
    /// Reasons why the CDN is not healthy.
    reasons: Vec<String>,
    /// Number of items that the CDN has not accepted yet; null while the store is unavailable.
    pending: Option<u64>,
    /// Age of the oldest unfinished job, in seconds.
    oldest_pending_seconds: Option<i64>,
    /// Whether sending is paused; null while the store is unavailable.
    paused: Option<bool>,
    /// Until when the CDN may hold copies without our tags, RFC 3339; absent if there are none. Until then, and in
    /// every mode but `on`, purges do not rely on tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    copies_without_tags_until: Option<String>,
    hosts: Vec<String>,
    mode: PurgeMode,
    everything: config::Everything,
    repeat_after: String,
    /// Whether purges of the CDN are verified.
    verify: bool,
    ttl_header: String,
    tag_header: Option<String>,
    tag_form: TagForm,
}

impl Cdn {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }
}

/// `GET /v1/sites`
pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Sites>, Problem> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(Problem::new(Kind::BadRequest, format!("`limit` must be from 1 to {PAGE}.")));
    }
    let (page, next_cursor) = page(&caller, query.cursor.as_deref(), limit);
    let now = Now::of(&state).await;
    let sites = page.into_iter().map(|site| show(&state, site, &now)).collect();
    Ok(Json(Sites { sites, next_cursor }))
}

/// Returns the sites after `cursor`, by name: no site that stays is missed, whatever a reload does between two
/// pages.
fn page<'c>(
    caller: &'c Caller,
    cursor: Option<&str>,
    limit: usize,
) -> (Vec<&'c Arc<config::Site>>, Option<String>) {
    let own: Option<HashSet<String>> = caller.limited_to().map(|names| names.into_iter().collect());
    let is_next = |site: &&Arc<config::Site>| {
        own.as_ref().is_none_or(|own| own.contains(&site.name))
            && cursor.is_none_or(|cursor| site.name.as_str() > cursor)
    };
    let mut sites: Vec<_> = caller.config().sites.iter().filter(is_next).collect();
    // Only the sites of the page are sorted, not all that follow it.
    let is_last = sites.len() <= limit;
    if !is_last {
        sites.select_nth_unstable_by(limit, |one, other| one.name.cmp(&other.name));
        sites.truncate(limit);
    }
    sites.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    let next_cursor = sites.last().filter(|_| !is_last).map(|site| site.name.clone());
    (sites, next_cursor)
}

/// `GET /v1/sites/{site}`
pub(super) async fn get(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    Segment(site): Segment,
) -> Result<Json<Site>, Problem> {
    caller.require_site(&site)?;
    let site = caller.site(&site)?;
    Ok(Json(show(&state, site, &Now::of(&state).await)))
}

/// Returns the health of every CDN of the site, in file order. A CDN whose health is unknown is unhealthy.
pub(super) fn health(state: &State, site: &config::Site) -> Vec<CdnHealth> {
    let mut known = state.control.health(&site.name);
    let of = |cdn: &Arc<config::Cdn>| match known.iter().position(|health| health.name == cdn.name) {
        Some(index) => known.swap_remove(index),
        None => {
            CdnHealth { name: cdn.name.clone(), healthy: false, reasons: vec!["not checked yet".to_owned()] }
        }
    };
    site.cdns.iter().map(of).collect()
}

/// The state of all CDNs and origins, queried one time for a whole page of sites.
struct Now {
    /// The state of the queues; `None` while the store is unavailable.
    queues: Option<HashMap<CdnKey, QueueStatus>>,
    origins: Arc<Vec<OriginStatus>>,
    /// The positions of each site's origins in `origins`.
    of_site: HashMap<String, Vec<usize>>,
}

impl Now {
    async fn of(state: &State) -> Self {
        let queues = queues(state).await;
        let origins = state.origins.get();
        let mut of_site: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, origin) in origins.iter().enumerate() {
            of_site.entry(origin.site.clone()).or_default().push(index);
        }
        Self { queues, origins, of_site }
    }

    fn origins_of(&self, site: &str) -> impl Iterator<Item = &OriginStatus> {
        self.of_site.get(site).into_iter().flatten().filter_map(|index| self.origins.get(*index))
    }
}

/// Returns the state of the queues, or `None` while the store is unavailable, which also shows in the CDNs'
/// health.
async fn queues(state: &State) -> Option<HashMap<CdnKey, QueueStatus>> {
    let store = state.store.get()?;
    match tokio::time::timeout(STORE_TIMEOUT, store.survey()).await {
        Ok(Ok(queues)) => Some(queues.into_iter().map(|queue| (queue.key.clone(), queue)).collect()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot query the state of the queues");
            None
        }
        Err(_) => {
            tracing::warn!("the store does not report the state of the queues in time");
            None
        }
    }
}

/// Returns every CDN of the site, in file order.
pub(super) async fn cdns(state: &State, site: &config::Site) -> Vec<Cdn> {
    show_cdns(state, site, queues(state).await.as_ref())
}

fn show(state: &State, site: &config::Site, now: &Now) -> Site {
    let policy = &site.policy;
    let ttls = &policy.ttls;
    Site {
        name: site.name.clone(),
        hosts: site.hosts.clone(),
        default: site.default,
        mode: site.mode,
        profile: match policy.profile {
            Profile::Generic => "generic",
            Profile::Aem => "aem",
        },
        origin: site.origins.iter().map(origin).collect(),
        origins: origins(now, site),
        origin_host: match &site.origin_host {
            OriginHost::Origin => "origin".to_owned(),
            OriginHost::Preserve => "preserve".to_owned(),
            OriginHost::Literal(name) => name.clone(),
        },
        origin_settle: duration(site.origin_settle),
        opt_in: OptIn {
            trust: match &site.trust {
                Trust::Any => TrustJson::Word("any"),
                Trust::Secret(_) => TrustJson::Word("secret"),
                Trust::ClientCertificate => TrustJson::Word("client-cert"),
                Trust::Addresses(networks) => {
                    TrustJson::Addresses(networks.iter().map(ToString::to_string).collect())
                }
            },
        },
        cache: Cache {
            edge_ttl: duration(ttls.edge),
            browser_ttl: match ttls.browser {
                BrowserTtl::Origin => "origin".to_owned(),
                BrowserTtl::Fixed(ttl) => duration(ttl),
            },
            fallback_ttl: duration(ttls.fallback),
            not_found_ttl: duration(ttls.not_found),
            guard_ttl: duration(ttls.guard),
            follow_up_margin: duration(site.follow_up_margin),
            stale_while_revalidate: duration(ttls.stale_while_revalidate),
            stale_if_error: duration(ttls.stale_if_error),
            conditional: policy.conditional,
            vary: policy.vary.clone(),
            max_purge_lag: duration(site.max_purge_lag),
        },
        tags: Tags {
            path: policy.tags.path,
            site: policy.tags.site,
            sections: policy.tags.sections,
            read: policy.tags.fields.read().map(|(name, _)| name.to_string()).collect(),
            broad: policy.tags.broad.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        },
        rules: policy.rules.len(),
        cdns: show_cdns(state, site, now.queues.as_ref()),
    }
}

fn origins(now: &Now, site: &config::Site) -> Vec<OriginJson> {
    let shown = now.origins_of(&site.name).map(|OriginStatus { url, addresses, .. }| OriginJson {
        url: url.clone(),
        addresses: addresses
            .iter()
            .map(|(address, avoided)| AddressJson { address: address.to_string(), avoided: *avoided })
            .collect(),
    });
    shown.collect()
}

fn show_cdns(state: &State, site: &config::Site, queues: Option<&HashMap<CdnKey, QueueStatus>>) -> Vec<Cdn> {
    let healths = health(state, site);
    let untagged = &state.freshness.site(&site.name).untagged;
    let clock = state.freshness.clock;
    let (clock_ms, steady_ms) = (clock.now_ms(), clock.steady_ms());
    let show = |(cdn, health): (&Arc<config::Cdn>, CdnHealth)| Cdn {
        copies_without_tags_until: untagged.until_ms(cdn.dialect.cdn, clock_ms).map(rfc3339),
        ..show_cdn(site, cdn, health, queues, steady_ms)
    };
    site.cdns.iter().zip(healths).map(show).collect()
}

fn show_cdn(
    site: &config::Site,
    cdn: &config::Cdn,
    health: CdnHealth,
    queues: Option<&HashMap<CdnKey, QueueStatus>>,
    steady_ms: i64,
) -> Cdn {
    // A CDN without work, failures or a pause has no row.
    let key = CdnKey { site: site.name.clone(), cdn: cdn.name.clone() };
    let queue = queues.map(|queues| queues.get(&key));
    Cdn {
        name: cdn.name.clone(),
        cdn_type: cdn.dialect.cdn,
        healthy: health.healthy,
        reasons: health.reasons,
        pending: queue.map(|queue| queue.map_or(0, |queue| queue.pending)),
        oldest_pending_seconds: queue
            .flatten()
            .and_then(|queue| queue.oldest_due_ms)
            .map(|due_ms| steady_ms.saturating_sub(due_ms).max(0) / 1000),
        paused: queue.map(|queue| queue.is_some_and(|queue| queue.paused.is_some())),
        copies_without_tags_until: None,
        hosts: cdn.hosts.clone(),
        mode: if cdn.hard { PurgeMode::Hard } else { PurgeMode::Soft },
        everything: cdn.everything,
        repeat_after: duration(cdn.repeat_after),
        verify: cdn.verify,
        ttl_header: cdn.dialect.ttl_header.to_string(),
        tag_header: cdn.dialect.tag_header.as_ref().map(ToString::to_string),
        tag_form: cdn.dialect.tag_form,
    }
}

fn origin(origin: &config::OriginUrl) -> String {
    format!("{}://{}", if origin.tls { "https" } else { "http" }, origin.authority)
}
