//! What was purged of each site, and the workers that can tell what is on its way.

use super::clock::Clock;
use super::purge_alls::PurgeAlls;
use super::question::{Inbox, Question};
use super::untagged::{Untagged, WithoutTags};
use crate::config::Mode;
use crate::rewrite::{CdnType, Purged};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// What was purged of one site.
#[derive(Debug)]
pub struct PurgedSite {
    /// Stands for the site as long as the program runs.
    pub number: u32,
    /// What was purged.
    pub purged: Purged,
    /// What went to its CDNs without our tags.
    pub untagged: Untagged,
}

/// What keeps old responses out of caches.
#[derive(Debug, Default)]
pub struct Freshness {
    /// The clock by which requests and purges are compared.
    pub clock: Clock,
    /// What removes copies without our tags.
    pub purge_alls: PurgeAlls,
    sites: Mutex<HashMap<String, Arc<PurgedSite>>>,
    workers: Mutex<Vec<mpsc::UnboundedSender<Question>>>,
    off: AtomicBool,
    /// What former runs sent without our tags is not known.
    untold: AtomicBool,
}

impl Freshness {
    /// What was purged of the site of this name. Not for the request path: keep the returned handle.
    pub fn site(&self, name: &str) -> Arc<PurgedSite> {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u32::try_from(sites.len()).unwrap_or(u32::MAX);
        let new =
            || Arc::new(PurgedSite { number, purged: Purged::default(), untagged: Untagged::default() });
        sites.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// Every site that was ever asked for.
    pub fn sites(&self) -> Vec<(String, Arc<PurgedSite>)> {
        let sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        sites.iter().map(|(name, site)| (name.clone(), site.clone())).collect()
    }

    /// Why copies without our tags may be in the CDNs of this type of the site, if they may.
    pub fn without_tags(&self, site: &str, mode: Mode, cdn: CdnType) -> Option<WithoutTags> {
        self.without_tags_at(site, mode, cdn, self.clock.now_ms())
    }

    /// The same at that moment.
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

    /// Whether it is not known what former runs sent without our tags.
    pub fn set_untold(&self, untold: bool) {
        self.untold.store(untold, Ordering::Relaxed);
    }

    /// A worker will answer questions.
    pub fn join(&self) -> Inbox {
        let (sender, inbox) = mpsc::unbounded_channel();
        self.workers().push(sender);
        Inbox(inbox)
    }

    /// Asks every worker; how many there are to answer. One that has ended has nothing on its way.
    pub fn ask(&self, question: &Question) -> usize {
        if self.is_off() {
            return 0;
        }
        let mut workers = self.workers();
        workers.retain(|worker| worker.send(question.clone()).is_ok());
        workers.len()
    }

    /// Purges as if nobody could be late. For the test that proves what the guard is good for.
    pub fn turn_off(&self) {
        self.off.store(true, Ordering::Relaxed);
    }

    /// See [`Freshness::turn_off`].
    pub fn is_off(&self) -> bool {
        self.off.load(Ordering::Relaxed)
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::UnboundedSender<Question>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
