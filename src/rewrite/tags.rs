//! Tags: the site's own, and the one encoding that responses and purges share.

use super::CdnType;
use std::borrow::Cow;

/// A tag as the CDN can carry it: unchanged where legal, else a hash in lower-case hex.
pub fn encode(_cdn: CdnType, tag: &str) -> Cow<'_, str> {
    Cow::Borrowed(tag)
}

/// The tag that every response of the site carries.
pub fn site_tag(site: &str) -> String {
    format!("site-{site}")
}

/// The tag of the page at `path` (raw or normalised) of the site.
pub fn path_tag(_site: &str, path: &str) -> String {
    path.to_owned()
}

/// The tag of everything below `prefix` (a path that ends in `/`).
pub fn section_tag(_site: &str, prefix: &str) -> String {
    prefix.to_owned()
}
