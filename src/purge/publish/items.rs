//! Purge items while they are collected: in order and without duplicates.

use crate::purge::PurgeRequest;
use std::collections::HashSet;

/// The items that have been collected so far.
#[derive(Debug, Default)]
pub(super) struct Items {
    request: PurgeRequest,
    seen: HashSet<(Kind, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Path,
    Tag,
    Prefix,
}

impl Items {
    pub(super) fn path(&mut self, path: impl Into<String>) {
        self.push(Kind::Path, path.into());
    }

    pub(super) fn tag(&mut self, tag: impl Into<String>) {
        self.push(Kind::Tag, tag.into());
    }

    pub(super) fn prefix(&mut self, prefix: impl Into<String>) {
        self.push(Kind::Prefix, prefix.into());
    }

    pub(super) fn everything(&mut self) {
        self.request.everything = true;
    }

    /// Returns the request. `everything` replaces all other items.
    pub(super) fn into_request(self) -> PurgeRequest {
        if self.request.everything {
            return PurgeRequest { everything: true, ..PurgeRequest::default() };
        }
        self.request
    }

    fn push(&mut self, kind: Kind, value: String) {
        if self.seen.contains(&(kind, value.clone())) {
            return;
        }
        let list = match kind {
            Kind::Path => &mut self.request.paths,
            Kind::Tag => &mut self.request.tags,
            Kind::Prefix => &mut self.request.prefixes,
        };
        list.push(value.clone());
        self.seen.insert((kind, value));
    }
}
