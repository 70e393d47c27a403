//! The `[[sites]]` tables, resolved.

use super::cdn::Cdn;
use super::events::Events;
use super::limits::OtherLimits;
use super::origin::{OriginHost, OriginSettings, OriginUrl};
use super::purge_headers::PurgeHeaders;
use super::secret::Secret;
use crate::rewrite::Policy;
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Duration;

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
    /// How the origin asks for purges in its responses; `None` if it cannot.
    pub purge_headers: Option<PurgeHeaders>,
    /// The age at which an unsent job makes its CDN unhealthy.
    pub max_purge_lag: Duration,
    /// The CDNs of the site.
    pub cdns: Vec<Arc<Cdn>>,
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
