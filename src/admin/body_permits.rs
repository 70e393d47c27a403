//! Permits for large bodies, so that they never fill the memory. While others wait, a body that makes no progress
//! loses its permit. The last to come is the first to get a permit, because a client that has waited for long has
//! probably stopped sending (Maurer, "Fail at Scale", ACM Queue 13/8, 2015: adaptive LIFO). Before that, callers
//! whose token, and then whose address, have the fewest permits come first.

use super::shares::Who;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// The number of permits, each for one body of at most 8 MiB.
const ALL: usize = 4;
/// The part of the permits that one token may have.
const PER_TOKEN: usize = 2;
const PER_ADDRESS: usize = 3;
/// The number of bytes that must come within [`STALL`] for progress. A body of the largest size that comes more
/// slowly would not arrive in time anyway.
const STEP: usize = 64 << 10;
/// The time after which a body without progress has stalled. It exceeds any round trip, so that an honest body
/// does not look stalled.
const STALL: Duration = Duration::from_millis(500);
/// The pause between two checks for stalled bodies.
const LOOK: Duration = Duration::from_millis(50);

/// The holders of permits, and those who wait for one.
#[derive(Debug, Default)]
pub(super) struct BodyPermits {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The holders of permits, by number.
    holders: BTreeMap<u64, Holder>,
    waiters: BTreeMap<u64, Who>,
    next: u64,
}

#[derive(Debug)]
struct Holder {
    who: Who,
    /// Bytes received since [`Holder::at`].
    bytes: usize,
    /// The time of the last progress.
    at: Instant,
    lost: CancellationToken,
}

/// A permit, or a place among the waiters; dropping it gives up both.
#[derive(Debug)]
pub(super) struct BodyPermit<'t> {
    permits: &'t BodyPermits,
    number: u64,
    lost: CancellationToken,
}

impl BodyPermits {
    /// Waits for a permit.
    pub(super) async fn take(&self, who: Who) -> BodyPermit<'_> {
        let (number, lost) = {
            let mut state = self.state();
            let number = state.next;
            state.next += 1;
            state.waiters.insert(number, who);
            (number, CancellationToken::new())
        };
        let mut permit = BodyPermit { permits: self, number, lost };
        loop {
            let changed = self.changed.notified();
            if let Some(lost) = self.serve(number) {
                permit.lost = lost;
                return permit;
            }
            tokio::select! {
                () = changed => {}
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Gives permits to all waiters that can have one. Returns the token of permit `number`, if it is held now.
    fn serve(&self, number: u64) -> Option<CancellationToken> {
        let mut state = self.state();
        if state.serve(Instant::now()) {
            self.changed.notify_waiters();
        }
        state.holders.get(&number).map(|holder| holder.lost.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives out permits, and returns whether any waiter got one.
    fn serve(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some((number, instead_of)) = self.next_permit(now) {
            if let Some(holder) = instead_of.and_then(|number| self.holders.remove(&number)) {
                holder.lost.cancel();
            }
            if let Some(who) = self.waiters.remove(&number) {
                let holder = Holder { who, bytes: 0, at: now, lost: CancellationToken::new() };
                self.holders.insert(number, holder);
            }
            any = true;
        }
        any
    }

    /// Returns the waiter that gets the next permit, and the holder that loses its permit to it if none is free.
    fn next_permit(&self, now: Instant) -> Option<(u64, Option<u64>)> {
        let mut waiters: Vec<_> = self.waiters.iter().collect();
        let with_token = |who: &Who| self.count(|holder| holder.token == who.token);
        let from_address = |who: &Who| self.count(|holder| holder.network == who.network);
        waiters.sort_by_key(|(number, who)| (with_token(who), from_address(who), Reverse(**number)));
        waiters.into_iter().find_map(|(number, who)| {
            let is_in_the_way: &dyn Fn(&Who) -> bool = if with_token(who) >= PER_TOKEN {
                &|holder| holder.token == who.token
            } else if from_address(who) >= PER_ADDRESS {
                &|holder| holder.network == who.network
            } else if self.holders.len() >= ALL {
                &|_| true
            } else {
                return Some((*number, None));
            };
            let stalled = self
                .holders
                .iter()
                .filter(|(_, holder)| is_in_the_way(&holder.who) && now.duration_since(holder.at) >= STALL);
            let longest = stalled.min_by_key(|(_, holder)| holder.at);
            longest.map(|(stalled, _)| (*number, Some(*stalled)))
        })
    }

    fn count(&self, is_it: impl Fn(&Who) -> bool) -> usize {
        self.holders.values().filter(|holder| is_it(&holder.who)).count()
    }
}

impl BodyPermit<'_> {
    /// Counts bytes of the body that have arrived.
    pub(super) fn received(&self, bytes: usize) {
        if let Some(holder) = self.permits.state().holders.get_mut(&self.number) {
            holder.bytes += bytes;
            if holder.bytes >= STEP {
                (holder.bytes, holder.at) = (0, Instant::now());
            }
        }
    }

    /// Waits until the permit has gone to another caller.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for BodyPermit<'_> {
    fn drop(&mut self) {
        let mut state = self.permits.state();
        state.waiters.remove(&self.number);
        if state.holders.remove(&self.number).is_some() {
            self.permits.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::sync::Arc;
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

    fn who(token: &str, last: u8) -> Who {
        Who { token: token.to_owned(), network: IpAddr::from([192, 0, 2, last]) }
    }

    /// Starts a body that never makes progress. It reports `+` when it gets its permit, `-` when it loses it.
    fn half_sent(permits: &Arc<BodyPermits>, name: &str, who: Who, told: &UnboundedSender<String>) {
        let (permits, name, told) = (permits.clone(), name.to_owned(), told.clone());
        tokio::spawn(async move {
            let permit = permits.take(who).await;
            told.send(format!("+{name}")).unwrap();
            permit.lost().await;
            told.send(format!("-{name}")).unwrap();
        });
    }

    async fn next(told: &mut UnboundedReceiver<String>, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(told.recv().await.unwrap());
        }
        all.sort();
        all
    }

    #[tokio::test(start_paused = true)]
    async fn who_stands_still_gives_up_its_turn_when_another_wants_it() {
        let (permits, (told, mut heard)) = (Arc::new(BodyPermits::default()), unbounded_channel());
        for (name, token, last) in [("a", "x", 1), ("b", "x", 1), ("c", "y", 2), ("d", "y", 2)] {
            half_sent(&permits, name, who(token, last), &told);
        }
        assert_eq!(next(&mut heard, 4).await, ["+a", "+b", "+c", "+d"]);
        // No caller waits, so the permits stay with their holders.
        sleep(Duration::from_secs(20)).await;
        assert!(heard.is_empty());
        let began = Instant::now();
        let permit = permits.take(who("z", 3)).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(next(&mut heard, 1).await, ["-a"]);
        // A body that makes progress keeps its permit, and makes this progress while others wait.
        for _ in 0..5 {
            sleep(STALL - Duration::from_millis(1)).await;
            permit.received(STEP);
        }
        half_sent(&permits, "e", who("x", 1), &told);
        assert_eq!(next(&mut heard, 2).await, ["+e", "-b"]);
        assert!(!permit.lost.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn trickling_is_standing_still() {
        let (permits, (told, mut heard)) = (Arc::new(BodyPermits::default()), unbounded_channel());
        let first = permits.take(who("x", 1)).await;
        let second = permits.take(who("x", 1)).await;
        half_sent(&permits, "next", who("x", 1), &told);
        for _ in 0..20 {
            sleep(Duration::from_millis(25)).await;
            first.received(1_000);
            second.received(STEP);
        }
        assert_eq!(next(&mut heard, 1).await, ["+next"]);
        assert!(first.lost.is_cancelled() && !second.lost.is_cancelled());
    }

    /// While 98 bodies of the same caller wait ahead and two hold its permits, an honest body gets a permit as soon as
    /// they stall.
    #[tokio::test(start_paused = true)]
    async fn an_honest_body_waits_for_no_crowd() {
        let (permits, (told, mut heard)) = (Arc::new(BodyPermits::default()), unbounded_channel());
        for index in 0..100 {
            half_sent(&permits, &index.to_string(), who("x", 1), &told);
        }
        next(&mut heard, 2).await;
        while permits.state().waiters.len() < 98 {
            tokio::task::yield_now().await;
        }
        for honest in [who("x", 1), who("y", 1), who("x", 2), who("y", 2)] {
            let began = Instant::now();
            drop(permits.take(honest.clone()).await);
            assert!(began.elapsed() <= STALL + LOOK, "{honest:?}: {:?}", began.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_token_and_no_address_has_all_turns() {
        let permits = Arc::new(BodyPermits::default());
        let take = |who| {
            let permits = permits.clone();
            async move {
                tokio::time::timeout(STALL / 8, permits.take(who)).await.map(|permit| permit.number).ok()
            }
        };
        let held = [permits.take(who("x", 1)).await, permits.take(who("x", 1)).await];
        assert_eq!(take(who("x", 2)).await, None);
        let third = permits.take(who("y", 1)).await;
        assert_eq!(take(who("z", 1)).await, None);
        let fourth = permits.take(who("z", 2)).await;
        assert_eq!(take(who("w", 3)).await, None);
        // There are no waiters left, and a permit that is given back is available.
        assert!(permits.state().waiters.is_empty());
        drop(third);
        assert!(take(who("w", 3)).await.is_some());
        drop((held, fourth));
        assert!(permits.state().holders.is_empty());
    }
}
