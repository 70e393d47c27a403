//! The five CDNs and the headers each of them understands.

use http::HeaderName;
use serde::{Deserialize, Serialize};

/// A kind of CDN that the shim can speak to and purge.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum CdnType {
    /// Fastly (Surrogate-Control, Surrogate-Key).
    Fastly,
    /// Akamai (Edge-Control, Edge-Cache-Tag).
    Akamai,
    /// Cloudflare (Cloudflare-CDN-Cache-Control, Cache-Tag).
    Cloudflare,
    /// Amazon CloudFront (Cache-Control with s-maxage; a tag header if the distribution has one).
    Cloudfront,
    /// Varnish with the VCL that we ship (Surrogate-Control, xkey).
    Varnish,
}

/// The headers in which one CDN reads its edge TTL and its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Whose dialect it is.
    pub cdn: CdnType,
    /// The header that carries the edge TTL; its name decides the syntax (`Edge-Control`, `Cache-Control`, targeted).
    pub ttl_header: HeaderName,
    /// The header that carries the tags; none where the CDN takes no tags.
    pub tag_header: Option<HeaderName>,
}
