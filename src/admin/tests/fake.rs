//! A store in memory and workers that do nothing, both driven by the test.

use crate::admin::reload::{NotReloaded, Reload, Reloaded};
use crate::admin::{CdnHealth, Control};
use crate::cdn::Identity;
use crate::purge::State;
use crate::store::{
    Attempt, CdnKey, Claim, Claimed, Due, EndedJob, Enqueued, Filter, FollowUps, JobView, Left, Listed,
    Moved, NewPurge, Now, Pause, PausedBy, PurgeView, QueueStatus, RecentPurge, Settled, Settlement, Store,
    StoreError, StoreFuture, Swept, UntaggedCopies, Verification, Wider, Work,
};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore, watch};

/// A store that keeps purges in memory. They move on only when the test requests it.
pub(crate) struct FakeStore {
    purges: Mutex<Vec<PurgeView>>,
    keys: Mutex<HashMap<String, (String, String)>>,
    /// The copies without tags that were noted last.
    pub(crate) untagged: Mutex<Vec<UntaggedCopies>>,
    /// Whether every verb fails.
    pub(crate) broken: AtomicBool,
    /// Permits for commits, each of which takes one. A test may take them all.
    pub(crate) commits: Semaphore,
    /// Notified when a commit is requested.
    pub(crate) asked: Notify,
    /// Notified when a purge is queried.
    pub(crate) looked: Notify,
}

impl Default for FakeStore {
    fn default() -> Self {
        Self {
            purges: Mutex::default(),
            keys: Mutex::default(),
            untagged: Mutex::default(),
            broken: AtomicBool::new(false),
            commits: Semaphore::new(Self::COMMITS as usize),
            asked: Notify::new(),
            looked: Notify::new(),
        }
    }
}

impl FakeStore {
    /// The number of simultaneous commits.
    pub(crate) const COMMITS: u32 = 100;

    /// Ends every job.
    pub(crate) fn end_all(&self, state: State) {
        for purge in self.purges.lock().unwrap().iter_mut() {
            purge.state = state;
            purge.finished_ms = Some(purge.created_ms + 1_000);
            for job in &mut purge.jobs {
                job.state = state;
                job.next_attempt_ms = None;
                job.unacknowledged = state == State::Failed;
                job.accepted_ms = (state == State::Done).then_some(purge.created_ms + 900);
                let message = if state == State::Done { "ok" } else { "no such service" };
                let attempt = |at_ms, outcome: &str, message: &str| Attempt {
                    at_ms,
                    status: Some(200),
                    request_id: Some("r-1".to_owned()),
                    duration_ms: 12,
                    outcome: outcome.to_owned(),
                    message: message.to_owned(),
                };
                job.attempts = vec![
                    (attempt(purge.created_ms, "later", "too many requests"), job.items),
                    (attempt(purge.created_ms + 880, "done", message), job.items),
                ];
            }
        }
    }

    /// Makes jobs in progress due, as a restart leaves them.
    pub(crate) fn taken_over(&self) {
        for job in self.purges.lock().unwrap().iter_mut().flat_map(|purge| &mut purge.jobs) {
            job.next_attempt_ms = Some(0);
        }
    }

    /// Sets the result of a check of the copies for every job.
    pub(crate) fn verify_all(&self, seen: Verification) {
        for purge in self.purges.lock().unwrap().iter_mut() {
            for job in &mut purge.jobs {
                job.verification = Some(seen);
                job.verified_ms = (seen == Verification::Fresh).then_some(purge.created_ms + 2_000);
            }
        }
    }

    /// Sets every purge to a fixed time and removes the random part of its id.
    pub(crate) fn pin(&self) {
        for (index, purge) in self.purges.lock().unwrap().iter_mut().enumerate() {
            purge.id = format!("01938f00-0000-7000-8000-{index:012}");
            purge.created_ms = 1_795_432_954_000;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.purges.lock().unwrap().len()
    }

    fn commit(&self, new: NewPurge) -> Enqueued {
        if let Some((key, hash)) = new.idempotency {
            match self.keys.lock().unwrap().entry(key) {
                std::collections::hash_map::Entry::Occupied(first) if first.get().0 == hash => {
                    return Enqueued::Existing(first.get().1.clone());
                }
                std::collections::hash_map::Entry::Occupied(_) => return Enqueued::KeyReused,
                std::collections::hash_map::Entry::Vacant(free) => {
                    free.insert((hash, new.id.clone()));
                }
            }
        }
        let jobs = new.jobs.iter().map(|plan| JobView {
            cdn: plan.cdn.clone(),
            cdn_type: plan.cdn_type,
            state: State::Pending,
            items: plan.items.len() as u64,
            fallback: plan.fallback.clone(),
            accepted_ms: None,
            completed_ms: None,
            verification: None,
            verified_ms: None,
            next_attempt_ms: Some(new.due_ms),
            waits: false,
            unacknowledged: false,
            attempts: Vec::new(),
        });
        self.purges.lock().unwrap().push(PurgeView {
            id: new.id,
            site: new.site,
            state: State::Pending,
            reason: new.request.reason.clone(),
            mode: new.request.mode,
            created_ms: new.now_ms,
            finished_ms: None,
            jobs: jobs.collect(),
            items: new.request.item_count() as u64,
            request: new.request,
        });
        Enqueued::Created
    }

    fn answer<'a, T: Send + 'a>(&'a self, answer: impl FnOnce() -> T + Send + 'a) -> StoreFuture<'a, T> {
        Box::pin(async move {
            if self.broken.load(Ordering::Relaxed) {
                let source = Arc::new(std::io::Error::other("canary: the inner message"));
                return Err(StoreError::Database {
                    verb: "fake",
                    source,
                    is_corrupt: false,
                    in_doubt: false,
                });
            }
            Ok(answer())
        })
    }
}

impl Store for FakeStore {
    fn enqueue(&self, purge: NewPurge) -> StoreFuture<'_, Enqueued> {
        self.asked.notify_one();
        Box::pin(async move {
            let _permit = self.commits.acquire().await;
            self.answer(|| self.commit(purge)).await
        })
    }

    fn name_queues(&self, _cdns: Vec<(CdnKey, Identity)>) -> StoreFuture<'_, Vec<Moved>> {
        self.answer(Vec::new)
    }

    fn follow_up(&self, _: String, _: FollowUps) -> StoreFuture<'_, u64> {
        self.answer(|| 0)
    }

    fn arrived(&self, _: String, _: i64) -> StoreFuture<'_, u64> {
        self.answer(|| 0)
    }

    fn recent(&self, _: u64) -> StoreFuture<'_, Vec<RecentPurge>> {
        self.answer(Vec::new)
    }

    fn unverified(&self, _: i64) -> StoreFuture<'_, Vec<EndedJob>> {
        self.answer(Vec::new)
    }

    fn get(&self, id: String) -> StoreFuture<'_, Option<PurgeView>> {
        self.answer(move || {
            let found = self.purges.lock().unwrap().iter().find(|purge| purge.id == id).cloned();
            self.looked.notify_one();
            found
        })
    }

    fn glance(&self, id: String) -> StoreFuture<'_, Option<PurgeView>> {
        self.get(id)
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Listed> {
        self.answer(move || {
            let wanted = |purge: &&PurgeView| {
                filter.sites.as_ref().is_none_or(|sites| sites.contains(&purge.site))
                    && filter.state.is_none_or(|state| state == purge.state)
                    && filter.before.as_ref().is_none_or(|before| purge.id < *before)
            };
            let mut found: Vec<PurgeView> =
                self.purges.lock().unwrap().iter().filter(wanted).cloned().collect();
            found.sort_by(|one, other| other.id.cmp(&one.id));
            let next = found.get(filter.limit).map(|_| found[filter.limit - 1].id.clone());
            found.truncate(filter.limit);
            Listed { purges: found, next }
        })
    }

    fn survey(&self) -> StoreFuture<'_, Vec<QueueStatus>> {
        self.status()
    }

    fn status(&self) -> StoreFuture<'_, Vec<QueueStatus>> {
        self.answer(|| {
            vec![QueueStatus {
                identity: Identity::default(),
                key: CdnKey { site: "www".to_owned(), cdn: "fastly".to_owned() },
                pending: 3,
                jobs: 1,
                // This time is so far in the future that the age is 0 whenever the test runs.
                oldest_due_ms: Some(i64::MAX),
                failed: 0,
                paused: Some(Pause { by: PausedBy::Credentials, reason: "401 from the CDN".to_owned() }),
            }]
        })
    }

    fn due(&self, _: CdnKey, _: i64, _: usize) -> StoreFuture<'_, Due> {
        self.answer(Due::default)
    }

    fn claim(&self, _: Claim) -> StoreFuture<'_, Claimed> {
        self.answer(Claimed::default)
    }

    fn settle(&self, _: Settlement) -> StoreFuture<'_, Settled> {
        self.answer(Settled::default)
    }

    fn widen(&self, _: CdnKey, _: Wider, _: i64) -> StoreFuture<'_, u64> {
        self.answer(|| 0)
    }

    fn works(&self, _: CdnKey) -> StoreFuture<'_, Vec<Work>> {
        self.answer(Vec::new)
    }

    fn complete(&self, _: i64, _: Option<i64>) -> StoreFuture<'_, ()> {
        self.answer(|| ())
    }

    fn verified(&self, _: CdnKey, _: String, _: (Verification, i64), _: Option<i64>) -> StoreFuture<'_, ()> {
        self.answer(|| ())
    }

    fn set_paused(&self, _: CdnKey, _: PausedBy, _: Option<String>) -> StoreFuture<'_, ()> {
        self.answer(|| ())
    }

    fn hurry(&self, _: CdnKey, _: i64) -> StoreFuture<'_, u64> {
        self.answer(|| 0)
    }

    fn acknowledge(&self, _: String) -> StoreFuture<'_, u64> {
        self.answer(|| 0)
    }

    fn retry(&self, _: String, _: i64) -> StoreFuture<'_, u64> {
        self.answer(|| 0)
    }

    fn cancel(&self, _: String, _: i64) -> StoreFuture<'_, Vec<EndedJob>> {
        self.answer(Vec::new)
    }

    fn note_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()> {
        self.answer(move || *self.untagged.lock().unwrap() = copies)
    }

    fn forget_untagged(&self, _: Vec<UntaggedCopies>) -> StoreFuture<'_, ()> {
        self.answer(|| ())
    }

    fn untagged(&self) -> StoreFuture<'_, Vec<UntaggedCopies>> {
        self.answer(|| self.untagged.lock().unwrap().clone())
    }

    fn is_behind(&self) -> StoreFuture<'_, bool> {
        self.answer(|| false)
    }

    fn caught_up(&self) -> StoreFuture<'_, ()> {
        self.answer(|| ())
    }

    fn probe(&self, _: Now) -> StoreFuture<'_, ()> {
        self.answer(|| ())
    }

    fn take_over(&self, _: Now, _: i64) -> StoreFuture<'_, Left> {
        self.answer(Left::default)
    }

    fn sweep(&self, _: i64, _: i64) -> StoreFuture<'_, Swept> {
        self.answer(Swept::default)
    }
}

/// Workers that only remember being woken.
#[derive(Default)]
pub(crate) struct FakeControl {
    changes: watch::Sender<u64>,
    woken: Mutex<Vec<String>>,
    /// The result of the next reload; by default, nothing changes.
    pub(crate) reload: Mutex<Option<Result<Reloaded, NotReloaded>>>,
    /// How often a reload was only tried.
    pub(crate) compared: AtomicUsize,
    /// The reasons why the CDN `varnish` of `www` is unhealthy.
    pub(crate) varnish: Mutex<Vec<String>>,
    /// CDNs whose purges were to be sent at once.
    pub(crate) hurried: Mutex<Vec<String>>,
    /// Other complaints.
    pub(crate) complaints: Mutex<Vec<String>>,
    /// Notified when the workers are woken.
    pub(crate) wakes: Notify,
}

impl FakeControl {
    /// Reports that a purge may have moved on.
    pub(crate) fn bump(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Returns the sites for which the workers were woken.
    pub(crate) fn woken(&self) -> Vec<String> {
        self.woken.lock().unwrap().clone()
    }
}

impl Control for FakeControl {
    fn called(&self, _: &str, _: &str, _: u64, _: bool) {}

    fn wake(&self, site: &str) {
        self.woken.lock().unwrap().push(site.to_owned());
        self.wakes.notify_one();
    }

    fn health(&self, site: &str) -> Vec<CdnHealth> {
        let varnish = self.varnish.lock().unwrap().clone();
        let health = |name: &str, reasons: &[&str]| CdnHealth {
            name: name.to_owned(),
            healthy: reasons.is_empty(),
            reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
        };
        match site {
            "www" => vec![
                CdnHealth { name: "varnish".to_owned(), healthy: varnish.is_empty(), reasons: varnish },
                health("fastly", &["bad credentials (401)", "paused"]),
            ],
            _ => Vec::new(),
        }
    }

    fn hurry(&self, site: &str, cdn: &str) {
        self.hurried.lock().unwrap().push(format!("{site}/{cdn}"));
    }

    fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Returns the prepared result of a reload, and changes nothing.
impl Reload for FakeControl {
    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<Reloaded, NotReloaded>> + Send + '_>> {
        let result = self.reload.lock().unwrap().clone().unwrap_or_else(|| Ok(Reloaded::default()));
        Box::pin(async move { result })
    }

    fn compare(&self) -> Pin<Box<dyn Future<Output = Result<Reloaded, NotReloaded>> + Send + '_>> {
        self.compared.fetch_add(1, Ordering::Relaxed);
        self.reload()
    }
}
