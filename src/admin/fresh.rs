//! Keeps old responses out of caches, around the commit of a purge. Before the commit, the proxy learns what is
//! old from now on and reports which responses are in flight. After the commit, the follow-up purge becomes due
//! when these have arrived.

use super::control::Control;
use crate::base::milliseconds;
use crate::cdn::{Item, ItemKind};
use crate::config::{Cdn, Config, Site};
use crate::guard::{Freshness, JobItems, Mark, Question, Report};
use crate::purge::{JobPlan, PurgeRequest, item_key, keys_of};
use crate::rewrite::{CdnType, CdnTypes};
use crate::store::{FollowUps, Store, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

/// The time that the workers of the data plane have to answer, which takes them microseconds. A worker that has not
/// answered by then may have any response in flight.
const ANSWER: Duration = Duration::from_millis(500);
/// The number of items of past purges that are recalled at the start.
const RECALLED: u64 = 65_536;
/// The pause between two attempts to inform the store.
const AGAIN: Duration = Duration::from_secs(1);

/// The in-flight responses that a purge waits for.
pub struct Awaited {
    freshness: Arc<Freshness>,
    margin_ms: i64,
    /// The purges of everything that take effect with this purge.
    purge_alls: Vec<Mark>,
    /// The workers' reports; `None` if no response is in flight.
    reports: Option<mpsc::UnboundedReceiver<Report>>,
    /// The time by which the responses that have ended so far have arrived; `i64::MIN` if no worker has reported one.
    arrived_ms: i64,
}

/// Treats everything that `request` purges as old from now on: responses that leave later are not kept for long.
/// Returns the items of `jobs` that must be purged again because of responses that are in flight, and what to wait
/// for.
pub async fn guard(
    freshness: &Arc<Freshness>,
    site: &Site,
    request: &PurgeRequest,
    jobs: &[JobPlan],
) -> (FollowUps, Awaited) {
    let margin_ms = milliseconds(site.follow_up_margin);
    let purge_alls = purge_alls(freshness, site, jobs);
    let (freshness_of, arrived_ms) = (freshness.clone(), i64::MIN);
    let mut awaited = Awaited { freshness: freshness_of, margin_ms, purge_alls, reports: None, arrived_ms };
    if freshness.is_off() {
        return (FollowUps::default(), awaited);
    }
    let until_ms = note(freshness, site, request, freshness.clock.now_ms());
    let of_job = |job: &JobPlan| {
        let keys = job.items.iter().map(|item| item_key(job.cdn_type, item));
        JobItems::new(job.cdn_type, keys)
    };
    let (answers, mut reports) = mpsc::unbounded_channel();
    let number = freshness.site(&site.name).number;
    let of_jobs: Arc<[JobItems]> = jobs.iter().map(of_job).collect();
    let question = Question { site: number, until_ms, jobs: of_jobs.clone(), answers };
    let workers = freshness.ask(&question);
    drop(question);

    let (mut items, mut answered, deadline) = (Vec::new(), 0, Instant::now() + ANSWER);
    while answered < workers {
        match timeout_at(deadline, reports.recv()).await {
            Ok(Some(Report::Found(found))) => {
                items.extend(found);
                answered += 1;
            }
            Ok(Some(Report::Ends(arrived_ms))) => awaited.arrived_ms = awaited.arrived_ms.max(arrived_ms),
            Ok(Some(Report::Untagged(cdns))) => expect_untagged(freshness, site, cdns),
            // The remaining workers have ended, and all their responses with them.
            Ok(None) => break,
            Err(_) => {
                items = every(&of_jobs);
                expect_more_untagged(freshness, site);
                break;
            }
        }
    }
    items.sort_unstable();
    items.dedup();
    if !items.is_empty() {
        awaited.reports = Some(reports);
    }
    (FollowUps { items, margin_ms }, awaited)
}

/// Whether the plan relies on tags at a CDN that may hold copies without them. This happens if the plan was made while
/// a response without tags was in flight, of which only the guard learned.
pub fn is_outrun(freshness: &Freshness, site: &Site, jobs: &[JobPlan]) -> bool {
    let is_outrun = |job: &JobPlan| {
        !job.untagged && freshness.without_tags(&site.name, site.mode, job.cdn_type).is_some()
    };
    jobs.iter().any(is_outrun)
}

/// Notes that a response without our tags is in flight. Its lifetime is known only when it is there.
fn expect_untagged(freshness: &Freshness, site: &Site, cdns: CdnTypes) {
    let untagged = &freshness.site(&site.name).untagged;
    let now_ms = freshness.clock.now_ms();
    CdnType::ALL.into_iter().filter(|cdn| cdns.contains(*cdn)).for_each(|cdn| untagged.expect(cdn, now_ms));
}

/// Marks this moment for each type of CDN if the plan removes the entire content of all CDNs of that type, and returns
/// the marks.
fn purge_alls(freshness: &Freshness, site: &Site, jobs: &[JobPlan]) -> Vec<Mark> {
    let is_emptied = |cdn: &Cdn| {
        // Copies that are only marked stale can become fresh again by a 304.
        let is_all = |item: &Item| item.kind == ItemKind::Everything && item.hard;
        jobs.iter().any(|job| job.cdn == cdn.name && job.items.iter().any(is_all))
    };
    let is_meant = |cdn: &CdnType| {
        let mut of_type = site.cdns.iter().filter(|known| known.dialect.cdn == *cdn).peekable();
        of_type.peek().is_some() && of_type.all(|cdn| is_emptied(cdn))
    };
    let mark = |cdn| freshness.mark_purge_all(&site.name, cdn);
    CdnType::ALL.into_iter().filter(is_meant).map(mark).collect()
}

/// Notes that responses without our tags may be in flight wherever some were sent before, because not all workers
/// reported in time.
fn expect_more_untagged(freshness: &Freshness, site: &Site) {
    let untagged = &freshness.site(&site.name).untagged;
    let known = CdnType::ALL.into_iter().filter(|cdn| untagged.copies(*cdn).is_some());
    expect_untagged(freshness, site, known.collect());
}

/// Restores the most recent purges of former runs in the proxy, because an origin that is itself a cache may still
/// have older content. If not all purges fit, everything older than the oldest of them is treated as purged.
pub async fn recall(freshness: &Freshness, config: &Config, store: &dyn Store) {
    let now_ms = freshness.clock.now_ms();
    let recent = match store.recent(RECALLED).await {
        Ok(recent) => recent,
        Err(error) => return recall_nothing(freshness, config, &error),
    };
    let items: usize = recent.iter().map(|purge| purge.request.item_count()).sum();
    if items as u64 > RECALLED
        && let Some(first) = recent.last()
    {
        guard_everything(freshness, config, first.since_ms.min(now_ms));
    }
    let sites: HashMap<&str, &Arc<Site>> =
        config.sites.iter().map(|site| (site.name.as_str(), site)).collect();
    for purge in &recent {
        if let Some(site) = sites.get(purge.site.as_str()) {
            note(freshness, site, &purge.request, purge.since_ms.min(now_ms));
        }
    }
}

/// Treats everything older than this start as purged, because the purges of former runs or their times are
/// unknown.
pub fn recall_nothing(freshness: &Freshness, config: &Config, error: &StoreError) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "purge history unavailable: treating all content older than this start as purged"
    );
    guard_everything(freshness, config, freshness.clock.now_ms());
}

/// Treats every response that is requested before `until_ms` as old. This is for purges whose items this process does
/// not know: those of former runs that cannot be recalled, and those that another process may accept.
pub fn guard_everything(freshness: &Freshness, config: &Config, until_ms: i64) {
    for site in &config.sites {
        freshness.site(&site.name).purged.note_everything(until_ms);
    }
}

/// Informs the proxy of a purge that was accepted at `accepted_ms`. Returns until when responses that it covers
/// are old.
fn note(freshness: &Freshness, site: &Site, request: &PurgeRequest, accepted_ms: i64) -> i64 {
    let until_ms = accepted_ms.saturating_add(milliseconds(site.origin_settle));
    let purged = &freshness.site(&site.name).purged;
    match keys_of(site, request) {
        Some(keys) => purged.note(keys, until_ms),
        None => purged.note_everything(until_ms),
    }
    until_ms
}

impl Awaited {
    /// Registers that the copies that these jobs remove no longer matter when the jobs are done. Call this before
    /// the purge is committed, because it may be done right afterwards.
    pub(super) fn counts_for(&self, site: &str, purge: &str, jobs: &[JobPlan]) {
        for mark in &self.purge_alls {
            let cdns = jobs.iter().filter(|job| job.cdn_type == mark.cdn()).map(|job| job.cdn.clone());
            self.freshness.purge_all_accepted(site, *mark, purge, cdns.collect());
        }
    }

    /// Waits until all responses have arrived, as far as this can be known, and then makes the follow-ups of the
    /// purge due.
    pub async fn then_follow_up(
        mut self,
        store: Arc<dyn Store>,
        control: Arc<dyn Control>,
        purge: String,
        site: String,
    ) {
        let Some(mut reports) = self.reports.take() else { return };
        while let Some(report) = reports.recv().await {
            if let Report::Ends(arrived_ms) = report {
                self.arrived_ms = self.arrived_ms.max(arrived_ms);
            }
        }
        let now_ms = self.freshness.clock.now_ms();
        // No worker reported a time, so the last byte was written just now at the latest.
        let arrived_ms =
            if self.arrived_ms == i64::MIN { now_ms.saturating_add(self.margin_ms) } else { self.arrived_ms };
        let due_ms =
            self.freshness.clock.steady_ms().saturating_add(arrived_ms.saturating_sub(now_ms).max(0));
        while let Err(error) = store.arrived(purge.clone(), due_ms).await {
            tracing::warn!(
                purge,
                error = &error as &dyn std::error::Error,
                "a follow-up purge cannot be made due yet"
            );
            sleep(AGAIN).await;
        }
        control.wake(&site);
    }
}

fn every(jobs: &[JobItems]) -> Vec<(usize, u32)> {
    jobs.iter().enumerate().flat_map(|(job, items)| items.every().map(move |item| (job, item))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::fake::{FakeControl, FakeStore};
    use crate::purge::plan;
    use crate::purge::testing::{capabilities, site};
    use crate::store::{Boot, NewPurge, Now, SqliteStore};
    use std::sync::atomic::Ordering;

    fn paths(paths: &[&str]) -> PurgeRequest {
        PurgeRequest { paths: paths.iter().map(|path| (*path).to_owned()).collect(), ..Default::default() }
    }

    /// Whether a page that was generated at `generated_ms` is old.
    fn is_old(freshness: &Freshness, site: &Site, path: &str, generated_ms: i64) -> bool {
        let keys = crate::rewrite::keys::testing::of_path(path);
        freshness.site(&site.name).purged.covers(&keys, generated_ms)
    }

    async fn guarded(
        freshness: &Arc<Freshness>,
        site: &Site,
        request: &PurgeRequest,
    ) -> (FollowUps, Awaited) {
        let jobs = plan(site, &capabilities, request).unwrap();
        guard(freshness, site, request, &jobs).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_is_found() {
        let freshness = Arc::new(Freshness::default());
        let mut site = site(&[CdnType::Fastly]);
        site.origin_settle = Duration::from_secs(5);
        let mut inbox = freshness.join();
        let worker = tokio::spawn(async move {
            let question = inbox.next().await.unwrap();
            question.answers.send(Report::Found(vec![(0, 1)])).unwrap();
            question
        });
        let before_ms = freshness.clock.now_ms();
        let (follow_ups, awaited) = guarded(&freshness, &site, &paths(&["/a", "/b"])).await;
        assert_eq!((follow_ups.items, follow_ups.margin_ms), (vec![(0, 1)], 500));
        assert!(is_old(&freshness, &site, "/a", before_ms + 5_000));
        assert!(!is_old(&freshness, &site, "/c", before_ms));

        // The response ends, and with it the wait.
        let question = worker.await.unwrap();
        question.answers.send(Report::Ends(before_ms + 700)).unwrap();
        drop(question);
        let (store, control) = (Arc::new(FakeStore::default()), Arc::new(FakeControl::default()));
        awaited.then_follow_up(store, control.clone(), "p1".into(), "www".into()).await;
        assert_eq!(control.woken(), ["www"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_on_its_way_without_tags_outruns_the_plan() {
        let freshness = Arc::new(Freshness::default());
        let site = site(&[CdnType::Fastly, CdnType::Varnish]);
        let mut inbox = freshness.join();
        tokio::spawn(async move {
            let question = inbox.next().await.unwrap();
            question.answers.send(Report::Untagged([CdnType::Varnish].into_iter().collect())).unwrap();
            question.answers.send(Report::Found(vec![(1, 0)])).unwrap();
        });
        let request = paths(&["/a"]);
        let mut jobs = plan(&site, &capabilities, &request).unwrap();
        assert!(!is_outrun(&freshness, &site, &jobs));
        let (follow_ups, _) = guard(&freshness, &site, &request, &jobs).await;
        assert_eq!(follow_ups.items, [(1, 0)]);
        assert!(is_outrun(&freshness, &site, &jobs));
        jobs[1].untagged = true;
        assert!(!is_outrun(&freshness, &site, &jobs), "nothing is on its way to Fastly");
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_does_not_answer_may_have_anything_on_its_way() {
        let freshness = Arc::new(Freshness::default());
        let site = site(&[CdnType::Fastly]);
        let _silent = freshness.join();
        let gone = freshness.join();
        drop(gone);
        let (follow_ups, awaited) = guarded(&freshness, &site, &paths(&["/a", "/b"])).await;
        assert_eq!(follow_ups.items, [(0, 0), (0, 1)]);
        assert!(awaited.reports.is_some());
    }

    #[tokio::test]
    async fn nothing_on_its_way_needs_no_second_purge() {
        let freshness = Arc::new(Freshness::default());
        let (follow_ups, awaited) = guarded(&freshness, &site(&[CdnType::Fastly]), &paths(&["/a"])).await;
        assert!(follow_ups.items.is_empty() && awaited.reports.is_none());
    }

    #[tokio::test]
    async fn past_purges_are_recalled() {
        let freshness = Freshness::default();
        let site = site(&[CdnType::Fastly]);
        let config = crate::proxy::fixture::config(vec![site.clone()]);
        let store = SqliteStore::in_memory().unwrap();
        let purge = NewPurge {
            id: "p1".into(),
            site: site.name.clone(),
            request: paths(&["/a"]),
            caller: "cms".into(),
            now_ms: 1_000_000,
            since_ms: 1_000_000,
            due_ms: 1_000_000,
            jobs: Vec::new(),
            idempotency: None,
            follow_ups: FollowUps::default(),
        };
        store.enqueue(purge).await.unwrap();
        // The machine has run without a restart.
        let now = |steady_ms: i64, boot: &str| Now {
            steady_ms,
            boot: Some(Boot { id: boot.into(), up_ms: steady_ms }),
        };
        let now_ms = freshness.clock.steady_ms();
        store.probe(now(1_000_000, "b1")).await.unwrap();
        store.take_over(now(now_ms, "b1"), i64::MAX).await.unwrap();
        recall(&freshness, &config, &store).await;
        assert!(is_old(&freshness, &site, "/a", 1_000_000));
        assert!(!is_old(&freshness, &site, "/a", 1_000_001) && !is_old(&freshness, &site, "/b", 0));
        // The machine was restarted, so the age of that purge is unknown.
        store.take_over(now(now_ms, "b2"), i64::MAX).await.unwrap();
        recall(&freshness, &config, &store).await;
        assert!(
            is_old(&freshness, &site, "/a", now_ms) && !is_old(&freshness, &site, "/a", now_ms + 100_000)
        );
        assert!(!is_old(&freshness, &site, "/b", 0));

        // If the purges cannot be recalled, everything is treated as purged.
        let broken = FakeStore::default();
        broken.broken.store(true, Ordering::Relaxed);
        let before_ms = freshness.clock.now_ms();
        recall(&freshness, &config, &broken).await;
        assert!(is_old(&freshness, &site, "/b", before_ms));
        assert!(!is_old(&freshness, &site, "/b", before_ms + 1_000_000));
    }
}
