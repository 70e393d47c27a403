//! Tells the store what the configuration calls its CDNs, so that what waits for a service goes on under its name of today.
//! Until the store knows, nothing new is claimed under a name that may have been another one's.

use super::target::{Shared, Target};
use super::watch::WATCH;
use crate::cdn::Identity;
use crate::config::Config;
use crate::store::{CdnKey, Moved};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::sleep;

/// What a configuration calls its CDNs.
type Names = Vec<(CdnKey, Identity)>;

/// What `config` calls its CDNs, each with the service that it is.
pub fn queue_names(config: &Config) -> Vec<(CdnKey, Identity)> {
    let cdns = config.sites.iter().flat_map(|site| site.cdns.iter().map(move |cdn| (site, cdn)));
    let key = |site: &str, cdn: &str| CdnKey { site: site.to_owned(), cdn: cdn.to_owned() };
    cdns.map(|(site, cdn)| (key(&site.name, &cdn.name), Identity::of(cdn))).collect()
}

/// The names of the latest configuration, and those that the store knows.
pub(super) struct Naming {
    /// Counted from 1.
    latest: watch::Sender<(u64, Arc<Names>)>,
    known: watch::Sender<(u64, Arc<[Moved]>)>,
}

impl Naming {
    pub(super) fn new() -> Self {
        Self { latest: watch::Sender::default(), known: watch::Sender::new((0, Arc::default())) }
    }

    /// Another configuration counts; its number.
    pub(super) fn set(&self, config: &Config) -> u64 {
        let names = queue_names(config);
        self.latest.send_modify(|(number, latest)| (*number, *latest) = (*number + 1, Arc::new(names)));
        self.latest.borrow().0
    }

    /// A queue was found under a name that is another one's: what was planned before a reload was accepted after it.
    pub(super) fn again(&self) {
        self.latest.send_modify(|(number, _)| *number += 1);
    }

    /// The number of the latest configuration.
    pub(super) fn latest(&self) -> u64 {
        self.latest.borrow().0
    }

    /// Whether the store knows the latest names.
    pub(super) fn is_settled(&self) -> bool {
        self.known.borrow().0 == self.latest.borrow().0
    }

    /// Waits until the store knows the names of this configuration, or of a later one; what moved by it.
    pub(super) async fn known(&self, number: u64) -> Arc<[Moved]> {
        let mut known = self.known.subscribe();
        match known.wait_for(|(known, _)| *known >= number).await {
            Ok(known) => known.1.clone(),
            // Cannot be: this has the sender.
            Err(_) => Arc::default(),
        }
    }

    /// Tells the store every change.
    pub(super) async fn run(&self, shared: &Shared) {
        let mut latest = self.latest.subscribe();
        latest.mark_changed();
        while latest.changed().await.is_ok() {
            loop {
                let (number, names) = latest.borrow_and_update().clone();
                if let Ok(moved) = shared.store.name_queues(Names::clone(&names)).await {
                    moved.iter().for_each(tell);
                    self.known.send_replace((number, moved.into()));
                    shared.changed();
                    break;
                }
                sleep(WATCH).await;
            }
        }
    }
}

fn tell(moved: &Moved) {
    let Moved { from, to, orphaned, jobs } = moved;
    let (site, cdn) = (&from.site, &from.cdn);
    if *orphaned {
        tracing::warn!(site, cdn, jobs, waits_as = to.cdn, "purges wait for a CDN that the site has no more");
    } else {
        tracing::info!(site, cdn, jobs, now = to.cdn, "purges wait for a CDN that has another name now");
    }
}

/// The target's queue has its name, whoever had that before.
pub(super) async fn settled(target: &Target, naming: &Naming) {
    naming.known(target.since).await;
}
