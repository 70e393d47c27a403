//! The `[[inbound]]` tables, resolved.

use super::secret::Secret;
use super::template::{Pointer, Template};
use http::HeaderName;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// A listener for the purge requests of other systems' clients.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// The addresses.
    pub listen: Vec<SocketAddr>,
    /// What the clients speak.
    pub protocol: InboundProtocol,
    /// The site that is purged; `None` if the request decides.
    pub site: Option<String>,
    /// The networks of the clients.
    pub allow: Vec<IpNet>,
    /// What happens to a pattern that is not understood.
    pub on_unknown_pattern: UnknownPattern,
    /// The header in which a token is presented; `None` if no token is wanted.
    pub token_header: Option<HeaderName>,
    /// Whether `REFRESH` purges.
    pub refresh: bool,
    /// The webhooks.
    pub hooks: Vec<Hook>,
}

impl Inbound {
    /// Whether a client may come from this address.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.iter().any(|network| network.contains(&address))
    }
}

/// What the clients of a listener speak.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum InboundProtocol {
    /// The conventions of plug-ins for Varnish.
    Varnish,
    /// Fastly's purge API.
    Fastly,
    /// Cloudflare's purge API.
    Cloudflare,
    /// Akamai's purge API.
    Akamai,
    /// Webhooks of content management systems.
    Webhook,
}

impl InboundProtocol {
    /// Whether its requests present a token.
    pub fn takes_tokens(self) -> bool {
        matches!(self, Self::Fastly | Self::Cloudflare | Self::Akamai)
    }

    /// Returns the name as the configuration spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Varnish => "varnish",
            Self::Fastly => "fastly",
            Self::Cloudflare => "cloudflare",
            Self::Akamai => "akamai",
            Self::Webhook => "webhook",
        }
    }
}

/// What happens to a pattern that is not understood.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum UnknownPattern {
    /// The request is refused.
    #[default]
    Refuse,
    /// The whole site is purged.
    Everything,
}

/// A webhook.
#[derive(Clone, Debug)]
pub struct Hook {
    /// The name, which is the path.
    pub name: String,
    /// The site that is purged.
    pub site: String,
    /// The proof that is wanted; `None` if there is none.
    pub proof: Option<HookProof>,
    /// What is purged, and when.
    pub rule: HookRule,
}

/// How the sender of a webhook proves who it is.
#[derive(Clone, Debug)]
pub struct HookProof {
    /// The scheme.
    pub scheme: HookScheme,
    /// The header of the signature, for the schemes that have no header of their own.
    pub header: HeaderName,
    /// The secret that the sender has, too.
    pub secret: Secret,
}

/// The values of `inbound.hooks.verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HookScheme {
    /// The HMAC-SHA256 of the body in a header.
    HmacSha256,
    /// The HMAC-SHA1 of the body in a header.
    HmacSha1,
    /// `Authorization: Bearer` with the secret.
    Bearer,
    /// `Authorization: Basic` with the secret, which is `user:password`.
    Basic,
    /// Contentful's request verification.
    Contentful,
    /// Sanity's signature.
    Sanity,
    /// Storyblok's signature.
    Storyblok,
    /// Kontent.ai's signature.
    Kontent,
}

impl HookScheme {
    /// Whether the configuration names the header of the signature.
    pub fn takes_header(self) -> bool {
        matches!(self, Self::HmacSha256 | Self::HmacSha1)
    }
}

/// What a webhook purges, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookRule {
    /// The conditions, all of which must hold.
    pub when: Vec<Condition>,
    /// Templates of tags.
    pub tags: Vec<Template>,
    /// Templates of paths.
    pub paths: Vec<Template>,
    /// Templates of prefixes.
    pub prefixes: Vec<Template>,
    /// Whether everything is purged.
    pub everything: bool,
    /// The event that the webhook stands for, with the paths, instead of a purge.
    pub event: Option<String>,
}

/// A condition of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Where the value is.
    pub of: Place,
    /// The values for which the condition holds.
    pub is: Vec<String>,
}

/// A place in a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A place in the body.
    Body(Pointer),
    /// A header field.
    Header(HeaderName),
}
