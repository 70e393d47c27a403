//! Gives the store the configured names of the CDNs, so that pending purges of a service (that is, of an [`Identity`])
//! continue under its current name. Until the store has the names, nothing new is claimed under a name that may have
//! belonged to another CDN.

use super::target::{Shared, Target};
use crate::cdn::Identity;
use crate::config::Config;
use crate::store::{CdnKey, Moved};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// The interval between two reads of the queues.
pub(super) const WATCH: Duration = Duration::from_secs(1);

/// The names of a configuration's CDNs, each with its identity.
type Names = Vec<(CdnKey, Identity)>;

/// Returns the names of the CDNs in `config`, each with its identity.
pub fn queue_names(config: &Config) -> Vec<(CdnKey, Identity)> {
    let cdns = config.sites.iter().flat_map(|site| site.cdns.iter().map(move |cdn| (site, cdn)));
    let key = |site: &str, cdn: &str| CdnKey { site: site.to_owned(), cdn: cdn.to_owned() };
    cdns.map(|(site, cdn)| (key(&site.name, &cdn.name), Identity::of(cdn))).collect()
}

/// The names of the latest configuration, and those that the store has.
pub(super) struct Naming {
    /// The number of the configuration, from 1, and its names.
    latest: watch::Sender<(u64, Arc<Names>)>,
    known: watch::Sender<(u64, Arc<[Moved]>)>,
}

impl Naming {
    pub(super) fn new() -> Self {
        Self { latest: watch::Sender::default(), known: watch::Sender::new((0, Arc::default())) }
    }

    /// Sets the names of a new configuration and returns its number.
    pub(super) fn set(&self, config: &Config) -> u64 {
        let names = queue_names(config);
        self.latest.send_modify(|(number, latest)| (*number, *latest) = (*number + 1, Arc::new(names)));
        self.latest.borrow().0
    }

    /// Has the names stored again. A queue was found under another CDN's name, because a purge that was planned
    /// before a reload was accepted after it.
    pub(super) fn again(&self) {
        self.latest.send_modify(|(number, _)| *number += 1);
    }

    /// Returns the number of the latest configuration.
    pub(super) fn latest(&self) -> u64 {
        self.latest.borrow().0
    }

    /// Whether the store has the latest names.
    pub(super) fn is_settled(&self) -> bool {
        self.known.borrow().0 == self.latest.borrow().0
    }

    /// Waits until the store has the names of this configuration or of a later one. Returns the queues that were
    /// moved.
    pub(super) async fn known(&self, number: u64) -> Arc<[Moved]> {
        let mut known = self.known.subscribe();
        match known.wait_for(|(known, _)| *known >= number).await {
            Ok(known) => known.1.clone(),
            // This cannot happen, because `self` holds the sender.
            Err(_) => Arc::default(),
        }
    }

    /// Passes every change to the store.
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
        tracing::warn!(
            site,
            cdn,
            jobs,
            waits_as = to.cdn,
            "purges wait for a CDN that the site no longer has"
        );
    } else {
        tracing::info!(site, cdn, jobs, now = to.cdn, "purges wait for a CDN that now has another name");
    }
}

/// Waits until the target's queue has the target's name, even if another CDN had that name before.
pub(super) async fn settled(target: &Target, naming: &Naming) {
    naming.known(target.since).await;
}
