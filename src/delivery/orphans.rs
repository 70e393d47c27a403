//! Orphans: queues whose identity (the service to which their purges belong) no configured CDN of their site has any
//! more. Another CDN may have their former name by now. The CDN may have been removed from the configuration by
//! mistake, so its purges are kept for as long as retries would last. Meanwhile they appear as paused, each with an
//! attempt that gives the reason. Then they fail, and the failure has to be acknowledged. If the CDN comes back under
//! any name, its purges continue after its first successful check.

use super::milliseconds;
use super::target::{HASHED_MEDIA, Orphan, Shared, Target};
use crate::cdn::Identity;
use crate::purge::Room;
use crate::store::{
    Attempt, CdnKey, Claim, ClaimedSend, EndedJob, PausedBy, QueueStatus, SendOutcome, Settlement, StoreError,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The reason that the user sees.
pub(super) const WHY: &str = "the site has no CDN with this service any more";
/// Items per claim, which keeps each store write short for others that wait for the store's writer.
const ITEMS: usize = 1_000;
/// The lease matters little: nothing else claims these sends, and they are settled at once.
const LEASE_MS: i64 = 60_000;

/// The queues that no configured CDN has.
#[derive(Default)]
pub(super) struct Orphans {
    known: HashSet<CdnKey>,
    /// When the next of a queue's sends becomes too old. The age of the queue does not decide this, because a job
    /// may have been due for longer than its purge is known to have waited.
    next_look: HashMap<CdnKey, Instant>,
}

impl Orphans {
    /// Handles the queues that do not belong to `targets`. Returns whether one of them belongs to a target after
    /// all and only has another name.
    pub(super) async fn look(
        &mut self,
        shared: &Shared,
        targets: &[Arc<Target>],
        mut queues: Vec<QueueStatus>,
    ) -> bool {
        // This runs every second, and there are as many targets as sites. Usually there is no queue to compare
        // them with.
        if queues.is_empty() && self.known.is_empty() {
            shared.set_orphans(Vec::new());
            return false;
        }
        let configured: HashSet<_> =
            targets.iter().map(|target| (&target.key.site, &target.identity)).collect();
        let all = queues.len();
        queues.retain(|queue| !configured.contains(&(&queue.key.site, &queue.identity)));
        let misnamed = queues.len() < all;
        let configured: HashSet<&CdnKey> = targets.iter().map(|target| &target.key).collect();
        self.known.retain(|key| !configured.contains(key));
        let is_orphan = |queue: &&QueueStatus| queue.jobs > 0;
        let orphan = |queue: &QueueStatus| Orphan { key: queue.key.clone(), jobs: queue.jobs };
        shared.set_orphans(queues.iter().filter(is_orphan).map(orphan).collect());
        for queue in queues {
            let waits = queue.jobs > 0 || queue.failed > 0;
            if !waits && !self.known.contains(&queue.key) {
                continue;
            }
            let age = queue.oldest_due_ms.map_or(0, |due| shared.now_ms().saturating_sub(due).max(0));
            shared.observer.orphan(&queue.key, queue.jobs, queue.failed);
            if !waits {
                self.known.remove(&queue.key);
                self.next_look.remove(&queue.key);
                continue;
            }
            // If the store did not commit this, the next call tries again.
            let _ = self.keep(shared, targets, &queue, age).await;
        }
        misnamed
    }

    async fn keep(
        &mut self,
        shared: &Shared,
        targets: &[Arc<Target>],
        queue: &QueueStatus,
        age_ms: i64,
    ) -> Result<(), StoreError> {
        let is_new = !self.known.contains(&queue.key);
        if is_new && queue.jobs > 0 {
            let (site, cdn) = (&queue.key.site, &queue.key.cdn);
            tracing::warn!(site, cdn, jobs = queue.jobs, "purges wait, but {WHY}");
            if queue.paused.is_none() {
                settle(shared, queue, |_| false).await?;
                pause(shared, queue, Some(WHY)).await?;
            }
        }
        self.known.insert(queue.key.clone());
        let of_site = targets.iter().filter(|target| target.key.site == queue.key.site);
        let longest = of_site.map(|target| target.terms().give_up_ms).max();
        let give_up_ms = longest.unwrap_or(milliseconds(HASHED_MEDIA));
        let is_ours = queue.paused.as_ref().is_none_or(|pause| pause.by == PausedBy::Credentials);
        let is_time = self.next_look.get(&queue.key).is_none_or(|at| *at <= Instant::now());
        if queue.jobs > 0 && is_ours && age_ms > give_up_ms && is_time {
            let now_ms = shared.now_ms();
            let oldest_ms = now_ms.saturating_sub(give_up_ms);
            pause(shared, queue, None).await?;
            let mut left_ms = give_up_ms;
            let is_too_old = |send: &ClaimedSend| {
                let is_too_old = send.since_ms < oldest_ms;
                if !is_too_old {
                    left_ms = left_ms.min(send.since_ms.saturating_sub(oldest_ms));
                }
                is_too_old
            };
            let settled = settle(shared, queue, is_too_old).await;
            pause(shared, queue, Some(WHY)).await?;
            settled?;
            let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or_default());
            self.next_look.insert(queue.key.clone(), Instant::now() + left);
        }
        Ok(())
    }
}

async fn pause(shared: &Shared, queue: &QueueStatus, why: Option<&str>) -> Result<(), StoreError> {
    let why = why.map(str::to_owned);
    let paused = shared.store.set_paused(queue.key.clone(), PausedBy::Credentials, why).await;
    shared.changed();
    paused
}

/// Records for every due job why nothing is sent. Sends that `fails` selects fail; the others stay due.
async fn settle(
    shared: &Shared,
    queue: &QueueStatus,
    mut fails: impl FnMut(&ClaimedSend) -> bool,
) -> Result<(), StoreError> {
    let now_ms = shared.now_ms();
    // Site-wide purges come first: they take other sends with them, which then end or stand again on their own.
    for (site, hard) in [(true, true), (true, false), (false, true), (false, false)] {
        loop {
            let claim = Claim {
                key: queue.key.clone(),
                identity: Identity::default(),
                now_ms,
                lease_until_ms: now_ms.saturating_add(LEASE_MS),
                site,
                hard,
                room: Room { items: [ITEMS; 4], total: ITEMS, bytes: usize::MAX },
                bulk: [ITEMS / 4; 4],
                keep_together: false,
                rates: Vec::new(),
            };
            let claimed = shared.store.claim(claim).await;
            let claimed = claimed?;
            if claimed.sends.is_empty() {
                break;
            }
            // A retry is due after this turn's moment, so that the next claim takes the next sends.
            let mut outcome = |send: &ClaimedSend| match fails(send) {
                true => SendOutcome::Failed,
                false => SendOutcome::RetryAt(now_ms + 1),
            };
            let sends = claimed.sends.iter().map(|send| (send.id, send.attempt, outcome(send))).collect();
            let attempt = Attempt {
                at_ms: shared.wall_ms(),
                status: None,
                request_id: None,
                duration_ms: 0,
                outcome: "unreachable".into(),
                message: WHY.into(),
            };
            let settlement = Settlement {
                sends,
                at_ms: attempt.at_ms,
                attempt: Some(attempt),
                now_ms,
                ..Settlement::default()
            };
            let settled = shared.store.settle(settlement).await;
            settled?.ended.iter().for_each(|job| ended(shared, job));
        }
    }
    Ok(())
}

fn ended(shared: &Shared, job: &EndedJob) {
    let (site, cdn, purge) = (&job.key.site, &job.key.cdn, &job.purge);
    tracing::error!(site, cdn, purge, "a purge failed, because {WHY}: acknowledge it");
    shared.observer.job_ended(job, shared.since(job.since_ms));
}
