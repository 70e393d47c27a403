//! The queue of one CDN: claims one call's worth of due sends whenever the account can pay for it, and keeps a few
//! calls in flight.

use super::account::Wait;
use super::backoff::backoff;
use super::call::Call;
use super::choose;
use super::choose::Next;
use super::escalate::Escalation;
use super::naming::WATCH;
use super::target::Target;
use crate::failpoint;
use crate::store::{Claim, Due};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Concurrent calls to one CDN. With several, a call that hangs does not hold up the rest.
const CALLS: usize = 4;
/// The duration of a claim's lease, which exceeds the longest call.
pub(super) const LEASE: Duration = Duration::from_secs(120);
/// The longest time between two reads of the queue, in case a wake-up is lost or the clock is set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// When to read the queue again if the time until there is room is unknown.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Works until the engine stops or a reload replaces the target, then completes the calls in flight.
pub(super) async fn run(target: Arc<Target>) {
    let (freed, calls, escalation) = (target.account.freed(), JoinSet::new(), Escalation::new());
    let mut queue = Queue { target, freed, calls, turn: 0, escalation, store_failures: 0 };
    let stop = queue.target.stop.clone();
    while !stop.is_cancelled() {
        let look_again = queue.fill().await;
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = queue.calls.join_next(), if !queue.calls.is_empty() => queue.ended(ended),
            () = queue.target.wake.notified() => {}
            Ok(()) = queue.freed.changed() => {}
            () = sleep_until(look_again) => {}
        }
    }
    while let Some(ended) = queue.calls.join_next().await {
        queue.ended(ended);
    }
}

struct Queue {
    target: Arc<Target>,
    /// Signals that the account got tokens or room back early.
    freed: watch::Receiver<()>,
    calls: JoinSet<()>,
    /// Counts the calls.
    turn: u32,
    escalation: Escalation,
    /// Consecutive failures of the store.
    store_failures: u32,
}

impl Queue {
    /// Begins calls until enough are in flight or none can leave. Returns when to read the queue again.
    async fn fill(&mut self) -> Instant {
        loop {
            let now = Instant::now();
            if self.target.stop.is_cancelled() || self.calls.len() >= CALLS {
                return now + LONGEST_SLEEP;
            }
            if self.target.pace.is_holding() {
                return self.target.pace.until();
            }
            if self.target.is_paused() {
                return now + WATCH;
            }
            let step = self.step().await;
            if let Some(wait) = step {
                return Instant::now() + wait.min(LONGEST_SLEEP);
            }
        }
    }

    /// Begins a call if one can leave. Otherwise returns how long to wait.
    async fn step(&mut self) -> Option<Duration> {
        let Target { key, shared, limits, account, .. } = &*self.target;
        // Another member of the fleet sends for this account. This one is woken when it is its turn.
        if !account.ownership.is_open() {
            return Some(WATCH);
        }
        let now_ms = shared.now_ms();
        let due = shared.store.due(key.clone(), now_ms, choose::full_call(limits)).await;
        let Ok(due) = due else { return Some(self.store_failed()) };
        let next = choose::next(&due, limits, self.turn, |load| account.wait(load));
        let wait = if let Next::Wait(wait) = &next { *wait } else { Wait::No };
        if !matches!(wait, Wait::Silence(_)) && self.escalation.check(&self.target, &due, wait).await {
            return None;
        }
        match next {
            Next::Idle => Some(until_due(&due, now_ms)),
            Next::Wait(Wait::For(wait) | Wait::Silence(wait)) => Some(wait),
            Next::Wait(Wait::No | Wait::Completion) => Some(LOOK_AGAIN),
            Next::Call(call) => self.call(call, now_ms).await,
        }
    }

    /// Claims and begins a call.
    async fn call(&mut self, call: choose::Call, now_ms: i64) -> Option<Duration> {
        let Target { key, shared, account, .. } = &*self.target;
        // Another CDN of this account may have reserved first.
        let Some(mut reservation) = account.reserve(call.load) else { return Some(Duration::ZERO) };
        let lease_until_ms = now_ms.saturating_add(super::milliseconds(LEASE));
        let claim = Claim {
            key: key.clone(),
            identity: self.target.identity.clone(),
            now_ms,
            lease_until_ms,
            site: call.site,
            hard: call.hard,
            room: call.room,
            bulk: call.bulk,
            keep_together: self.target.keeps_together(),
            rates: account.saved(now_ms),
        };
        let claimed = shared.store.claim(claim).await;
        let Ok(claimed) = claimed else {
            reservation.in_vain();
            return Some(self.store_failed());
        };
        self.store_failures = 0;
        if claimed.sends.is_empty() {
            reservation.in_vain();
            // The sends were paused or cancelled in between, or the first ones must leave together and have no
            // room yet.
            return Some(Duration::from_secs(1));
        }
        failpoint::reached("claimed");
        self.turn = self.turn.wrapping_add(1);
        self.escalation.leaves();
        let call = Call::new(self.target.clone(), claimed, lease_until_ms);
        reservation.shrink(call.load());
        self.calls.spawn(call.run(reservation));
        None
    }

    fn store_failed(&mut self) -> Duration {
        self.store_failures = self.store_failures.saturating_add(1);
        self.target.report(|_| {});
        backoff(self.store_failures, fastrand::f64())
    }

    fn ended(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            let (site, cdn) = (&self.target.key.site, &self.target.key.cdn);
            tracing::error!(site, cdn, %error, "a call to a CDN broke off; its sends are claimed again when their lease ends");
        }
    }
}

fn until_due(due: &Due, now_ms: i64) -> Duration {
    let wait_ms = due.next_ms.map(|next_ms| next_ms.saturating_sub(now_ms));
    wait_ms.map_or(LONGEST_SLEEP, |wait_ms| Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default()))
}
