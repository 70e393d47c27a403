//! What was purged of each site, and the workers that can tell what is on its way.

use super::clock::Clock;
use super::in_flight::{Inbox, Question};
use crate::rewrite::Purged;
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
}

/// What keeps old responses out of caches.
#[derive(Debug, Default)]
pub struct Freshness {
    /// The clock by which requests and purges are compared.
    pub clock: Clock,
    sites: Mutex<HashMap<String, Arc<PurgedSite>>>,
    workers: Mutex<Vec<mpsc::UnboundedSender<Question>>>,
    off: AtomicBool,
}

impl Freshness {
    /// What was purged of the site of this name. Not for the request path: keep the returned handle.
    pub fn site(&self, name: &str) -> Arc<PurgedSite> {
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u32::try_from(sites.len()).unwrap_or(u32::MAX);
        let new = || Arc::new(PurgedSite { number, purged: Purged::default() });
        sites.entry(name.to_owned()).or_insert_with(new).clone()
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
