//! What the API of a CDN can purge, and how much of it in one call.

use super::item::ItemKind;

/// The capabilities of an adapter's CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Tags can be purged.
    pub tags: bool,
    /// Prefixes can be purged.
    pub prefixes: bool,
    /// URLs and tags can be marked stale instead of deleted.
    pub soft: bool,
    /// `everything` can be marked stale.
    pub soft_everything: bool,
    /// Prefixes can be marked stale.
    pub soft_prefixes: bool,
    /// A prefix may be `host/path?`: the page with any query.
    pub any_query: bool,
    /// The schemes under which the CDN keeps separate copies of one URL; a single scheme if the scheme is not
    /// part of a copy's name.
    pub schemes: &'static [&'static str],
    /// The maximum number of URLs in one call.
    pub urls_per_call: usize,
    /// The maximum number of tags in one call.
    pub tags_per_call: usize,
    /// The maximum number of prefixes in one call.
    pub prefixes_per_call: usize,
    /// The maximum size of one call's body (Varnish: of its tag header) in bytes, with two quotes and a
    /// separator for each item.
    pub bytes_per_call: usize,
    /// Different kinds may share a call.
    pub mixed_kinds: bool,
    /// The CDN recognises calls by their reference: a repeated call must be identical to the first one.
    pub stable_reference: bool,
}

impl Capabilities {
    /// The maximum number of items of one kind in one call; 0 if the CDN does not purge this kind.
    pub fn items_per_call(&self, kind: ItemKind) -> usize {
        match kind {
            ItemKind::Url => self.urls_per_call,
            ItemKind::Tag => self.tags_per_call,
            ItemKind::Prefix => self.prefixes_per_call,
            ItemKind::Everything => 1,
        }
    }
}
