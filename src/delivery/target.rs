//! One CDN of one site: what its tasks share.

use super::account::Account;
use super::health::Health;
use super::orphans::Orphan;
use super::pace::Pace;
use super::verify::Waiting;
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

/// What all tasks of the engine share.
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    pub(super) store_health: Arc<StoreHealth>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) observer: Arc<dyn Observer>,
    wall: TellTime,
    steady: TellTime,
    boot: TellBoot,
    /// Cancelled: nothing new is begun.
    pub(super) stop: CancellationToken,
    /// Counts what may have moved a purge on.
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

    /// Now, by the steady clock: for whatever waits.
    pub(super) fn now_ms(&self) -> i64 {
        (self.steady)()
    }

    /// The same, for the store to remember.
    pub(super) fn now(&self) -> Now {
        Now { steady_ms: self.now_ms(), boot: (self.boot)() }
    }

    /// Now, by the machine's clock: for what people are shown and CDNs are told.
    pub(super) fn wall_ms(&self) -> i64 {
        (self.wall)()
    }

    /// For how long something has been under way.
    pub(super) fn since(&self, since_ms: i64) -> Duration {
        let ms = self.now_ms().saturating_sub(since_ms);
        Duration::from_millis(u64::try_from(ms).unwrap_or_default())
    }

    /// What waits for CDNs that their sites have no more, as of the last second.
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
    /// What it is, whatever it is called.
    pub(super) identity: Identity,
    /// The number of the configuration that it came with.
    pub(super) since: u64,
    pub(super) cdn_type: CdnType,
    pub(super) adapter: Arc<dyn Adapter>,
    /// What a call carries at most, by what the CDN takes and the account's buckets hold.
    pub(super) limits: Capabilities,
    pub(super) account: Arc<Account>,
    /// How it is configured.
    cdn: Cdn,
    terms: Mutex<Arc<Terms>>,
    /// Cancelled: nothing new is begun here, and this target no longer speaks for its CDN.
    pub(super) stop: CancellationToken,
    pub(super) pace: Pace,
    /// There may be something to claim.
    pub(super) wake: Notify,
    /// The CDN accepted something that it completes later.
    pub(super) accepted: Notify,
    /// A purge was refused because of the credentials: check them.
    pub(super) recheck: Notify,
    /// Jobs whose copies are to be looked at.
    pub(super) verifying: Waiting,
    /// The clock of stamps.
    pub(super) stamps: Clock,
    /// Tells whether copies without our tags may be there.
    freshness: Arc<Freshness>,
    pub(super) shared: Arc<Shared>,
    health: Mutex<Health>,
    /// The first verdict was logged.
    is_judged: AtomicBool,
    /// What the proxy reads.
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
            verifying: Waiting::default(),
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

    /// Whether a call that is made again must be made as it was, because the CDN knows calls by their reference.
    pub(super) fn keeps_together(&self) -> bool {
        self.limits.stable_reference
    }

    /// What the site asks of its purges.
    pub(super) fn terms(&self) -> Arc<Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of the site, if it can be purged. Its tag does not reach copies that have none.
    pub(super) fn wider(&self, hard: bool) -> Option<Item> {
        let terms = self.terms();
        let untagged = self.freshness.without_tags(&self.key.site, terms.mode, self.cdn_type).is_some();
        terms.wider[usize::from(untagged)][usize::from(hard)].clone()
    }

    /// Now, and a nonce, for signatures.
    pub(super) fn sign(&self) -> SignContext {
        let now_ms = self.account.clock_ms(self.shared.wall_ms());
        SignContext { now_ms, nonce: uuid::Uuid::new_v4().to_string() }
    }

    /// Learns from an answer how far the CDN's clock is from ours.
    pub(super) fn dated(&self, reply: &Reply) {
        /// What deserves a word, in milliseconds.
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

    /// Tells the health what was seen, and the proxy what follows from it.
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
        // A CDN starts unhealthy: that it stays so is no change, but the first verdict is news.
        let is_first = is_known && !self.is_judged.swap(true, Ordering::Relaxed);
        if is_change || is_first {
            let (site, cdn) = (&self.key.site, &self.key.cdn);
            if healthy {
                tracing::info!(site, cdn, "purges get through: responses get their long TTL");
            } else {
                tracing::warn!(
                    site,
                    cdn,
                    reasons = reasons.join("; "),
                    "purges may not get through: short TTLs"
                );
            }
            self.cell.set(healthy);
            self.shared.changed();
        }
        self.shared.observer.health(&self.key, healthy);
    }

    /// Goes on under a new configuration, if that leaves this CDN as it is. If its purges do not get through, this is a good
    /// moment to look again.
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

    /// A job ended: its copies are looked at, if that is wished for.
    pub(super) fn to_verify(&self, job: &EndedJob) {
        if job.state == State::Done && job.verify.unwrap_or(self.cdn.verify) {
            self.verifying.add(job.clone());
        }
    }

    /// The hosts that visitors use.
    pub(super) fn hosts(&self) -> &[String] {
        &self.cdn.hosts
    }

    /// Where copies are looked at; none: at their own host.
    pub(super) fn verify_url(&self) -> Option<&str> {
        self.cdn.verify_url.as_deref()
    }

    /// Whether nothing may be sent, as of the last second.
    pub(super) fn is_paused(&self) -> bool {
        self.health().queue().is_some_and(|queue| queue.paused.is_some())
    }

    /// After this nothing new is sent from here.
    pub(super) fn retire(&self) {
        self.stop.cancel();
        self.cell.set(false);
        self.shared.observer.health(&self.key, false);
    }

    /// Whether it is healthy, why not, and how its queue stood a moment ago.
    pub(super) fn state(&self) -> (Vec<String>, Option<QueueStatus>) {
        let health = self.health();
        let reasons = health.reasons(self.shared.store_health.failure().as_deref(), self.shared.now_ms());
        (reasons, health.queue().cloned())
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a site asks of its purges at one CDN.
pub(super) struct Terms {
    pub(super) max_lag: Duration,
    pub(super) origin_settle: Duration,
    pub(super) guard_ttl: Duration,
    /// A purge older than this is given up: no copy that it was to remove is fresh any more.
    pub(super) give_up_ms: i64,
    mode: Mode,
    /// All of the site, softly and hard, where every copy has our tags and where not: what is sent where items are refused or
    /// would take too long.
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

/// A call is no larger than what the account's buckets hold, or it could never be paid for.
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

/// Media whose path names its content by a hash are kept for so long on every site.
pub(super) const HASHED_MEDIA: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest that this site lets a CDN keep anything.
fn longest_ttl(policy: &Policy) -> Duration {
    let rules = policy.rules.iter().filter_map(|rule| rule.edge_ttl);
    rules.chain([policy.ttls.edge, policy.ttls.not_found, HASHED_MEDIA]).max().unwrap_or(HASHED_MEDIA)
}
