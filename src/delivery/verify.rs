//! Verifies purges as visitors see them: when a job is done, a few of its pages are requested. A copy that stays
//! older than the purge raises an alarm, and the job's items are purged again, at growing intervals and a limited
//! number of times. Nothing waits for this. A verification that a restart or reload interrupts is resumed, unless
//! its job ended long ago.

use super::backoff::backoff;
use super::milliseconds;
use super::sample;
use super::sample::{Copy, Page};
use super::target::{Shared, Target};
use super::unverified::MOST;
use crate::store::{EndedJob, PurgeView, Verification};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Attempts before a copy counts as stale: a response that was guarded or softly purged may be served one more
/// time.
const LOOKS: u32 = 3;
/// The delay between two attempts, in addition to the guard's lifetime.
const PAUSE: Duration = Duration::from_secs(1);
/// The maximum number of repeated purges.
const RETRIES: u32 = 8;
/// The time limit for one page.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How often to check whether a CDN has completed what it accepted. [`GIVE_UP`] limits the total time.
const COMPLETION: Duration = Duration::from_secs(5);
const GIVE_UP: Duration = Duration::from_secs(900);
/// Verification is resumed only for jobs that ended within this time, in milliseconds. After it, the last repeated
/// purge has already been sent.
const TAKEN_UP_MS: i64 = 3_600_000;
/// Verifies until the engine stops, or a reload replaces the target.
pub(super) async fn run(target: Arc<Target>) {
    let mut open: Vec<Verifying> = Vec::new();
    loop {
        let room = MOST.saturating_sub(open.len());
        open.extend(target.verifying.take().into_iter().take(room).map(|job| Verifying::new(&target, job)));
        let next = open.iter().enumerate().min_by_key(|(_, one)| one.at).map(|(index, one)| (index, one.at));
        let index = tokio::select! {
            () = target.stop.cancelled() => return,
            () = target.verifying.added.notified() => continue,
            index = due(next) => index,
        };
        let mut one = open.swap_remove(index);
        let is_open = tokio::select! {
            () = target.stop.cancelled() => return,
            is_open = one.go_on(&target) => is_open,
        };
        if is_open {
            open.push(one);
        }
    }
}

/// Resumes verifications that a previous run, or these CDNs before a reload, did not finish.
pub(super) async fn take_up(shared: Arc<Shared>, targets: Vec<Arc<Target>>) {
    let ended_after_ms = shared.wall_ms().saturating_sub(TAKEN_UP_MS);
    let mut failures = 0;
    let jobs = loop {
        match shared.store.unverified(ended_after_ms).await {
            Ok(jobs) => break jobs,
            Err(_) => {
                failures += 1;
                sleep(backoff(failures, fastrand::f64())).await;
            }
        }
    };
    let targets: HashMap<_, _> = targets.iter().map(|target| (&target.key, target)).collect();
    for job in &jobs {
        if let Some(target) = targets.get(&job.key) {
            target.to_verify(job);
        }
    }
}

async fn due(next: Option<(usize, Instant)>) -> usize {
    match next {
        Some((index, at)) => {
            sleep_until(at).await;
            index
        }
        None => std::future::pending().await,
    }
}

/// The verification of one job.
struct Verifying {
    job: EndedJob,
    began: Instant,
    /// By the clock of stamps, copies fetched up to this moment are older than the purge.
    until_ms: i64,
    /// The pages not yet seen to be fresh; `None` before the purge was read.
    pages: Option<Vec<Page>>,
    seen_fresh: bool,
    looks: u32,
    retries: u32,
    at: Instant,
}

impl Verifying {
    fn new(target: &Target, job: EndedJob) -> Self {
        // The time since the purge is the same on both clocks.
        let ago_ms = milliseconds(target.shared.since(job.since_ms));
        let until_ms = target.stamps.now_ms() - ago_ms + milliseconds(target.terms().origin_settle);
        let now = Instant::now();
        Self { job, began: now, until_ms, pages: None, seen_fresh: false, looks: 0, retries: 0, at: now }
    }

    /// Makes one attempt. Returns whether more are needed.
    async fn go_on(&mut self, target: &Target) -> bool {
        let Some(mut pages) = self.pages.take() else { return self.read(target).await };
        let mut stale = None;
        let mut index = 0;
        while let Some(page) = pages.get(index) {
            match look(target, page, self.until_ms).await {
                Copy::Fresh => {
                    self.seen_fresh = true;
                    pages.swap_remove(index);
                    continue;
                }
                Copy::Stale => stale = Some(page.clone()),
                Copy::Unknown => {}
            }
            index += 1;
        }
        self.pages = Some(pages);
        let Some(page) = stale else {
            let seen = if self.seen_fresh { Verification::Fresh } else { Verification::Unknown };
            self.note(target, seen, None).await;
            return false;
        };
        self.looks += 1;
        if self.looks < LOOKS {
            self.at = Instant::now() + target.terms().guard_ttl + PAUSE;
            return true;
        }
        self.stale(target, &page).await
    }

    /// Reads the pages as soon as the CDN has completed the job.
    async fn read(&mut self, target: &Target) -> bool {
        let found = target.shared.store.get(self.job.purge.clone()).await;
        let is_through = |purge: &PurgeView| {
            let job = purge.jobs.iter().find(|job| job.cdn == target.key.cdn);
            target.adapter.completion().is_none() || job.is_some_and(|job| job.completed_ms.is_some())
        };
        match found {
            Ok(Some(purge)) if is_through(&purge) => {
                self.pages = Some(sample::of(&purge.request, target.hosts()));
                true
            }
            Ok(None) => false,
            Ok(Some(_)) | Err(_) => {
                self.at = Instant::now() + COMPLETION;
                self.began.elapsed() < GIVE_UP
            }
        }
    }

    /// Handles an old copy that stays: raises an alarm and purges again.
    async fn stale(&mut self, target: &Target, page: &Page) -> bool {
        let again = self.retries < RETRIES;
        tracing::error!(
            site = target.key.site,
            cdn = target.key.cdn,
            purge = self.job.purge,
            page = format!("{}{}", page.host, page.target),
            again,
            "the CDN still serves a copy that is older than its purge"
        );
        self.note(target, Verification::Stale, again.then(|| target.shared.now_ms())).await;
        target.wake.notify_one();
        self.retries += 1;
        self.at = Instant::now() + PAUSE + backoff(self.retries, fastrand::f64());
        again
    }

    async fn note(&self, target: &Target, seen: Verification, again_ms: Option<i64>) {
        let took = target.shared.since(self.job.since_ms);
        target.shared.observer.verified(&target.key, seen, took);
        target.report(|health| health.verified(seen));
        let purge = self.job.purge.clone();
        // If the store did not commit this, the next attempt or the next start finds it again.
        let _ = target
            .shared
            .store
            .verified(target.key.clone(), purge, (seen, target.shared.wall_ms()), again_ms)
            .await;
        target.shared.changed();
    }
}

async fn look(target: &Target, page: &Page, until_ms: i64) -> Copy {
    let Some(question) = sample::question(page, target.verify_url()) else { return Copy::Unknown };
    match timeout(TIMEOUT, target.shared.transport.send(question)).await {
        Ok(Ok(reply)) => sample::judge(&reply, until_ms, target.stamps.now_ms()),
        Ok(Err(_)) | Err(_) => Copy::Unknown,
    }
}
