//! This instance as a member of a fleet: it renews its lease, applies what others purged, and learns which accounts it
//! sends for.
//!
//! Others wait for every member that takes part. So a member may give long lifetimes as long as it takes part,
//! however late it learns of a purge: what it gave meanwhile is on its way or in the CDN when it does, and the purge
//! is sent once more after that (`store/postgres/awaited.rs`). What must not happen is that it gives them when
//! nobody waits any more, and for that there is the fence (`guard/fence.rs`).

use super::glue::Delivery;
use crate::admin::{self, Control};
use crate::base::milliseconds;
use crate::config::Config;
use crate::delivery::Engine;
use crate::guard::{Freshness, Since};
use crate::store::{Entry, FollowUps, Head, PostgresStore, Store, StoreError};
use arc_swap::ArcSwap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The pause between two renewals.
const RENEW: Duration = Duration::from_secs(1);
/// The part of the lease that is not used, for pauses of the process between a check and its effect, and for clocks
/// that run at different speeds.
const MARGIN: Duration = Duration::from_millis(1_500);
/// What is accepted at the same moment is read together.
const TOGETHER: Duration = Duration::from_millis(2);
/// The pause before another attempt.
const AGAIN: Duration = Duration::from_millis(500);
/// How often to look for members that are gone.
const LOOK: Duration = Duration::from_secs(5);

/// Takes part in the fleet until the program ends, if the store is that of a fleet. `verbs` is the same store, which
/// reports its health.
pub(super) async fn take_part(
    store: Option<&Arc<PostgresStore>>,
    verbs: Arc<dyn Store>,
    (freshness, config, delivery): (Arc<Freshness>, Arc<ArcSwap<Config>>, Arc<Delivery>),
    admin: Arc<admin::State>,
) {
    if let Some(store) = store.cloned() {
        Fleet { store, verbs, freshness, config, delivery, admin }.run().await;
    }
}

/// A member.
struct Fleet {
    store: Arc<PostgresStore>,
    verbs: Arc<dyn Store>,
    freshness: Arc<Freshness>,
    config: Arc<ArcSwap<Config>>,
    delivery: Arc<Delivery>,
    admin: Arc<admin::State>,
}

impl Fleet {
    /// Takes part until the program ends.
    async fn run(self) {
        let mut seen = self.join().await;
        let (mut renewed, mut looked, mut owned) = (None::<Instant>, Instant::now(), None::<Instant>);
        let mut is_behind = true;
        loop {
            if renewed.is_none_or(|renewed| renewed.elapsed() >= RENEW) {
                renewed = Some(Instant::now());
                match self.renew(seen).await {
                    Ok(Some(head)) if is_regressed(seen, head) => {
                        tracing::error!(
                            seen = seen.n,
                            now = head.n,
                            "the database lost purges that were accepted: a failover was not synchronous; everything is \
                             purged at all sites"
                        );
                        self.store.lost_purges();
                        self.guard_everything();
                        seen = head;
                        admin::make_up_for_lost_purges(&self.admin, &self.verbs).await;
                    }
                    Ok(Some(head)) => {
                        is_behind |= head.n > seen.n;
                        // Purges may have made progress at another instance.
                        self.delivery.engine().into_iter().for_each(|engine| engine.changed());
                    }
                    Ok(None) => {
                        tracing::warn!(
                            "this instance was away for too long, and takes part again from now on"
                        );
                        seen = self.join().await;
                    }
                    Err(_) => {}
                }
            }
            if owned.is_none_or(|owned| owned.elapsed() >= RENEW)
                && let Some(engine) = self.delivery.engine()
            {
                owned = Some(Instant::now());
                self.own(engine).await;
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.remove_gone().await;
            }
            if is_behind {
                self.apply_all(&mut seen).await;
            }
            let rest = RENEW.saturating_sub(renewed.map_or(RENEW, |renewed| renewed.elapsed()));
            is_behind = timeout(rest, self.store.woken()).await.is_ok();
            if is_behind {
                sleep(TOGETHER).await;
            }
        }
    }

    /// Begins to take part. Everything that was requested before is old, because purges up to here may have been
    /// missed.
    async fn join(&self) -> Head {
        self.freshness.fence.close();
        loop {
            let since = Since::now();
            match self.store.join().await {
                Ok(head) => {
                    self.guard_everything();
                    self.trust(since);
                    return head;
                }
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    fn guard_everything(&self) {
        admin::guard_everything(&self.freshness, &self.config.load(), self.freshness.clock.now_ms());
    }

    async fn renew(&self, seen: Head) -> Result<Option<Head>, StoreError> {
        let since = Since::now();
        let head = self.store.renew(seen.n).await?;
        match head {
            Some(head) if !is_regressed(seen, head) => self.trust(since),
            _ => self.freshness.fence.close(),
        }
        Ok(head)
    }

    /// Allows long lifetimes for the time of the lease.
    fn trust(&self, since: Since) {
        self.freshness.fence.open(since, self.trusted_ms());
    }

    fn trusted_ms(&self) -> i64 {
        milliseconds(self.config.load().fleet.lease.saturating_sub(MARGIN))
    }

    /// Applies what others purged since the last time.
    async fn apply_all(&self, seen: &mut Head) {
        loop {
            let entries = match self.store.entries(seen.n).await {
                Ok(entries) if entries.is_empty() => return,
                Ok(entries) => entries,
                Err(_) => return,
            };
            for entry in entries {
                let head = Head { n: entry.n, entry: entry.entry };
                if !entry.is_own
                    && let Err(error) = self.apply(entry).await
                {
                    tracing::warn!(error = &error as &dyn Error, "a purge cannot be applied yet");
                    return;
                }
                *seen = head;
            }
        }
    }

    /// Applies a purge: what was requested before this moment is old, and what is on its way is purged once more.
    async fn apply(&self, entry: Entry) -> Result<(), StoreError> {
        let Entry { id, site: name, request, jobs, .. } = entry;
        let config = self.config.load_full();
        let site = config.sites.iter().find(|site| site.name == name);
        let Some(site) = site else {
            return self.store.has_applied(id, FollowUps::default()).await;
        };
        let (found, awaited) = admin::guard(&self.freshness, site, &request, &jobs).await;
        let is_outrun = admin::is_outrun(&self.freshness, site, &jobs);
        self.store.has_applied(id.clone(), found).await?;
        let control: Arc<dyn Control> = self.delivery.clone();
        tokio::spawn(awaited.then_follow_up(self.verbs.clone(), control, id, name.clone()));
        if is_outrun {
            let (state, store) = (self.admin.clone(), self.verbs.clone());
            tokio::spawn(admin::purge_again(state, store, name.clone(), request));
        }
        if let Some(engine) = self.delivery.engine() {
            engine.wake(&name);
            engine.changed();
        }
        Ok(())
    }

    /// Renews the ownership of accounts.
    async fn own(&self, engine: &Engine) {
        let (since, accounts) = (Since::now(), engine.accounts());
        if accounts.is_empty() {
            return;
        }
        let Ok(owned) = self.store.own(accounts).await else { return };
        let is_new = owned.iter().any(|account| !engine.owns(account));
        let rates = if is_new { self.store.rates().await } else { Ok(Vec::new()) };
        // Without the buckets that the former owner left, the rate could be exceeded.
        let Ok(rates) = rates else { return };
        engine.own(&owned, since, self.trusted_ms(), &rates);
        if is_new {
            engine.wake_all();
        }
    }

    async fn remove_gone(&self) {
        if let Ok(gone) = self.store.remove_gone().await {
            for instance in gone {
                tracing::warn!(instance, "an instance of the fleet is gone; nothing waits for it any more");
            }
        }
    }
}

/// Returns whether the log no longer contains the entry that this instance has seen last.
fn is_regressed(seen: Head, head: Head) -> bool {
    head.n < seen.n || head.n == seen.n && head.entry != seen.entry
}

/// The time for leaving. Others learn of the end without it, too, but later.
const LEAVE: Duration = Duration::from_secs(3);

/// Ends taking part, after the last response was written: no one has to wait for this instance, and others take its
/// accounts at once.
pub(super) async fn leave(store: &PostgresStore, config: &Config) {
    let margin = config.sites.iter().map(|site| site.follow_up_margin).max().unwrap_or_default();
    if let Ok(Err(error)) = timeout(LEAVE, store.leave(milliseconds(margin))).await {
        tracing::warn!(error = &error as &dyn Error, "the fleet could not be told that this instance ends");
    }
}
