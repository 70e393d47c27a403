//! The queue of one CDN: claims what is due, fills calls with it, and keeps a few of them under way.

use super::backoff::backoff;
use super::call::Call;
use super::engine::WATCH;
use super::target::Target;
use crate::purge::batches;
use crate::store::{SendOutcome, Settlement};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Calls to one CDN under way at the same time: one that hangs does not hold up the rest.
const CALLS: usize = 4;
/// How long a claim is the claimer's. Calls end well before, and one that would not is not begun.
pub(super) const LEASE: Duration = Duration::from_secs(120);
/// A look at the queue at least this often, should a wake-up be lost or the clock be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Works until the engine stops; then ends the calls that are under way and gives back the rest.
pub(super) async fn run(target: Arc<Target>) {
    let mut queue = Queue { target, ready: VecDeque::new(), calls: JoinSet::new(), store_failures: 0 };
    let stop = queue.target.stop.clone();
    while !stop.is_cancelled() {
        let look_again = queue.fill().await;
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = queue.calls.join_next(), if !queue.calls.is_empty() => queue.ended(ended),
            () = queue.target.wake.notified() => {}
            () = sleep_until(look_again) => {}
        }
    }
    queue.give_back().await;
    while let Some(ended) = queue.calls.join_next().await {
        queue.ended(ended);
    }
}

struct Queue {
    target: Arc<Target>,
    /// Claimed, and waiting for one of the calls under way to end.
    ready: VecDeque<Call>,
    calls: JoinSet<()>,
    /// In a row.
    store_failures: u32,
}

impl Queue {
    /// Begins calls until enough are under way or nothing is due; when to look again.
    async fn fill(&mut self) -> Instant {
        loop {
            let now = Instant::now();
            if self.target.stop.is_cancelled() || self.calls.len() >= CALLS {
                return now + LONGEST_SLEEP;
            }
            if self.target.pace.is_holding() {
                // What is claimed now would only lose its lease.
                self.give_back().await;
                return self.target.pace.until();
            }
            if self.target.is_paused() {
                self.give_back().await;
                return now + WATCH;
            }
            if self.ready.front().is_some_and(Call::is_too_late) {
                self.give_back().await;
            }
            if let Some(call) = self.ready.pop_front() {
                self.calls.spawn(call.run());
                continue;
            }
            if let Some(look_again) = self.claim().await {
                return look_again;
            }
        }
    }

    /// Claims what is due; when to look again if that is nothing.
    async fn claim(&mut self) -> Option<Instant> {
        let Target { key, shared, .. } = &*self.target;
        // Asked first, since a claim waits for the writer.
        let due = shared.store.next_due(key.clone()).await;
        shared.read(&due);
        let Ok(due) = due else { return Some(self.store_failed()) };
        let now_ms = shared.now_ms();
        let wait_ms = due.map(|due| due.saturating_sub(now_ms));
        if wait_ms.is_none_or(|wait| wait > 0) {
            let wait = wait_ms
                .and_then(|wait| u64::try_from(wait).ok())
                .map_or(LONGEST_SLEEP, Duration::from_millis);
            return Some(Instant::now() + wait.min(LONGEST_SLEEP));
        }
        let lease_until_ms = now_ms.saturating_add(super::milliseconds(LEASE));
        let claimed =
            shared.store.claim(key.clone(), now_ms, lease_until_ms, self.target.claim_limit()).await;
        shared.written(&claimed);
        let Ok(sends) = claimed else { return Some(self.store_failed()) };
        self.store_failures = 0;
        if sends.is_empty() {
            // Paused in between.
            return Some(Instant::now() + Duration::from_secs(1));
        }
        let sends: Arc<[_]> = sends.into();
        let wanted: Vec<_> = sends.iter().map(Call::wanted).collect();
        let batches = batches(self.target.cdn_type, &self.target.limits, &wanted);
        self.ready.extend(
            batches
                .into_iter()
                .map(|batch| Call::new(self.target.clone(), sends.clone(), batch, lease_until_ms)),
        );
        None
    }

    fn store_failed(&mut self) -> Instant {
        self.store_failures = self.store_failures.saturating_add(1);
        self.target.report(|_| {});
        Instant::now() + backoff(self.store_failures, fastrand::f64())
    }

    /// Ends the leases of what was claimed but not begun. If that fails, they end by themselves.
    async fn give_back(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        let calls = std::mem::take(&mut self.ready);
        let sends =
            calls.iter().flat_map(Call::sends).map(|send| (send.id, send.attempt, SendOutcome::Unsent));
        let shared = &self.target.shared;
        let settlement = Settlement { sends: sends.collect(), attempt: None, now_ms: shared.now_ms() };
        shared.written(&shared.store.settle(settlement).await);
    }

    fn ended(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            let (site, cdn) = (&self.target.key.site, &self.target.key.cdn);
            tracing::error!(site, cdn, %error, "a call to a CDN broke off; its sends are claimed again when their lease ends");
        }
    }
}
