//! Which of the fields that rewriting cares about a response has: one pass over its header names instead of a
//! lookup for each of them, since most responses have few.

use super::Dialect;
use super::dialect::{
    AKAMAI_CACHE_CONTROL, ANY_CDN_CACHE_CONTROL, CACHE_TAG, CLOUDFLARE_CDN_CACHE_CONTROL, EDGE_CACHE_TAG,
    EDGE_CONTROL, SURROGATE_CONTROL, SURROGATE_KEY, X_SURROGATE_KEY, XKEY,
};
use http::{HeaderMap, HeaderName};

/// Targeted fields (RFC 9213) and their elders, in the order in which they decide where the CDN that asked has no
/// field of its own among them.
static TARGETED: [&HeaderName; 5] = [
    &ANY_CDN_CACHE_CONTROL,
    &SURROGATE_CONTROL,
    &CLOUDFLARE_CDN_CACHE_CONTROL,
    &AKAMAI_CACHE_CONTROL,
    &EDGE_CONTROL,
];

/// The fields in which origins send tags, in the order in which they are joined.
static TAGS: [&HeaderName; 5] = [&SURROGATE_KEY, &X_SURROGATE_KEY, &XKEY, &CACHE_TAG, &EDGE_CACHE_TAG];

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields {
    pub(super) cache_control: bool,
    pub(super) pragma: bool,
    pub(super) expires: bool,
    pub(super) age: bool,
    pub(super) set_cookie: bool,
    pub(super) vary: bool,
    /// The dialect's `ttl_header`, whatever its name.
    pub(super) own_ttl: bool,
    /// The dialect's `tag_header`, whatever its name.
    pub(super) own_tags: bool,
    /// Bits by the order of [`TARGETED`].
    targeted: u8,
    /// Bits by the order of [`TAGS`].
    tags: u8,
}

impl Fields {
    pub(super) fn of(headers: &HeaderMap, dialect: &Dialect) -> Self {
        let mut found = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "cache-control" => found.cache_control = true,
                "pragma" => found.pragma = true,
                "expires" => found.expires = true,
                "age" => found.age = true,
                "set-cookie" => found.set_cookie = true,
                "vary" => found.vary = true,
                "cdn-cache-control" => found.targeted |= 1,
                "surrogate-control" => found.targeted |= 1 << 1,
                "cloudflare-cdn-cache-control" => found.targeted |= 1 << 2,
                "akamai-cache-control" => found.targeted |= 1 << 3,
                "edge-control" => found.targeted |= 1 << 4,
                "surrogate-key" => found.tags |= 1,
                "x-surrogate-key" => found.tags |= 1 << 1,
                "xkey" => found.tags |= 1 << 2,
                "cache-tag" => found.tags |= 1 << 3,
                "edge-cache-tag" => found.tags |= 1 << 4,
                _ => {}
            }
            found.own_ttl |= *name == dialect.ttl_header;
            found.own_tags |= dialect.tag_header.as_ref() == Some(name);
        }
        found
    }

    /// The targeted fields that are there.
    pub(super) fn targeted<'a>(self) -> impl Iterator<Item = &'a HeaderName> {
        let names: &'a [&'a HeaderName; 5] = &TARGETED;
        chosen(names, self.targeted)
    }

    /// The tag fields that are there.
    pub(super) fn tags<'a>(self) -> impl Iterator<Item = &'a HeaderName> {
        let names: &'a [&'a HeaderName; 5] = &TAGS;
        chosen(names, self.tags)
    }
}

fn chosen<'a>(names: &'a [&'a HeaderName; 5], mut bits: u8) -> impl Iterator<Item = &'a HeaderName> {
    std::iter::from_fn(move || {
        let name = names.get(bits.trailing_zeros() as usize)?;
        bits &= bits - 1;
        Some(*name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::CdnType;
    use http::HeaderValue;

    #[test]
    fn every_name_is_found_at_its_place() {
        let dialect = Dialect::new(CdnType::Cloudfront, None, Some(HeaderName::from_static("x-tags")));
        for names in [TARGETED, TAGS] {
            for name in names {
                let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
                let found = Fields::of(&headers, &dialect);
                assert_eq!(found.targeted().chain(found.tags()).collect::<Vec<_>>(), [name]);
            }
        }
    }
}
