//! Purges of services that no CDN of the site is any more, whatever has their name by now. Should the CDN be taken out by
//! mistake, they are kept for as long as retries would last: they show as paused, each with an attempt that says why. Then they
//! fail, which someone has to acknowledge. A CDN that comes back, under any name, goes on with them after its first good check.

use super::milliseconds;
use super::target::{HASHED_MEDIA, Shared, Target};
use crate::cdn::Identity;
use crate::purge::Room;
use crate::store::{
    Attempt, CdnKey, Claim, ClaimedSend, EndedJob, PausedBy, QueueStatus, SendOutcome, Settlement, StoreError,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What people read.
pub(super) const WHY: &str = "the site has no CDN with this service any more";
/// Items of one claim, so that nobody waits long for the store's writer.
const ITEMS: usize = 1_000;
/// Nobody else claims them, and they are settled at once.
const LEASE_MS: i64 = 60_000;

/// What waits for a CDN that its site has no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// What the queue is called: the site, and what the CDN was.
    pub key: CdnKey,
    /// Jobs under way.
    pub jobs: u64,
}

/// The queues that no CDN of today has.
#[derive(Default)]
pub(super) struct Orphans {
    known: HashSet<CdnKey>,
    /// When the next of their sends is too old: a job may have waited for longer than its purge is known to have.
    next_look: HashMap<CdnKey, Instant>,
}

impl Orphans {
    /// Looks at the queues that are not those of `targets`. Whether one of them is that of a target after all, but for its name.
    pub(super) async fn look(
        &mut self,
        shared: &Shared,
        targets: &[Arc<Target>],
        mut queues: Vec<QueueStatus>,
    ) -> bool {
        // Every second, with as many targets as there are sites: as a rule there is nothing to compare them with.
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
            // What the store did not commit is tried again at the next look.
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

/// Tells every job that is due why nothing is sent; those sends that `fails` names fail, the others stay due.
async fn settle(
    shared: &Shared,
    queue: &QueueStatus,
    mut fails: impl FnMut(&ClaimedSend) -> bool,
) -> Result<(), StoreError> {
    let now_ms = shared.now_ms();
    // Those of a whole site first: they take others with them, which then end or stand again by themselves.
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
            // Due again after this turn's moment, so that the next claim takes the next ones.
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
    tracing::error!(site, cdn, purge, "a purge failed, since {WHY}: acknowledge it");
    shared.observer.job_ended(job, shared.since(job.since_ms));
}
