//! The objects that a fake CDN stores for visitors.

use super::{Kind, Purged};
use std::collections::BTreeMap;

/// The state of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// May be served.
    Fresh,
    /// May be served while it is fetched again.
    Stale,
    /// There is none.
    Gone,
}

/// Copies by URL.
#[derive(Debug, Default)]
pub struct Objects(BTreeMap<String, Object>);

#[derive(Debug)]
struct Object {
    tags: Vec<String>,
    stored: Stored,
}

impl Objects {
    /// Holds a fresh copy.
    pub fn put(&mut self, url: &str, tags: &[&str]) {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        self.0.insert(url.to_owned(), Object { tags, stored: Stored::Fresh });
    }

    /// The state of the copy of `url`.
    pub fn look(&self, url: &str) -> Stored {
        self.0.get(url).map_or(Stored::Gone, |object| object.stored)
    }

    /// Purges what the item names.
    pub fn purge(&mut self, item: &Purged) {
        for (url, object) in &mut self.0 {
            if object.stored != Stored::Gone && names(item, url, object) {
                object.stored = if item.hard { Stored::Gone } else { Stored::Stale };
            }
        }
    }
}

fn names(item: &Purged, url: &str, object: &Object) -> bool {
    let without_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = without_scheme.find('/').map_or("/", |slash| &without_scheme[slash..]);
    let matches = |candidate: &str| match item.name.strip_suffix('*') {
        Some(start) => candidate.starts_with(start),
        None => candidate == item.name,
    };
    match item.kind {
        Kind::Everything => true,
        Kind::Tag => object.tags.contains(&item.name),
        Kind::Prefix => without_scheme.starts_with(&item.name),
        // With a scheme, without one (Fastly), or only the path (CloudFront).
        Kind::Url => [url, without_scheme, path].into_iter().any(matches),
    }
}
