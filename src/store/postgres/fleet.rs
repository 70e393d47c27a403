//! What a member of a fleet does beyond the verbs of every store.

use super::transaction::{Kind, Step};
use super::{Db, Entry, Head, Member, PostgresStore, awaited, entries, members, owners, rates};
#[cfg(doc)]
use crate::store::Store;
use crate::store::{FollowUps, SavedRate, StoreFuture};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// The most purges of the log that are read at once.
const ENTRIES: usize = 500;

impl PostgresStore {
    /// Returns the id of this run.
    pub fn run(&self) -> Uuid {
        self.run
    }

    /// Begins to take part, and returns the end of the log.
    pub fn join(&self) -> StoreFuture<'_, Head> {
        let (run, instance, how) = (self.run, self.instance.clone(), Arc::new(self.membership.clone()));
        let work = work(move |db| {
            let (instance, how) = (instance.clone(), how.clone());
            Box::pin(async move { members::join(db, run, &instance, &how).await })
        });
        self.verb("join the fleet", |lanes| &lanes.member, Kind::Write, work)
    }

    /// Renews the lease, and tells what this run has applied. Returns the end of the log, or `None` if the run takes
    /// part no more.
    pub fn renew(&self, seen: i64) -> StoreFuture<'_, Option<Head>> {
        let (run, how) = (self.run, Arc::new(self.membership.clone()));
        let work = work(move |db| {
            let how = how.clone();
            Box::pin(async move { members::renew(db, run, &how, seen).await })
        });
        self.verb("renew its lease", |lanes| &lanes.member, Kind::Statement, work)
    }

    /// Returns the purges that were accepted after this number, in their order and as many as one answer carries.
    pub fn entries(&self, after: i64) -> StoreFuture<'_, Vec<Entry>> {
        let run = self.run;
        let work = work(move |db| Box::pin(entries::after(db, after, ENTRIES, run)));
        self.verb("read accepted purges", |lanes| &lanes.member, Kind::Read, work)
    }

    /// Notes that this run has applied a purge, and that it has these follow-ups on its way.
    pub fn has_applied(&self, id: String, found: FollowUps) -> StoreFuture<'_, ()> {
        let now_ms = self.server.clock.to_database(self.server.clock.steady_ms());
        let (run, shared) = (self.run, Arc::new((id, found)));
        self.write("apply a purge", move |db| {
            let shared = shared.clone();
            Box::pin(async move { awaited::has_applied(db, &shared.0, &shared.1, run, now_ms).await })
        })
    }

    /// Returns all members.
    pub fn members(&self) -> StoreFuture<'_, Vec<Member>> {
        self.browse("read the members of the fleet", |db| Box::pin(members::all(db)))
    }

    /// Removes members that are gone, and releases what waited for them. Returns their names.
    pub fn remove_gone(&self) -> StoreFuture<'_, Vec<String>> {
        let now_ms = self.server.clock.to_database(self.server.clock.steady_ms());
        let how = Arc::new(self.membership.clone());
        self.write("remove members", move |db| {
            let how = how.clone();
            Box::pin(async move { members::remove_gone(db, &how, now_ms).await })
        })
    }

    /// Renews the ownership of accounts, and takes free ones. Returns those that this run owns.
    pub fn own(&self, accounts: Vec<String>) -> StoreFuture<'_, Vec<String>> {
        let (run, lease, accounts) = (self.run, self.membership.lease, Arc::new(accounts));
        let work = work(move |db| {
            let accounts = accounts.clone();
            Box::pin(async move { owners::renew(db, &accounts, run, lease).await })
        });
        self.verb("renew accounts", |lanes| &lanes.member, Kind::Statement, work)
    }

    /// Returns the buckets of all accounts, which a new owner must not fill.
    pub fn rates(&self) -> StoreFuture<'_, Vec<SavedRate>> {
        Box::pin(async move {
            let mut rates = self.read("read rates", |db| Box::pin(rates::all(db))).await?;
            let by_us = self.server.clock.ahead_us().saturating_neg();
            rates.iter_mut().for_each(|rate| rate.full_us = rate.full_us.saturating_add(by_us));
            Ok(rates)
        })
    }

    /// Ends taking part. What this run has sent has arrived in `arrived_ms` milliseconds.
    pub fn leave(&self, arrived_ms: i64) -> StoreFuture<'_, ()> {
        let (run, now_ms) = (self.run, self.server.clock.to_database(self.server.clock.steady_ms()));
        self.write("leave the fleet", move |db| {
            Box::pin(async move {
                owners::release(db, run).await?;
                members::leave(db, run, (now_ms, now_ms.saturating_add(arrived_ms))).await
            })
        })
    }

    /// Records that the log lacks purges that were accepted. Until they are made up for, [`Store::is_behind`] says so.
    pub fn lost_purges(&self) {
        self.is_behind.store(true, Ordering::Relaxed);
    }

    /// Completes when another member may have accepted a purge.
    pub fn woken(&self) -> impl Future<Output = ()> + Send + use<> {
        let woken = self.woken.clone();
        async move { woken.notified().await }
    }
}

/// Returns `work`, of which this gives the compiler the type.
fn work<T, F: for<'t> Fn(&'t Db) -> Step<'t, T>>(work: F) -> F {
    work
}
