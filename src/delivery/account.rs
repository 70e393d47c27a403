//! The account of one or more CDNs: its token buckets, its work in flight, and the offset of its clock from ours.
//! A caller reserves before it prepares a call. A [`Reservation`] that is not spent is returned when it is
//! dropped.

use super::bucket::Bucket;
use crate::base::{from_microseconds, microseconds};
use crate::cdn::{Ceiling, Item, ItemKind, Limit, RateHint, Rates};
use crate::guard::Fence;
use crate::purge::scheduling_kind;
use crate::rewrite::CdnType;
use crate::store::{NewWork, SavedRate};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The time within which a reservation must be spent. The store keeps each bucket as if its reservations were spent at
/// the end of this time, so a longer time would let a crash cost more tokens.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// The name under which the store keeps how long the CDN asked for silence.
const SILENCE: &str = "silence";
/// A difference up to this can arise on the way, so it does not show that the clocks differ.
const SAME_TIME_MS: i64 = 2_000;

/// The cost of a call: calls, and items by scheduling kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) calls: u64,
    pub(super) items: [u64; 4],
}

/// How long a load must wait for its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    No,
    For(Duration),
    /// Until the silence that the CDN asked for ends.
    Silence(Duration),
    /// Until some work in flight is complete.
    Completion,
}

/// One account.
#[derive(Debug)]
pub(super) struct Account {
    name: String,
    /// The origin of the buckets' time, which clock changes do not affect.
    began: Instant,
    state: Mutex<State>,
    /// Signals that tokens or room came back early.
    freed: watch::Sender<()>,
    /// Until when this instance is the one that sends for the account.
    pub(super) ownership: Fence,
}

#[derive(Debug)]
struct State {
    buckets: Vec<(Limit, Bucket)>,
    ceilings: Vec<Ceiling>,
    /// Items of all calls that are reserved or under way, by scheduling kind. Each of these calls may become accepted
    /// work at any moment.
    leaving: [u64; 4],
    /// Work that was accepted and is not complete, by its number in the store.
    works: HashMap<i64, NewWork>,
    silent_until: i64,
    /// The offset from our clock to the CDN's.
    offset_ms: i64,
}

impl Account {
    pub(super) fn new(name: &str, rates: Rates) -> Self {
        let state = State {
            buckets: full(&rates),
            ceilings: rates.ceilings,
            leaving: [0; 4],
            works: HashMap::new(),
            silent_until: 0,
            offset_ms: 0,
        };
        Self {
            name: name.to_owned(),
            began: Instant::now(),
            state: Mutex::new(state),
            freed: watch::Sender::new(()),
            ownership: Fence::default(),
        }
    }

    /// Applies new rates. Tokens already taken stay taken.
    pub(super) fn set_rates(&self, rates: Rates) {
        let (mut state, now) = (self.state(), self.now());
        if state.buckets.iter().map(|(limit, _)| limit).eq(&rates.limits) && state.ceilings == rates.ceilings
        {
            return;
        }
        let old = std::mem::replace(&mut state.buckets, full(&rates));
        for (limit, bucket) in &mut state.buckets {
            if let Some((_, old)) = old.iter().find(|(old, _)| old.name == limit.name) {
                bucket.restore(old.full_at(now), now);
            }
        }
        state.ceilings = rates.ceilings;
    }

    /// Returns a receiver that is notified when tokens or room come back early.
    pub(super) fn freed(&self) -> watch::Receiver<()> {
        self.freed.subscribe()
    }

    /// Returns how long this load would have to wait now.
    pub(super) fn wait(&self, load: &Load) -> Wait {
        self.wait_in(&self.state(), load)
    }

    fn wait_in(&self, state: &State, load: &Load) -> Wait {
        let now = self.now();
        if state.silent_until > now {
            return Wait::Silence(from_microseconds(state.silent_until - now));
        }
        for ceiling in &state.ceilings {
            let (under_way, items) = (state.under_way(ceiling), counted(ceiling, &load.items));
            if under_way > 0 && items > 0 && under_way + items > ceiling.most {
                return Wait::Completion;
            }
        }
        let waits = state
            .buckets
            .iter()
            .map(|(limit, bucket)| bucket.wait(limit.tokens(load.calls, &load.items), now));
        match waits.max().unwrap_or_default() {
            Duration::ZERO => Wait::No,
            wait => Wait::For(wait),
        }
    }

    /// Returns how long it takes until all of this load has been sent, if nothing else is sent.
    pub(super) fn time_for(&self, load: &Load) -> Duration {
        let (state, now) = (self.state(), self.now());
        let by_rate = state.buckets.iter();
        let by_rate =
            by_rate.map(|(limit, bucket)| bucket.time_for(limit.tokens(load.calls, &load.items), now));
        let by_ceiling = state.ceilings.iter().map(|ceiling| {
            let items = state.under_way(ceiling) + counted(ceiling, &load.items);
            let rounds = items.saturating_sub(1) / ceiling.most;
            ceiling.usually.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
        });
        by_rate.chain(by_ceiling).max().unwrap_or_default()
    }

    /// Reserves what a call needs if it can leave without waiting.
    pub(super) fn reserve(self: &Arc<Self>, load: Load) -> Option<Reservation> {
        let mut state = self.state();
        if self.wait_in(&state, &load) != Wait::No {
            return None;
        }
        for (limit, bucket) in &mut state.buckets {
            bucket.reserve(limit.tokens(load.calls, &load.items));
        }
        add(&mut state.leaving, &load.items);
        drop(state);
        Some(Reservation { account: self.clone(), load, at: Instant::now(), is_spent: false, is_told: true })
    }

    /// Takes what a call needs if the call cannot wait.
    pub(super) fn take(&self, load: &Load) {
        let (mut state, now) = (self.state(), self.now());
        for (limit, bucket) in &mut state.buckets {
            let tokens = limit.tokens(load.calls, &load.items);
            bucket.reserve(tokens);
            bucket.spend(tokens, now);
        }
    }

    /// Applies the limits that the CDN reported in its reply to a call with this load.
    pub(super) fn heard(&self, hints: &[RateHint], load: &Load) {
        let (mut state, now) = (self.state(), self.now());
        for hint in hints {
            let concerned = |(limit, _): &&mut (Limit, Bucket)| {
                limit.counted == hint.counted && limit.tokens(load.calls, &load.items) > 0.0
            };
            for (limit, bucket) in state.buckets.iter_mut().filter(concerned) {
                bucket.left(hint.remaining as f64, now);
                if let Some(after) = hint.refreshed_after.filter(|_| limit.windowed && hint.remaining == 0) {
                    bucket.empty_until(now.saturating_add(microseconds(after)));
                }
            }
        }
    }

    /// Ends the silence that the CDN asked for, on a user's request.
    pub(super) fn break_silence(&self) {
        self.state().silent_until = 0;
    }

    /// Records that the CDN asked for silence.
    pub(super) fn silence(&self, wait: Duration) {
        let until = self.now().saturating_add(microseconds(wait));
        let mut state = self.state();
        state.silent_until = state.silent_until.max(until);
    }

    /// Records that the CDN accepted work that continues.
    pub(super) fn is_under_way(&self, work: i64, what: NewWork) {
        self.state().works.insert(work, what);
    }

    /// Records that work in flight has ended.
    pub(super) fn completed(&self, work: i64) {
        self.state().works.remove(&work);
        self.freed.send_replace(());
    }

    /// Returns the CDN's time, as far as it is known, when our clock shows `now_ms`.
    pub(super) fn clock_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_add(self.state().offset_ms)
    }

    /// Records the date of a reply received at `now_ms`. Returns the clock offset if it changed.
    pub(super) fn dated(&self, date_ms: i64, now_ms: i64) -> Option<i64> {
        // A date has whole seconds, so on average it stands for the middle of its second.
        let offset_ms = date_ms.saturating_add(500).saturating_sub(now_ms);
        let offset_ms = if offset_ms.abs() <= SAME_TIME_MS { 0 } else { offset_ms };
        let mut state = self.state();
        let is_news = offset_ms.abs_diff(state.offset_ms) > SAME_TIME_MS.unsigned_abs();
        state.offset_ms = offset_ms;
        is_news.then_some(offset_ms)
    }

    /// Returns what a store must keep before anything reserved is sent. The steady clock shows `now_ms`.
    pub(super) fn saved(&self, now_ms: i64) -> Vec<SavedRate> {
        let (state, now) = (self.state(), self.now());
        let latest = now.saturating_add(microseconds(GOOD_FOR));
        let buckets =
            state.buckets.iter().map(|(limit, bucket)| (limit.name, bucket.full_at(latest), latest));
        let all = buckets.chain([(SILENCE, state.silent_until, now)]);
        // Full buckets need not be saved.
        all.filter(|(_, full_at, by_then)| full_at > by_then)
            .map(|(name, full_at, _)| SavedRate {
                account: self.name.clone(),
                name: name.to_owned(),
                full_us: now_ms.saturating_mul(1_000).saturating_add(full_at - now),
            })
            .collect()
    }

    /// Restores what a previous run saved. The steady clock shows `now_ms`.
    pub(super) fn restore(&self, saved: &[SavedRate], now_ms: i64) {
        const LONGEST_SILENCE: i64 = 3_600_000_000;
        let (mut state, now) = (self.state(), self.now());
        for rate in saved.iter().filter(|rate| rate.account == self.name) {
            let after = rate.full_us.saturating_sub(now_ms.saturating_mul(1_000));
            let full_at = now.saturating_add(after);
            if rate.name == SILENCE {
                state.silent_until = state.silent_until.max(now.saturating_add(after.min(LONGEST_SILENCE)));
            }
            for (limit, bucket) in &mut state.buckets {
                if limit.name == rate.name {
                    bucket.restore(full_at, now);
                }
            }
        }
    }

    fn now(&self) -> i64 {
        microseconds(self.began.elapsed())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tokens and room reserved for one call.
#[derive(Debug)]
pub(super) struct Reservation {
    account: Arc<Account>,
    load: Load,
    at: Instant,
    is_spent: bool,
    /// Whether waiting queues are notified when the reservation is returned.
    is_told: bool,
}

impl Reservation {
    /// Reduces the reservation to what the call needs.
    pub(super) fn shrink(&mut self, load: Load) {
        let mut state = self.account.state();
        for (limit, bucket) in &mut state.buckets {
            let tokens = |load: &Load| limit.tokens(load.calls, &load.items);
            bucket.release((tokens(&self.load) - tokens(&load)).max(0.0));
        }
        subtract(&mut state.leaving, &self.load.items);
        add(&mut state.leaving, &load.items);
        drop(state);
        self.load = load;
    }

    /// Drops the reservation without notifying the others that share the account. They might not be able to use it
    /// either, and would notify this queue in turn, in an endless loop.
    pub(super) fn in_vain(mut self) {
        self.is_told = false;
    }

    /// Whether the reservation may still be spent.
    pub(super) fn is_good(&self) -> bool {
        self.at.elapsed() < GOOD_FOR
    }

    /// Spends the reservation when the call leaves.
    pub(super) fn spend(&mut self) {
        if !std::mem::replace(&mut self.is_spent, true) {
            let (mut state, now) = (self.account.state(), self.account.now());
            for (limit, bucket) in &mut state.buckets {
                bucket.spend(limit.tokens(self.load.calls, &self.load.items), now);
            }
        }
    }

    /// Reserves the spent tokens again if that needs no wait.
    pub(super) fn renew(&mut self) -> bool {
        let (mut state, now) = (self.account.state(), self.account.now());
        let tokens = |limit: &Limit| limit.tokens(self.load.calls, &self.load.items);
        let is_there = |(limit, bucket): &(Limit, Bucket)| bucket.wait(tokens(limit), now).is_zero();
        if !self.is_spent || !state.buckets.iter().all(is_there) {
            return false;
        }
        for (limit, bucket) in &mut state.buckets {
            bucket.reserve(tokens(limit));
        }
        drop(state);
        (self.is_spent, self.at) = (false, Instant::now());
        true
    }

    pub(super) fn load(&self) -> &Load {
        &self.load
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.account.state();
        if !self.is_spent {
            for (limit, bucket) in &mut state.buckets {
                bucket.release(limit.tokens(self.load.calls, &self.load.items));
            }
        }
        subtract(&mut state.leaving, &self.load.items);
        drop(state);
        if self.is_told {
            self.account.freed.send_replace(());
        }
    }
}

impl State {
    fn under_way(&self, ceiling: &Ceiling) -> u64 {
        let works = self
            .works
            .values()
            .map(|work| counted(ceiling, &[work.items.saturating_sub(work.wildcards), 0, work.wildcards, 0]));
        counted(ceiling, &self.leaving) + works.sum::<u64>()
    }
}

fn full(rates: &Rates) -> Vec<(Limit, Bucket)> {
    rates.limits.iter().map(|limit| (*limit, Bucket::new(limit.per_second, limit.burst))).collect()
}

fn add(sum: &mut [u64; 4], items: &[u64; 4]) {
    sum.iter_mut().zip(items).for_each(|(sum, items)| *sum += items);
}

fn subtract(sum: &mut [u64; 4], items: &[u64; 4]) {
    sum.iter_mut().zip(items).for_each(|(sum, items)| *sum = sum.saturating_sub(*items));
}

fn counted(ceiling: &Ceiling, items: &[u64; 4]) -> u64 {
    ceiling.kinds.iter().map(|kind| items[*kind as usize]).sum()
}

/// Returns what a call with these items costs.
pub(super) fn load_of_call<'a>(cdn: CdnType, items: impl Iterator<Item = &'a Item>) -> Load {
    let mut load = Load { calls: 1, items: [0; 4] };
    for item in items {
        let kind: ItemKind = scheduling_kind(cdn, item);
        load.items[kind as usize] += 1;
    }
    load
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::{Counted, ItemKind};

    const ALL: &[ItemKind] = &[ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything];
    const START: i64 = 1_700_000_000_000;

    /// One call a second, five at once; ten tags a second, 100 at once; 20 items in flight.
    fn account() -> Arc<Account> {
        let limit = |name, counted, kinds, per_second, burst| Limit {
            name,
            counted,
            kinds,
            per_second,
            burst,
            windowed: true,
        };
        let rates = Rates {
            limits: vec![
                limit("calls", Counted::Calls, ALL, 1.0, 5.0),
                limit("tags", Counted::Items, &ALL[1..2], 10.0, 100.0),
            ],
            ceilings: vec![Ceiling { kinds: &ALL[2..3], most: 20, usually: Duration::from_secs(30) }],
        };
        Arc::new(Account::new("main", rates))
    }

    fn tags(items: u64) -> Load {
        Load { calls: 1, items: [0, items, 0, 0] }
    }

    fn prefixes(items: u64) -> Load {
        Load { calls: 1, items: [0, 0, items, 0] }
    }

    fn seconds(seconds: u64) -> Wait {
        Wait::For(Duration::from_secs(seconds))
    }

    #[tokio::test(start_paused = true)]
    async fn every_bucket_counts() {
        let account = account();
        let mut reservation = account.reserve(tags(60)).unwrap();
        assert_eq!(account.wait(&tags(60)), seconds(2));
        assert!(account.reserve(tags(60)).is_none());
        // The claim found fewer items.
        reservation.shrink(tags(30));
        assert_eq!(account.wait(&tags(60)), Wait::No);
        reservation.spend();
        drop(reservation);
        assert_eq!(account.wait(&tags(80)), seconds(1));
        assert_eq!(account.time_for(&Load { calls: 24, items: [0; 4] }), Duration::ZERO);
        assert_eq!(account.time_for(&Load { calls: 24, ..tags(1) }), Duration::from_secs(20));
        // Unspent tokens come back.
        drop(account.reserve(tags(70)).unwrap());
        assert_eq!(account.wait(&tags(70)), Wait::No);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(account.wait(&tags(100)), Wait::No);
    }

    #[tokio::test(start_paused = true)]
    async fn reservations_do_not_last() {
        let reservation = account().reserve(tags(1)).unwrap();
        assert!(reservation.is_good());
        tokio::time::advance(GOOD_FOR).await;
        assert!(!reservation.is_good());
    }

    #[tokio::test(start_paused = true)]
    async fn ceilings_count_until_completion() {
        let account = account();
        let mut freed = account.freed();
        let mut reservation = account.reserve(prefixes(15)).unwrap();
        assert_eq!(account.wait(&prefixes(6)), Wait::Completion);
        assert_eq!(account.time_for(&prefixes(6)), Duration::from_secs(30));
        reservation.spend();
        let work = |items| NewWork { name: "I".into(), items, wildcards: items };
        account.is_under_way(1, work(15));
        drop(reservation);
        assert_eq!(account.wait(&prefixes(6)), Wait::Completion);
        freed.mark_unchanged();
        account.completed(1);
        assert!(freed.has_changed().unwrap());
        assert_eq!(account.wait(&prefixes(20)), Wait::No);
        // A load above the ceiling is tried alone.
        assert_eq!(account.wait(&prefixes(21)), Wait::No);
        account.is_under_way(2, work(1));
        account.is_under_way(2, work(1));
        assert_eq!(account.wait(&prefixes(19)), Wait::No);
        assert_eq!(account.wait(&prefixes(20)), Wait::Completion);
        // A call that was not accepted leaves nothing in flight.
        drop(account.reserve(prefixes(19)).unwrap());
        assert_eq!(account.wait(&prefixes(19)), Wait::No);
    }

    #[tokio::test(start_paused = true)]
    async fn the_cdn_is_believed() {
        let account = account();
        let hint = |counted, remaining, after| RateHint {
            counted,
            remaining,
            refreshed_after: Some(Duration::from_secs(after)),
        };
        account.heard(&[hint(Counted::Items, 40, 6)], &tags(1));
        assert_eq!(account.wait(&tags(50)), seconds(1));
        // A hint applies only to the kinds that the call carried.
        account.heard(&[hint(Counted::Items, 0, 6)], &prefixes(1));
        assert_eq!(account.wait(&tags(40)), Wait::No);
        account.heard(&[hint(Counted::Calls, 0, 9)], &tags(1));
        assert_eq!(account.wait(&prefixes(1)), seconds(9));
        account.silence(Duration::from_secs(20));
        account.silence(Duration::from_secs(10));
        assert_eq!(account.wait(&tags(1)), Wait::Silence(Duration::from_secs(20)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_knows_what_was_reserved_and_what_was_said() {
        let (before, after) = (account(), account());
        let _reservation = before.reserve(tags(95)).unwrap();
        let saved = before.saved(START);
        after.restore(&saved, START);
        // The rates are saved as if the call left at the last moment, but a bucket cannot be emptier than empty.
        assert_eq!(after.wait(&tags(5)), seconds(1));
        assert_eq!(after.wait(&tags(30)), seconds(3));
        // The process is down for a while, which the clock shows.
        let later = account();
        later.restore(&saved, START + 6_000);
        assert_eq!(later.wait(&tags(15)), Wait::No);
        assert_eq!(later.wait(&tags(16)), Wait::For(Duration::from_millis(100)));

        before.silence(Duration::from_secs(60));
        later.restore(&before.saved(START), START + 20_000);
        assert_eq!(later.wait(&tags(1)), Wait::Silence(Duration::from_secs(40)));
        // An absurd value does not cause an endless wait.
        let other = SavedRate { account: "other".into(), name: "calls".into(), full_us: i64::MAX };
        let absurd = SavedRate { account: "main".into(), ..other.clone() };
        let fresh = account();
        fresh.restore(&[other], START);
        assert_eq!(fresh.wait(&tags(100)), Wait::No);
        fresh.restore(&[absurd], START);
        assert_eq!(fresh.wait(&tags(1)), seconds(1));
    }

    #[tokio::test(start_paused = true)]
    async fn other_rates_do_not_give_back_what_was_taken() {
        let account = account();
        account.take(&tags(90));
        let slower = Limit { per_second: 5.0, ..account.state().buckets[1].0 };
        account.set_rates(Rates { limits: vec![slower], ceilings: vec![] });
        assert_eq!(account.wait(&tags(60)), seconds(1));
    }

    #[tokio::test(start_paused = true)]
    async fn clocks() {
        let account = account();
        assert_eq!(account.clock_ms(START), START);
        assert_eq!(account.dated(START + 60_000, START), Some(60_500));
        assert_eq!(account.clock_ms(START), START + 60_500);
        assert_eq!(account.dated(START + 61_000, START), None);
        // A second of rounding and transit is no difference.
        assert_eq!(account.dated(START - 1_900, START), Some(0));
        assert_eq!(account.clock_ms(START), START);
    }
}
