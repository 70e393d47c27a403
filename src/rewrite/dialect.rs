//! The header fields in which a CDN reads its edge TTL and its tags.

use super::CdnType;
use super::field::{
    AKAMAI_CACHE_CONTROL, ANY_CDN_CACHE_CONTROL, CLOUDFLARE_CDN_CACHE_CONTROL, EDGE_CONTROL, Field,
    FieldName, SURROGATE_CONTROL,
};
use super::tag_field::{Separator, carries_tags};
use super::tags::{self, TagForm};
use crate::http::head::Known;
use http::HeaderName;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, PRAGMA, SET_COOKIE, VARY};
use std::borrow::Cow;

/// A set of CDN types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CdnTypes(u8);

impl CdnTypes {
    /// The set of all types.
    pub const ALL: Self = Self((1 << CdnType::ALL.len()) - 1);

    /// Whether the set contains this type.
    pub fn contains(self, cdn: CdnType) -> bool {
        self.0 & (1 << cdn as u8) != 0
    }
}

impl FromIterator<CdnType> for CdnTypes {
    fn from_iter<I: IntoIterator<Item = CdnType>>(types: I) -> Self {
        Self(types.into_iter().fold(0, |all, cdn| all | 1 << cdn as u8))
    }
}

/// The header fields in which one CDN reads its edge TTL and its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The CDN that uses this dialect.
    pub cdn: CdnType,
    /// The header field that carries the edge TTL. Its name decides the syntax (`Edge-Control`, `Cache-Control`,
    /// targeted).
    pub ttl_header: HeaderName,
    /// The header field that carries the tags; `None` if the CDN takes no tags.
    pub tag_header: Option<HeaderName>,
    /// The form of the tags.
    pub tag_form: TagForm,
}

impl Dialect {
    /// The dialect of `cdn`. A field that is not given is the CDN's default, if it has one. Tags are sent
    /// in full.
    pub fn new(cdn: CdnType, ttl_header: Option<HeaderName>, tag_header: Option<HeaderName>) -> Self {
        let facts = cdn.facts();
        let ttl_header = ttl_header.unwrap_or_else(|| facts.ttl_header.clone());
        let tag_header = tag_header.or_else(|| facts.tag_header.cloned());
        Self { cdn, ttl_header, tag_header, tag_form: TagForm::Full }
    }
}

impl Dialect {
    /// Returns a tag as the CDN gets it; see [`tags::encode`].
    pub fn encode<'t>(&self, tag: &'t str) -> Cow<'t, str> {
        tags::encode(self.cdn, self.tag_form, tag)
    }

    /// The field that carries the tags, if there is one.
    pub(super) fn tag_field(&self) -> Option<FieldName<'_>> {
        self.tag_header.as_ref().map(|name| FieldName { name, known: Known::of(name.as_str()) })
    }

    /// The same field with its separator.
    pub(super) fn tag_list(&self) -> Option<(FieldName<'_>, Separator)> {
        self.tag_field().map(|field| (field, Separator::Byte(self.separator())))
    }

    /// The separator of tags in the tag field.
    pub(super) fn separator(&self) -> u8 {
        self.cdn.facts().tags.separator
    }

    /// Whether a field of this name carries lifetimes of any CDN. Tags in such a field would be lost.
    pub fn carries_lifetimes(name: &str) -> bool {
        Field::named(name)
            .is_some_and(|field| field == Field::CacheControl || Field::TARGETED.contains(&field))
    }

    /// Whether a field of this name usually carries tags. A lifetime in such a field would be lost.
    pub fn carries_tags(name: &str) -> bool {
        carries_tags(name)
    }
}

impl Field {
    /// The name of the field and its meaning.
    pub(super) fn of_dialect(self, dialect: &Dialect) -> FieldName<'_> {
        let name = self.name(dialect);
        FieldName { name, known: self.known().unwrap_or_else(|| Known::of(name.as_str())) }
    }

    /// The name of the field. The name of `OwnTtl` depends on the dialect.
    pub(super) fn name(self, dialect: &Dialect) -> &HeaderName {
        static STANDARD: [HeaderName; 7] = [CACHE_CONTROL, PRAGMA, EXPIRES, DATE, AGE, SET_COOKIE, VARY];
        match self {
            Self::CdnCacheControl => &ANY_CDN_CACHE_CONTROL,
            Self::SurrogateControl => &SURROGATE_CONTROL,
            Self::CloudflareCdnCacheControl => &CLOUDFLARE_CDN_CACHE_CONTROL,
            Self::AkamaiCacheControl => &AKAMAI_CACHE_CONTROL,
            Self::EdgeControl => &EDGE_CONTROL,
            Self::OwnTtl => &dialect.ttl_header,
            standard => &STANDARD[standard as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let carries = (Dialect::carries_lifetimes(name), Dialect::carries_tags(name));
            assert_eq!(carries, (lifetimes, tags), "{name}");
        };
        for name in ["cache-control", "surrogate-control", "cdn-cache-control", "edge-control"] {
            check(name, true, false);
        }
        for name in ["surrogate-key", "xkey", "cache-tag", "edge-cache-tag", "x-magento-tags"] {
            check(name, false, true);
        }
        for name in ["age", "expires", "x-tags"] {
            check(name, false, false);
        }
    }
}
