//! The resolved configuration: the content of the file, checked, with every default and secret filled in.

pub mod cdns;
pub mod duration;
pub mod log_filter;
pub mod secret;

mod at;
mod claims;
mod error;
mod expiry;
mod file;
mod fingerprint;
mod keys;
mod load;
mod locate;
mod resolve;
mod text;
mod validate;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use cdns::CdnSettings;
pub use claims::Claims;
pub use error::{ConfigError, Problem};
pub use expiry::Expiry;
pub use file::cdn::{AkamaiNetwork, CloudflarePlan};
pub use file::schema;
pub use fingerprint::{Difference, Fingerprint};
pub use load::{Loaded, load, parse};

use crate::rewrite::pattern::PathPattern;
use crate::rewrite::{Dialect, Policy};
use ipnet::IpNet;
use secret::Secret;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data plane's listeners and limits.
    pub server: Server,
    /// The admin listener and its tokens.
    pub admin: Admin,
    /// The store of accepted purges.
    pub store: Store,
    /// The settings of the log.
    pub log: Log,
    /// The sites, in file order.
    pub sites: Vec<Arc<Site>>,
}

impl Config {
    /// Reads the file at `path`. [`load`] also returns the warnings.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path).map(|loaded| loaded.config)
    }

    /// Reads a text. Problems name `path`, and relative paths are relative to its directory. [`parse`] also returns
    /// the warnings.
    pub fn parse(text: &str, path: &Path, env: secret::Env<'_>) -> Result<Self, ConfigError> {
        parse(text, path, env).map(|loaded| loaded.config)
    }
}

/// The `[server]` table.
#[derive(Clone, Debug, Default)]
pub struct Server {
    /// The installation's name in `CDN-Loop`; `None` for the name that the store keeps.
    pub id: Option<String>,
    /// Plain listeners (HTTP/1.1, and HTTP/2 with prior knowledge).
    pub listen: Vec<SocketAddr>,
    /// TLS listeners (ALPN chooses the version).
    pub tls_listen: Vec<SocketAddr>,
    /// Worker threads, at least 1 (0 in the file becomes the number of cores).
    pub workers: usize,
    /// Certificates in file order. The first serves unknown names.
    pub certificates: Vec<Certificate>,
    /// PEM file of the authorities whose client certificates are trusted; `None` if no client certificate is
    /// requested.
    pub client_ca: Option<PathBuf>,
    /// Peers that begin every connection with a PROXY protocol header.
    pub proxy_protocol: Vec<IpNet>,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `traceparent` are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Limits and timeouts.
    pub limits: Limits,
}

/// One of the `[[server.certificates]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// PEM file of the chain.
    pub cert: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}

/// The `[server.limits]` table.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open client connections, over all workers.
    pub connections: usize,
    /// Requests in flight, over all workers.
    pub requests_in_flight: usize,
    /// Concurrent requests on one HTTP/2 connection.
    pub http2_streams: u32,
    /// The age at which a client connection is closed as soon as it has no request.
    pub connection_max_age: Duration,
    /// Time for a TLS handshake, and for a PROXY protocol header.
    pub handshake_timeout: Duration,
    /// Time for the head of a request.
    pub header_timeout: Duration,
    /// Time after which an idle client connection is closed.
    pub keep_alive_timeout: Duration,
    /// The longest pause between two parts of a request body.
    pub body_timeout: Duration,
    /// The lowest rate of a request body in bytes per second, over each `body_timeout` of waiting for it; 0: no limit.
    pub body_min_rate: u32,
    /// The longest time in which a client takes no byte of a response before it is cut off.
    pub write_timeout: Duration,
    /// The longest silence on a connection of another protocol before it is closed.
    pub tunnel_timeout: Duration,
    /// Time to connect to the origin, TLS included.
    pub origin_connect_timeout: Duration,
    /// Time from the sent request to the response head.
    pub origin_first_byte_timeout: Duration,
    /// The longest pause between two parts of a response body.
    pub origin_body_timeout: Duration,
    /// How long an idle pooled origin connection is kept.
    pub origin_idle_timeout: Duration,
    /// How long a request waits for an origin that has reached its `origin_connections`.
    pub origin_queue_timeout: Duration,
    /// Consecutive failures after which an address of an origin is avoided; 0: never.
    pub origin_max_fails: u32,
    /// How long a failed address is avoided.
    pub origin_fail_timeout: Duration,
    /// The time between two resolutions of an origin's name.
    pub origin_resolve_interval: Duration,
    /// Idle pooled connections per origin and worker.
    pub origin_pool_size: usize,
    /// Headers in a request.
    pub request_headers: usize,
    /// Bytes of a request's head.
    pub request_header_bytes: usize,
    /// Bytes of a request target.
    pub target_bytes: usize,
    /// Bytes of a request's body; 0: no limit.
    pub request_body_bytes: u64,
    /// Headers in an origin's response.
    pub origin_headers: usize,
    /// Bytes of an origin's response head.
    pub origin_header_bytes: usize,
    /// How long requests in flight may continue after SIGTERM.
    pub drain_timeout: Duration,
}

/// The limits of an empty `[server.limits]`.
impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            requests_in_flight: 16_384,
            http2_streams: 100,
            connection_max_age: Duration::from_secs(3600),
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            body_min_rate: 240,
            write_timeout: Duration::from_secs(60),
            tunnel_timeout: Duration::from_secs(600),
            origin_connect_timeout: Duration::from_secs(2),
            origin_first_byte_timeout: Duration::from_secs(30),
            origin_body_timeout: Duration::from_secs(30),
            origin_idle_timeout: Duration::from_secs(20),
            origin_queue_timeout: Duration::from_secs(5),
            origin_max_fails: 3,
            origin_fail_timeout: Duration::from_secs(10),
            origin_resolve_interval: Duration::from_secs(10),
            origin_pool_size: 256,
            request_headers: 100,
            request_header_bytes: 32 * 1024,
            target_bytes: 8 * 1024,
            request_body_bytes: 0,
            origin_headers: 256,
            origin_header_bytes: 64 * 1024,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// The limits of a site or a rule that replace those in `[server.limits]`. Only limits that apply after the site and
/// path of a request are known can be replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherLimits {
    /// Replacement of `body_timeout`.
    pub body_timeout: Option<Duration>,
    /// Replacement of `body_min_rate`.
    pub body_min_rate: Option<u32>,
    /// Replacement of `tunnel_timeout`.
    pub tunnel_timeout: Option<Duration>,
    /// Replacement of `origin_connect_timeout`.
    pub origin_connect_timeout: Option<Duration>,
    /// Replacement of `origin_queue_timeout`.
    pub origin_queue_timeout: Option<Duration>,
    /// Replacement of `origin_first_byte_timeout`.
    pub origin_first_byte_timeout: Option<Duration>,
    /// Replacement of `origin_body_timeout`.
    pub origin_body_timeout: Option<Duration>,
}

impl OtherLimits {
    /// Returns `limits` with these replacements, or `None` if nothing is replaced.
    pub fn over(&self, limits: &Limits) -> Option<Limits> {
        let Self {
            body_timeout,
            body_min_rate,
            tunnel_timeout,
            origin_connect_timeout,
            origin_queue_timeout,
            origin_first_byte_timeout,
            origin_body_timeout,
        } = *self;
        (*self != Self::default()).then(|| Limits {
            body_timeout: body_timeout.unwrap_or(limits.body_timeout),
            body_min_rate: body_min_rate.unwrap_or(limits.body_min_rate),
            tunnel_timeout: tunnel_timeout.unwrap_or(limits.tunnel_timeout),
            origin_connect_timeout: origin_connect_timeout.unwrap_or(limits.origin_connect_timeout),
            origin_queue_timeout: origin_queue_timeout.unwrap_or(limits.origin_queue_timeout),
            origin_first_byte_timeout: origin_first_byte_timeout.unwrap_or(limits.origin_first_byte_timeout),
            origin_body_timeout: origin_body_timeout.unwrap_or(limits.origin_body_timeout),
            ..limits.clone()
        })
    }
}

/// The `[admin]` table.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The admin listener.
    pub listen: SocketAddr,
    /// Host names of the admin API, in lower case. Addresses and `localhost` are not among them.
    pub hosts: Vec<String>,
    /// The callers and their tokens.
    pub tokens: Vec<AdminToken>,
}

/// One of the `[[admin.tokens]]`.
#[derive(Clone, Debug)]
pub struct AdminToken {
    /// The caller's name in logs and in the audit log.
    pub name: String,
    /// The bearer token.
    pub token: Secret,
    /// The scopes of the token.
    pub scopes: Vec<Scope>,
    /// The sites that the token may use; `None` for all.
    pub sites: Option<Vec<String>>,
}

/// A permission of an admin token.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Read purges, sites and health.
    Read,
    /// Purge items of a site.
    Purge,
    /// Purge everything of a site.
    PurgeEverything,
    /// Pause, resume, retry, acknowledge, cancel, reload.
    Operate,
}

/// The `[store]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The SQLite file; `None` for a store in memory (the demo and tests only).
    pub path: Option<PathBuf>,
    /// How long ended purges are kept.
    pub retention: Duration,
}

/// The `[log]` table.
#[derive(Clone, Debug)]
pub struct Log {
    /// The format of log lines.
    pub format: LogFormat,
    /// The filter for log lines, which is valid.
    pub filter: String,
    /// The requests with a line in the access log.
    pub access: Access,
    /// The share of requests that are logged with `access = "all"`, 0 to 1. Errors are always logged.
    pub access_sample: f64,
}

impl Default for Log {
    fn default() -> Self {
        let access = Access::default();
        Self { format: LogFormat::default(), filter: "info".to_owned(), access, access_sample: 1.0 }
    }
}

/// The values of `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The values of `log.access`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// No requests.
    #[default]
    Off,
    /// Requests that were answered with 500 or above.
    Errors,
    /// All requests, or a share of them.
    All,
}

/// One of the `[[sites]]`.
#[derive(Clone, Debug)]
pub struct Site {
    /// The site's name in the API, in metrics and in the site's own tags.
    pub name: String,
    /// Exact and `*.` host names, in lower case.
    pub hosts: Vec<String>,
    /// Whether the site serves hosts that no site names.
    pub default: bool,
    /// Whether responses are rewritten.
    pub mode: Mode,
    /// Origins, tried in order; at least one.
    pub origins: Vec<OriginUrl>,
    /// The `Host` that the origin receives.
    pub origin_host: OriginHost,
    /// How long the origin may still serve the old version after a purge.
    pub origin_settle: Duration,
    /// How long after its last byte was written a response may still be in flight to a CDN's cache.
    pub follow_up_margin: Duration,
    /// Settings for the origins.
    pub origin: OriginSettings,
    /// The site's replacements of `[server.limits]`.
    pub limits: OtherLimits,
    /// The replacements of the site's limits by each of its rules.
    pub rule_limits: Vec<OtherLimits>,
    /// The peers whose opt-in is trusted.
    pub trust: Trust,
    /// Protocols to which a connection may be switched, in lower case.
    pub upgrades: Vec<String>,
    /// How responses are rewritten.
    pub policy: Policy,
    /// The settings for publish events.
    pub events: Events,
    /// The age at which an unsent job makes its CDN unhealthy.
    pub max_purge_lag: Duration,
    /// The CDNs of the site.
    pub cdns: Vec<Arc<Cdn>>,
}

/// The events of every site. Rules may name more.
pub const EVENTS: [&str; 9] =
    ["publish", "unpublish", "cache", "code", "branch-deleted", "config", "metadata", "redirects", "sitemap"];

/// The settings for publish events: `sites.page_forms`, `[[sites.events]]`, and the part of `[sites.aem]` that is
/// about events.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// Endings under which the same page is served.
    pub page_forms: Vec<String>,
    /// The rules for what is purged in addition to the paths of the event. Every rule that matches applies.
    pub rules: Vec<EventRule>,
    /// The number of content paths above which an event of an AEM site purges all content.
    pub aem_bulk_threshold: usize,
    /// The number of files above which a push of code to an AEM site purges all code.
    pub aem_code_threshold: usize,
    /// The sheets that define the metadata of pages of an AEM site, as normalised paths.
    pub aem_metadata: Vec<String>,
}

/// One of the `[[sites.events]]`.
#[derive(Clone, Debug)]
pub struct EventRule {
    /// Names of events.
    pub on: Vec<String>,
    /// The pattern that a path of the event must match.
    pub path: Option<PathPattern>,
    /// The number of levels of folders above matching paths to purge.
    pub parents: u8,
    /// Pages to purge.
    pub paths: Vec<String>,
    /// Tags to purge.
    pub tags: Vec<String>,
    /// Prefixes to purge; they end with `/`.
    pub prefixes: Vec<String>,
    /// Whether the whole site is purged.
    pub everything: bool,
}

/// The values of `sites.mode`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Opted-in responses are rewritten.
    #[default]
    On,
    /// Responses are unchanged. The decision is only counted and logged.
    Observe,
    /// The site is a plain proxy.
    Off,
}

/// One origin: scheme, host and port. No request can choose them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginUrl {
    /// Whether TLS is used.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `host` or `host:port` as an authority, without the scheme's default port.
    pub authority: String,
}

/// The values of `sites.origin_host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginHost {
    /// The origin's own authority.
    Origin,
    /// The `Host` of the request.
    Preserve,
    /// A fixed name.
    Literal(String),
}

/// The largest number of origins of a site.
pub const MAX_ORIGINS: usize = 32;

/// The values of `sites.origin_protocol`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum OriginProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2. With `https://` the origin may choose HTTP/1.1 instead; with `http://` it has no choice.
    Http2,
}

/// Settings for a site's origins: the keys of `[[sites]]` that begin with `origin_`.
#[derive(Clone, Debug, Default)]
pub struct OriginSettings {
    /// The version of HTTP for connections to the origins.
    pub protocol: OriginProtocol,
    /// Concurrent requests to each origin; 0: no limit.
    pub connections: usize,
    /// TLS settings for origins with `https://`.
    pub tls: OriginTls,
    /// Active health checks; `None` if only the results of requests decide.
    pub check: Option<OriginCheck>,
}

/// The `[sites.origin_tls]` table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginTls {
    /// PEM file of the trusted authorities; `None` for those of the machine.
    pub ca: Option<PathBuf>,
    /// The certificate for origins that request a client certificate.
    pub certificate: Option<Certificate>,
    /// The name that is requested and verified; `None` for the origin's host.
    pub server_name: Option<String>,
}

/// The `[sites.origin_check]` table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginCheck {
    /// Path and query of the check.
    pub path: String,
    /// The `Host`; `None` for the host of requests.
    pub host: Option<String>,
    /// The time between two checks.
    pub interval: Duration,
    /// The expected status.
    pub status: u16,
    /// Consecutive successful checks after which an address is used again.
    pub rise: u32,
    /// Consecutive failed checks after which an address is avoided.
    pub fall: u32,
}

/// The values of `sites.opt_in.trust`.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Every peer.
    Any,
    /// Peers that send this secret in `X-Origin-Shim-Secret`.
    Secret(Secret),
    /// Peers with a certificate of an authority in `server.client_ca`.
    ClientCertificate,
    /// Peers from these networks.
    Addresses(Vec<IpNet>),
}

/// One of the `[[sites.cdns]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cdn {
    /// The CDN's name within the site; by default its type.
    pub name: String,
    /// The hosts that visitors use, for URL purges.
    pub hosts: Vec<String>,
    /// Whether purges are hard by default.
    pub hard: bool,
    /// The extent of `everything` here.
    pub everything: Everything,
    /// The time after which the same items are purged a second time; zero: never.
    pub repeat_after: Duration,
    /// The time after which everything is purged a second time; zero: never.
    pub repeat_everything_after: Duration,
    /// Whether purges are verified by requests for purged pages, as visitors make them.
    pub verify: bool,
    /// The base URL at which pages are requested for verification, without a slash at the end; `None` for the page's
    /// own host.
    pub verify_url: Option<String>,
    /// The account, whose rate its CDNs share.
    pub account: String,
    /// The account's rate, if it is not the published one.
    pub rate: Rate,
    /// The CDN's headers.
    pub dialect: Dialect,
    /// The CDN's credentials and endpoints.
    pub settings: CdnSettings,
}

/// `sites.cdns.calls_per_second` and related keys. An absent one means the published rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Calls per second.
    pub calls_per_second: Option<f64>,
    /// Calls at once after a pause.
    pub call_burst: Option<u32>,
    /// Items per second.
    pub items_per_second: Option<f64>,
    /// Items at once after a pause, and so in one call.
    pub item_burst: Option<u32>,
}

/// The values of `sites.cdns.everything`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Everything {
    /// Everything with the site's tag.
    #[default]
    SiteTag,
    /// Everything, by the CDN's own purge-all.
    Cdn,
}
