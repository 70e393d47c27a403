//! The rules that any store must obey. Each rule runs against both stores, in `contract!` at the end.

mod claims;
mod clock;
mod follow_ups;
mod naming;
mod operate;
mod untagged;
mod wider;

use super::*;
use crate::cdn::{Identity, Item, ItemKind};
use crate::purge::{JobPlan, PurgeRequest, SendReason, State};
use crate::rewrite::CdnType;
use claims::*;
use clock::*;
use follow_ups::*;
use naming::*;
use operate::*;
use std::sync::Arc;
use untagged::*;
use wider::*;

use super::postgres::tests::a_database;

type Shared = Arc<dyn Store>;

const DAY: i64 = 24 * 60 * 60 * 1_000;
/// The start of the tests' clock.
const START: i64 = 1_700_000_000_000;
const LEASE: i64 = START + 120_000;

pub(super) fn key(cdn: &str) -> CdnKey {
    CdnKey { site: "www".into(), cdn: cdn.into() }
}

pub(super) fn job(cdn: &str, items: usize) -> JobPlan {
    let item = |n| Item { kind: ItemKind::Tag, value: format!("tag-{n}"), hard: true };
    JobPlan {
        cdn: cdn.into(),
        identity: Identity::default(),
        cdn_type: CdnType::Fastly,
        items: (0..items).map(item).collect(),
        everything: false,
        untagged: false,
        fallback: vec![],
        repeat_after_ms: 0,
    }
}

pub(super) fn purge(id: &str, jobs: Vec<JobPlan>) -> NewPurge {
    NewPurge {
        id: id.into(),
        site: "www".into(),
        request: PurgeRequest {
            tags: vec!["tag-0".into()],
            reason: Some("publish".into()),
            ..Default::default()
        },
        caller: "cms".into(),
        now_ms: START,
        since_ms: START,
        due_ms: START,
        jobs,
        idempotency: None,
        follow_ups: Default::default(),
    }
}

fn attempt(outcome: &str) -> Attempt {
    Attempt {
        at_ms: START,
        status: Some(200),
        request_id: Some("108-1".into()),
        duration_ms: 12,
        outcome: outcome.into(),
        message: "ok".into(),
    }
}

pub(super) async fn settle_all(
    store: &dyn Store,
    sends: &[ClaimedSend],
    outcome: SendOutcome,
) -> Vec<EndedJob> {
    let sends = sends.iter().map(|send| (send.id, send.attempt, outcome)).collect();
    let settlement = Settlement {
        sends,
        attempt: Some(attempt("later")),
        now_ms: START,
        at_ms: START,
        ..Settlement::default()
    };
    store.settle(settlement).await.unwrap().ended
}

/// A call that carries up to `most` hard items of any kind.
pub(super) fn call(cdn: &str, now_ms: i64, lease_until_ms: i64, most: usize) -> Claim {
    Claim::of(key(cdn), now_ms, lease_until_ms, most)
}

pub(super) async fn claim_until(
    store: &dyn Store,
    cdn: &str,
    now_ms: i64,
    lease_until_ms: i64,
    most: usize,
) -> Vec<ClaimedSend> {
    store.claim(call(cdn, now_ms, lease_until_ms, most)).await.unwrap().sends
}

async fn claim(store: &dyn Store, cdn: &str, now_ms: i64) -> Vec<ClaimedSend> {
    claim_until(store, cdn, now_ms, now_ms + 120_000, 10_000).await
}

/// Returns when a send is due next, or has been due since.
async fn next_due(store: &dyn Store, cdn: &str) -> Option<i64> {
    let due = store.due(key(cdn), START, 10).await.unwrap();
    due.groups.iter().map(|group| group.oldest_ms).chain(due.next_ms).min()
}

async fn view(store: &dyn Store, id: &str) -> PurgeView {
    store.get(id.into()).await.unwrap().unwrap()
}

async fn ids(store: &dyn Store, filter: Filter) -> Vec<String> {
    store.list(filter).await.unwrap().purges.into_iter().map(|purge| purge.id).collect()
}

async fn status(store: &dyn Store, cdn: &str) -> QueueStatus {
    store.status().await.unwrap().into_iter().find(|status| status.key == key(cdn)).unwrap()
}

/// Makes a whole sweep. Returns the number of purges removed.
pub(super) async fn sweep(store: &dyn Store, ended_before_ms: i64, now_ms: i64) -> u64 {
    let mut purges = 0;
    loop {
        let step = store.sweep(ended_before_ms, now_ms).await.unwrap();
        purges += step.purges;
        if !step.more {
            return purges;
        }
    }
}

fn all() -> Filter {
    Filter { limit: 100, ..Filter::default() }
}

async fn an_accepted_purge_is_readable_as_it_was(store: Shared) {
    let mut new = purge("p1", vec![job("fastly", 3), job("varnish", 1)]);
    new.jobs[1].fallback = vec!["soft is not possible: hard".into()];
    new.request.urls = vec!["https://www.example.com/a".into()];
    assert_eq!(store.enqueue(new.clone()).await.unwrap(), Enqueued::Created);

    let seen = view(&*store, "p1").await;
    assert_eq!(seen.request, new.request);
    assert_eq!((seen.site.as_str(), seen.items, seen.created_ms), ("www", 2, START));
    assert_eq!((seen.state, seen.finished_ms), (State::Pending, None));
    assert_eq!(seen.reason.as_deref(), Some("publish"));
    let jobs: Vec<_> = seen.jobs.iter().map(|job| (job.cdn.as_str(), job.items, job.state)).collect();
    assert_eq!(jobs, [("fastly", 3, State::Pending), ("varnish", 1, State::Pending)]);
    assert_eq!(seen.jobs[1].fallback, new.jobs[1].fallback);
    assert_eq!(seen.jobs[0].next_attempt_ms, Some(START));
    assert_eq!(store.get("p2".into()).await.unwrap(), None);
}

async fn a_purge_without_anything_to_send_is_done_at_once(store: Shared) {
    store.enqueue(purge("none", vec![])).await.unwrap();
    store.enqueue(purge("empty", vec![job("fastly", 0)])).await.unwrap();
    for id in ["none", "empty"] {
        let seen = view(&*store, id).await;
        assert_eq!((seen.state, seen.finished_ms), (State::Done, Some(START)));
        assert!(seen.jobs.iter().all(|job| job.state == State::Done && job.accepted_ms == Some(START)));
    }
}

async fn an_id_is_accepted_once(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap_err();
    assert_eq!(status(&*store, "fastly").await.pending, 1);
}

async fn an_idempotency_key_holds_for_a_day(store: Shared) {
    let with_key = |id: &str, caller: &str, hash: &str, now_ms| NewPurge {
        caller: caller.into(),
        idempotency: Some(("key".into(), hash.into())),
        now_ms,
        ..purge(id, vec![job("fastly", 1)])
    };
    let steps = [
        (with_key("p1", "cms", "h1", START), Enqueued::Created),
        (with_key("p2", "cms", "h1", START + DAY - 1), Enqueued::Existing("p1".into())),
        (with_key("p3", "cms", "h2", START + 1), Enqueued::KeyReused),
        (with_key("p4", "ci", "h2", START + 1), Enqueued::Created),
        (with_key("p5", "cms", "h2", START + DAY), Enqueued::Created),
        (with_key("p6", "cms", "h2", START + DAY + 1), Enqueued::Existing("p5".into())),
    ];
    for (new, expected) in steps {
        let id = new.id.clone();
        assert_eq!(store.enqueue(new).await.unwrap(), expected, "{id}");
        assert_eq!(store.get(id).await.unwrap().is_some(), expected == Enqueued::Created);
    }
}

async fn a_claim_carries_the_item_and_leases_it(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 2), job("varnish", 1)])).await.unwrap();
    let sends = claim_until(&*store, "fastly", START, LEASE, 10).await;
    let items: Vec<_> = sends.iter().map(|send| send.item.clone()).collect();
    assert_eq!(items, job("fastly", 2).items);
    for send in &sends {
        assert_eq!((send.reason, send.attempt, send.created_ms), (SendReason::First, 1, START));
    }
    assert_eq!(claim_until(&*store, "fastly", LEASE - 1, LEASE, 10).await, []);
    assert_eq!(claim_until(&*store, "other", LEASE, LEASE, 10).await, []);
    let seen = view(&*store, "p1").await;
    assert_eq!(
        (seen.state, seen.jobs[0].state, seen.jobs[1].state),
        (State::Sending, State::Sending, State::Pending)
    );
    assert_eq!(seen.jobs[0].next_attempt_ms, None);
}

async fn a_claim_takes_no_more_than_its_limit(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 5)])).await.unwrap();
    let mut claimed = Vec::new();
    for expected in [2, 2, 1, 0] {
        let sends = claim_until(&*store, "fastly", START, LEASE, 2).await;
        assert_eq!(sends.len(), expected);
        claimed.extend(sends.into_iter().map(|send| send.item));
    }
    assert_eq!(claimed, job("fastly", 5).items);
}

async fn sends_are_not_claimed_before_they_are_due(store: Shared) {
    assert_eq!(next_due(&*store, "fastly").await, None);
    let settling = NewPurge { due_ms: START + 500, ..purge("p1", vec![job("fastly", 1)]) };
    store.enqueue(settling).await.unwrap();
    assert_eq!(next_due(&*store, "fastly").await, Some(START + 500));
    assert_eq!(claim(&*store, "fastly", START + 499).await, []);
    assert_eq!(claim(&*store, "fastly", START + 500).await.len(), 1);
}

async fn an_expired_lease_can_be_taken_over_and_fences_the_former_owner(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    let first = claim_until(&*store, "fastly", START, LEASE, 10).await;
    assert_eq!(next_due(&*store, "fastly").await, Some(LEASE));
    let second = claim_until(&*store, "fastly", LEASE, LEASE + 1_000, 10).await;
    assert_eq!((second[0].id, second[0].attempt), (first[0].id, 2));

    assert_eq!(settle_all(&*store, &first, SendOutcome::Done).await, []);
    assert_eq!(view(&*store, "p1").await.state, State::Sending);
    assert_eq!(settle_all(&*store, &second, SendOutcome::Done).await.len(), 1);
    assert_eq!(view(&*store, "p1").await.state, State::Done);
    // A send that has ended stays ended.
    assert_eq!(settle_all(&*store, &second, SendOutcome::Failed).await, []);
    assert_eq!(view(&*store, "p1").await.state, State::Done);
}

async fn a_late_answer_within_an_untaken_lease_counts(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    let sends = claim_until(&*store, "fastly", START, START + 1, 10).await;
    settle_all(&*store, &sends, SendOutcome::Done).await;
    assert_eq!(view(&*store, "p1").await.state, State::Done);
}

async fn a_purge_is_done_when_every_job_is(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 2), job("varnish", 1)])).await.unwrap();
    let fastly = claim(&*store, "fastly", START).await;
    assert_eq!(settle_all(&*store, &fastly[..1], SendOutcome::Done).await, []);
    let ended = settle_all(&*store, &fastly[1..], SendOutcome::Done).await;
    let expected = EndedJob {
        key: key("fastly"),
        purge: "p1".into(),
        state: State::Done,
        purge_ended: None,
        since_ms: START,
        verify: None,
    };
    assert_eq!(ended, [expected]);
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.state, seen.jobs[0].state), (State::Pending, State::Done));
    assert_eq!((seen.jobs[0].accepted_ms, seen.jobs[1].accepted_ms), (Some(START), None));

    let varnish = claim(&*store, "varnish", START).await;
    let ended = settle_all(&*store, &varnish, SendOutcome::Done).await;
    assert_eq!(ended[0].purge_ended, Some(State::Done));
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.state, seen.finished_ms), (State::Done, Some(START)));
    assert_eq!(seen.jobs[0].next_attempt_ms, None);
}

async fn one_settlement_may_end_several_jobs(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    store.enqueue(purge("p2", vec![job("fastly", 1)])).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    let ended = settle_all(&*store, &sends, SendOutcome::Done).await;
    assert_eq!(ended.into_iter().map(|job| job.purge).collect::<Vec<_>>(), ["p1", "p2"]);
    for id in ["p1", "p2"] {
        assert_eq!(view(&*store, id).await.jobs[0].attempts, [(attempt("later"), 1)]);
    }
}

async fn a_retry_waits_for_its_time(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 2)])).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    settle_all(&*store, &sends, SendOutcome::RetryAt(START + 5_000)).await;
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.state, seen.jobs[0].next_attempt_ms), (State::Retrying, Some(START + 5_000)));
    assert_eq!(seen.jobs[0].attempts, [(attempt("later"), 2)]);
    assert_eq!(status(&*store, "fastly").await.pending, 2);
    assert_eq!(claim(&*store, "fastly", START + 4_999).await, []);
    let again = claim(&*store, "fastly", START + 5_000).await;
    assert_eq!((again[0].id, again[0].reason, again[0].attempt), (sends[0].id, SendReason::Retry, 2));
    settle_all(&*store, &again, SendOutcome::Done).await;
    assert_eq!(view(&*store, "p1").await.state, State::Done);
}

async fn a_failed_item_fails_its_job_when_the_rest_has_ended(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 2), job("varnish", 1)])).await.unwrap();
    let fastly = claim(&*store, "fastly", START).await;
    assert_eq!(settle_all(&*store, &fastly[..1], SendOutcome::Failed).await, []);
    assert_eq!(status(&*store, "fastly").await.failed, 0);
    let ended = settle_all(&*store, &fastly[1..], SendOutcome::Done).await;
    assert_eq!(ended[0].state, State::Failed);
    let seen = view(&*store, "p1").await;
    assert_eq!(
        (seen.state, seen.jobs[0].state, seen.jobs[0].unacknowledged),
        (State::Pending, State::Failed, true)
    );
    assert_eq!(seen.jobs[0].accepted_ms, None);

    let varnish = claim(&*store, "varnish", START).await;
    let ended = settle_all(&*store, &varnish, SendOutcome::Done).await;
    assert_eq!((ended[0].state, ended[0].purge_ended), (State::Done, Some(State::Failed)));
    assert_eq!(view(&*store, "p1").await.state, State::Failed);
}

async fn an_acknowledged_failure_no_longer_counts(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    settle_all(&*store, &sends, SendOutcome::Failed).await;
    assert_eq!((status(&*store, "fastly").await.failed, status(&*store, "fastly").await.pending), (1, 0));
    assert_eq!(store.acknowledge("other".into()).await.unwrap(), 0);
    assert_eq!(store.acknowledge("p1".into()).await.unwrap(), 1);
    assert_eq!(store.acknowledge("p1".into()).await.unwrap(), 0);
    assert_eq!(status(&*store, "fastly").await.failed, 0);
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.jobs[0].state, seen.jobs[0].unacknowledged), (State::Failed, false));
}

async fn a_repeat_follows_and_holds_up_nothing(store: Shared) {
    let mut repeated = job("fastly", 2);
    repeated.repeat_after_ms = 2_000;
    store.enqueue(purge("p1", vec![repeated])).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    settle_all(&*store, &sends, SendOutcome::Done).await;
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.state, seen.jobs[0].next_attempt_ms), (State::Done, Some(START + 2_000)));
    assert_eq!(status(&*store, "fastly").await.pending, 0);
    assert_eq!(claim(&*store, "fastly", START + 1_999).await, []);

    let repeats = claim(&*store, "fastly", START + 2_000).await;
    assert_eq!(repeats.iter().map(|send| send.item.clone()).collect::<Vec<_>>(), job("fastly", 2).items);
    assert!(repeats.iter().all(|send| send.reason == SendReason::Repeat));
    assert!(repeats.iter().all(|repeat| sends.iter().all(|send| send.id != repeat.id)));
    settle_all(&*store, &repeats[..1], SendOutcome::Failed).await;
    settle_all(&*store, &repeats[1..], SendOutcome::RetryAt(START + 9_000)).await;
    let again = claim(&*store, "fastly", START + 9_000).await;
    assert_eq!(again[0].reason, SendReason::Repeat);
    settle_all(&*store, &again, SendOutcome::Done).await;
    assert_eq!(next_due(&*store, "fastly").await, None);
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.state, seen.jobs[0].state, seen.jobs[0].attempts.len()), (State::Done, State::Done, 4));
    assert_eq!(status(&*store, "fastly").await.pending, 0);
}

async fn an_unsent_send_is_due_again_as_it_was(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    let sends = sends.iter().map(|send| (send.id, send.attempt, SendOutcome::Unsent)).collect();
    store.settle(Settlement { sends, now_ms: START, at_ms: START, ..Settlement::default() }).await.unwrap();
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.state, seen.jobs[0].attempts.len()), (State::Pending, 0));
    let again = claim(&*store, "fastly", START).await;
    assert_eq!((again[0].reason, again[0].attempt), (SendReason::First, 2));
}

async fn small_jobs_go_ahead_of_bulk_ones_without_starving_them(store: Shared) {
    let named = |id: &str, items| {
        let mut job = job("fastly", items);
        job.items.iter_mut().for_each(|item| item.value.insert_str(0, id));
        purge(id, vec![job])
    };
    store.enqueue(named("bulk", BULK_ITEMS + 1)).await.unwrap();
    store.enqueue(NewPurge { due_ms: START + 1, ..named("small", 3) }).await.unwrap();
    let jobs = |sends: &[ClaimedSend]| sends.iter().map(|send| send.job).collect::<Vec<_>>();
    let first = claim_until(&*store, "fastly", START + 1, LEASE, 4).await;
    let (bulk, small) = (first[3].job, first[0].job);
    assert_eq!(jobs(&first), [small, small, small, bulk]);
    store.enqueue(NewPurge { due_ms: START + 2, ..named("crowd", 900) }).await.unwrap();
    let second = claim_until(&*store, "fastly", START + 2, LEASE, 8).await;
    assert_eq!(jobs(&second).iter().filter(|job| **job == bulk).count(), 2);
    assert_eq!(jobs(&second)[6..], [bulk, bulk]);
}

async fn a_paused_cdn_keeps_its_queue(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    let set = |by, reason: Option<&str>| store.set_paused(key("fastly"), by, reason.map(str::to_owned));
    let paused = |by, reason: &str| Some(Pause { by, reason: reason.into() });
    set(PausedBy::Credentials, Some("401")).await.unwrap();
    assert_eq!(status(&*store, "fastly").await.paused, paused(PausedBy::Credentials, "401"));
    assert_eq!(claim(&*store, "fastly", START).await, []);
    assert_eq!(next_due(&*store, "fastly").await, None);
    assert_eq!(view(&*store, "p1").await.state, State::Paused);
    assert_eq!(status(&*store, "fastly").await.pending, 1);

    set(PausedBy::Person, Some("migration")).await.unwrap();
    set(PausedBy::Credentials, Some("401")).await.unwrap();
    set(PausedBy::Credentials, None).await.unwrap();
    assert_eq!(status(&*store, "fastly").await.paused, paused(PausedBy::Person, "migration"));
    set(PausedBy::Person, None).await.unwrap();
    assert_eq!(status(&*store, "fastly").await.paused, None);

    set(PausedBy::Credentials, Some("401")).await.unwrap();
    set(PausedBy::Credentials, None).await.unwrap();
    assert_eq!(status(&*store, "fastly").await.paused, None);
    assert_eq!(claim(&*store, "fastly", START).await.len(), 1);
}

async fn a_cdn_can_be_paused_before_its_first_purge(store: Shared) {
    store.set_paused(key("fastly"), PausedBy::Person, Some("not yet".into())).await.unwrap();
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    assert_eq!(claim(&*store, "fastly", START).await, []);
}

async fn status_counts_what_is_not_accepted_yet(store: Shared) {
    assert_eq!(store.status().await.unwrap(), []);
    store.enqueue(purge("p1", vec![job("fastly", 3)])).await.unwrap();
    let later = NewPurge { due_ms: START + 7, ..purge("p2", vec![job("fastly", 2), job("varnish", 1)]) };
    store.enqueue(later).await.unwrap();
    let steps = |status: QueueStatus| (status.jobs, status.pending, status.oldest_due_ms);
    assert_eq!(steps(status(&*store, "fastly").await), (2, 5, Some(START)));
    assert_eq!(steps(status(&*store, "varnish").await), (1, 1, Some(START + 7)));
    let sends = claim(&*store, "fastly", START).await;
    assert_eq!(steps(status(&*store, "fastly").await), (2, 5, Some(START)));
    settle_all(&*store, &sends[..2], SendOutcome::Done).await;
    assert_eq!(steps(status(&*store, "fastly").await), (2, 3, Some(START)));
    settle_all(&*store, &sends[2..], SendOutcome::Done).await;
    assert_eq!(steps(status(&*store, "fastly").await), (1, 2, Some(START + 7)));
}

async fn lists_are_newest_first_and_filtered(store: Shared) {
    for (id, site) in [("a", "www"), ("b", "shop"), ("c", "www"), ("d", "www"), ("e", "shop")] {
        store.enqueue(NewPurge { site: site.into(), ..purge(id, vec![job("fastly", 1)]) }).await.unwrap();
    }
    let sites = |sites: &[&str]| Some(sites.iter().map(|site| (*site).to_owned()).collect());
    let www = sites(&["www"]);
    let both = sites(&["shop", "www", "shop"]);
    assert_eq!(ids(&*store, all()).await, ["e", "d", "c", "b", "a"]);
    assert_eq!(ids(&*store, Filter { limit: 2, ..all() }).await, ["e", "d"]);
    assert_eq!(ids(&*store, Filter { before: Some("d".into()), limit: 2, ..all() }).await, ["c", "b"]);
    assert_eq!(ids(&*store, Filter { sites: www.clone(), ..all() }).await, ["d", "c", "a"]);
    assert_eq!(ids(&*store, Filter { sites: both.clone(), limit: 3, ..all() }).await, ["e", "d", "c"]);
    assert_eq!(ids(&*store, Filter { sites: sites(&[]), ..all() }).await, [""; 0]);
    assert_eq!(ids(&*store, Filter { sites: www, before: Some("d".into()), ..all() }).await, ["c", "a"]);
}

async fn lists_filter_by_every_state(store: Shared) {
    // The purges are enqueued in the order in which they are claimed.
    for id in ["a-done", "b-failed", "c-retrying", "d-sending"] {
        store.enqueue(purge(id, vec![job("fastly", 1)])).await.unwrap();
        let sends = claim(&*store, "fastly", START).await;
        match id {
            "a-done" => drop(settle_all(&*store, &sends, SendOutcome::Done).await),
            "b-failed" => drop(settle_all(&*store, &sends, SendOutcome::Failed).await),
            "c-retrying" => drop(settle_all(&*store, &sends, SendOutcome::RetryAt(LEASE)).await),
            _ => (),
        }
    }
    store.enqueue(purge("e-pending", vec![job("fastly", 1)])).await.unwrap();
    store.enqueue(purge("f-paused", vec![job("varnish", 1)])).await.unwrap();
    store.set_paused(key("varnish"), PausedBy::Person, Some("why not".into())).await.unwrap();
    for (state, expected) in [
        (State::Done, "a-done"),
        (State::Failed, "b-failed"),
        (State::Retrying, "c-retrying"),
        (State::Sending, "d-sending"),
        (State::Pending, "e-pending"),
        (State::Paused, "f-paused"),
    ] {
        assert_eq!(ids(&*store, Filter { state: Some(state), ..all() }).await, [expected]);
    }
    assert_eq!(ids(&*store, Filter { state: Some(State::Cancelled), ..all() }).await, [""; 0]);
}

async fn a_list_leaves_out_what_is_long(store: Shared) {
    let paths = |items: u64| (0..items).map(|n| format!("/{n}")).collect();
    for (id, items) in [("a", LISTED_ITEMS), ("b", LISTED_ITEMS + 1)] {
        let request = PurgeRequest { paths: paths(items), reason: Some("bulk".into()), ..Default::default() };
        store.enqueue(NewPurge { request, ..purge(id, vec![job("fastly", 1)]) }).await.unwrap();
    }
    for _ in 0..3 {
        let sends = claim(&*store, "fastly", START).await;
        settle_all(&*store, &sends, SendOutcome::RetryAt(START)).await;
    }
    let listed = store.list(all()).await.unwrap().purges;
    let long = &listed[0];
    assert_eq!((long.items, long.request.paths.len()), (LISTED_ITEMS + 1, 0));
    assert_eq!(long.reason.as_deref(), Some("bulk"));
    assert_eq!(listed[1].request.paths, paths(LISTED_ITEMS));
    assert_eq!(long.jobs[0].attempts.len(), 1);
    let whole = view(&*store, "b").await;
    assert_eq!(whole.request.paths, paths(LISTED_ITEMS + 1));
    assert_eq!(whole.jobs[0].attempts.len(), 3);
}

async fn a_job_remembers_its_last_hundred_attempts(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    for n in 0..103 {
        let sends = claim(&*store, "fastly", START).await;
        let sends = vec![(sends[0].id, sends[0].attempt, SendOutcome::RetryAt(START))];
        let attempt = Some(Attempt { at_ms: n, ..attempt("later") });
        store
            .settle(Settlement { sends, attempt, now_ms: START, at_ms: START, ..Settlement::default() })
            .await
            .unwrap();
    }
    let attempts = view(&*store, "p1").await.jobs.remove(0).attempts;
    let times: Vec<_> = attempts.iter().map(|(attempt, _)| attempt.at_ms).collect();
    assert_eq!(times, (3..103).collect::<Vec<_>>());
}

async fn leases_of_a_former_run_are_released(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 2)])).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    settle_all(&*store, &sends[..1], SendOutcome::RetryAt(LEASE)).await;
    assert_eq!(store.take_over(START.into(), i64::MAX).await.unwrap().leases, 1);
    // The send with a retry time still waits.
    let again = claim(&*store, "fastly", START).await;
    assert_eq!(again.iter().map(|send| (send.id, send.attempt)).collect::<Vec<_>>(), [(sends[1].id, 2)]);
    assert_eq!(settle_all(&*store, &sends[1..], SendOutcome::Done).await, []);
    assert_eq!(store.take_over(START.into(), i64::MAX).await.unwrap().leases, 1);
    assert_eq!(store.take_over(START.into(), i64::MAX).await.unwrap().leases, 0);
}

async fn a_sweep_removes_what_ended_long_ago(store: Shared) {
    let keyed = NewPurge { idempotency: Some(("key".into(), "h".into())), ..purge("keyed", vec![]) };
    store.enqueue(keyed).await.unwrap();
    for id in ["old", "failed"] {
        store.enqueue(purge(id, vec![job("fastly", 2)])).await.unwrap();
        let sends = claim(&*store, "fastly", START).await;
        let outcome = if id == "old" { SendOutcome::Done } else { SendOutcome::Failed };
        settle_all(&*store, &sends, outcome).await;
    }
    store.enqueue(purge("open", vec![job("fastly", 2)])).await.unwrap();

    assert_eq!(sweep(&*store, START, START).await, 0);
    assert_eq!(sweep(&*store, START + 1, START + 1).await, 1);
    assert_eq!(ids(&*store, all()).await, ["open", "keyed", "failed"]);
    // A day later, the request can no longer be repeated with the key.
    assert_eq!(sweep(&*store, START + 1, START + DAY).await, 1);
    store.acknowledge("failed".into()).await.unwrap();
    assert_eq!(sweep(&*store, START + 1, START + DAY).await, 1);
    assert_eq!(sweep(&*store, i64::MAX, START + DAY).await, 0);
    assert_eq!(ids(&*store, all()).await, ["open"]);
    assert_eq!(status(&*store, "fastly").await.pending, 2);
}

async fn many_callers_at_once_are_all_served(store: Shared) {
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..100 {
        let store = store.clone();
        callers.spawn(async move {
            let id = format!("p{n:03}");
            store.enqueue(purge(&id, vec![job("fastly", 2)])).await.unwrap();
            // The caller's own answer is committed, so its own read sees the purge.
            assert!(store.get(id).await.unwrap().is_some());
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    assert_eq!(ids(&*store, all()).await.len(), 100);
    assert_eq!(claim(&*store, "fastly", START).await.len(), 200);
}

async fn a_probe_commits(store: Shared) {
    store.probe(START.into()).await.unwrap();
    store.probe((START + 1).into()).await.unwrap();
}

/// Runs every rule against a file and in memory, and those for any store against a database that others share.
macro_rules! contract {
    (any store: $($rule:ident)+; a store whose clock is its own: $($own:ident)+) => {
        contract! { @sqlite $($rule)+ $($own)+ }
        mod postgres {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(std::sync::Arc::new(super::a_database())).await;
            })+
        }
    };
    (@sqlite $($rule:ident)+) => {
        mod file {
            $(#[tokio::test]
            async fn $rule() {
                let directory = tempfile::tempdir().unwrap();
                let path = directory.path().join("store.db");
                super::$rule(std::sync::Arc::new(super::SqliteStore::open(&path).unwrap())).await;
            })+
        }
        mod memory {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(std::sync::Arc::new(super::SqliteStore::in_memory().unwrap())).await;
            })+
        }
    };
}

contract! {
    any store:
    an_accepted_purge_is_readable_as_it_was
    a_purge_without_anything_to_send_is_done_at_once
    an_id_is_accepted_once
    an_idempotency_key_holds_for_a_day
    a_claim_carries_the_item_and_leases_it
    a_claim_takes_no_more_than_its_limit
    sends_are_not_claimed_before_they_are_due
    an_expired_lease_can_be_taken_over_and_fences_the_former_owner
    a_late_answer_within_an_untaken_lease_counts
    a_purge_is_done_when_every_job_is
    one_settlement_may_end_several_jobs
    a_retry_waits_for_its_time
    a_failed_item_fails_its_job_when_the_rest_has_ended
    an_acknowledged_failure_no_longer_counts
    a_retry_makes_failed_items_due_again
    a_cancelled_purge_is_not_sent
    what_is_being_sent_when_it_is_cancelled_changes_nothing
    only_what_is_under_way_is_cancelled
    a_repeat_follows_and_holds_up_nothing
    an_unsent_send_is_due_again_as_it_was
    a_follow_up_holds_up_its_job_until_it_is_sent
    a_follow_up_that_is_due_goes_along
    a_follow_up_can_be_added_to_a_purge_that_is_done
    what_stays_stale_is_purged_again
    a_follow_up_is_retried_and_repeated_like_its_purge
    a_refused_follow_up_is_widened_too
    a_cancelled_purge_has_no_follow_up
    the_latest_purges_are_told
    small_jobs_go_ahead_of_bulk_ones_without_starving_them
    a_paused_cdn_keeps_its_queue
    a_cdn_can_be_paused_before_its_first_purge
    what_is_due_is_told_by_lane_kind_and_hardness
    a_claim_counts_the_same_item_once
    a_claim_keeps_to_bytes_kinds_and_hardness
    a_claim_takes_what_its_items_cover
    what_is_soft_covers_nothing_hard
    a_crowd_for_one_item_goes_out_in_parts
    the_purge_of_a_site_absorbs_what_is_due_and_no_harder
    what_reaches_copies_without_tags_is_absorbed_by_the_cdns_purge_all_alone
    copies_without_tags_are_remembered
    what_was_absorbed_stands_again_unless_it_was_purged
    a_late_answer_does_not_end_what_was_absorbed_since
    what_is_absorbed_survives_its_absorber
    the_repeat_of_the_site_is_that_of_what_it_absorbed
    only_the_cdns_purge_all_absorbs_another
    split_calls_go_out_in_their_parts
    kept_calls_are_made_again_as_they_were
    a_kept_call_counts_a_soft_twin_as_its_hard_one
    a_kept_call_for_which_there_is_no_share_holds_up_nothing
    an_absorber_that_is_kept_names_what_it_absorbed
    what_is_due_can_be_widened
    a_refused_item_is_widened_once_for_its_job
    a_refused_item_can_be_widened_to_less_than_the_site
    a_repeat_that_is_refused_widens_nothing
    a_job_is_complete_when_all_its_work_is
    work_of_which_nobody_hears_completes_nothing
    buckets_only_get_emptier
    status_counts_what_is_not_accepted_yet
    lists_are_newest_first_and_filtered
    lists_filter_by_every_state
    a_list_leaves_out_what_is_long
    a_job_remembers_its_last_hundred_attempts
    leases_of_a_former_run_are_released
    a_sweep_removes_what_ended_long_ago
    many_callers_at_once_are_all_served
    a_probe_commits
    what_the_machines_clock_says_is_only_shown
    what_is_not_verified_is_told
    what_waits_for_another_try_can_be_hurried
    what_waits_follows_its_service
    what_nobody_has_is_an_orphan
    queues_of_one_service_become_one
    what_was_known_by_its_name_keeps_it;
    a store whose clock is its own:
    a_clock_that_was_set_back_between_two_runs_holds_up_nothing
    a_clock_that_was_set_forward_between_two_runs_ages_nothing
    a_restart_within_the_machines_run_moves_nothing
    what_ended_in_another_run_of_the_machine_counts_as_new
    copies_without_tags_live_as_long_whatever_the_clock_says
    nothing_is_due_later_than_any_wait
    follow_ups_wait_for_no_former_run
}
