//! Rules for clocks: a run's steady clock begins at the machine's time, wherever that is.

use super::*;
use crate::store::FollowUps;

const HOUR: i64 = 3_600_000;
const FURTHEST: i64 = 60_000;

/// A purge that was tried, and is tried again in 30 seconds.
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
    store.probe((START + 10_000).into()).await.unwrap();
    let now_ms = START - HOUR;
    store.take_over(now_ms.into(), now_ms + FURTHEST).await.unwrap();
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
    store.probe((START + 10_000).into()).await.unwrap();
    let now_ms = START + 1_000 * HOUR;
    store.take_over(now_ms.into(), now_ms + FURTHEST).await.unwrap();
    // As far as is known, the purge is late by as much, but it is not given up for that.
    assert_eq!(status(&*store, "fastly").await.oldest_due_ms, Some(START));
    assert_eq!(since(&*store, now_ms).await, now_ms - 10_000);
}

/// The machine's own uptime reveals how long ago the former run was, whatever the other clock was set to.
pub(super) async fn a_restart_within_the_machines_run_moves_nothing(store: Shared) {
    let now = |steady_ms: i64, up_ms: i64| Now { steady_ms, boot: Some(Boot { id: "b1".into(), up_ms }) };
    store
        .enqueue(NewPurge { since_ms: START - 5_000, ..purge("old", vec![job("varnish", 1)]) })
        .await
        .unwrap();
    let sends = claim(&*store, "varnish", START).await;
    settle_all(&*store, &sends, SendOutcome::Done).await;
    retrying(&*store).await;
    store.probe(now(START + 10_000, 500_000)).await.unwrap();
    for set_by in [-HOUR, 1_000 * HOUR, 0] {
        // Two seconds have passed by the machine's uptime. The delivery tasks may take over a second time.
        let then_ms = START + 12_000 + set_by;
        for _ in 0..2 {
            store.take_over(now(then_ms, 502_000), then_ms + FURTHEST).await.unwrap();
        }
        assert_eq!(next_due(&*store, "fastly").await, Some(then_ms + 18_000), "{set_by}");
        assert_eq!(status(&*store, "fastly").await.oldest_due_ms, Some(then_ms - 12_000));
        let since: Vec<_> =
            store.recent(9).await.unwrap().iter().map(|purge| purge.since_ms - then_ms).collect();
        assert_eq!(since, [-12_000, -17_000], "newest first");
        // The clock is set back for the next round.
        store.take_over(now(START + 10_000, 500_000), i64::MAX).await.unwrap();
    }
}

/// A purge that has ended counts as accepted now if the time since is unknown: an origin that is a cache may
/// have older copies.
pub(super) async fn what_ended_in_another_run_of_the_machine_counts_as_new(store: Shared) {
    let now = |id: &str, up_ms| Now { steady_ms: START + HOUR, boot: Some(Boot { id: id.into(), up_ms }) };
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    settle_all(&*store, &sends, SendOutcome::Done).await;
    store.probe(Now { steady_ms: START, ..now("b1", 9) }).await.unwrap();
    store.take_over(now("b2", 5), i64::MAX).await.unwrap();
    assert_eq!(store.recent(9).await.unwrap()[0].since_ms, START + HOUR);
}

pub(super) async fn copies_without_tags_live_as_long_whatever_the_clock_says(store: Shared) {
    let site = || "www".to_owned();
    let copies =
        UntaggedCopies { site: site(), cdn_type: CdnType::Fastly, until_ms: START + HOUR, longest_ms: 9 };
    store.note_untagged(vec![copies]).await.unwrap();
    store.probe(START.into()).await.unwrap();
    for now_ms in [START + 3 * HOUR, START - HOUR, START] {
        store.take_over(now_ms.into(), i64::MAX).await.unwrap();
        assert_eq!(store.untagged().await.unwrap()[0].until_ms, now_ms + HOUR);
    }
}

pub(super) async fn nothing_is_due_later_than_any_wait(store: Shared) {
    // The former run had not probed yet.
    retrying(&*store).await;
    let now_ms = START - HOUR;
    store.take_over(now_ms.into(), now_ms + FURTHEST).await.unwrap();
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
    store.probe((START + 10_000).into()).await.unwrap();
    let now_ms = START - HOUR;
    store.take_over(now_ms.into(), now_ms + FURTHEST).await.unwrap();
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
        let jobs = store.unverified(after_ms).await.unwrap().into_iter();
        let of = |cdn: &str| {
            let of_cdn = jobs.clone().filter(|job| job.key == key(cdn));
            of_cdn.map(|job| (job.purge, job.since_ms)).collect::<Vec<_>>()
        };
        [of("fastly"), of("varnish")]
    };
    let expected = |ids: &[&str]| ids.iter().map(|id| (id.to_string(), START)).collect::<Vec<_>>();
    let all = expected(&["p4", "p3", "p2"]);
    assert_eq!(open(START).await, [all.clone(), all]);
    for (id, seen) in
        [("p2", Verification::Fresh), ("p3", Verification::Stale), ("p4", Verification::Unknown)]
    {
        store.verified(key("fastly"), id.into(), (seen, START), None).await.unwrap();
    }
    assert_eq!(open(START - 1).await, [expected(&["p3", "p1"]), expected(&["p4", "p3", "p2", "p1"])]);
}
