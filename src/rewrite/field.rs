//! The fields of a response that rewriting cares about, and their names.

use crate::http::head::Known;
use http::HeaderName;
use http::header::{CACHE_CONTROL, CDN_CACHE_CONTROL};

/// A field that rewriting cares about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Field {
    CacheControl,
    Pragma,
    Expires,
    Date,
    Age,
    SetCookie,
    Vary,
    CdnCacheControl,
    SurrogateControl,
    CloudflareCdnCacheControl,
    AkamaiCacheControl,
    EdgeControl,
    SurrogateKey,
    XSurrogateKey,
    Xkey,
    CacheTag,
    EdgeCacheTag,
    /// The dialect's `ttl_header`, where it is none of these.
    OwnTtl,
    /// The dialect's `tag_header`, where it is none of these.
    OwnTags,
}

impl Field {
    pub(super) const COUNT: usize = Self::OwnTags as usize + 1;

    /// Its place in a set of fields.
    pub(super) fn bit(self) -> u32 {
        1 << self as u8
    }

    /// Targeted fields (RFC 9213) and their elders, in the order in which they decide where the CDN that asked has no
    /// field of its own among them.
    pub(super) const TARGETED: [Self; 5] = [
        Self::CdnCacheControl,
        Self::SurrogateControl,
        Self::CloudflareCdnCacheControl,
        Self::AkamaiCacheControl,
        Self::EdgeControl,
    ];

    /// The fields in which origins send tags, in the order in which they are joined.
    pub(super) const TAGS: [Self; 5] =
        [Self::SurrogateKey, Self::XSurrogateKey, Self::Xkey, Self::CacheTag, Self::EdgeCacheTag];

    pub(super) fn of(known: Known) -> Option<Self> {
        Some(match known {
            Known::Age => Self::Age,
            Known::Vary => Self::Vary,
            Known::Date => Self::Date,
            Known::Xkey => Self::Xkey,
            Known::Pragma => Self::Pragma,
            Known::Expires => Self::Expires,
            Known::CacheTag => Self::CacheTag,
            Known::SetCookie => Self::SetCookie,
            Known::EdgeControl => Self::EdgeControl,
            Known::CacheControl => Self::CacheControl,
            Known::SurrogateKey => Self::SurrogateKey,
            Known::EdgeCacheTag => Self::EdgeCacheTag,
            Known::XSurrogateKey => Self::XSurrogateKey,
            Known::CdnCacheControl => Self::CdnCacheControl,
            Known::SurrogateControl => Self::SurrogateControl,
            Known::AkamaiCacheControl => Self::AkamaiCacheControl,
            Known::CloudflareCdnCacheControl => Self::CloudflareCdnCacheControl,
            _ => return None,
        })
    }

    /// The one of this name, where that is a usual one.
    pub(super) fn named(name: &HeaderName) -> Option<Self> {
        Self::of(Known::of(name.as_str()))
    }

    /// Every one.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let standard =
            [Self::CacheControl, Self::Pragma, Self::Expires, Self::Date, Self::Age, Self::SetCookie];
        let own = [Self::Vary, Self::OwnTtl, Self::OwnTags];
        standard.into_iter().chain(own).chain(Self::TARGETED).chain(Self::TAGS)
    }

    /// Whether it is a dictionary of structured fields (RFC 9213 §2.1). `Surrogate-Control` and `Edge-Control` are
    /// older.
    pub(super) fn is_structured(self) -> bool {
        matches!(self, Self::CdnCacheControl | Self::CloudflareCdnCacheControl | Self::AkamaiCacheControl)
    }
}

/// How a field that carries lifetimes is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `Cache-Control` itself: browser and edge share it.
    CacheControl,
    /// A field of its own with the directives of `Cache-Control` (RFC 9213).
    Targeted,
    /// Akamai's `Edge-Control`: negations, and lifetimes with units.
    EdgeControl,
}

impl Syntax {
    /// The syntax of a field.
    pub(super) fn of(field: Field) -> Self {
        match field {
            Field::CacheControl => Syntax::CacheControl,
            Field::EdgeControl => Syntax::EdgeControl,
            _ => Syntax::Targeted,
        }
    }
}

/// W3C Edge Architecture, read by Fastly and by the VCL that we ship.
pub(super) static SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
/// Read by Cloudflare only.
pub(super) static CLOUDFLARE_CDN_CACHE_CONTROL: HeaderName =
    HeaderName::from_static("cloudflare-cdn-cache-control");
/// RFC 9213, read by Akamai only.
pub(super) static AKAMAI_CACHE_CONTROL: HeaderName = HeaderName::from_static("akamai-cache-control");
/// Akamai's older field.
pub(super) static EDGE_CONTROL: HeaderName = HeaderName::from_static("edge-control");

/// Fastly's tags.
pub(super) static SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// What AEM's pipeline and some frameworks send.
pub(super) static X_SURROGATE_KEY: HeaderName = HeaderName::from_static("x-surrogate-key");
/// Varnish's tags, as vmod xkey reads them.
pub(super) static XKEY: HeaderName = HeaderName::from_static("xkey");
/// Cloudflare's tags; also what Drupal sends.
pub(super) static CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// Akamai's tags.
pub(super) static EDGE_CACHE_TAG: HeaderName = HeaderName::from_static("edge-cache-tag");

/// `CDN-Cache-Control` (RFC 9213 §3.1).
pub(super) static ANY_CDN_CACHE_CONTROL: HeaderName = CDN_CACHE_CONTROL;

/// `Cache-Control`, which browsers and CDNs share.
pub(super) static GENERAL: HeaderName = CACHE_CONTROL;
