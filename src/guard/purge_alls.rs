//! Purges of everything that a CDN holds. When such a purge is done, it has removed the copies without our tags
//! that were made before it. Later purges may then rely on tags again, however long those copies would have
//! lived.

use super::untagged::Untagged;
use crate::rewrite::CdnType;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The latest mark for each site and CDN type, and the purge that it is for.
#[derive(Debug, Default)]
pub struct PurgeAlls(Mutex<HashMap<(String, CdnType), Latest>>);

#[derive(Debug, Default)]
struct Latest {
    mark: u64,
    purge: String,
    /// The CDNs that have not reported completion yet.
    left: HashSet<String>,
}

/// A mark for a purge of everything at the CDNs of one type. The purge exists only if it is accepted.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    cdn: CdnType,
    number: u64,
}

impl Mark {
    /// Returns the type of the CDNs.
    pub fn cdn(self) -> CdnType {
        self.cdn
    }
}

impl PurgeAlls {
    /// Announces a purge that will remove everything that the CDNs of this type hold. Must be called before
    /// workers are asked which responses are in flight.
    pub(super) fn mark(&self, untagged: &Untagged, site: &str, cdn: CdnType) -> Mark {
        untagged.mark(cdn);
        let mut all = self.all();
        let latest = all.entry((site.to_owned(), cdn)).or_default();
        // An earlier purge is forgotten even if it is still under way. Its end would not show that copies are gone
        // that were made after it and before this mark.
        *latest = Latest { mark: latest.mark + 1, ..Latest::default() };
        Mark { cdn, number: latest.mark }
    }

    /// Ties a mark to its accepted purge, which is done when all of these CDNs have completed it.
    pub(super) fn accepted(&self, site: &str, mark: Mark, purge: &str, cdns: HashSet<String>) {
        if let Some(latest) = self.all().get_mut(&(site.to_owned(), mark.cdn))
            && latest.mark == mark.number
        {
            (latest.purge, latest.left) = (purge.to_owned(), cdns);
        }
    }

    /// Records that a CDN has completed its part of a purge, follow-ups included.
    pub(super) fn done(&self, untagged: &Untagged, site: &str, cdn: &str, purge: &str) {
        for ((of_site, cdn_type), latest) in self.all().iter_mut() {
            if of_site == site && latest.purge == purge && latest.left.remove(cdn) && latest.left.is_empty() {
                untagged.forget_older(*cdn_type);
            }
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<(String, CdnType), Latest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::{Copies, Freshness};

    /// A site whose copies live until moment 100.
    fn untagged() -> Freshness {
        let freshness = Freshness::default();
        let copies = Copies { until_ms: 100, longest_ms: 1 };
        freshness.site("www").untagged.recall(CdnType::Fastly, copies);
        freshness
    }

    fn is_untagged(freshness: &Freshness) -> bool {
        freshness.site("www").untagged.until_ms(CdnType::Fastly, 0).is_some()
    }

    fn cdns(names: &[&str]) -> HashSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_purge_that_every_cdn_has_done_ends_it() {
        let freshness = untagged();
        let mark = freshness.mark_purge_all("www", CdnType::Fastly);
        freshness.purge_all_accepted("www", mark, "p1", cdns(&["a", "b"]));
        freshness.purge_all_done("www", "a", "p1");
        freshness.purge_all_done("www", "b", "p0");
        freshness.purge_all_done("shop", "b", "p1");
        assert!(is_untagged(&freshness));
        freshness.purge_all_done("www", "b", "p1");
        assert!(!is_untagged(&freshness));
    }

    #[test]
    fn an_earlier_purge_says_nothing_of_later_copies() {
        let freshness = untagged();
        let first = freshness.mark_purge_all("www", CdnType::Fastly);
        let second = freshness.mark_purge_all("www", CdnType::Fastly);
        freshness.purge_all_accepted("www", second, "p2", cdns(&["a"]));
        freshness.purge_all_accepted("www", first, "p1", cdns(&["a"]));
        freshness.purge_all_done("www", "a", "p1");
        assert!(is_untagged(&freshness));
        freshness.purge_all_done("www", "a", "p2");
        assert!(!is_untagged(&freshness));
    }
}
