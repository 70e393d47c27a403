//! The resolved configuration: what `file.rs` says, checked and with every default and secret filled in.

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
    /// Where accepted purges are kept.
    pub store: Store,
    /// What is logged.
    pub log: Log,
    /// The sites, in file order.
    pub sites: Vec<Arc<Site>>,
}

impl Config {
    /// Reads the file at `path`; [`load`] also gives the warnings.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load(path).map(|loaded| loaded.config)
    }

    /// Reads a text. `path` is named in complaints, and relative paths are relative to it; [`parse`] also gives the warnings.
    pub fn parse(text: &str, path: &Path, env: secret::Env<'_>) -> Result<Self, ConfigError> {
        parse(text, path, env).map(|loaded| loaded.config)
    }
}

/// `[server]`
#[derive(Clone, Debug, Default)]
pub struct Server {
    /// Names the installation in `CDN-Loop`; none: the store's.
    pub id: Option<String>,
    /// Plain listeners (HTTP/1.1 and HTTP/2 with prior knowledge).
    pub listen: Vec<SocketAddr>,
    /// TLS listeners (ALPN chooses the version).
    pub tls_listen: Vec<SocketAddr>,
    /// Worker threads, at least 1 (0 in the file becomes the number of cores).
    pub workers: usize,
    /// Certificates in file order; the first serves unknown names.
    pub certificates: Vec<Certificate>,
    /// PEM file of the authorities whose client certificates are believed; none: no client is asked for one.
    pub client_ca: Option<PathBuf>,
    /// Peers that begin every connection with a PROXY protocol header.
    pub proxy_protocol: Vec<IpNet>,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `traceparent` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Limits and timeouts.
    pub limits: Limits,
}

/// `[[server.certificates]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// PEM file of the chain.
    pub cert: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}

/// `[server.limits]`
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open client connections, over all workers.
    pub connections: usize,
    /// Requests that are being answered, over all workers.
    pub requests_in_flight: usize,
    /// Requests at a time on one HTTP/2 connection.
    pub http2_streams: u32,
    /// A client connection is ended after this, once it has no request.
    pub connection_max_age: Duration,
    /// A TLS handshake, and a PROXY protocol header, must end within this.
    pub handshake_timeout: Duration,
    /// A request's head must arrive within this.
    pub header_timeout: Duration,
    /// An idle keep-alive connection is closed after this.
    pub keep_alive_timeout: Duration,
    /// Between two parts of a request body.
    pub body_timeout: Duration,
    /// Bytes per second of a request body, over each `body_timeout` of waiting for it; 0: no such limit.
    pub body_min_rate: u32,
    /// A client that takes no byte of a response for this long is cut off.
    pub write_timeout: Duration,
    /// A connection of another protocol, over which nothing passes for this long, is closed.
    pub tunnel_timeout: Duration,
    /// Connecting to the origin, TLS included.
    pub origin_connect_timeout: Duration,
    /// From the request sent to the response head.
    pub origin_first_byte_timeout: Duration,
    /// Between two parts of a response body.
    pub origin_body_timeout: Duration,
    /// How long an idle pooled origin connection is kept.
    pub origin_idle_timeout: Duration,
    /// How long a request waits for its turn at an origin that is at its `origin_connections`.
    pub origin_queue_timeout: Duration,
    /// Failures in a row after which an address of an origin is avoided; 0: none is.
    pub origin_max_fails: u32,
    /// For how long.
    pub origin_fail_timeout: Duration,
    /// Between two resolutions of an origin's name.
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
    /// After SIGTERM, requests in flight may end within this.
    pub drain_timeout: Duration,
}

/// What an empty `[server.limits]` means.
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

/// What a site or a rule has otherwise than `[server.limits]`: what is only a limit once it is known who is asked for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherLimits {
    /// `body_timeout`
    pub body_timeout: Option<Duration>,
    /// `body_min_rate`
    pub body_min_rate: Option<u32>,
    /// `tunnel_timeout`
    pub tunnel_timeout: Option<Duration>,
    /// `origin_connect_timeout`
    pub origin_connect_timeout: Option<Duration>,
    /// `origin_queue_timeout`
    pub origin_queue_timeout: Option<Duration>,
    /// `origin_first_byte_timeout`
    pub origin_first_byte_timeout: Option<Duration>,
    /// `origin_body_timeout`
    pub origin_body_timeout: Option<Duration>,
}

impl OtherLimits {
    /// Those limits with these in their place; none where nothing is otherwise.
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

/// `[admin]`
#[derive(Clone, Debug)]
pub struct Admin {
    /// The admin listener.
    pub listen: SocketAddr,
    /// Names under which it is reached, lower case; addresses and `localhost` are not among them.
    pub hosts: Vec<String>,
    /// Who may call.
    pub tokens: Vec<AdminToken>,
}

/// `[[admin.tokens]]`
#[derive(Clone, Debug)]
pub struct AdminToken {
    /// Named in logs and in the audit line.
    pub name: String,
    /// The bearer token.
    pub token: Secret,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Which sites; none: all.
    pub sites: Option<Vec<String>>,
}

/// What an admin token may do.
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

/// `[store]`
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The SQLite file; `None`: in memory (the demo and tests only).
    pub path: Option<PathBuf>,
    /// How long ended purges are kept.
    pub retention: Duration,
}

/// `[log]`
#[derive(Clone, Debug)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// Which are; it can be parsed.
    pub filter: String,
    /// Which requests have a line.
    pub access: Access,
    /// The share of the requests with `access = "all"`, 0 to 1; errors are always logged.
    pub access_sample: f64,
}

impl Default for Log {
    fn default() -> Self {
        let access = Access::default();
        Self { format: LogFormat::default(), filter: "info".to_owned(), access, access_sample: 1.0 }
    }
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `log.access`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// None.
    #[default]
    Off,
    /// Those that were answered with a 500 or above.
    Errors,
    /// All, or a share of them.
    All,
}

/// `[[sites]]`
#[derive(Clone, Debug)]
pub struct Site {
    /// Its name in the API, in metrics and in its own tags.
    pub name: String,
    /// Exact and `*.` host names, lower case.
    pub hosts: Vec<String>,
    /// Serves hosts that no site names.
    pub default: bool,
    /// Whether responses are rewritten.
    pub mode: Mode,
    /// Origins, tried in turn; at least one.
    pub origins: Vec<OriginUrl>,
    /// The `Host` that the origin sees.
    pub origin_host: OriginHost,
    /// The origin may still answer with the old version for this long after a purge.
    pub origin_settle: Duration,
    /// For how long after a response's last byte was written it may still be on its way into a CDN's cache.
    pub follow_up_margin: Duration,
    /// How the origins are treated.
    pub origin: OriginSettings,
    /// What it has otherwise than `[server.limits]`.
    pub limits: OtherLimits,
    /// What each of its rules has otherwise than that.
    pub rule_limits: Vec<OtherLimits>,
    /// Whose opt-in is believed.
    pub trust: Trust,
    /// Protocols that a connection may be switched to, lower case.
    pub upgrades: Vec<String>,
    /// How responses are rewritten.
    pub policy: Policy,
    /// What publish events purge.
    pub events: Events,
    /// An unsent job older than this makes its CDN unhealthy.
    pub max_purge_lag: Duration,
    /// Its CDNs.
    pub cdns: Vec<Arc<Cdn>>,
}

/// The events that every site knows; rules may name more.
pub const EVENTS: [&str; 9] =
    ["publish", "unpublish", "cache", "code", "branch-deleted", "config", "metadata", "redirects", "sitemap"];

/// What publish events purge: `sites.page_forms`, `[[sites.events]]`, and what `[sites.aem]` says of them.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// Endings under which the same page is served.
    pub page_forms: Vec<String>,
    /// What is purged besides the paths of the event; every rule that matches applies.
    pub rules: Vec<EventRule>,
    /// With more paths of content than this, an event of an AEM site purges all content.
    pub aem_bulk_threshold: usize,
    /// With more files than this, a push of code to an AEM site purges all code.
    pub aem_code_threshold: usize,
    /// The sheets that give the pages of an AEM site their metadata, as normalised paths.
    pub aem_metadata: Vec<String>,
}

/// `[[sites.events]]`
#[derive(Clone, Debug)]
pub struct EventRule {
    /// Names of events.
    pub on: Vec<String>,
    /// Only events with such a path.
    pub path: Option<PathPattern>,
    /// Folders above the paths that match, this many levels up.
    pub parents: u8,
    /// Pages.
    pub paths: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Prefixes; they end with `/`.
    pub prefixes: Vec<String>,
    /// The whole site.
    pub everything: bool,
}

/// `sites.mode`
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Opted-in responses are rewritten.
    #[default]
    On,
    /// Nothing is changed; what would be is counted and logged.
    Observe,
    /// A plain proxy.
    Off,
}

/// One origin: scheme, host and port; never chosen by a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginUrl {
    /// Whether TLS is used.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `host` or `host:port` as an authority (the port only where it is not the scheme's own).
    pub authority: String,
}

/// `sites.origin_host`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginHost {
    /// The origin's own authority.
    Origin,
    /// The `Host` of the request.
    Preserve,
    /// A fixed name.
    Literal(String),
}

/// Origins that a site may have.
pub const MAX_ORIGINS: usize = 32;

/// `sites.origin_protocol`
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum OriginProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: with `https://` where the origin chooses it, else HTTP/1.1; with `http://` without asking.
    Http2,
}

/// How a site's origins are treated: the keys of `[[sites]]` that begin with `origin_`.
#[derive(Clone, Debug, Default)]
pub struct OriginSettings {
    /// The version of HTTP that they are talked to in.
    pub protocol: OriginProtocol,
    /// Requests at a time at each of them; 0: no limit.
    pub connections: usize,
    /// For those with https.
    pub tls: OriginTls,
    /// How it is found out whether they are well; none: by requests alone.
    pub check: Option<OriginCheck>,
}

/// `[sites.origin_tls]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginTls {
    /// PEM file of the authorities that are believed; none: those of the machine.
    pub ca: Option<PathBuf>,
    /// What is shown to an origin that asks for a certificate.
    pub certificate: Option<Certificate>,
    /// The name that is asked for and verified; none: the origin's host.
    pub server_name: Option<String>,
}

/// `[sites.origin_check]`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginCheck {
    /// Path and query.
    pub path: String,
    /// The `Host`; none: as for requests.
    pub host: Option<String>,
    /// Between two of them.
    pub interval: Duration,
    /// The status that is expected.
    pub status: u16,
    /// Good answers in a row that count.
    pub rise: u32,
    /// Bad answers in a row that count.
    pub fall: u32,
}

/// `sites.opt_in`
#[derive(Clone, Debug)]
pub enum Trust {
    /// Every peer.
    Any,
    /// Peers that send this secret in `X-Origin-Shim-Secret`.
    Secret(Secret),
    /// Peers with a certificate that `server.client_ca` vouches for.
    ClientCertificate,
    /// Peers from these networks.
    Addresses(Vec<IpNet>),
}

/// `[[sites.cdns]]`
#[derive(Clone, Debug, PartialEq)]
pub struct Cdn {
    /// Its name within the site; by default its type.
    pub name: String,
    /// The hosts that visitors use, for URL purges.
    pub hosts: Vec<String>,
    /// Soft or hard by default.
    pub hard: bool,
    /// What `everything` means here.
    pub everything: Everything,
    /// A second purge of the same items after this; zero: none.
    pub repeat_after: Duration,
    /// The same for everything.
    pub repeat_everything_after: Duration,
    /// Its purges are verified: purged pages are asked for, as visitors do.
    pub verify: bool,
    /// Where they are asked for, without a slash at the end; absent: at their own host.
    pub verify_url: Option<String>,
    /// CDNs of one account share its rate.
    pub account: String,
    /// Where the account's rate is not the published one.
    pub rate: Rate,
    /// Its headers.
    pub dialect: Dialect,
    /// Its credentials and endpoints.
    pub settings: CdnSettings,
}

/// `sites.cdns.calls_per_second` and its neighbours: the published rate where they are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Calls.
    pub calls_per_second: Option<f64>,
    /// Calls at once after a pause.
    pub call_burst: Option<u32>,
    /// Items.
    pub items_per_second: Option<f64>,
    /// Items at once after a pause, and so in one call.
    pub item_burst: Option<u32>,
}

/// `sites.cdns.everything`
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Everything {
    /// The site's tag.
    #[default]
    SiteTag,
    /// The CDN's own purge-all.
    Cdn,
}
