//! The origins of a site, resolved: their URLs, and the keys of `[[sites]]` with settings for them.

use super::server::Certificate;
use std::path::PathBuf;
use std::time::Duration;

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
