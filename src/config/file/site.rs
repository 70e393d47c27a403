//! `[[sites]]`

use super::cdn::Cdn;
use super::events::{Aem, EventRule};
use crate::config::secret::SecretRef;
use crate::config::text::{BrowserTtlText, DurationText, OneOrMany};
use crate::config::{Mode, OriginProtocol};
use crate::rewrite::{self, Conditional};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// One or more host names that are served from one origin.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Its name in the API, in metrics and in the site's own tags; letters a to z, digits, `.`, `_` and `-`, at most 64.
    /// Changing it changes the site's tags: what CDNs hold keeps the old ones until it expires.
    #[schemars(regex(pattern = "^[a-z0-9._-]{1,64}$"), example = &"www")]
    pub name: String,
    /// Host names as the CDN sends them in `Host`, exact or `*.example.com` (any name below, not `example.com` itself).
    /// Without ports; ASCII case is ignored. An exact name wins over a wildcard. May be absent where `default = true`.
    #[serde(default)]
    #[schemars(example = ["www.example.com", "*.preview.example.com"])]
    pub hosts: Vec<String>,
    /// Serves the hosts that no site names; at most one site. Without one such requests get 421.
    #[serde(default)]
    pub default: bool,
    /// `on`: opted-in responses are rewritten. `observe`: nothing is changed; what would be is counted and logged.
    /// `off`: a plain proxy.
    #[serde(default)]
    pub mode: Mode,
    /// The TTL table and what publish events purge: `generic`, or `aem`, those of AEM Edge Delivery.
    #[serde(default)]
    pub profile: Profile,
    /// `http://` or `https://`, a host, and perhaps a port; no path. Or a list of them, tried in turn.
    #[schemars(example = &"https://main--site--org.aem.live")]
    pub origin: OneOrMany,
    /// The `Host` that the origin sees: `origin` (the origin's own name), `preserve` (that of the request), or a name.
    #[serde(default = "origin_host")]
    pub origin_host: String,
    /// Puts the public scheme and host into a `Location` that names the origin's own host, as nginx's `proxy_redirect` does.
    /// The scheme is that which one of `server.trusted_proxies` tells of the visitor; without one, `//` and the host, which
    /// keeps the visitor's. Off, the `Location` stays as it is, and such a redirect is never lengthened.
    #[serde(default)]
    pub rewrite_location: bool,
    /// The origin may still answer with the old version for this long after a publish, at most 1h. Purges wait for it.
    #[serde(default = "no_time")]
    pub origin_settle: DurationText,
    /// The version of HTTP that origins are talked to in. `http1`: HTTP/1.1. `http2`: with `https://` HTTP/2 is offered
    /// beside HTTP/1.1 and the origin chooses (ALPN); with `http://` it must speak HTTP/2 from the first byte (h2c).
    /// Requests that ask for one of `upgrades` use HTTP/1.1.
    #[serde(default)]
    pub origin_protocol: OriginProtocol,
    /// Requests at a time at each of the origins, over all workers. More wait for their turn, at most
    /// `server.limits.origin_queue_timeout`; then 503. A connection that was switched to another protocol counts no more.
    /// 0: no limit.
    #[serde(default)]
    pub origin_connections: u32,
    /// Replaces `server.limits.body_timeout`: the longest pause between two parts of a request body.
    #[serde(default)]
    pub body_timeout: Option<DurationText>,
    /// Replaces `server.limits.body_min_rate`: bytes per second that a request body must come with; 0: any.
    #[serde(default)]
    pub body_min_rate: Option<u32>,
    /// Replaces `server.limits.tunnel_timeout`: for how long nothing may pass over a connection that was switched to
    /// another protocol.
    #[serde(default)]
    pub tunnel_timeout: Option<DurationText>,
    /// Replaces `server.limits.origin_connect_timeout`: connecting to the origin, TLS included.
    #[serde(default)]
    pub origin_connect_timeout: Option<DurationText>,
    /// Replaces `server.limits.origin_queue_timeout`: waiting for a turn at an origin that is at its
    /// `origin_connections`.
    #[serde(default)]
    pub origin_queue_timeout: Option<DurationText>,
    /// Replaces `server.limits.origin_first_byte_timeout`: from the request sent to the head of the origin's response.
    /// Long polls need more.
    #[serde(default)]
    pub origin_first_byte_timeout: Option<DurationText>,
    /// Replaces `server.limits.origin_body_timeout`: the longest pause between two parts of the origin's body. Event
    /// streams that may be silent need more.
    #[serde(default)]
    pub origin_body_timeout: Option<DurationText>,
    /// TLS towards origins with `https://`.
    #[serde(default)]
    pub origin_tls: OriginTls,
    /// Looks from time to time whether the origins are well, besides what requests show. Default: no.
    #[serde(default)]
    pub origin_check: Option<OriginCheck>,
    /// Protocols that a visitor's connection may be switched to (`Upgrade`), such as `websocket`. The wish for any other
    /// is not passed on. The CDN must pass them on, too.
    #[serde(default)]
    #[schemars(example = ["websocket"])]
    pub upgrades: Vec<String>,
    /// Whose `X-Push-Invalidation: enabled` is believed.
    #[serde(default)]
    pub opt_in: OptIn,
    /// Lifetimes. They go into headers, so they are whole seconds, and at most 365d.
    #[serde(default)]
    pub cache: Cache,
    /// What differs by path. The first rule that matches wins.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The tags that the site adds to those of the origin.
    #[serde(default)]
    pub tags: Tags,
    /// Endings under which the origin serves the same page: publish events purge a path in each of these forms. `""` is the
    /// page without an ending.
    #[serde(default = "page_forms")]
    #[schemars(inner(regex(pattern = "^$|^[/.][^?#*]*$")))]
    pub page_forms: Vec<String>,
    /// What publish events purge besides their own paths. Every rule that matches applies.
    #[serde(default)]
    pub events: Vec<EventRule>,
    /// The site of AEM Edge Delivery that the origin serves. Default: none, and with `profile = "aem"` no publish events.
    pub aem: Option<Aem>,
    /// The CDNs to purge. Without any, the site is a plain proxy.
    #[serde(default)]
    pub cdns: Vec<Cdn>,
}

fn origin_host() -> String {
    "origin".to_owned()
}

fn page_forms() -> Vec<String> {
    ["", "/", "/index.html", ".html"].map(str::to_owned).to_vec()
}

fn no_time() -> DurationText {
    "0s".into()
}

/// TLS towards origins. Their certificates are always verified.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OriginTls {
    /// PEM file of the authorities that the origin's certificate must come from, instead of those that the machine trusts.
    #[schemars(example = &"tls/origin-ca.pem")]
    pub ca: Option<String>,
    /// PEM file of a certificate, then its intermediates, that is shown to origins that ask for one. Needs `key`.
    #[schemars(example = &"tls/shim.pem")]
    pub cert: Option<String>,
    /// PEM file of its private key (PKCS#8, PKCS#1 or SEC1), not encrypted.
    #[schemars(example = &"tls/shim.key")]
    pub key: Option<String>,
    /// The name that is asked for (SNI) and that the origin's certificate must be for. Default: the host in `origin`.
    #[schemars(example = &"origin.example.com")]
    pub server_name: Option<String>,
}

/// How it is found out whether an origin is well. Each of its addresses is asked.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OriginCheck {
    /// The target of a GET. It should be cheap, and say whether the origin can serve.
    #[schemars(regex(pattern = "^/"), example = &"/healthz")]
    pub path: String,
    /// The `Host` of the request. Default: what `origin_host` says, and with `preserve` the first of the site's hosts.
    #[serde(default)]
    pub host: Option<String>,
    /// Between two of them, at least 1s.
    #[serde(default = "check_interval")]
    pub interval: DurationText,
    /// The status that says that it is well.
    #[serde(default = "check_status")]
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// So many good answers in a row and an address is used again.
    #[serde(default = "check_rise")]
    #[schemars(range(min = 1))]
    pub rise: u32,
    /// So many bad ones in a row and it is not used while others are well.
    #[serde(default = "check_fall")]
    #[schemars(range(min = 1))]
    pub fall: u32,
}

fn check_interval() -> DurationText {
    "10s".into()
}

fn check_status() -> u16 {
    200
}

fn check_rise() -> u32 {
    2
}

fn check_fall() -> u32 {
    3
}

/// `sites.profile`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// For any origin.
    #[default]
    Generic,
    /// For AEM Edge Delivery.
    Aem,
}

impl From<Profile> for rewrite::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Generic => Self::Generic,
            Profile::Aem => Self::Aem,
        }
    }
}

/// Whose `X-Push-Invalidation: enabled` is believed. Whoever is believed can give responses a long lifetime in a cache
/// that nobody purges.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptIn {
    /// `any`: every peer (for a first try). `secret`: peers that send `secret` in `X-Origin-Shim-Secret`. `client-cert`:
    /// peers with a certificate that `server.client_ca` vouches for. A list of networks or addresses: peers from there.
    #[schemars(schema_with = "trust_schema")]
    pub trust: OneOrMany,
    /// With `trust = "secret"`: a secret of at least 16 characters. It never reaches the origin.
    #[schemars(example = &"env:SHIM_EDGE_SECRET")]
    pub secret: Option<SecretRef>,
}

impl Default for OptIn {
    fn default() -> Self {
        Self { trust: OneOrMany::One("any".to_owned()), secret: None }
    }
}

fn trust_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "string", "enum": ["any", "secret", "client-cert"] },
            { "type": "array", "items": { "type": "string" }, "minItems": 1 }
        ],
        "default": "any",
        "examples": [["10.0.0.0/8", "2001:db8::7"]]
    })
}

/// Lifetimes. They go into headers, so they are whole seconds, and at most 365d.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// How long the CDN may reuse a response.
    pub edge_ttl: DurationText,
    /// How long a visitor's browser may reuse a response; nothing can purge it there. `origin`: as long as the origin says
    /// (`max-age`, else `Expires`), with its `immutable` and `must-revalidate`; where it says nothing, browsers ask each time
    /// and the CDN answers. Or a duration for all. Default: `origin`, and with `profile = "aem"` 2h.
    #[schemars(example = &"origin")]
    pub browser_ttl: Option<BrowserTtlText>,
    /// The longest lifetime of a response that could not be purged: its CDN is not healthy, or its tags do not fit.
    pub fallback_ttl: DurationText,
    /// How long the CDN may reuse a 404 or 410.
    pub not_found_ttl: DurationText,
    /// How long the CDN may reuse a response that the origin produced before a purge that covers it.
    pub guard_ttl: DurationText,
    /// A response counts as on its way until so long after its last byte was written. A purge that is accepted meanwhile
    /// is sent a second time after that. At most 60s.
    pub follow_up_margin: DurationText,
    /// The CDN may serve a stale response for this long while it fetches a fresh one. 0s: not at all.
    pub stale_while_revalidate: DurationText,
    /// The CDN may serve a stale response for this long while the origin fails. 0s: not at all.
    pub stale_if_error: DurationText,
    /// What becomes of the conditional requests of a CDN that is believed. `strip`: they reach the origin without
    /// `If-None-Match` and `If-Modified-Since`, so that it answers with the whole page and all of its tags: once in a lifetime.
    /// `pass`: for origins whose 304s repeat tags and lifetimes; one without tags changes neither at the CDN, except to
    /// shorten. Akamai takes no tags from a 304, so its requests are always stripped.
    pub conditional: Conditional,
    /// Request headers that the origin may name in `Vary` without losing the long lifetime. `accept-encoding` always may.
    pub vary: Vec<String>,
    /// A purge that has not been sent for this long makes its CDN unhealthy: responses get `fallback_ttl`.
    pub max_purge_lag: DurationText,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            edge_ttl: "2d".into(),
            browser_ttl: None,
            fallback_ttl: "5m".into(),
            not_found_ttl: "5m".into(),
            guard_ttl: "1s".into(),
            follow_up_margin: "500ms".into(),
            stale_while_revalidate: "0s".into(),
            stale_if_error: "0s".into(),
            conditional: Conditional::Strip,
            vary: vec!["accept-encoding".to_owned()],
            max_purge_lag: "60s".into(),
        }
    }
}

/// What differs for the paths that a pattern matches.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which paths. It starts with `/`; `*` stands for anything within a segment, `**` also across segments.
    #[schemars(regex(pattern = "^/"), example = &"/assets/**")]
    pub path: String,
    /// Replaces the site's `edge_ttl`.
    #[serde(default)]
    pub edge_ttl: Option<DurationText>,
    /// Replaces the site's `browser_ttl`: `origin`, or a duration.
    #[serde(default)]
    pub browser_ttl: Option<BrowserTtlText>,
    /// May lengthen what the origin did not allow, such as a response with `Set-Cookie` or `private`. A wrong rule shows
    /// one visitor's page to others.
    #[serde(default, rename = "override")]
    pub allow_override: bool,
    /// Tags that matching responses get besides the origin's; without spaces, commas and `*`, at most 16 KiB each.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Replaces that of the site: the longest pause between two parts of a request body.
    #[serde(default)]
    pub body_timeout: Option<DurationText>,
    /// Replaces that of the site: bytes per second that a request body must come with; 0: any.
    #[serde(default)]
    pub body_min_rate: Option<u32>,
    /// Replaces that of the site: for how long nothing may pass over a connection that was switched to another
    /// protocol.
    #[serde(default)]
    pub tunnel_timeout: Option<DurationText>,
    /// Replaces that of the site: from the request sent to the head of the origin's response. Long polls need more.
    #[serde(default)]
    pub origin_first_byte_timeout: Option<DurationText>,
    /// Replaces that of the site: the longest pause between two parts of the origin's body. Event streams that may be
    /// silent need more.
    #[serde(default)]
    pub origin_body_timeout: Option<DurationText>,
}

/// The tags that the site adds to those of the origin.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tags {
    /// A tag per path, by which `paths` are purged with every query.
    pub path: bool,
    /// A tag for the whole site, by which `everything` purges this site only.
    pub site: bool,
    /// A tag per leading path segment, by which `prefixes` are purged, for this many levels: 0 to 16.
    #[schemars(range(max = 16))]
    pub sections: u8,
}

impl Default for Tags {
    fn default() -> Self {
        Self { path: true, site: true, sections: 0 }
    }
}
