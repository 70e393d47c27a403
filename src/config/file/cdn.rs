//! `[[sites.cdns]]`: one struct with the keys of every type, and a table of which type takes which.
//!
//! A serde enum per type would be the obvious shape, but internally tagged enums are read through a buffer that loses
//! where a value stands, and `flatten` disables `deny_unknown_fields`. With the table, a wrong key is named with its
//! line, its type, and the type it belongs to.

use crate::config::Everything;
use crate::config::secret::SecretRef;
use crate::config::text::DurationText;
use crate::rewrite::CdnType;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A CDN that serves the site and that the shim purges.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_by_type)]
pub struct Cdn {
    /// Its name within the site, in the API and in metrics; letters a to z, digits, `.`, `_` and `-`, at most 64.
    /// Default: its type.
    #[schemars(regex(pattern = "^[a-z0-9._-]{1,64}$"))]
    pub name: Option<String>,
    /// `fastly`, `akamai`, `cloudflare`, `cloudfront`, or `varnish` (with the VCL that Origin Shim ships).
    #[serde(rename = "type")]
    pub cdn_type: CdnType,
    /// The exact host names that visitors use, for URL purges; without ports. Default: the site's exact hosts.
    pub hosts: Option<Vec<String>>,
    /// How purges that do not say are done: `hard` deletes, `soft` marks stale, so that the CDN may serve the old page
    /// while it fetches the new one.
    #[serde(default)]
    pub mode: PurgeMode,
    /// What `everything` purges here: `site-tag`, what carries the site's tag; `cdn`, all that the CDN service, zone or
    /// distribution holds.
    #[serde(default)]
    pub everything: Everything,
    /// Purges are sent a second time after this, at most 5m, for CDNs with shield tiers. 0s: not. Default: for Fastly 2s,
    /// and 30s for `everything`; for all others 0s.
    pub repeat_after: Option<DurationText>,
    /// Whether a purge is verified when it is done: a few of the purged pages are asked for as visitors do, and a copy that is
    /// older than the purge raises an alarm and is purged again. Responses then carry the header `X-Origin-Shim-Stamp`.
    #[serde(default)]
    pub verify: bool,
    /// Where those pages are asked for, with their host in `Host`. Default: `https://` and the page's own host.
    #[schemars(example = &"http://127.0.0.1:6081")]
    pub verify_url: Option<String>,
    /// CDNs of the same type and account share the account's rate; letters a to z, digits, `.`, `_` and `-`, at most
    /// 64. Default: CDNs with the same credentials (CloudFront: the same distribution; Varnish: the same nodes) are one
    /// account.
    #[schemars(regex(pattern = "^[a-z0-9._-]{1,64}$"), example = &"main")]
    pub account: Option<String>,
    /// How many purge calls a second the account may make, where that is not the rate that the vendor publishes (CloudFront
    /// publishes none: 1 is assumed; Varnish has none).
    #[schemars(range(max = 10000), extend("exclusiveMinimum" = 0))]
    pub calls_per_second: Option<f64>,
    /// How many calls it may make at once after a pause. Default: as published, or what `calls_per_second` says.
    #[schemars(range(min = 1))]
    pub call_burst: Option<u32>,
    /// How many items (URLs, tags, prefixes) a second it may purge, where that is not the rate that the vendor publishes.
    #[schemars(range(max = 1000000), extend("exclusiveMinimum" = 0))]
    pub items_per_second: Option<f64>,
    /// How many items it may purge at once after a pause, and so in one call. Default: as published, or what
    /// `items_per_second` says.
    #[schemars(range(min = 1))]
    pub item_burst: Option<u32>,
    /// The response header that carries the edge TTL. Its name decides the syntax. Default: `Surrogate-Control` (Fastly,
    /// Varnish), `Edge-Control` (Akamai), `Cloudflare-CDN-Cache-Control`, `Cache-Control` (CloudFront). All CDNs of one
    /// type in a site must agree.
    pub ttl_header: Option<String>,
    /// The response header that carries the tags. Default: `Surrogate-Key` (Fastly), `Edge-Cache-Tag` (Akamai),
    /// `Cache-Tag` (Cloudflare), `xkey` (Varnish), none (CloudFront: the header that the distribution's cache tag
    /// configuration names; without one every tag purge becomes `everything`). All CDNs of one type in a site must agree.
    pub tag_header: Option<String>,
    /// The base URL of the CDN's API, for private endpoints and tests. Default: `https://api.fastly.com`,
    /// `https://api.cloudflare.com/client/v4`, `https://cloudfront.amazonaws.com`, and for Akamai `https://` and `endpoint`.
    #[schemars(example = &"https://api.fastly.com")]
    pub api_url: Option<String>,

    /// Fastly: the id of the service.
    #[schemars(example = &"SU1Z0isxPaozGVKXdv0eY")]
    pub service_id: Option<String>,
    /// Fastly: an API token, a secret. Scope `purge_select` is enough, `purge_all` for `everything = "cdn"`.
    #[schemars(example = &"env:FASTLY_TOKEN")]
    pub auth_token: Option<SecretRef>,

    /// Akamai: the host of the API client, without `https://`. Required where `api_url` is absent.
    #[schemars(example = &"akab-xxxx.purge.akamaiapis.net")]
    pub endpoint: Option<String>,
    /// Akamai: of the API client, a secret.
    #[schemars(example = &"env:AKAMAI_CLIENT_TOKEN")]
    pub client_token: Option<SecretRef>,
    /// Akamai: of the API client, a secret.
    #[schemars(example = &"env:AKAMAI_CLIENT_SECRET")]
    pub client_secret: Option<SecretRef>,
    /// Akamai: of the API client, a secret.
    #[schemars(example = &"env:AKAMAI_ACCESS_TOKEN")]
    pub access_token: Option<SecretRef>,
    /// Akamai: `production` or `staging`. Default: `production`.
    pub network: Option<AkamaiNetwork>,
    /// Akamai: the CP codes of the site; required with `everything = "cdn"`. Default: none.
    #[schemars(inner(range(min = 1)))]
    pub cp_codes: Option<Vec<u64>>,

    /// Cloudflare: the id of the zone.
    #[schemars(example = &"023e105f4ecef8ad9ca31a8372d0c353")]
    pub zone_id: Option<String>,
    /// Cloudflare: an API token with the permission Cache Purge for the zone, a secret.
    #[schemars(example = &"env:CLOUDFLARE_TOKEN")]
    pub api_token: Option<SecretRef>,
    /// Cloudflare: `free`, `pro`, `business` or `enterprise`; decides rates and batch sizes. Default: `free`.
    pub plan: Option<CloudflarePlan>,
    /// Cloudflare: `any-plan` purges exactly what was asked for; with `enterprise-only` every purge below Enterprise
    /// purges everything. Default: `any-plan`.
    pub surgical_purge: Option<SurgicalPurge>,

    /// CloudFront: the id of the distribution.
    #[schemars(example = &"E2QWRUHAPOMQZL")]
    pub distribution_id: Option<String>,
    /// CloudFront: an access key that may `cloudfront:CreateInvalidation` on the distribution.
    #[schemars(example = &"AKIAIOSFODNN7EXAMPLE")]
    pub access_key_id: Option<String>,
    /// CloudFront: its secret key, a secret.
    #[schemars(example = &"env:AWS_SECRET_ACCESS_KEY")]
    pub secret_access_key: Option<SecretRef>,
    /// CloudFront: the session token of temporary credentials, a secret. Default: none.
    #[schemars(example = &"env:AWS_SESSION_TOKEN")]
    pub session_token: Option<SecretRef>,

    /// Varnish: the base URL of every node. A purge is done when each of them answered.
    #[schemars(example = ["http://127.0.0.1:6081"], length(min = 1))]
    pub api_urls: Option<Vec<String>>,
}

/// `sites.cdns.mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PurgeMode {
    /// Deletes.
    #[default]
    Hard,
    /// Marks stale.
    Soft,
}

/// `sites.cdns.network`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AkamaiNetwork {
    /// Live traffic.
    #[default]
    Production,
    /// Akamai's staging network.
    Staging,
}

/// `sites.cdns.plan`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CloudflarePlan {
    /// 5 purge calls a minute.
    #[default]
    Free,
    /// 5 a second.
    Pro,
    /// 10 a second.
    Business,
    /// 50 a second.
    Enterprise,
}

/// `sites.cdns.surgical_purge`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SurgicalPurge {
    /// Purges exactly what was asked for.
    #[default]
    AnyPlan,
    /// Below Enterprise every purge purges everything.
    EnterpriseOnly,
}

/// The keys that only some types take.
pub struct OwnKeys {
    /// The type.
    pub cdn_type: CdnType,
    /// Must be there.
    pub required: &'static [&'static str],
    /// May be there.
    pub optional: &'static [&'static str],
}

impl OwnKeys {
    /// Whether this type takes `key`.
    pub fn takes(&self, key: &str) -> bool {
        self.required.contains(&key) || self.optional.contains(&key)
    }
}

/// Which type takes which keys, besides those that every type takes.
pub const OWN_KEYS: [OwnKeys; CdnType::ALL.len()] = [
    OwnKeys { cdn_type: CdnType::Fastly, required: &["service_id", "auth_token"], optional: &["api_url"] },
    OwnKeys {
        cdn_type: CdnType::Akamai,
        required: &["client_token", "client_secret", "access_token"],
        optional: &["endpoint", "network", "cp_codes", "api_url"],
    },
    OwnKeys {
        cdn_type: CdnType::Cloudflare,
        required: &["zone_id", "api_token"],
        optional: &["plan", "surgical_purge", "api_url"],
    },
    OwnKeys {
        cdn_type: CdnType::Cloudfront,
        required: &["distribution_id", "access_key_id", "secret_access_key"],
        optional: &["session_token", "api_url"],
    },
    OwnKeys { cdn_type: CdnType::Varnish, required: &["api_urls"], optional: &[] },
];

/// Tells editors what the table says.
fn keys_by_type(schema: &mut Schema) {
    let by_type = OWN_KEYS.iter().map(|own| {
        let foreign: Map<String, Value> = OWN_KEYS
            .iter()
            .flat_map(|other| other.required.iter().chain(other.optional))
            .filter(|key| !own.takes(key))
            .map(|key| ((*key).to_owned(), json!(false)))
            .collect();
        json!({
            "if": { "properties": { "type": { "const": own.cdn_type.as_str() } } },
            "then": { "required": own.required, "properties": foreign }
        })
    });
    schema.insert("allOf".to_owned(), by_type.collect());
}
