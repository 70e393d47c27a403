//! The `[[sites.cdns]]` tables: one struct with the keys of every type, and a table of the types that accept each key.
//!
//! A serde enum per type would be the obvious shape, but serde reads internally tagged enums through a buffer that
//! loses the positions of values, and `flatten` disables `deny_unknown_fields`. With the table, the error for a
//! misplaced key names its line, the CDN's type, and the types that accept the key.

use crate::config::secret::SecretRef;
use crate::config::text::DurationText;
use crate::rewrite::CdnType;
use crate::rewrite::tags::TagForm;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A CDN that serves the site and that the shim purges.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = keys_by_type)]
pub struct Cdn {
    /// The CDN's name within the site, in the API and in metrics; letters a to z, digits, `.`, `_` and `-`, at most
    /// 64. Default: its type.
    #[schemars(regex(pattern = "^[a-z0-9._-]{1,64}$"))]
    pub name: Option<String>,
    /// The type of the CDN: `fastly`, `akamai`, `cloudflare`, `cloudfront`, or `varnish` (with the VCL that Origin
    /// Shim ships).
    #[serde(rename = "type")]
    pub cdn_type: CdnType,
    /// The exact host names that visitors use, for URL purges; without ports. Default: the site's exact hosts.
    pub hosts: Option<Vec<String>>,
    /// The mode of purges that do not name one. `hard` deletes copies. `soft` marks them stale, so that the CDN may
    /// serve the old page while it fetches the new one.
    #[serde(default)]
    pub mode: PurgeMode,
    /// The extent of `everything` here. `site-tag`: all responses with the site's tag. `cdn`: everything in the CDN's
    /// service, zone or distribution.
    #[serde(default)]
    pub everything: Everything,
    /// The time after which purges are sent a second time, at most 5m, for CDNs with shield tiers. 0s: never. Default:
    /// for Fastly 2s, and 30s for `everything`; for all others 0s.
    pub repeat_after: Option<DurationText>,
    /// Whether a finished purge is verified: the shim requests a few of the purged pages as visitors do. A copy that
    /// is older than the purge raises an alarm and is purged again. Responses then carry the header
    /// `X-Origin-Shim-Stamp`.
    #[serde(default)]
    pub verify: bool,
    /// The base URL at which the pages are requested for verification, with their host in `Host`. Default: `https://`
    /// and the page's own host.
    #[schemars(example = &"http://127.0.0.1:6081")]
    pub verify_url: Option<String>,
    /// The account whose rate this CDN shares with other CDNs of the same type and account; letters a to z, digits,
    /// `.`, `_` and `-`, at most 64. Default: CDNs with the same credentials (CloudFront: the same distribution;
    /// Varnish: the same nodes) are one account.
    #[schemars(regex(pattern = "^[a-z0-9._-]{1,64}$"), example = &"main")]
    pub account: Option<String>,
    /// Purge calls per second that the account may make, if that differs from the rate that the vendor publishes
    /// (CloudFront publishes none: 1 is assumed; Varnish has none).
    #[schemars(range(max = 10000), extend("exclusiveMinimum" = 0))]
    pub calls_per_second: Option<f64>,
    /// Calls that the account may make at once after a pause. Default: as published, or derived from
    /// `calls_per_second`.
    #[schemars(range(min = 1))]
    pub call_burst: Option<u32>,
    /// Items (URLs, tags, prefixes) per second that the account may purge, if that differs from the rate that the
    /// vendor publishes.
    #[schemars(range(max = 1000000), extend("exclusiveMinimum" = 0))]
    pub items_per_second: Option<f64>,
    /// Items that the account may purge at once after a pause, and so in one call. Default: as published, or derived
    /// from `items_per_second`.
    #[schemars(range(min = 1))]
    pub item_burst: Option<u32>,
    /// The response header that carries the edge TTL. Its name decides the syntax. Default: `Surrogate-Control`
    /// (Fastly, Varnish), `Edge-Control` (Akamai), `Cloudflare-CDN-Cache-Control`, `Cache-Control` (CloudFront). All
    /// CDNs of one type in a site must agree.
    pub ttl_header: Option<String>,
    /// The response header that carries the tags. Default: `Surrogate-Key` (Fastly), `Edge-Cache-Tag` (Akamai),
    /// `Cache-Tag` (Cloudflare), `xkey` (Varnish), none (CloudFront: set the header that the distribution's cache tag
    /// configuration names; without one every tag purge becomes `everything`). All CDNs of one type in a site must
    /// agree.
    pub tag_header: Option<String>,
    /// The form of the tags. `full`: as the origin writes them, if the CDN can carry that. `short`: as 8 characters of
    /// their hash, so that more of them fit. All CDNs of one type in a site must agree. After a change, purge
    /// everything: copies that CDNs already hold carry the other form.
    #[serde(default)]
    pub tag_form: TagForm,
    /// The base URL of the CDN's API, for private endpoints and tests. Default: `https://api.fastly.com`,
    /// `https://api.cloudflare.com/client/v4`, `https://cloudfront.amazonaws.com`, and for Akamai `https://` and
    /// `endpoint`.
    #[schemars(example = &"https://api.fastly.com")]
    pub api_url: Option<String>,

    /// Fastly: the ID of the service.
    #[schemars(example = &"SU1Z0isxPaozGVKXdv0eY")]
    pub service_id: Option<String>,
    /// Fastly: an API token, a secret. The scope `purge_select` is enough, except for `everything = "cdn"`, which
    /// needs `purge_all`.
    #[schemars(example = &"env:FASTLY_TOKEN")]
    pub auth_token: Option<SecretRef>,

    /// Akamai: the host of the API client, without `https://`. Required if `api_url` is absent.
    #[schemars(example = &"akab-xxxx.purge.akamaiapis.net")]
    pub endpoint: Option<String>,
    /// Akamai: the client token of the API client, a secret.
    #[schemars(example = &"env:AKAMAI_CLIENT_TOKEN")]
    pub client_token: Option<SecretRef>,
    /// Akamai: the client secret of the API client, a secret.
    #[schemars(example = &"env:AKAMAI_CLIENT_SECRET")]
    pub client_secret: Option<SecretRef>,
    /// Akamai: the access token of the API client, a secret.
    #[schemars(example = &"env:AKAMAI_ACCESS_TOKEN")]
    pub access_token: Option<SecretRef>,
    /// Akamai: `production` or `staging`. Default: `production`.
    pub network: Option<AkamaiNetwork>,
    /// Akamai: the CP codes of the site; required with `everything = "cdn"`. Default: none.
    #[schemars(inner(range(min = 1)))]
    pub cp_codes: Option<Vec<u64>>,

    /// Cloudflare: the ID of the zone.
    #[schemars(example = &"023e105f4ecef8ad9ca31a8372d0c353")]
    pub zone_id: Option<String>,
    /// Cloudflare: an API token with the permission Cache Purge for the zone, a secret.
    #[schemars(example = &"env:CLOUDFLARE_TOKEN")]
    pub api_token: Option<SecretRef>,
    /// Cloudflare: `free`, `pro`, `business` or `enterprise`. The plan decides rates and batch sizes. Default: `free`.
    pub plan: Option<CloudflarePlan>,
    /// Cloudflare: whether purges below the Enterprise plan are exact. `any-plan`: every purge purges exactly the
    /// requested items. `enterprise-only`: below Enterprise every purge purges everything. Default: `any-plan`.
    pub surgical_purge: Option<SurgicalPurge>,

    /// CloudFront: the ID of the distribution.
    #[schemars(example = &"E2QWRUHAPOMQZL")]
    pub distribution_id: Option<String>,
    /// CloudFront: the ID of an access key that may `cloudfront:CreateInvalidation` on the distribution.
    #[schemars(example = &"AKIAIOSFODNN7EXAMPLE")]
    pub access_key_id: Option<String>,
    /// CloudFront: the secret key that belongs to `access_key_id`, a secret.
    #[schemars(example = &"env:AWS_SECRET_ACCESS_KEY")]
    pub secret_access_key: Option<SecretRef>,
    /// CloudFront: the session token of temporary credentials, a secret. Default: none.
    #[schemars(example = &"env:AWS_SESSION_TOKEN")]
    pub session_token: Option<SecretRef>,

    /// Varnish: the base URL of every node. A purge is done when each of them has answered.
    #[schemars(example = ["http://127.0.0.1:6081"], length(min = 1))]
    pub api_urls: Option<Vec<String>>,
}

/// The values of `sites.cdns.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PurgeMode {
    /// Deletes copies.
    #[default]
    Hard,
    /// Marks copies stale.
    Soft,
}

/// The values of `sites.cdns.everything`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Everything {
    /// Everything with the site's tag.
    #[default]
    SiteTag,
    /// Everything, by the CDN's own purge-all.
    Cdn,
}

/// The values of `sites.cdns.network`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AkamaiNetwork {
    /// Live traffic.
    #[default]
    Production,
    /// Akamai's staging network.
    Staging,
}

/// The values of `sites.cdns.plan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CloudflarePlan {
    /// 5 purge calls a minute.
    #[default]
    Free,
    /// 5 purge calls a second.
    Pro,
    /// 10 purge calls a second.
    Business,
    /// 50 purge calls a second.
    Enterprise,
}

/// The values of `sites.cdns.surgical_purge`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SurgicalPurge {
    /// Purges exactly the requested items.
    #[default]
    AnyPlan,
    /// Purges everything with every purge below the Enterprise plan.
    EnterpriseOnly,
}

/// The keys that only one type or some types accept.
pub struct OwnKeys {
    /// The type of CDN.
    pub cdn_type: CdnType,
    /// Keys that must be present.
    pub required: &'static [&'static str],
    /// Keys that may be present.
    pub optional: &'static [&'static str],
}

impl OwnKeys {
    /// Whether this type accepts `key`.
    pub fn takes(&self, key: &str) -> bool {
        self.required.contains(&key) || self.optional.contains(&key)
    }
}

/// The keys that each type accepts in addition to those that every type accepts.
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

/// Adds the table of own keys to the schema, for editors.
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
