//! What is purged, as a CDN names it.

/// The kind of a purge item at the CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    /// An absolute URL (CloudFront: its path and query, perhaps with a wildcard at the end).
    Url,
    /// An encoded tag.
    Tag,
    /// `host/path/`: everything below this path (Varnish: also `host/path?`, the page with any query).
    Prefix,
    /// The CDN's own purge-all; its value is `*`.
    Everything,
}

/// One thing to purge, as this CDN names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    /// The kind of the item.
    pub kind: ItemKind,
    /// The item's name at the CDN.
    pub value: String,
    /// Deletes copies if true, marks them stale if false. A CDN that cannot mark this kind stale deletes: the
    /// content is just as fresh, but the origin has more to serve.
    pub hard: bool,
}

/// The items of one API call: of one kind and one hardness, unless the CDN mixes kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// CloudFront's `CallerReference`: the same on every retry of these sends, and never used for a later purge of
    /// the same items. CloudFront answers a known reference with the earlier invalidation and purges nothing.
    pub reference: String,
    /// The items to purge; never empty.
    pub items: Vec<Item>,
}
