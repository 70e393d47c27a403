//! The store's verbs: for each, its action and the thread that runs it.

use super::threads::Kind;
use super::{
    SqliteStore, claim, due, enqueue, follow_up, housekeeping, list, mark, naming, operate, read, rehearse,
    settle, sweep, untagged, verified, widen, works,
};
use crate::cdn::Identity;
use crate::failpoint;
use crate::store::{
    CdnKey, Claim, Claimed, Due, EndedJob, Enqueued, Filter, FollowUps, Left, Listed, Moved, NewPurge, Now,
    PausedBy, PurgeView, QueueStatus, RecentPurge, Settled, Settlement, Store, StoreFuture, Swept,
    UntaggedCopies, Verification, Wider, Work,
};
use rusqlite::Connection;
use std::future::ready;

impl Store for SqliteStore {
    fn enqueue(&self, purge: NewPurge) -> StoreFuture<'_, Enqueued> {
        self.write("accept a purge", move |connection| {
            let enqueued = enqueue::enqueue(connection, &purge)?;
            failpoint::reached("writing");
            Ok(enqueued)
        })
    }

    fn name_queues(&self, cdns: Vec<(CdnKey, Identity)>) -> StoreFuture<'_, Vec<Moved>> {
        self.write("rename its queues", move |connection| naming::name(connection, &cdns))
    }

    fn follow_up(&self, id: String, follow_ups: FollowUps) -> StoreFuture<'_, u64> {
        self.write("add follow-ups", move |connection| follow_up::add(connection, &id, &follow_ups))
    }

    fn arrived(&self, id: String, due_ms: i64) -> StoreFuture<'_, u64> {
        self.write("make follow-ups due", move |connection| follow_up::arrived(connection, &id, due_ms))
    }

    fn recent(&self, most_items: u64) -> StoreFuture<'_, Vec<RecentPurge>> {
        self.read("read recent purges", move |connection| read::recent(connection, most_items))
    }

    fn due(&self, key: CdnKey, now_ms: i64, most: usize) -> StoreFuture<'_, Due> {
        self.read("read due sends", move |connection| due::due(connection, &key, now_ms, most))
    }

    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claimed> {
        self.commit("lease sends", Kind::Lease, move |connection| {
            let claimed = claim::claim(connection, &claim)?;
            if !claimed.sends.is_empty() {
                failpoint::reached("claiming");
            }
            Ok(claimed)
        })
    }

    fn settle(&self, settlement: Settlement) -> StoreFuture<'_, Settled> {
        self.write("settle sends", move |connection| {
            let settled = settle::settle(connection, &settlement)?;
            failpoint::reached("settling");
            Ok(settled)
        })
    }

    fn widen(&self, key: CdnKey, wider: Wider, now_ms: i64) -> StoreFuture<'_, u64> {
        self.write("widen pending sends", move |connection| widen::queue(connection, &key, &wider, now_ms))
    }

    fn works(&self, key: CdnKey) -> StoreFuture<'_, Vec<Work>> {
        self.read("read works under way", move |connection| works::of(connection, &key))
    }

    fn complete(&self, work: i64, completed_ms: Option<i64>) -> StoreFuture<'_, ()> {
        self.write("record a completion", move |connection| works::complete(connection, work, completed_ms))
    }

    fn verified(
        &self,
        key: CdnKey,
        purge: String,
        seen: (Verification, i64),
        again_ms: Option<i64>,
    ) -> StoreFuture<'_, ()> {
        self.write("record a verification", move |connection| {
            verified::note(connection, &key, &purge, seen, again_ms)
        })
    }

    fn unverified(&self, ended_after_ms: i64) -> StoreFuture<'_, Vec<EndedJob>> {
        self.read("read unverified jobs", move |connection| verified::open(connection, ended_after_ms))
    }

    fn get(&self, id: String) -> StoreFuture<'_, Option<PurgeView>> {
        self.browse("read a purge", move |connection| read::get(connection, &id, read::ALL))
    }

    fn glance(&self, id: String) -> StoreFuture<'_, Option<PurgeView>> {
        self.browse("read a purge", move |connection| read::get(connection, &id, read::LISTED))
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Listed> {
        self.browse("list purges", move |connection| list::list(connection, &filter))
    }

    fn status(&self) -> StoreFuture<'_, Vec<QueueStatus>> {
        self.read("read the status of its queues", housekeeping::status)
    }

    fn survey(&self) -> StoreFuture<'_, Vec<QueueStatus>> {
        self.browse("read the status of its queues", housekeeping::status)
    }

    fn set_paused(&self, key: CdnKey, by: PausedBy, reason: Option<String>) -> StoreFuture<'_, ()> {
        self.write("pause or resume a CDN", move |connection| {
            housekeeping::set_paused(connection, &key, by, reason.as_deref())
        })
    }

    fn hurry(&self, key: CdnKey, now_ms: i64) -> StoreFuture<'_, u64> {
        self.write("make retries due", move |connection| operate::hurry(connection, &key, now_ms))
    }

    fn acknowledge(&self, id: String) -> StoreFuture<'_, u64> {
        self.write("acknowledge a failure", move |connection| housekeeping::acknowledge(connection, &id))
    }

    fn retry(&self, id: String, now_ms: i64) -> StoreFuture<'_, u64> {
        self.write("retry a failure", move |connection| operate::retry(connection, &id, now_ms))
    }

    fn cancel(&self, id: String, at_ms: i64) -> StoreFuture<'_, Vec<EndedJob>> {
        self.write("cancel a purge", move |connection| operate::cancel(connection, &id, at_ms))
    }

    fn take_over(&self, now: Now, furthest_ms: i64) -> StoreFuture<'_, Left> {
        self.write("take over from a former run", move |connection| {
            housekeeping::take_over(connection, &now, furthest_ms)
        })
    }

    fn sweep(&self, ended_before_ms: i64, now_ms: i64) -> StoreFuture<'_, Swept> {
        Box::pin(async move {
            let more =
                self.write("remove old purges", move |connection| sweep::step(connection, now_ms)).await?;
            if more {
                return Ok(Swept { purges: 0, more });
            }
            let found =
                self.browse("find old purges", move |connection| sweep::find(connection, ended_before_ms));
            let found = found.await?;
            if found.is_empty() {
                return Ok(Swept::default());
            }
            let begin = move |connection: &Connection| sweep::begin(connection, &found, ended_before_ms);
            let purges = self.write("remove old purges", begin).await?;
            Ok(Swept { purges, more: purges > 0 })
        })
    }

    fn note_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()> {
        self.write("record copies without tags", move |connection| untagged::note(connection, &copies))
    }

    fn forget_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()> {
        self.write("forget copies without tags", move |connection| untagged::forget(connection, &copies))
    }

    fn untagged(&self) -> StoreFuture<'_, Vec<UntaggedCopies>> {
        self.read("read copies without tags", untagged::all)
    }

    fn is_behind(&self) -> StoreFuture<'_, bool> {
        let is_behind = self.mark.as_ref().is_some_and(|mark| mark::locked(mark).is_behind());
        Box::pin(ready(Ok(is_behind)))
    }

    fn caught_up(&self) -> StoreFuture<'_, ()> {
        let mark = self.mark.clone();
        self.write("continue its numbering", move |connection| {
            mark.map_or(Ok(()), |mark| mark::locked(&mark).caught_up(connection))
        })
    }

    fn probe(&self, now: Now) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let at_ms = now.steady_ms;
            let rehearsal = move |connection: &Connection| rehearse::accept(connection, at_ms);
            self.commit("accept a purge", Kind::Rehearsal, rehearsal).await?;
            self.write("commit", move |connection| housekeeping::probe(connection, &now)).await
        })
    }
}
