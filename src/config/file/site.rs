//! The `[[sites]]` tables.

use super::cdn::Cdn;
use super::events::{Aem, EventRule};
use super::purge_header::PurgeHeader;
use super::tags::Tags;
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
    /// The site's name in the API, in metrics and in the site's own tags; letters a to z, digits, `.`, `_` and `-`, at
    /// most 64. A new name changes the site's tags: responses in CDNs keep the old tags until they expire.
    #[schemars(regex(pattern = "^[a-z0-9._-]{1,64}$"), example = &"www")]
    pub name: String,
    /// Host names as the CDN sends them in `Host`, exact or `*.example.com` (any name below, not `example.com`
    /// itself). Without ports; ASCII case is ignored. An exact name wins over a wildcard. May be absent if `default =
    /// true`.
    #[serde(default)]
    #[schemars(example = ["www.example.com", "*.preview.example.com"])]
    pub hosts: Vec<String>,
    /// Whether this site serves the hosts that no site names. At most one site may. Without such a site these requests
    /// get 421.
    #[serde(default)]
    pub default: bool,
    /// How responses are treated. `on`: opted-in responses are rewritten. `observe`: responses are unchanged; the
    /// decision is only counted and logged. `off`: the site is a plain proxy.
    #[serde(default)]
    pub mode: Mode,
    /// The lifetimes and the publish events of the site: `generic`, or `aem` for AEM Edge Delivery.
    #[serde(default)]
    pub profile: Profile,
    /// The origin: `http://` or `https://`, a host, and optionally a port, without a path. Or a list of origins, tried
    /// in order.
    #[schemars(example = &"https://main--site--org.aem.live")]
    pub origin: OneOrMany,
    /// The `Host` that the origin receives: `origin` (the origin's own name), `preserve` (that of the request), or a
    /// name.
    #[serde(default = "origin_host")]
    pub origin_host: String,
    /// Whether a `Location` that names the origin's own host gets the public scheme and host, as with nginx's
    /// `proxy_redirect`. The scheme is the one that a peer in `server.trusted_proxies` reports for the visitor.
    /// Without such a peer, `//` and the host are used, which keep the visitor's scheme. If this is off, the
    /// `Location` is unchanged, and such a redirect is never lengthened.
    #[serde(default)]
    pub rewrite_location: bool,
    /// How long the origin may still serve the old version after a publish, at most 1h. Purges wait that long.
    #[serde(default = "no_time")]
    pub origin_settle: DurationText,
    /// The version of HTTP for connections to origins. `http1`: HTTP/1.1. `http2` with `https://`: HTTP/2 and HTTP/1.1
    /// are offered, and the origin chooses (ALPN). `http2` with `http://`: the origin must accept HTTP/2 from the
    /// first byte (h2c). Requests for one of `upgrades` always use HTTP/1.1.
    #[serde(default)]
    pub origin_protocol: OriginProtocol,
    /// Concurrent requests to each origin, over all workers. Further ones wait for at most
    /// `server.limits.origin_queue_timeout`, then get 503. A connection that was switched to another protocol is not
    /// included. 0: no limit.
    #[serde(default)]
    pub origin_connections: u32,
    /// The longest pause between two parts of a request body, instead of `server.limits.body_timeout`.
    #[serde(default)]
    pub body_timeout: Option<DurationText>,
    /// The lowest rate of a request body in bytes per second, instead of `server.limits.body_min_rate`. 0: no limit.
    #[serde(default)]
    pub body_min_rate: Option<u32>,
    /// The longest silence on a connection that was switched to another protocol, instead of
    /// `server.limits.tunnel_timeout`.
    #[serde(default)]
    pub tunnel_timeout: Option<DurationText>,
    /// Time to connect to the origin, TLS included, instead of `server.limits.origin_connect_timeout`.
    #[serde(default)]
    pub origin_connect_timeout: Option<DurationText>,
    /// How long a request waits for an origin that has reached its `origin_connections`, instead of
    /// `server.limits.origin_queue_timeout`.
    #[serde(default)]
    pub origin_queue_timeout: Option<DurationText>,
    /// Time from the sent request to the head of the origin's response, instead of
    /// `server.limits.origin_first_byte_timeout`. Long polls need more.
    #[serde(default)]
    pub origin_first_byte_timeout: Option<DurationText>,
    /// The longest pause between two parts of the origin's body, instead of `server.limits.origin_body_timeout`. Event
    /// streams that may be silent need more.
    #[serde(default)]
    pub origin_body_timeout: Option<DurationText>,
    /// TLS settings for origins with `https://`.
    #[serde(default)]
    pub origin_tls: OriginTls,
    /// Active health checks of the origins, in addition to the results of requests. Default: none.
    #[serde(default)]
    pub origin_check: Option<OriginCheck>,
    /// Protocols to which a visitor's connection may be switched (`Upgrade`), such as `websocket`. Requests for other
    /// protocols are not forwarded. The CDN must forward these requests, too.
    #[serde(default)]
    #[schemars(example = ["websocket"])]
    pub upgrades: Vec<String>,
    /// The peers whose `X-Push-Invalidation: enabled` is trusted.
    #[serde(default)]
    pub opt_in: OptIn,
    /// Lifetimes. They are sent in headers, so they are whole seconds, at most 365d.
    #[serde(default)]
    pub cache: Cache,
    /// Settings for paths. The first rule that matches wins.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The tags of responses: those that the site adds, and those that the origin sends.
    #[serde(default)]
    pub tags: Tags,
    /// Endings under which the origin serves the same page. Publish events purge a path in each of these forms. `""`
    /// is the page without an ending.
    #[serde(default = "page_forms")]
    #[schemars(inner(regex(pattern = "^$|^[/.][^?#*]*$")))]
    pub page_forms: Vec<String>,
    /// Rules for what publish events purge in addition to their own paths. Every rule that matches applies.
    #[serde(default)]
    pub events: Vec<EventRule>,
    /// Response headers by which the origin asks for purges, in addition to `Cache-Group-Invalidation` (RFC 9875),
    /// which lists groups and is always read. They count in successful responses (2xx and 3xx) to requests that may
    /// change something, such as POST, PUT, PATCH and DELETE, in every mode of the site. They are not passed on. An
    /// empty list: none is read, not even `Cache-Group-Invalidation`, and all are passed on.
    #[serde(default)]
    pub purge_headers: Option<Vec<PurgeHeader>>,
    /// How long a response with such a header waits until its purge is committed, at most 10s. A purge that takes
    /// longer is still made; it is tried again until the store commits it.
    #[serde(default = "purge_header_wait")]
    pub purge_header_wait: DurationText,
    /// The site of AEM Edge Delivery that the origin serves. Default: none, and with `profile = "aem"` no publish
    /// events.
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

fn purge_header_wait() -> DurationText {
    "250ms".into()
}

fn no_time() -> DurationText {
    "0s".into()
}

/// TLS settings for origins. The certificates of origins are always verified.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OriginTls {
    /// PEM file of the authorities that must have issued the origin's certificate, instead of those that the machine
    /// trusts.
    #[schemars(example = &"tls/origin-ca.pem")]
    pub ca: Option<String>,
    /// PEM file of a certificate, then its intermediates, for origins that request a client certificate. Needs `key`.
    #[schemars(example = &"tls/shim.pem")]
    pub cert: Option<String>,
    /// PEM file of the private key for `cert` (PKCS#8, PKCS#1 or SEC1), not encrypted.
    #[schemars(example = &"tls/shim.key")]
    pub key: Option<String>,
    /// The name that is requested from the origin (SNI) and that its certificate must be for. Default: the host in
    /// `origin`.
    #[schemars(example = &"origin.example.com")]
    pub server_name: Option<String>,
}

/// Active health checks of an origin. Each of its addresses is checked.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OriginCheck {
    /// The target of the GET request. The page should be cheap, and its status should show whether the origin can
    /// serve.
    #[schemars(regex(pattern = "^/"), example = &"/healthz")]
    pub path: String,
    /// The `Host` of the request. Default: the host that `origin_host` selects, and with `preserve` the first of the
    /// site's hosts.
    #[serde(default)]
    pub host: Option<String>,
    /// The time between two checks, at least 1s.
    #[serde(default = "check_interval")]
    pub interval: DurationText,
    /// The response status of a healthy origin.
    #[serde(default = "check_status")]
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Consecutive successful checks after which an address is used again.
    #[serde(default = "check_rise")]
    #[schemars(range(min = 1))]
    pub rise: u32,
    /// Consecutive failed checks after which an address is avoided while others are healthy.
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

/// The values of `sites.profile`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Rules for any origin.
    #[default]
    Generic,
    /// Rules for AEM Edge Delivery.
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

/// The peers whose `X-Push-Invalidation: enabled` is trusted. A trusted peer can give responses a long lifetime in a
/// cache that is never purged.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OptIn {
    /// The trusted peers. `any`: every peer (for testing only). `secret`: peers that send `secret` in
    /// `X-Origin-Shim-Secret`. `client-cert`: peers with a certificate of an authority in `server.client_ca`. A list:
    /// peers from these networks or addresses.
    #[schemars(schema_with = "trust_schema")]
    pub trust: OneOrMany,
    /// The secret of `trust = "secret"`, at least 16 characters. The origin never receives it.
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

/// Lifetimes. They are sent in headers, so they are whole seconds, at most 365d.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// How long the CDN may reuse a response.
    pub edge_ttl: DurationText,
    /// How long a visitor's browser may reuse a response. Copies in browsers cannot be purged. `origin`: as long as
    /// the origin allows (`max-age`, else `Expires`), with its `immutable` and `must-revalidate`; if the origin sets
    /// no lifetime, browsers ask each time and the CDN answers. A duration: the same lifetime for all responses.
    /// Default: `origin`, and with `profile = "aem"` 2h.
    #[schemars(example = &"origin")]
    pub browser_ttl: Option<BrowserTtlText>,
    /// The longest lifetime of a response that cannot be purged, because its CDN is unhealthy or its tags do not fit.
    pub fallback_ttl: DurationText,
    /// How long the CDN may reuse a 404 or 410.
    pub not_found_ttl: DurationText,
    /// How long the CDN may reuse a response that the origin made before a purge that covers it.
    pub guard_ttl: DurationText,
    /// How long after its last byte was written a response still counts as in flight, at most 60s. A purge that covers
    /// a response in flight is repeated after this time.
    pub follow_up_margin: DurationText,
    /// How long the CDN may serve a stale response while it fetches a fresh one. 0s: not at all.
    pub stale_while_revalidate: DurationText,
    /// How long the CDN may serve a stale response while the origin fails. 0s: not at all.
    pub stale_if_error: DurationText,
    /// How conditional requests of a trusted CDN are forwarded. `strip`: without `If-None-Match` and
    /// `If-Modified-Since`, so that the origin sends the whole page with all of its tags, one time in each lifetime.
    /// `pass`: unchanged, for origins whose 304s repeat tags and lifetimes. A 304 without tags leaves tags and
    /// lifetime at the CDN as they are, except to shorten the lifetime. Akamai takes no tags from a 304, so its
    /// requests are always stripped.
    pub conditional: Conditional,
    /// Request headers that the origin may name in `Vary` without losing the long lifetime. `accept-encoding` is
    /// always allowed.
    pub vary: Vec<String>,
    /// The age at which an unsent purge makes its CDN unhealthy, so that responses get `fallback_ttl`.
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

/// Settings for the paths that a pattern matches.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The pattern of paths. It starts with `/`; `*` matches within a segment, `**` across segments.
    #[schemars(regex(pattern = "^/"), example = &"/assets/**")]
    pub path: String,
    /// The edge lifetime, instead of the site's `edge_ttl`.
    #[serde(default)]
    pub edge_ttl: Option<DurationText>,
    /// The browser lifetime, instead of the site's `browser_ttl`: `origin`, or a duration.
    #[serde(default)]
    pub browser_ttl: Option<BrowserTtlText>,
    /// Whether to lengthen also responses that the origin does not allow to be cached, such as those with `Set-Cookie`
    /// or `private`. A wrong rule shows one visitor's page to others.
    #[serde(default, rename = "override")]
    pub allow_override: bool,
    /// Tags that matching responses get in addition to the origin's; without spaces, commas and `*`, at most 16 KiB
    /// each.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The longest pause between two parts of a request body, instead of the site's limit.
    #[serde(default)]
    pub body_timeout: Option<DurationText>,
    /// The lowest rate of a request body in bytes per second, instead of the site's limit. 0: no limit.
    #[serde(default)]
    pub body_min_rate: Option<u32>,
    /// The longest silence on a connection that was switched to another protocol, instead of the site's limit.
    #[serde(default)]
    pub tunnel_timeout: Option<DurationText>,
    /// Time from the sent request to the head of the origin's response, instead of the site's limit. Long polls need
    /// more.
    #[serde(default)]
    pub origin_first_byte_timeout: Option<DurationText>,
    /// The longest pause between two parts of the origin's body, instead of the site's limit. Event streams that may
    /// be silent need more.
    #[serde(default)]
    pub origin_body_timeout: Option<DurationText>,
}
