//! The store's verbs: for each, what it does and on which connection. Moments of waiting are converted here
//! (`clock.rs`).

use super::clock::Clock;
use super::db::Db;
use super::transaction::{Kind, Step};
use super::writer::Waiting;
use super::{
    PostgresStore, claim, due, follow_up, housekeeping, list, naming, operate, probe, read, settle, sweep,
    untagged, verified, widen, works,
};
use crate::cdn::Identity;
use crate::failpoint;
use crate::store::{
    CdnKey, Claim, Claimed, Due, EndedJob, Enqueued, Filter, FollowUps, Left, Listed, Moved, NewPurge, Now,
    PausedBy, PurgeView, QueueStatus, RecentPurge, SavedRate, SendOutcome, Settled, Settlement, Store,
    StoreError, StoreFuture, Swept, UntaggedCopies, Verification, Wider, Work,
};
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// Makes a step of a transaction out of a block that uses the connection and shared values.
macro_rules! step {
    ($db:ident, [$($shared:ident),*], $block:expr) => {{
        $(let $shared = Arc::new($shared);)*
        work(move |$db| {
            $(let $shared = Arc::clone(&$shared);)*
            Box::pin(async move { $block })
        })
    }};
}

/// Returns `work`, of which this gives the compiler the type.
fn work<T, F: for<'t> Fn(&'t Db) -> Step<'t, T>>(work: F) -> F {
    work
}

impl Store for PostgresStore {
    fn enqueue(&self, mut purge: NewPurge) -> StoreFuture<'_, Enqueued> {
        Box::pin(async move {
            let clock = &self.server.clock;
            purge.since_ms = clock.to_database(purge.since_ms);
            purge.due_ms = clock.to_database(purge.due_ms);
            let (tell, answer) = oneshot::channel();
            let lanes = self.lanes.as_ref().ok_or(StoreError::Closed)?;
            lanes.accept.send(Waiting { purge, tell }).await.map_err(|_| StoreError::Closed)?;
            answer.await.map_err(|_| StoreError::Closed)?.map_err(|error| error.of("accept a purge"))
        })
    }

    fn name_queues(&self, cdns: Vec<(CdnKey, Identity)>) -> StoreFuture<'_, Vec<Moved>> {
        self.write("rename its queues", step!(db, [cdns], naming::name(db, &cdns).await))
    }

    fn follow_up(&self, id: String, follow_ups: FollowUps) -> StoreFuture<'_, u64> {
        let run = self.run;
        let work = step!(db, [id, follow_ups], follow_up::add(db, &id, &follow_ups, run).await);
        self.write("add follow-ups", work)
    }

    fn arrived(&self, id: String, due_ms: i64) -> StoreFuture<'_, u64> {
        let (run, due_ms) = (self.run, self.server.clock.to_database(due_ms));
        self.write("make follow-ups due", step!(db, [id], follow_up::arrived(db, &id, due_ms, run).await))
    }

    fn recent(&self, most_items: u64) -> StoreFuture<'_, Vec<RecentPurge>> {
        Box::pin(async move {
            let read = self.read("read recent purges", step!(db, [], read::recent(db, most_items).await));
            let mut recent = read.await?;
            recent.iter_mut().for_each(|purge| self.steady(&mut purge.since_ms));
            Ok(recent)
        })
    }

    fn due(&self, key: CdnKey, now_ms: i64, most: usize) -> StoreFuture<'_, Due> {
        let now_ms = self.server.clock.to_database(now_ms);
        Box::pin(async move {
            let read = self.read("read due sends", step!(db, [key], due::due(db, &key, now_ms, most).await));
            let mut due = read.await?;
            due.groups.iter_mut().for_each(|group| self.steady(&mut group.oldest_ms));
            due.next_ms.iter_mut().for_each(|next_ms| self.steady(next_ms));
            Ok(due)
        })
    }

    fn claim(&self, mut claim: Claim) -> StoreFuture<'_, Claimed> {
        let (run, clock) = (self.run, &self.server.clock);
        claim.now_ms = clock.to_database(claim.now_ms);
        claim.lease_until_ms = clock.to_database(claim.lease_until_ms);
        shift(&mut claim.rates, clock.ahead_us());
        Box::pin(async move {
            let work = step!(db, [claim], {
                let claimed = claim::claim(db, &claim, run).await?;
                if !claimed.sends.is_empty() {
                    failpoint::reached("claiming");
                }
                Ok(claimed)
            });
            let mut claimed = self.write("lease sends", work).await?;
            claimed.sends.iter_mut().for_each(|send| self.steady(&mut send.since_ms));
            Ok(claimed)
        })
    }

    fn settle(&self, mut settlement: Settlement) -> StoreFuture<'_, Settled> {
        let clock = &self.server.clock;
        settlement.now_ms = clock.to_database(settlement.now_ms);
        shift(&mut settlement.rates, clock.ahead_us());
        for (_, _, outcome) in &mut settlement.sends {
            if let SendOutcome::RetryAt(due_ms) = outcome {
                *due_ms = clock.to_database(*due_ms);
            }
        }
        Box::pin(async move {
            let work = step!(db, [settlement], {
                let settled = settle::settle(db, &settlement).await?;
                failpoint::reached("settling");
                Ok(settled)
            });
            let mut settled = self.write("settle sends", work).await?;
            settled.ended.iter_mut().for_each(|job| self.steady(&mut job.since_ms));
            Ok(settled)
        })
    }

    fn widen(&self, key: CdnKey, wider: Wider, now_ms: i64) -> StoreFuture<'_, u64> {
        let now_ms = self.server.clock.to_database(now_ms);
        let work = step!(db, [key, wider], widen::queue(db, &key, &wider, now_ms).await);
        self.write("widen pending sends", work)
    }

    fn works(&self, key: CdnKey) -> StoreFuture<'_, Vec<Work>> {
        Box::pin(async move {
            let read = self.read("read works under way", step!(db, [key], works::of(db, &key).await));
            let mut works = read.await?;
            works.iter_mut().for_each(|work| self.steady(&mut work.since_ms));
            Ok(works)
        })
    }

    fn complete(&self, work: i64, completed_ms: Option<i64>) -> StoreFuture<'_, ()> {
        self.write("record a completion", step!(db, [], works::complete(db, work, completed_ms).await))
    }

    fn verified(
        &self,
        key: CdnKey,
        purge: String,
        seen: (Verification, i64),
        again_ms: Option<i64>,
    ) -> StoreFuture<'_, ()> {
        let again_ms = again_ms.map(|again_ms| self.server.clock.to_database(again_ms));
        let work = step!(db, [key, purge], verified::note(db, &key, &purge, seen, again_ms).await);
        self.write("record a verification", work)
    }

    fn unverified(&self, ended_after_ms: i64) -> StoreFuture<'_, Vec<EndedJob>> {
        Box::pin(async move {
            let read =
                self.read("read unverified jobs", step!(db, [], verified::open(db, ended_after_ms).await));
            let mut jobs = read.await?;
            jobs.iter_mut().for_each(|job| self.steady(&mut job.since_ms));
            Ok(jobs)
        })
    }

    fn get(&self, id: String) -> StoreFuture<'_, Option<PurgeView>> {
        self.look(id, read::ALL)
    }

    fn glance(&self, id: String) -> StoreFuture<'_, Option<PurgeView>> {
        self.look(id, read::LISTED)
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Listed> {
        Box::pin(async move {
            let listed = self.browse("list purges", step!(db, [filter], list::list(db, &filter).await));
            let mut listed = listed.await?;
            listed.purges.iter_mut().for_each(|purge| self.seen(purge));
            Ok(listed)
        })
    }

    fn status(&self) -> StoreFuture<'_, Vec<QueueStatus>> {
        Box::pin(async move {
            let read =
                self.read("read the status of its queues", step!(db, [], housekeeping::status(db).await));
            Ok(self.queues(read.await?))
        })
    }

    fn survey(&self) -> StoreFuture<'_, Vec<QueueStatus>> {
        Box::pin(async move {
            let work = step!(db, [], housekeeping::status(db).await);
            Ok(self.queues(self.browse("read the status of its queues", work).await?))
        })
    }

    fn set_paused(&self, key: CdnKey, by: PausedBy, reason: Option<String>) -> StoreFuture<'_, ()> {
        let work =
            step!(db, [key, reason], housekeeping::set_paused(db, &key, by, (*reason).as_deref()).await);
        self.write("pause or resume a CDN", work)
    }

    fn hurry(&self, key: CdnKey, now_ms: i64) -> StoreFuture<'_, u64> {
        let now_ms = self.server.clock.to_database(now_ms);
        self.write("make retries due", step!(db, [key], operate::hurry(db, &key, now_ms).await))
    }

    fn acknowledge(&self, id: String) -> StoreFuture<'_, u64> {
        self.write("acknowledge a failure", step!(db, [id], housekeeping::acknowledge(db, &id).await))
    }

    fn retry(&self, id: String, now_ms: i64) -> StoreFuture<'_, u64> {
        let now_ms = self.server.clock.to_database(now_ms);
        self.write("retry a failure", step!(db, [id], operate::retry(db, &id, now_ms).await))
    }

    fn cancel(&self, id: String, at_ms: i64) -> StoreFuture<'_, Vec<EndedJob>> {
        Box::pin(async move {
            let cancel = self.write("cancel a purge", step!(db, [id], operate::cancel(db, &id, at_ms).await));
            let mut jobs = cancel.await?;
            jobs.iter_mut().for_each(|job| self.steady(&mut job.since_ms));
            Ok(jobs)
        })
    }

    fn take_over(&self, now: Now, furthest_ms: i64) -> StoreFuture<'_, Left> {
        let (run, clock) = (self.run, &self.server.clock);
        let (now_ms, furthest_ms) = (clock.to_database(now.steady_ms), clock.to_database(furthest_ms));
        let instance = self.instance.clone();
        Box::pin(async move {
            let work = step!(db, [instance], {
                housekeeping::take_over(db, (run, &instance), now_ms, furthest_ms).await
            });
            let mut left = self.write("take over from a former run", work).await?;
            shift(&mut left.rates, clock.ahead_us().saturating_neg());
            Ok(left)
        })
    }

    fn sweep(&self, ended_before_ms: i64, now_ms: i64) -> StoreFuture<'_, Swept> {
        self.write("remove old purges", step!(db, [], sweep::step(db, ended_before_ms, now_ms).await))
    }

    fn note_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()> {
        let copies = self.copies(copies, Clock::to_database);
        self.write("record copies without tags", step!(db, [copies], untagged::note(db, &copies).await))
    }

    fn forget_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()> {
        let copies = self.copies(copies, Clock::to_database);
        self.write("forget copies without tags", step!(db, [copies], untagged::forget(db, &copies).await))
    }

    fn untagged(&self) -> StoreFuture<'_, Vec<UntaggedCopies>> {
        Box::pin(async move {
            let copies =
                self.read("read copies without tags", step!(db, [], untagged::all(db).await)).await?;
            Ok(self.copies(copies, Clock::to_steady))
        })
    }

    fn is_behind(&self) -> StoreFuture<'_, bool> {
        Box::pin(ready(Ok(self.is_behind.load(Ordering::Relaxed))))
    }

    fn caught_up(&self) -> StoreFuture<'_, ()> {
        self.is_behind.store(false, Ordering::Relaxed);
        Box::pin(ready(Ok(())))
    }

    fn probe(&self, now: Now) -> StoreFuture<'_, ()> {
        let (run, now_ms) = (self.run, self.server.clock.to_database(now.steady_ms));
        Box::pin(async move {
            let work = step!(db, [], probe::accept(db, now_ms, run).await);
            self.verb("accept a purge", |lanes| &lanes.write, Kind::Rehearsal, work).await?;
            self.write("commit", step!(db, [], probe::commit(db, now_ms).await)).await
        })
    }
}

impl PostgresStore {
    fn look(&self, id: String, shown: read::Shown) -> StoreFuture<'_, Option<PurgeView>> {
        Box::pin(async move {
            let read = self.browse("read a purge", step!(db, [id], read::get_one(db, &id, shown).await));
            let mut purge = read.await?;
            purge.iter_mut().for_each(|purge| self.seen(purge));
            Ok(purge)
        })
    }

    /// Converts a moment to the instance's clock.
    fn steady(&self, ms: &mut i64) {
        *ms = self.server.clock.to_steady(*ms);
    }

    fn seen(&self, purge: &mut PurgeView) {
        purge.jobs.iter_mut().filter_map(|job| job.next_attempt_ms.as_mut()).for_each(|ms| self.steady(ms));
    }

    fn queues(&self, mut queues: Vec<QueueStatus>) -> Vec<QueueStatus> {
        queues.iter_mut().filter_map(|queue| queue.oldest_due_ms.as_mut()).for_each(|ms| self.steady(ms));
        queues
    }

    fn copies(
        &self,
        mut copies: Vec<UntaggedCopies>,
        convert: fn(&Clock, i64) -> i64,
    ) -> Vec<UntaggedCopies> {
        copies.iter_mut().for_each(|copies| copies.until_ms = convert(&self.server.clock, copies.until_ms));
        copies
    }
}

/// Moves the moments of buckets by this many microseconds.
fn shift(rates: &mut [SavedRate], by_us: i64) {
    rates.iter_mut().for_each(|rate| rate.full_us = rate.full_us.saturating_add(by_us));
}
