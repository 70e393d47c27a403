//! The five CDNs, and the headers in which each of them reads its edge TTL and its tags.

use super::fields::Field;
use http::HeaderName;
use http::header::{CACHE_CONTROL, CDN_CACHE_CONTROL};
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

impl CdnType {
    /// Every type, in the order of its declaration.
    pub const ALL: [CdnType; 5] =
        [CdnType::Fastly, CdnType::Akamai, CdnType::Cloudflare, CdnType::Cloudfront, CdnType::Varnish];

    /// Its name in configuration, in `X-BYO-CDN-Type` and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            CdnType::Fastly => "fastly",
            CdnType::Akamai => "akamai",
            CdnType::Cloudflare => "cloudflare",
            CdnType::Cloudfront => "cloudfront",
            CdnType::Varnish => "varnish",
        }
    }

    /// Whether it waits for the final response after an interim one, as RFC 9110 §15.2 demands. Varnish (7.1, and its VCL has no
    /// say in it) takes the first head for the whole answer and sends its visitors a 503.
    pub fn takes_interim(self) -> bool {
        self != CdnType::Varnish
    }
}

/// Some of the types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CdnTypes(u8);

impl CdnTypes {
    /// All of them.
    pub const ALL: Self = Self((1 << CdnType::ALL.len()) - 1);

    /// Whether this type is one of them.
    pub fn contains(self, cdn: CdnType) -> bool {
        self.0 & (1 << cdn as u8) != 0
    }
}

impl FromIterator<CdnType> for CdnTypes {
    fn from_iter<I: IntoIterator<Item = CdnType>>(types: I) -> Self {
        Self(types.into_iter().fold(0, |all, cdn| all | 1 << cdn as u8))
    }
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

impl Dialect {
    /// The dialect of `cdn`; a header that is not given is the CDN's own default. CloudFront has no default tag
    /// header: it reads tags only where its distribution names one (`CacheTagConfig`).
    pub fn new(cdn: CdnType, ttl_header: Option<HeaderName>, tag_header: Option<HeaderName>) -> Self {
        let ttl_header = ttl_header.unwrap_or_else(|| match cdn {
            CdnType::Fastly | CdnType::Varnish => SURROGATE_CONTROL.clone(),
            CdnType::Akamai => EDGE_CONTROL.clone(),
            CdnType::Cloudflare => CLOUDFLARE_CDN_CACHE_CONTROL.clone(),
            CdnType::Cloudfront => CACHE_CONTROL,
        });
        let tag_header = tag_header.or_else(|| match cdn {
            CdnType::Fastly => Some(SURROGATE_KEY.clone()),
            CdnType::Akamai => Some(EDGE_CACHE_TAG.clone()),
            CdnType::Cloudflare => Some(CACHE_TAG.clone()),
            CdnType::Cloudfront => None,
            CdnType::Varnish => Some(XKEY.clone()),
        });
        Self { cdn, ttl_header, tag_header }
    }
}

impl Dialect {
    /// Whether spaces stand between tags in its tag header; else commas do.
    pub(super) fn separates_by_spaces(&self) -> bool {
        matches!(self.cdn, CdnType::Fastly | CdnType::Varnish)
    }

    /// Whether a header of this name carries lifetimes, of whichever CDN: tags in there would be lost.
    pub fn carries_lifetimes(name: &HeaderName) -> bool {
        Field::named(name)
            .is_some_and(|field| field == Field::CacheControl || Field::TARGETED.contains(&field))
    }

    /// Whether a header of this name carries tags, of whichever CDN: a lifetime in there would be lost.
    pub fn carries_tags(name: &HeaderName) -> bool {
        Field::named(name).is_some_and(|field| Field::TAGS.contains(&field))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_of_the_configuration() {
        for cdn in CdnType::ALL {
            assert_eq!(serde_json::to_value(cdn).unwrap(), cdn.as_str());
        }
        assert_eq!(CdnType::ALL.map(CdnType::takes_interim), [true, true, true, true, false]);
    }

    #[test]
    fn some_of_the_types() {
        use CdnType::{Akamai, Fastly, Varnish};
        let check = |some: &[CdnType]| {
            let types: CdnTypes = some.iter().copied().collect();
            for cdn in CdnType::ALL {
                assert_eq!(types.contains(cdn), some.contains(&cdn), "{some:?} {cdn:?}");
            }
        };
        check(&[]);
        check(&[Fastly]);
        check(&[Varnish, Akamai]);
        check(&[Akamai, Akamai]);
        check(&CdnType::ALL);
        assert_eq!(CdnTypes::ALL, CdnType::ALL.into_iter().collect());
    }

    #[test]
    fn what_headers_carry() {
        let check = |name: &str, lifetimes: bool, tags: bool| {
            let name: HeaderName = name.parse().unwrap();
            let carries = (Dialect::carries_lifetimes(&name), Dialect::carries_tags(&name));
            assert_eq!(carries, (lifetimes, tags), "{name}");
        };
        for name in ["cache-control", "surrogate-control", "cdn-cache-control", "edge-control"] {
            check(name, true, false);
        }
        for name in ["surrogate-key", "xkey", "cache-tag", "edge-cache-tag"] {
            check(name, false, true);
        }
        for name in ["age", "expires", "x-tags"] {
            check(name, false, false);
        }
        let by_spaces = CdnType::ALL.map(|cdn| Dialect::new(cdn, None, None).separates_by_spaces());
        assert_eq!(by_spaces, [true, false, false, false, true]);
    }
}
