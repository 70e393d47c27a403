//! A run's steady clock begins at the machine's time, wherever that is.

use super::*;
use crate::store::FollowUps;

const HOUR: i64 = 3_600_000;
const FURTHEST: i64 = 60_000;

/// Something that was tried, and is tried again in 30 seconds.
async fn retrying(store: &dyn Store) {
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    let sends = claim(store, "fastly", START).await;
    settle_all(store, &sends, SendOutcome::RetryAt(START + 30_000)).await;
}

async fn since(store: &dyn Store, now_ms: i64) -> i64 {
    claim(store, "fastly", now_ms).await[0].since_ms
}

pub(super) async fn what_the_machines_clock_says_is_only_shown(store: Shared) {
    let accepted = NewPurge { now_ms: START - HOUR, ..purge("p1", vec![job("fastly", 1)]) };
    store.enqueue(accepted).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    let sends = sends.iter().map(|send| (send.id, send.attempt, SendOutcome::Done)).collect();
    let settlement = Settlement { sends, now_ms: START, at_ms: START + HOUR, ..Settlement::default() };
    store.settle(settlement).await.unwrap();
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.created_ms, seen.finished_ms), (START - HOUR, Some(START + HOUR)));
    assert_eq!(seen.jobs[0].accepted_ms, Some(START + HOUR));
}

pub(super) async fn a_clock_that_was_set_back_between_two_runs_holds_up_nothing(store: Shared) {
    retrying(&*store).await;
    store.probe(START + 10_000).await.unwrap();
    let now_ms = START - HOUR;
    store.take_over(now_ms, now_ms + FURTHEST).await.unwrap();
    assert_eq!(
        next_due(&*store, "fastly").await,
        Some(now_ms + 20_000),
        "20 s after the last probe, as before"
    );
    assert_eq!(status(&*store, "fastly").await.oldest_due_ms, Some(now_ms - 10_000));
    assert_eq!(since(&*store, now_ms + 20_000).await, now_ms - 10_000);
}

pub(super) async fn a_clock_that_was_set_forward_between_two_runs_ages_nothing(store: Shared) {
    retrying(&*store).await;
    store.probe(START + 10_000).await.unwrap();
    let now_ms = START + 1_000 * HOUR;
    store.take_over(now_ms, now_ms + FURTHEST).await.unwrap();
    // It is late by as much, for all that can be known, but it is not given up for that.
    assert_eq!(status(&*store, "fastly").await.oldest_due_ms, Some(START));
    assert_eq!(since(&*store, now_ms).await, now_ms - 10_000);
}

pub(super) async fn nothing_is_due_later_than_any_wait(store: Shared) {
    // Of a run that had not probed yet.
    retrying(&*store).await;
    let now_ms = START - HOUR;
    store.take_over(now_ms, now_ms + FURTHEST).await.unwrap();
    assert_eq!(next_due(&*store, "fastly").await, Some(now_ms + FURTHEST));
    assert_eq!(status(&*store, "fastly").await.oldest_due_ms, Some(START), "nobody knows its age");
    assert_eq!(since(&*store, now_ms + FURTHEST).await, now_ms);
}

pub(super) async fn follow_ups_wait_for_no_former_run(store: Shared) {
    let follow_ups = FollowUps { items: vec![(0, 0)], margin_ms: 500 };
    store.enqueue(NewPurge { follow_ups, ..purge("p1", vec![job("fastly", 1)]) }).await.unwrap();
    let first = claim(&*store, "fastly", START).await;
    settle_all(&*store, &first, SendOutcome::Done).await;
    assert!(view(&*store, "p1").await.jobs[0].waits);
    store.probe(START + 10_000).await.unwrap();
    let now_ms = START - HOUR;
    store.take_over(now_ms, now_ms + FURTHEST).await.unwrap();
    assert_eq!(next_due(&*store, "fastly").await, Some(now_ms + 500));
    assert!(!view(&*store, "p1").await.jobs[0].waits);
}

pub(super) async fn what_is_not_verified_is_told(store: Shared) {
    for (n, id) in ["p1", "p2", "p3", "p4"].into_iter().enumerate() {
        store.enqueue(purge(id, vec![job("fastly", 1), job("varnish", 1)])).await.unwrap();
        let [fastly, varnish] =
            [claim(&*store, "fastly", START).await, claim(&*store, "varnish", START).await];
        let sends = fastly.iter().chain(&varnish).map(|send| (send.id, send.attempt, SendOutcome::Done));
        let (sends, at_ms) = (sends.collect(), START + n as i64);
        store.settle(Settlement { sends, now_ms: START, at_ms, ..Settlement::default() }).await.unwrap();
    }
    store.enqueue(purge("p5", vec![job("fastly", 1)])).await.unwrap();
    let open = async |after_ms| {
        let jobs = store.unverified(key("fastly"), after_ms).await.unwrap();
        jobs.into_iter().map(|job| (job.purge, job.since_ms)).collect::<Vec<_>>()
    };
    let expected = |ids: &[&str]| ids.iter().map(|id| (id.to_string(), START)).collect::<Vec<_>>();
    assert_eq!(open(START).await, expected(&["p4", "p3", "p2"]));
    for (id, seen) in
        [("p2", Verification::Fresh), ("p3", Verification::Stale), ("p4", Verification::Unknown)]
    {
        store.verified(key("fastly"), id.into(), (seen, START), None).await.unwrap();
    }
    assert_eq!(open(START - 1).await, expected(&["p3", "p1"]));
}
