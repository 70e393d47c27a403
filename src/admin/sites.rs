//! The sites as they are configured, without secrets, and how purging stands at each CDN.

use super::auth::Caller;
use super::extract::Segment;
use super::json::rfc3339;
use super::problem::Problem;
use super::{CdnHealth, State};
use crate::config::duration::print as duration;
use crate::config::{self, Mode, OriginHost, Trust};
use crate::purge::PurgeMode;
use crate::rewrite::{BrowserTtl, CdnType, Conditional, Profile};
use crate::store::QueueStatus;
use crate::view::OriginStatus;
use axum::extract;
use axum::response::Json;
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// The answer of `GET /v1/sites`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Sites {
    sites: Vec<Site>,
}

/// A site; the keys and values are those of the configuration file.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Site {
    name: String,
    hosts: Vec<String>,
    default: bool,
    mode: Mode,
    profile: &'static str,
    origin: Vec<String>,
    /// How the origins do.
    origins: Vec<OriginJson>,
    origin_host: String,
    origin_settle: String,
    opt_in: OptIn,
    cache: Cache,
    tags: Tags,
    /// How many.
    rules: usize,
    cdns: Vec<Cdn>,
}

/// An origin and its addresses; none: its name has not been resolved.
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
    /// Why others are preferred; null: it is well, as far as is known.
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
}

/// A CDN. Nothing of its settings is shown: what is not here cannot leak.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Cdn {
    name: String,
    #[serde(rename = "type")]
    cdn_type: CdnType,
    /// Whether purges are known to get through, so that its responses get their long TTL.
    healthy: bool,
    /// Why not, in words.
    reasons: Vec<String>,
    /// Items that the CDN has not accepted yet; null while the store cannot say.
    pending: Option<u64>,
    /// The age of the oldest job under way.
    oldest_pending_seconds: Option<i64>,
    /// Whether sending is stopped; null while the store cannot say.
    paused: Option<bool>,
    /// Until when copies without our tags may be there, RFC 3339; absent where there are none. Until then, and in every mode but
    /// `on`, purges do not rely on tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    copies_without_tags_until: Option<String>,
    hosts: Vec<String>,
    mode: PurgeMode,
    everything: config::Everything,
    repeat_after: String,
    /// Whether its purges are verified.
    verify: bool,
    ttl_header: String,
    tag_header: Option<String>,
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
) -> Result<Json<Sites>, Problem> {
    let queues = queues(&state).await;
    Ok(Json(Sites { sites: caller.sites().map(|site| show(&state, site, queues.as_deref())).collect() }))
}

/// `GET /v1/sites/{site}`
pub(super) async fn get(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    Segment(site): Segment,
) -> Result<Json<Site>, Problem> {
    caller.require_site(&site)?;
    let site = caller.site(&site)?;
    Ok(Json(show(&state, site, queues(&state).await.as_deref())))
}

/// The health of every CDN of the site, in file order; what is unknown is unhealthy.
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

/// How the queues stand; none while the store is out of reach, which the CDNs' health tells by itself.
async fn queues(state: &State) -> Option<Vec<QueueStatus>> {
    let store = state.store.get()?;
    match tokio::time::timeout(super::STORE_TIMEOUT, store.status()).await {
        Ok(Ok(queues)) => Some(queues),
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot see how the queues stand");
            None
        }
        Err(_) => {
            tracing::warn!("the store does not say how the queues stand");
            None
        }
    }
}

/// Every CDN of the site, in file order.
pub(super) async fn cdns(state: &State, site: &config::Site) -> Vec<Cdn> {
    show_cdns(state, site, queues(state).await.as_deref())
}

fn show(state: &State, site: &config::Site, queues: Option<&[QueueStatus]>) -> Site {
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
        origins: origins(state, site),
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
        tags: Tags { path: policy.tags.path, site: policy.tags.site, sections: policy.tags.sections },
        rules: policy.rules.len(),
        cdns: show_cdns(state, site, queues),
    }
}

fn origins(state: &State, site: &config::Site) -> Vec<OriginJson> {
    let statuses = state.origins.get();
    let of_site = statuses.iter().filter(|status| status.site == site.name);
    let shown = of_site.map(|OriginStatus { url, addresses, .. }| OriginJson {
        url: url.clone(),
        addresses: addresses
            .iter()
            .map(|(address, avoided)| AddressJson { address: address.to_string(), avoided: *avoided })
            .collect(),
    });
    shown.collect()
}

fn show_cdns(state: &State, site: &config::Site, queues: Option<&[QueueStatus]>) -> Vec<Cdn> {
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
    queues: Option<&[QueueStatus]>,
    steady_ms: i64,
) -> Cdn {
    let is_its_own = |queue: &&QueueStatus| queue.key.site == site.name && queue.key.cdn == cdn.name;
    // A CDN without work, failures or a pause has no row.
    let queue = queues.map(|queues| queues.iter().find(is_its_own));
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
    }
}

fn origin(origin: &config::OriginUrl) -> String {
    format!("{}://{}", if origin.tls { "https" } else { "http" }, origin.authority)
}
