//! The engine's periodic tasks: reading the queues, checking that the store commits, and removing old purges.

use super::naming::{Naming, WATCH};
use super::orphans::Orphans;
use super::target::Shared;
use super::targets::Targets;
use crate::store::QueueStatus;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// The number of CDNs processed before the task yields.
const TURN: usize = 100;
/// The interval between two proofs that the store commits.
const PROBE: Duration = Duration::from_secs(10);
/// The interval between two removals of old purges.
const SWEEP: Duration = Duration::from_secs(3_600);
/// The delay between two steps of one removal.
const STEP: Duration = Duration::from_millis(20);

/// Keeps every CDN's health up to date with its queue.
pub(super) async fn queues(shared: Arc<Shared>, targets: Arc<ArcSwap<Targets>>, naming: Arc<Naming>) {
    let mut orphans = Orphans::default();
    loop {
        let was_settled = naming.is_settled();
        let status = shared.store.status().await;
        let now_ms = shared.now_ms();
        let targets = targets.load_full();
        match status {
            Ok(status) => {
                let mut queues: HashMap<_, _> =
                    status.into_iter().map(|queue| (queue.key.clone(), queue)).collect();
                let mut misnamed = false;
                for (index, target) in targets.all.iter().enumerate() {
                    // An API caller therefore waits for a few CDNs at most, however many there are.
                    if index % TURN == TURN - 1 {
                        tokio::task::yield_now().await;
                    }
                    let queue = queues.remove(&target.key);
                    let queue = queue.unwrap_or_else(|| QueueStatus::empty(target.key.clone()));
                    misnamed |= !queue.identity.is_same(&target.identity);
                    let oldest = queue.oldest_due_ms.map_or(Duration::ZERO, |due| age(due, now_ms));
                    shared.observer.queue(&target.key, queue.jobs, oldest);
                    shared.observer.standing(&target.key, queue.paused.is_some(), queue.failed);
                    let mut was_emptied = false;
                    target.report(|health| was_emptied = health.queued(queue, now_ms));
                    if was_emptied {
                        target.recheck.notify_one();
                    }
                }
                // Before that, a queue may still have a name that now belongs to another CDN.
                if was_settled && naming.is_settled() {
                    misnamed |= orphans.look(&shared, &targets.all, queues.into_values().collect()).await;
                    if misnamed {
                        naming.again();
                    }
                }
            }
            Err(_) => targets.all.iter().for_each(|target| target.report(|_| {})),
        }
        sleep(WATCH).await;
    }
}

/// Proves every few seconds that the store commits: a purge that could not be accepted could not be sent either.
pub(super) async fn probe(shared: Arc<Shared>, targets: Arc<ArcSwap<Targets>>) {
    loop {
        let probed = shared.store.probe(shared.now()).await;
        targets.load_full().all.iter().for_each(|target| target.report(|_| {}));
        sleep(if probed.is_ok() { PROBE } else { WATCH }).await;
    }
}

/// Removes purges that ended longer ago than `retention_ms`.
pub(super) async fn sweep(shared: Arc<Shared>, retention_ms: i64) {
    loop {
        let now_ms = shared.wall_ms();
        let swept = shared.store.sweep(now_ms.saturating_sub(retention_ms), now_ms).await;
        // Pauses between the steps keep other users of the disk from waiting.
        if swept.is_ok_and(|swept| swept.more) {
            sleep(STEP).await;
            continue;
        }
        sleep(SWEEP).await;
    }
}

pub(super) fn age(due_ms: i64, now_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(now_ms.saturating_sub(due_ms)).unwrap_or_default())
}
