//! The purges of each site, and the workers that can report which responses are in flight.

use super::clock::Clock;
use super::fence::Fence;
use super::purge_alls::{Mark, PurgeAlls};
use super::question::{Inbox, Question};
use super::untagged::{Untagged, WithoutTags};
use crate::config::Mode;
use crate::rewrite::{CdnType, Purged};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// The purges of one site, and the copies that tags cannot purge.
#[derive(Debug)]
pub struct PurgedSite {
    /// A number that identifies the site as long as the program runs.
    pub number: u32,
    /// The moments of past purges.
    pub purged: Purged,
    /// The copies without our tags that may be in the site's CDNs.
    pub untagged: Untagged,
    /// Until when this instance may give long lifetimes.
    pub fence: Arc<Fence>,
}

/// The shared state that keeps old responses out of caches.
#[derive(Debug, Default)]
pub struct Freshness {
    /// The clock by which requests and purges are compared.
    pub clock: Clock,
    /// Until when this instance may give long lifetimes.
    pub fence: Arc<Fence>,
    /// Purges of everything, which remove copies without our tags.
    purge_alls: PurgeAlls,
    sites: Mutex<HashMap<String, Arc<PurgedSite>>>,
    workers: Mutex<Vec<mpsc::UnboundedSender<Question>>>,
    off: AtomicBool,
    /// Whether it is unknown which responses former runs sent without our tags.
    untold: AtomicBool,
}

impl Freshness {
    /// Returns the purges of the site of this name. The call takes a lock, so the request path must keep the
    /// returned handle instead of calling it.
    pub fn site(&self, name: &str) -> Arc<PurgedSite> {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u32::try_from(sites.len()).unwrap_or(u32::MAX);
        let new = || {
            let fence = self.fence.clone();
            Arc::new(PurgedSite { number, purged: Purged::default(), untagged: Untagged::default(), fence })
        };
        sites.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// Announces a purge that will remove everything that the CDNs of this type hold of the site. Must be called
    /// before workers are asked which responses are in flight.
    pub fn mark_purge_all(&self, site: &str, cdn: CdnType) -> Mark {
        self.purge_alls.mark(&self.site(site).untagged, site, cdn)
    }

    /// Ties a mark to its accepted purge, which is done when all of these CDNs have completed it.
    pub fn purge_all_accepted(&self, site: &str, mark: Mark, purge: &str, cdns: HashSet<String>) {
        self.purge_alls.accepted(site, mark, purge, cdns);
    }

    /// Records that a CDN has completed its part of a purge, follow-ups included.
    pub fn purge_all_done(&self, site: &str, cdn: &str, purge: &str) {
        self.purge_alls.done(&self.site(site).untagged, site, cdn, purge);
    }

    /// Returns every site that was ever passed to [`Freshness::site`].
    pub fn sites(&self) -> Vec<(String, Arc<PurgedSite>)> {
        let sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        sites.iter().map(|(name, site)| (name.clone(), site.clone())).collect()
    }

    /// Returns why copies without our tags may be in the site's CDNs of this type, or `None` if there are none.
    pub fn without_tags(&self, site: &str, mode: Mode, cdn: CdnType) -> Option<WithoutTags> {
        self.without_tags_at(site, mode, cdn, self.clock.now_ms())
    }

    /// Like [`Freshness::without_tags`], but for the given moment.
    pub(crate) fn without_tags_at(
        &self,
        site: &str,
        mode: Mode,
        cdn: CdnType,
        now_ms: i64,
    ) -> Option<WithoutTags> {
        if mode != Mode::On {
            return Some(WithoutTags::Mode(mode));
        }
        if self.untold.load(Ordering::Relaxed) {
            return Some(WithoutTags::Untold);
        }
        self.site(site).untagged.until_ms(cdn, now_ms).map(WithoutTags::Until)
    }

    /// Sets whether it is unknown which responses former runs sent without our tags.
    pub fn set_untold(&self, untold: bool) {
        self.untold.store(untold, Ordering::Relaxed);
    }

    /// Registers a worker, which will answer questions.
    pub fn join(&self) -> Inbox {
        let (sender, inbox) = mpsc::unbounded_channel();
        self.workers().push(sender);
        Inbox(inbox)
    }

    /// Asks every worker, and returns how many will answer. A worker that has ended has nothing in flight.
    pub fn ask(&self, question: &Question) -> usize {
        if self.is_off() {
            return 0;
        }
        let mut workers = self.workers();
        workers.retain(|worker| worker.send(question.clone()).is_ok());
        workers.len()
    }

    /// Disables the guard: purges then ignore responses in flight. Only for the test that proves that the guard
    /// is needed.
    pub fn turn_off(&self) {
        self.off.store(true, Ordering::Relaxed);
    }

    /// Returns whether [`Freshness::turn_off`] was called.
    pub fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed)
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::UnboundedSender<Question>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
