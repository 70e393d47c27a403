//! One CDN of one site, as its tasks share it.

use super::account::Account;
use super::health::Health;
use super::pace::Pace;
use super::unverified::Unverified;
use super::{Observer, TellBoot, TellTime, Transport, milliseconds};
use crate::cdn::{
    Adapter, Capabilities, Counted, Identity, Item, ItemKind, Rates, Reply, SignContext, rates,
};
use crate::config::{Cdn, Mode, Site};
use crate::guard::{Clock, Freshness};
use crate::purge::{Means, State, widest};
use crate::rewrite::{CdnType, Policy};
use crate::store::{CdnKey, EndedJob, Now, QueueStatus, Store, StoreHealth};
use crate::view::PurgeHealth;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// Jobs for a CDN that their site no longer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The name of the queue: the site, and the CDN's former name.
    pub key: CdnKey,
    /// Jobs that have not ended.
    pub jobs: u64,
}

/// The state that all tasks of the engine share.
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) store_health: Arc<StoreHealth>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) observer: Arc<dyn Observer>,
    wall: TellTime,
    steady: TellTime,
    boot: TellBoot,
    /// Begins nothing new when cancelled.
    pub(super) stop: CancellationToken,
    /// Counts the events that may have advanced a purge.
    pub(super) changes: watch::Sender<u64>,
    orphans: Mutex<Vec<Orphan>>,
}

impl Shared {
    pub(super) fn new(
        (store, store_health): (Arc<dyn Store>, Arc<StoreHealth>),
        transport: Arc<dyn Transport>,
        observer: Arc<dyn Observer>,
        (wall, steady, boot): (TellTime, TellTime, TellBoot),
    ) -> Self {
        let (stop, changes) = (CancellationToken::new(), watch::Sender::new(0));
        Self {
            store,
            store_health,
            transport,
            observer,
            wall,
            steady,
            boot,
            stop,
            changes,
            orphans: Mutex::default(),
        }
    }

    /// Returns the time of the steady clock, for everything that waits.
    pub(super) fn now_ms(&self) -> i64 {
        (self.steady)()
    }

    /// Returns the same time together with the boot, for the store to keep.
    pub(super) fn now(&self) -> Now {
        Now { steady_ms: self.now_ms(), boot: (self.boot)() }
    }

    /// Returns the time of the machine's clock, for times shown to users and sent to CDNs.
    pub(super) fn wall_ms(&self) -> i64 {
        (self.wall)()
    }

    /// Returns the time elapsed since `since_ms`.
    pub(super) fn since(&self, since_ms: i64) -> Duration {
        let ms = self.now_ms().saturating_sub(since_ms);
        Duration::from_millis(u64::try_from(ms).unwrap_or_default())
    }

    /// Returns the jobs for CDNs that their sites no longer have, as of the last second.
    pub(super) fn orphans(&self) -> Vec<Orphan> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_orphans(&self, orphans: Vec<Orphan>) {
        *self.orphans.lock().unwrap_or_else(PoisonError::into_inner) = orphans;
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// One CDN of one site.
pub(super) struct Target {
    pub(super) key: CdnKey,
    /// The service that this CDN is, whatever its name.
    pub(super) identity: Identity,
    /// The number of the configuration that introduced this target.
    pub(super) since: u64,
    pub(super) cdn_type: CdnType,
    pub(super) adapter: Arc<dyn Adapter>,
    /// The most that one call carries, by the CDN's limits and the capacity of the account's buckets.
    pub(super) limits: Capabilities,
    pub(super) account: Arc<Account>,
    /// The CDN's configuration.
    cdn: Cdn,
    terms: Mutex<Arc<Terms>>,
    /// When cancelled, nothing new is begun here, and this target no longer reports its CDN's health.
    pub(super) stop: CancellationToken,
    pub(super) pace: Pace,
    /// Signals that there may be something to claim.
    pub(super) wake: Notify,
    /// Signals that the CDN accepted work that it completes later.
    pub(super) accepted: Notify,
    /// Requests a credentials check, because a purge was refused.
    pub(super) recheck: Notify,
    /// Jobs whose copies are to be verified.
    pub(super) verifying: Unverified,
    /// The clock of stamps.
    pub(super) stamps: Clock,
    /// Whether copies without our tags may exist.
    freshness: Arc<Freshness>,
    pub(super) shared: Arc<Shared>,
    health: Mutex<Health>,
    /// Whether the first verdict was logged.
    is_judged: AtomicBool,
    /// The health flag that the proxy reads.
    cell: Arc<PurgeHealth>,
}

impl Target {
    pub(super) fn new(
        site: &Site,
        cdn: &Cdn,
        adapter: Arc<dyn Adapter>,
        account: Arc<Account>,
        cell: Arc<PurgeHealth>,
        since: u64,
        (freshness, shared): (Arc<Freshness>, Arc<Shared>),
    ) -> Self {
        let capabilities = adapter.capabilities();
        let target = Self {
            key: CdnKey { site: site.name.clone(), cdn: cdn.name.clone() },
            identity: Identity::of(cdn),
            since,
            cdn_type: cdn.dialect.cdn,
            limits: within(capabilities, &rates(cdn)),
            account,
            adapter,
            cdn: cdn.clone(),
            terms: Mutex::new(Arc::new(Terms::of(site, cdn, capabilities))),
            stop: shared.stop.child_token(),
            pace: Pace::new(),
            wake: Notify::new(),
            verifying: Unverified::default(),
            stamps: freshness.clock,
            freshness,
            accepted: Notify::new(),
            recheck: Notify::new(),
            shared,
            health: Mutex::new(Health::new(site.max_purge_lag, site.origin_settle)),
            is_judged: AtomicBool::new(false),
            cell,
        };
        target.cell.set(false);
        target.shared.observer.health(&target.key, false);
        target
    }

    /// Whether a repeated call must equal the first, because the CDN identifies calls by their reference.
    pub(super) fn keeps_together(&self) -> bool {
        self.limits.stable_reference
    }

    /// Returns the site's requirements for its purges.
    pub(super) fn terms(&self) -> Arc<Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the item that purges the whole site, if that is possible. While copies without our tags may exist, this
    /// is not the site's tag, which does not reach them.
    pub(super) fn wider(&self, hard: bool) -> Option<Item> {
        let terms = self.terms();
        let untagged = self.freshness.without_tags(&self.key.site, terms.mode, self.cdn_type).is_some();
        terms.wider[usize::from(untagged)][usize::from(hard)].clone()
    }

    /// Returns the CDN's time and a nonce, for signatures.
    pub(super) fn sign(&self) -> SignContext {
        let now_ms = self.account.clock_ms(self.shared.wall_ms());
        SignContext { now_ms, nonce: uuid::Uuid::new_v4().to_string() }
    }

    /// Learns from a reply the offset of the CDN's clock.
    pub(super) fn dated(&self, reply: &Reply) {
        /// The smallest offset that is logged, in milliseconds.
        const SKEW_MS: i64 = 10_000;
        let Some(date_ms) = reply.date_ms() else { return };
        let Some(offset_ms) = self.account.dated(date_ms, self.shared.wall_ms()) else { return };
        if offset_ms.abs() > SKEW_MS {
            let (site, cdn) = (&self.key.site, &self.key.cdn);
            tracing::warn!(
                site,
                cdn,
                offset_ms,
                "the CDN's clock differs from ours: calls are signed by the CDN's"
            );
        }
    }

    /// Updates the health with what was seen, and publishes the result to the proxy.
    pub(super) fn report(&self, seen: impl FnOnce(&mut Health)) {
        let (reasons, is_known) = {
            let mut health = self.health();
            seen(&mut health);
            let failure = self.shared.store_health.failure();
            let reasons = health.reasons(failure.as_deref(), self.shared.now_ms());
            (reasons, health.is_known())
        };
        if self.stop.is_cancelled() {
            return;
        }
        let healthy = reasons.is_empty();
        let is_change = healthy != self.cell.is_healthy();
        // A CDN starts unhealthy, so remaining so is no change; but the first verdict is always logged.
        let is_first = is_known && !self.is_judged.swap(true, Ordering::Relaxed);
        if is_change || is_first {
            let (site, cdn) = (&self.key.site, &self.key.cdn);
            if healthy {
                tracing::info!(site, cdn, "the CDN is healthy: responses get their long TTL");
            } else {
                tracing::warn!(
                    site,
                    cdn,
                    reasons = reasons.join("; "),
                    "the CDN is unhealthy: responses get the short TTL"
                );
            }
            self.cell.set(healthy);
            self.shared.changed();
        }
        self.shared.observer.health(&self.key, healthy);
    }

    /// Continues under a new configuration if that leaves this CDN unchanged. If the CDN is unhealthy, its
    /// credentials are checked again.
    pub(super) fn goes_on(&self, site: &Site, cdn: &Cdn) -> bool {
        if self.key.site != site.name || self.cdn != *cdn {
            return false;
        }
        let terms = Terms::of(site, cdn, self.adapter.capabilities());
        *self.terms.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
        self.report(|health| health.set_terms(site.max_purge_lag, site.origin_settle));
        if !self.cell.is_healthy() {
            self.recheck.notify_one();
        }
        true
    }

    /// Records that a job ended, and has its copies verified if that was requested.
    pub(super) fn to_verify(&self, job: &EndedJob) {
        if job.state == State::Done && job.verify.unwrap_or(self.cdn.verify) {
            self.verifying.add(job.clone());
        }
    }

    /// Returns the hosts that visitors use.
    pub(super) fn hosts(&self) -> &[String] {
        &self.cdn.hosts
    }

    /// Returns the URL at which copies are verified; `None` means their own host.
    pub(super) fn verify_url(&self) -> Option<&str> {
        self.cdn.verify_url.as_deref()
    }

    /// Whether sending is paused, as of the last second.
    pub(super) fn is_paused(&self) -> bool {
        self.health().queue().is_some_and(|queue| queue.paused.is_some())
    }

    /// Stops this target from sending anything new.
    pub(super) fn retire(&self) {
        self.stop.cancel();
        self.cell.set(false);
        self.shared.observer.health(&self.key, false);
    }

    /// Returns the reasons why the CDN is unhealthy, and the state of its queue a moment ago.
    pub(super) fn state(&self) -> (Vec<String>, Option<QueueStatus>) {
        let health = self.health();
        let reasons = health.reasons(self.shared.store_health.failure().as_deref(), self.shared.now_ms());
        (reasons, health.queue().cloned())
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A site's requirements for its purges at one CDN.
pub(super) struct Terms {
    pub(super) max_lag: Duration,
    pub(super) origin_settle: Duration,
    pub(super) guard_ttl: Duration,
    /// The age at which a purge is given up: no copy that it should remove is still fresh.
    pub(super) give_up_ms: i64,
    mode: Mode,
    /// The item that purges the whole site, by whether copies without our tags may exist, and by soft or hard. It
    /// replaces items that are refused or would take too long.
    wider: [[Option<Item>; 2]; 2],
}

impl Terms {
    fn of(site: &Site, cdn: &Cdn, capabilities: Capabilities) -> Self {
        Self {
            max_lag: site.max_purge_lag,
            origin_settle: site.origin_settle,
            guard_ttl: site.policy.ttls.guard,
            give_up_ms: milliseconds(longest_ttl(&site.policy)),
            mode: site.mode,
            wider: [None, Some(String::new())].map(|untagged| {
                let means = Means { can: capabilities, untagged };
                [false, true].map(|hard| widest(site, cdn, means.clone(), hard))
            }),
        }
    }
}

/// Limits a call to what the account's buckets hold. A larger one could never be paid for.
fn within(mut limits: Capabilities, rates: &Rates) -> Capabilities {
    for limit in rates.limits.iter().filter(|limit| limit.counted == Counted::Items) {
        let most = |per_call: usize, kind| match limit.kinds.contains(&kind) {
            true => per_call.min(limit.burst as usize),
            false => per_call,
        };
        limits.urls_per_call = most(limits.urls_per_call, ItemKind::Url);
        limits.tags_per_call = most(limits.tags_per_call, ItemKind::Tag);
        limits.prefixes_per_call = most(limits.prefixes_per_call, ItemKind::Prefix);
    }
    limits
}

/// The lifetime, on every site, of media whose path contains a hash of the content.
pub(super) const HASHED_MEDIA: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Returns the longest time for which this site lets a CDN keep anything.
fn longest_ttl(policy: &Policy) -> Duration {
    let rules = policy.rules.iter().filter_map(|rule| rule.edge_ttl);
    rules.chain([policy.ttls.edge, policy.ttls.not_found, HASHED_MEDIA]).max().unwrap_or(HASHED_MEDIA)
}
