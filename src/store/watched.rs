//! A store whose failures are known at once, whichever caller they concern. A verb that takes too long counts as
//! failed. No long lifetime may be given while the store cannot accept the purge that would end it.

use super::{
    CdnKey, Claim, Claimed, Due, EndedJob, Enqueued, Filter, FollowUps, Left, Listed, Moved, NewPurge, Now,
    PausedBy, PurgeView, QueueStatus, RecentPurge, Settled, Settlement, Store, StoreError, StoreFuture,
    Swept, UntaggedCopies, Verification, Wider, Work,
};
use crate::base::with_causes;
use crate::cdn::Identity;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// A store that takes longer than this for a verb counts as failed until the verb ends.
const DEADLINE: Duration = Duration::from_secs(10);

/// Instructions for a corrupt file.
const CORRUPT: &str = "the store is corrupt, and purges that it still accepts are not safe: stop the shim, \
     restore a backup or begin with an empty store, start again, and purge everything";

/// The health of the store, according to its last answers.
#[derive(Default)]
pub struct StoreHealth {
    failures: Mutex<Failures>,
    listener: OnceLock<Box<dyn Fn(bool) + Send + Sync>>,
}

/// The failures of the last write and the last read.
#[derive(Default)]
struct Failures {
    /// The corruption that was found. Later successes prove nothing about the rest of the file, so only a
    /// restart ends this.
    corrupt: Option<String>,
    write: Option<String>,
    read: Option<String>,
}

/// The kind of a verb. A failure ends when another verb of its kind succeeds.
#[derive(Clone, Copy, Debug)]
enum Does {
    Read,
    Write,
}

impl StoreHealth {
    /// Returns why the store does not work, in words, or `None` while it works.
    pub fn failure(&self) -> Option<String> {
        let failures = self.failures();
        failures.corrupt.clone().or_else(|| failures.write.clone()).or_else(|| failures.read.clone())
    }

    /// Registers the only listener, which is called when the store begins to fail and when it works again. Its
    /// argument is whether the store works. The call comes before the verb that revealed it is answered.
    pub fn listen(&self, listener: impl Fn(bool) + Send + Sync + 'static) {
        drop(self.listener.set(Box::new(listener)));
    }

    async fn watch<T>(&self, does: Does, mut verb: StoreFuture<'_, T>) -> Result<T, StoreError> {
        let answer = match timeout(DEADLINE, &mut verb).await {
            Ok(answer) => answer,
            Err(_) => {
                self.note(does, Some(format!("it has not answered for {} s", DEADLINE.as_secs())));
                verb.await
            }
        };
        self.learn(does, answer)
    }

    /// Records the result of a verb.
    fn learn<T>(&self, does: Does, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &answer
            && error.is_corruption()
        {
            self.note_corruption(&with_causes(error));
        }
        self.note(does, answer.as_ref().err().map(|error| with_causes(error)));
        answer
    }

    fn note_corruption(&self, error: &str) {
        {
            let mut failures = self.failures();
            if failures.corrupt.is_some() {
                return;
            }
            tracing::error!(error, "{CORRUPT}");
            failures.corrupt = Some(format!("{CORRUPT}: {error}"));
        }
        self.tell();
    }

    fn tell(&self) {
        if let Some(listener) = self.listener.get() {
            listener(self.failure().is_none());
        }
    }

    fn note(&self, does: Does, failure: Option<String>) {
        let changed = {
            let mut failures = self.failures();
            let known = match does {
                Does::Read => &mut failures.read,
                Does::Write => &mut failures.write,
            };
            match (&failure, &known) {
                (Some(why), None) => tracing::error!(error = why, "the store fails"),
                (None, Some(_)) => tracing::info!("the store works again"),
                _ => {}
            }
            let changed = *known != failure;
            *known = failure;
            changed
        };
        if changed {
            self.tell();
        }
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for StoreHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHealth").field("failure", &self.failure()).finish_non_exhaustive()
    }
}

/// A store that reports the result of every verb to a [`StoreHealth`].
pub struct Watched {
    store: Arc<dyn Store>,
    health: Arc<StoreHealth>,
}

impl Watched {
    /// Watches `store`.
    pub fn new(store: Arc<dyn Store>, health: Arc<StoreHealth>) -> Self {
        Self { store, health }
    }

    fn read<'a, T: Send + 'a>(&'a self, verb: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        Box::pin(self.health.watch(Does::Read, verb))
    }

    /// Reads for people, who may request more at once than can be read in time. A slow answer therefore proves
    /// nothing about the store.
    fn look<'a, T: Send + 'a>(&'a self, verb: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        Box::pin(async { self.health.learn(Does::Read, verb.await) })
    }

    fn write<'a, T: Send + 'a>(&'a self, verb: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        Box::pin(self.health.watch(Does::Write, verb))
    }
}

impl Store for Watched {
    fn enqueue(&self, purge: NewPurge) -> StoreFuture<'_, Enqueued> {
        self.write(self.store.enqueue(purge))
    }

    fn name_queues(&self, cdns: Vec<(CdnKey, Identity)>) -> StoreFuture<'_, Vec<Moved>> {
        self.write(self.store.name_queues(cdns))
    }

    fn follow_up(&self, id: String, follow_ups: FollowUps) -> StoreFuture<'_, u64> {
        self.write(self.store.follow_up(id, follow_ups))
    }

    fn arrived(&self, id: String, due_ms: i64) -> StoreFuture<'_, u64> {
        self.write(self.store.arrived(id, due_ms))
    }

    fn recent(&self, most_items: u64) -> StoreFuture<'_, Vec<RecentPurge>> {
        self.read(self.store.recent(most_items))
    }

    fn due(&self, key: CdnKey, now_ms: i64, most: usize) -> StoreFuture<'_, Due> {
        self.read(self.store.due(key, now_ms, most))
    }

    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claimed> {
        self.write(self.store.claim(claim))
    }

    fn settle(&self, settlement: Settlement) -> StoreFuture<'_, Settled> {
        self.write(self.store.settle(settlement))
    }

    fn widen(&self, key: CdnKey, wider: Wider, now_ms: i64) -> StoreFuture<'_, u64> {
        self.write(self.store.widen(key, wider, now_ms))
    }

    fn works(&self, key: CdnKey) -> StoreFuture<'_, Vec<Work>> {
        self.read(self.store.works(key))
    }

    fn complete(&self, work: i64, completed_ms: Option<i64>) -> StoreFuture<'_, ()> {
        self.write(self.store.complete(work, completed_ms))
    }

    fn verified(
        &self,
        key: CdnKey,
        purge: String,
        seen: (Verification, i64),
        again_ms: Option<i64>,
    ) -> StoreFuture<'_, ()> {
        self.write(self.store.verified(key, purge, seen, again_ms))
    }

    fn unverified(&self, ended_after_ms: i64) -> StoreFuture<'_, Vec<EndedJob>> {
        self.read(self.store.unverified(ended_after_ms))
    }

    fn get(&self, id: String) -> StoreFuture<'_, Option<PurgeView>> {
        self.look(self.store.get(id))
    }

    fn glance(&self, id: String) -> StoreFuture<'_, Option<PurgeView>> {
        self.look(self.store.glance(id))
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Listed> {
        self.look(self.store.list(filter))
    }

    fn status(&self) -> StoreFuture<'_, Vec<QueueStatus>> {
        self.read(self.store.status())
    }

    fn survey(&self) -> StoreFuture<'_, Vec<QueueStatus>> {
        self.look(self.store.survey())
    }

    fn set_paused(&self, key: CdnKey, by: PausedBy, reason: Option<String>) -> StoreFuture<'_, ()> {
        self.write(self.store.set_paused(key, by, reason))
    }

    fn hurry(&self, key: CdnKey, now_ms: i64) -> StoreFuture<'_, u64> {
        self.write(self.store.hurry(key, now_ms))
    }

    fn acknowledge(&self, id: String) -> StoreFuture<'_, u64> {
        self.write(self.store.acknowledge(id))
    }

    fn retry(&self, id: String, now_ms: i64) -> StoreFuture<'_, u64> {
        self.write(self.store.retry(id, now_ms))
    }

    fn cancel(&self, id: String, at_ms: i64) -> StoreFuture<'_, Vec<EndedJob>> {
        self.write(self.store.cancel(id, at_ms))
    }

    fn take_over(&self, now: Now, furthest_ms: i64) -> StoreFuture<'_, Left> {
        self.write(self.store.take_over(now, furthest_ms))
    }

    fn sweep(&self, ended_before_ms: i64, now_ms: i64) -> StoreFuture<'_, Swept> {
        self.write(self.store.sweep(ended_before_ms, now_ms))
    }

    fn note_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()> {
        self.write(self.store.note_untagged(copies))
    }

    fn forget_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()> {
        self.write(self.store.forget_untagged(copies))
    }

    fn untagged(&self) -> StoreFuture<'_, Vec<UntaggedCopies>> {
        self.read(self.store.untagged())
    }

    fn is_behind(&self) -> StoreFuture<'_, bool> {
        self.read(self.store.is_behind())
    }

    fn caught_up(&self) -> StoreFuture<'_, ()> {
        self.write(self.store.caught_up())
    }

    fn probe(&self, now: Now) -> StoreFuture<'_, ()> {
        self.write(self.store.probe(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::sleep;

    fn failed() -> StoreFuture<'static, ()> {
        Box::pin(ready(Err(StoreError::Closed)))
    }

    fn done() -> StoreFuture<'static, ()> {
        Box::pin(ready(Ok(())))
    }

    #[tokio::test]
    async fn a_failure_counts_at_once_until_the_same_works_again() {
        let health = StoreHealth::default();
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        health.listen(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let _ = health.watch(Does::Write, failed()).await;
        assert_eq!(health.failure().as_deref(), Some("the store is closed"));
        health.watch(Does::Read, done()).await.unwrap();
        assert!(health.failure().is_some(), "that it can be read proves no commit");
        let _ = health.watch(Does::Write, failed()).await;
        health.watch(Does::Write, done()).await.unwrap();
        assert_eq!(health.failure(), None);
        let _ = health.watch(Does::Read, failed()).await;
        health.watch(Does::Write, done()).await.unwrap();
        assert!(health.failure().is_some());
        health.watch(Does::Read, done()).await.unwrap();
        assert_eq!((health.failure(), calls.load(Ordering::Relaxed)), (None, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn what_people_wait_for_long_says_nothing_but_what_fails_does() {
        let health = Arc::new(StoreHealth::default());
        let store = Arc::new(crate::store::SqliteStore::in_memory().unwrap());
        let watched = Watched::new(store, health.clone());
        let slow = async {
            sleep(Duration::from_secs(25)).await;
            Err::<(), _>(StoreError::Closed)
        };
        let mut looking = watched.look(Box::pin(slow));
        assert!(timeout(Duration::from_secs(20), &mut looking).await.is_err());
        assert_eq!(health.failure(), None);
        looking.await.unwrap_err();
        assert!(health.failure().is_some());
    }

    #[tokio::test]
    async fn corruption_is_remembered_whatever_works_afterwards() {
        let of = |is_corrupt| StoreError::Database {
            verb: "read a purge",
            source: Arc::new(std::io::Error::other("as it happens")),
            is_corrupt,
            in_doubt: false,
        };
        let health = StoreHealth::default();
        for (is_corrupt, is_remembered) in [(false, false), (true, true)] {
            let _ = health.watch(Does::Read, Box::pin(ready(Err::<(), _>(of(is_corrupt))))).await;
            health.watch(Does::Read, done()).await.unwrap();
            health.watch(Does::Write, done()).await.unwrap();
            assert_eq!(health.failure().is_some_and(|why| why.starts_with(CORRUPT)), is_remembered);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_fails_until_it_is_through() {
        let health = Arc::new(StoreHealth::default());
        let watched = health.clone();
        let slow = async {
            sleep(Duration::from_secs(25)).await;
            Ok(())
        };
        let slow = tokio::spawn(async move { watched.watch(Does::Write, Box::pin(slow)).await });
        sleep(Duration::from_secs(9)).await;
        assert_eq!(health.failure(), None);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(health.failure().as_deref(), Some("it has not answered for 10 s"));
        slow.await.unwrap().unwrap();
        assert_eq!(health.failure(), None);
    }
}
