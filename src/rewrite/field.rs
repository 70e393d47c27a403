//! The response fields that rewriting reads or writes, and their names.

use crate::http::head::Known;
use http::HeaderName;
use http::header::{CACHE_CONTROL, CDN_CACHE_CONTROL};

/// A field that rewriting reads or writes.
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
    /// The dialect's `ttl_header`, if it is none of these.
    OwnTtl,
}

impl Field {
    pub(super) const COUNT: usize = Self::OwnTtl as usize + 1;

    /// The bit of this field in a set of fields.
    pub(super) fn bit(self) -> u32 {
        1 << self as u8
    }

    /// Targeted fields (RFC 9213) and their predecessors, in order of precedence. The order applies if none of
    /// them belongs to the CDN that sent the request.
    pub(super) const TARGETED: [Self; 5] = [
        Self::CdnCacheControl,
        Self::SurrogateControl,
        Self::CloudflareCdnCacheControl,
        Self::AkamaiCacheControl,
        Self::EdgeControl,
    ];

    /// The fields whose names do not depend on the dialect, in the order of declaration, with what their names mean.
    const STANDARD: [(Self, Known); 12] = [
        (Self::CacheControl, Known::CacheControl),
        (Self::Pragma, Known::Pragma),
        (Self::Expires, Known::Expires),
        (Self::Date, Known::Date),
        (Self::Age, Known::Age),
        (Self::SetCookie, Known::SetCookie),
        (Self::Vary, Known::Vary),
        (Self::CdnCacheControl, Known::CdnCacheControl),
        (Self::SurrogateControl, Known::SurrogateControl),
        (Self::CloudflareCdnCacheControl, Known::CloudflareCdnCacheControl),
        (Self::AkamaiCacheControl, Known::AkamaiCacheControl),
        (Self::EdgeControl, Known::EdgeControl),
    ];

    /// [Bits](Known::bit) of the names of these.
    pub(super) const NAMES: u64 = {
        let (mut names, mut number) = (0, 0);
        while number < Self::STANDARD.len() {
            let (field, known) = Self::STANDARD[number];
            assert!(field as usize == number, "the fields are in their order");
            names |= known.bit();
            number += 1;
        }
        names
    };

    /// The field whose name has this meaning, if it is a standard one.
    pub(super) fn of(known: Known) -> Option<Self> {
        // A name is looked up for each line, and most lines are none of these.
        static FIELDS: [Option<Field>; u64::BITS as usize] = {
            let (mut fields, mut number) = ([None; u64::BITS as usize], 0);
            while number < Field::STANDARD.len() {
                let (field, known) = Field::STANDARD[number];
                fields[known as usize] = Some(field);
                number += 1;
            }
            fields
        };
        FIELDS[known as usize]
    }

    /// The meaning of the field's name; `None` if the name depends on the dialect.
    pub(super) fn known(self) -> Option<Known> {
        Self::STANDARD.get(self as usize).map(|(_, known)| *known)
    }

    /// The field with this name, if it is a standard one.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::of(Known::of(name))
    }

    /// Iterates over all fields.
    #[cfg(test)]
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let standard = Self::STANDARD.into_iter().map(|(field, _)| field);
        standard.chain([Self::OwnTtl])
    }

    /// Whether the field is a dictionary of structured fields (RFC 9213 §2.1). `Surrogate-Control` and
    /// `Edge-Control` are older.
    pub(super) fn is_structured(self) -> bool {
        matches!(self, Self::CdnCacheControl | Self::CloudflareCdnCacheControl | Self::AkamaiCacheControl)
    }
}

/// The name of a field, and its meaning.
#[derive(Clone, Copy, Debug)]
pub(super) struct FieldName<'n> {
    pub(super) name: &'n HeaderName,
    pub(super) known: Known,
}

/// The syntax of a field that carries lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `Cache-Control` itself, which browser and edge share.
    CacheControl,
    /// A field for CDNs with the directives of `Cache-Control` (RFC 9213).
    Targeted,
    /// Akamai's `Edge-Control`, which has negations, and lifetimes with units.
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

/// The field of the W3C Edge Architecture, read by Fastly and by the included VCL.
pub(super) static SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
/// A field that only Cloudflare reads.
pub(super) static CLOUDFLARE_CDN_CACHE_CONTROL: HeaderName =
    HeaderName::from_static("cloudflare-cdn-cache-control");
/// A field of RFC 9213 that only Akamai reads.
pub(super) static AKAMAI_CACHE_CONTROL: HeaderName = HeaderName::from_static("akamai-cache-control");
/// Akamai's older field.
pub(super) static EDGE_CONTROL: HeaderName = HeaderName::from_static("edge-control");

/// Fastly's tags.
pub(super) static SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// The tags of AEM's pipeline and of some frameworks.
pub(super) static X_SURROGATE_KEY: HeaderName = HeaderName::from_static("x-surrogate-key");
/// Varnish's tags, as vmod xkey reads them.
pub(super) static XKEY: HeaderName = HeaderName::from_static("xkey");
/// Cloudflare's tags, which Drupal sends, too.
pub(super) static CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
/// Akamai's tags.
pub(super) static EDGE_CACHE_TAG: HeaderName = HeaderName::from_static("edge-cache-tag");

/// `CDN-Cache-Control` (RFC 9213 §3.1).
pub(super) static ANY_CDN_CACHE_CONTROL: HeaderName = CDN_CACHE_CONTROL;

/// `Cache-Control`, which browsers and CDNs share.
pub(super) static GENERAL: HeaderName = CACHE_CONTROL;
