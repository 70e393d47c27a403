//! Replaces purges that would take longer than `max_purge_lag` at the account's rate by one purge of the site.

use super::account::Wait;
use super::choose::{full_call, load_of};
use super::target::Target;
use crate::store::{Due, Lane, Wider};
use std::time::Duration;
use tokio::time::Instant;

/// The interval between two counts of a long queue.
const INTERVAL: Duration = Duration::from_secs(1);
/// The number of sends counted per group. The rest is assumed to be like them.
const COUNTED: usize = 100_000;

/// Watches how long sending all that is due would take.
pub(super) struct Escalation {
    counted_at: Option<Instant>,
    /// Since when nothing at all could be sent for lack of tokens or room.
    waiting_since: Option<Instant>,
}

impl Escalation {
    pub(super) fn new() -> Self {
        Self { counted_at: None, waiting_since: None }
    }

    /// Records that a call leaves.
    pub(super) fn leaves(&mut self) {
        self.waiting_since = None;
    }

    /// Puts the purge of the site ahead of what is `due` if that would take too long. Returns whether it did.
    pub(super) async fn check(&mut self, target: &Target, due: &Due, wait: Wait) -> bool {
        if matches!(wait, Wait::For(_) | Wait::Completion) {
            self.waiting_since.get_or_insert_with(Instant::now);
        }
        if due.groups.is_empty() || due.groups.iter().any(|group| group.lane == Lane::Site) {
            return false;
        }
        let is_stuck = self.waiting_since.is_some_and(|since| since.elapsed() > target.terms().max_lag);
        if (is_stuck || self.takes_too_long(target, due).await) && widen(target, due).await {
            self.waiting_since = None;
            return true;
        }
        false
    }

    async fn takes_too_long(&mut self, target: &Target, due: &Due) -> bool {
        let Target { key, shared, limits, account, .. } = target;
        let max_lag = target.terms().max_lag;
        // Up to one call's worth of each group is counted already.
        let known = due.groups.iter().all(|group| group.count < full_call(limits));
        if known {
            return account.time_for(&load_of(due, limits)) > max_lag;
        }
        if self.counted_at.is_some_and(|at| at.elapsed() < INTERVAL) {
            return false;
        }
        self.counted_at = Some(Instant::now());
        let counted = shared.store.due(key.clone(), shared.now_ms(), COUNTED).await;
        let Ok(counted) = counted else { return false };
        let mut load = load_of(&counted, limits);
        if counted.groups.iter().any(|group| group.count == COUNTED) {
            let scale = counted.pending.div_ceil(load.items.iter().sum::<u64>().max(1)).max(1);
            load.calls *= scale;
            load.items.iter_mut().for_each(|items| *items *= scale);
        }
        account.time_for(&load) > max_lag
    }
}

async fn widen(target: &Target, due: &Due) -> bool {
    let (Target { key, shared, .. }, terms) = (target, target.terms());
    let hard = due.groups.iter().any(|group| group.hard);
    let sends: usize = due.groups.iter().map(|group| group.count).sum();
    // Replacing one item by one is no faster.
    let Some(item) = target.wider(hard).filter(|_| sends > 1) else { return false };
    let why = format!(
        "at the CDN's rate it would take longer than max_purge_lag ({} s), so a purge of everything of the site takes its place",
        terms.max_lag.as_secs()
    );
    let wider = Wider { item, why: why.clone() };
    let widened = shared.store.widen(key.clone(), wider, shared.now_ms()).await;
    let jobs = widened.unwrap_or_default();
    if jobs > 0 {
        let (site, cdn) = (&key.site, &key.cdn);
        tracing::warn!(site, cdn, jobs, pending = due.pending, why, "purges are widened");
        shared.observer.widened(key, jobs);
    }
    jobs > 0
}
