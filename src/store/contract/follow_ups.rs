//! Rules for follow-up purges, which are committed with their purge and due when responses in flight have
//! arrived.

use super::*;
use crate::store::{FollowUps, Verification, WAITING_MS};

/// A purge of three items at fastly and one at varnish, with follow-ups for these items.
fn purge_with(items: &[(usize, u32)]) -> NewPurge {
    let follow_ups = FollowUps { items: items.to_vec(), margin_ms: 500 };
    NewPurge { follow_ups, ..purge("p1", vec![job("fastly", 3), job("varnish", 1)]) }
}

pub(super) async fn a_follow_up_holds_up_its_job_until_it_is_sent(store: Shared) {
    store.enqueue(purge_with(&[(0, 1)])).await.unwrap();
    assert_eq!(status(&*store, "fastly").await.pending, 4);
    let first = claim(&*store, "fastly", START).await;
    assert_eq!(first.len(), 3);
    assert_eq!(settle_all(&*store, &first, SendOutcome::Done).await, []);
    settle_all(&*store, &claim(&*store, "varnish", START).await, SendOutcome::Done).await;

    let seen = view(&*store, "p1").await;
    assert_eq!((seen.state, seen.jobs[1].state), (State::Pending, State::Done));
    assert_eq!(seen.jobs[0].next_attempt_ms, None, "nobody knows");
    let waiting = status(&*store, "fastly").await;
    assert_eq!((waiting.pending, waiting.oldest_due_ms), (1, Some(WAITING_MS + 500)), "it is not late");
    assert_eq!(claim(&*store, "fastly", WAITING_MS - 1).await, []);

    assert_eq!(store.arrived("other".into(), START).await.unwrap(), 0);
    assert_eq!(store.arrived("p1".into(), START + 700).await.unwrap(), 1);
    assert_eq!(status(&*store, "fastly").await.oldest_due_ms, Some(START + 700));
    assert_eq!(view(&*store, "p1").await.jobs[0].next_attempt_ms, Some(START + 700));
    assert_eq!(claim(&*store, "fastly", START + 699).await, []);
    let again = claim(&*store, "fastly", START + 700).await;
    assert_eq!(
        (again.len(), again[0].reason, &again[0].item.value),
        (1, SendReason::FollowUp, &"tag-1".into())
    );
    assert_eq!(store.arrived("p1".into(), START).await.unwrap(), 0, "it is under way");
    assert_eq!(settle_all(&*store, &again, SendOutcome::Done).await.len(), 1);
    assert_eq!(view(&*store, "p1").await.state, State::Done);
    assert_eq!(status(&*store, "fastly").await.pending, 0);
}

pub(super) async fn a_follow_up_that_is_due_goes_along(store: Shared) {
    store.enqueue(purge_with(&[(0, 0), (0, 2), (1, 0)])).await.unwrap();
    assert_eq!(store.arrived("p1".into(), START).await.unwrap(), 3);
    // Each item takes room one time for both of its sends.
    let claimed = store.claim(call("fastly", START, LEASE, 3)).await.unwrap().sends;
    assert_eq!(claimed.len(), 5);
    assert_eq!(settle_all(&*store, &claimed, SendOutcome::Done).await.len(), 1);
}

pub(super) async fn a_follow_up_can_be_added_to_a_purge_that_is_done(store: Shared) {
    store.enqueue(purge_with(&[])).await.unwrap();
    settle_all(&*store, &claim(&*store, "fastly", START).await, SendOutcome::Done).await;
    settle_all(&*store, &claim(&*store, "varnish", START).await, SendOutcome::Done).await;
    assert_eq!(view(&*store, "p1").await.state, State::Done);
    let more = |items| FollowUps { items, margin_ms: 500 };
    assert_eq!(store.follow_up("other".into(), more(vec![(0, 0)])).await.unwrap(), 0);
    assert_eq!(store.follow_up("p1".into(), more(vec![(0, 0), (0, 2)])).await.unwrap(), 2);
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.state, seen.finished_ms), (State::Pending, None));
    assert_eq!((seen.jobs[0].waits, seen.jobs[1].state), (true, State::Done));
    let waiting = status(&*store, "fastly").await;
    assert_eq!((waiting.jobs, waiting.pending), (1, 2));

    assert_eq!(store.arrived("p1".into(), START + 700).await.unwrap(), 2);
    let again = claim(&*store, "fastly", START + 700).await;
    assert_eq!(settle_all(&*store, &again, SendOutcome::Done).await[0].purge_ended, Some(State::Done));
    // What a person has cancelled stays so.
    store.enqueue(NewPurge { id: "p2".into(), ..purge_with(&[]) }).await.unwrap();
    store.cancel("p2".into(), START).await.unwrap();
    assert_eq!(store.follow_up("p2".into(), more(vec![(0, 0)])).await.unwrap(), 0);
    assert_eq!(view(&*store, "p2").await.state, State::Cancelled);
}

pub(super) async fn a_follow_up_is_retried_and_repeated_like_its_purge(store: Shared) {
    let mut new = purge_with(&[(0, 0)]);
    new.jobs[0].repeat_after_ms = 50;
    store.enqueue(new).await.unwrap();
    settle_all(&*store, &claim(&*store, "fastly", START).await, SendOutcome::Done).await;
    settle_all(&*store, &claim(&*store, "fastly", START + 50).await, SendOutcome::Done).await;
    store.arrived("p1".into(), START).await.unwrap();
    let send = claim(&*store, "fastly", START).await;
    settle_all(&*store, &send, SendOutcome::RetryAt(START + 5)).await;
    let send = claim(&*store, "fastly", START + 5).await;
    assert_eq!((send.len(), send[0].reason), (1, SendReason::FollowUp));
    settle_all(&*store, &send, SendOutcome::Done).await;
    assert_eq!(view(&*store, "p1").await.jobs[0].state, State::Done);
    let repeat = claim(&*store, "fastly", START + 50).await;
    assert_eq!((repeat.len(), repeat[0].reason), (1, SendReason::Repeat));
}

pub(super) async fn a_refused_follow_up_is_widened_too(store: Shared) {
    store.enqueue(purge_with(&[(0, 0)])).await.unwrap();
    let refused = async |sends: &[ClaimedSend]| {
        let sends = sends.iter().map(|send| (send.id, send.attempt, SendOutcome::Widened)).collect();
        let item = Item { kind: ItemKind::Tag, value: "site".into(), hard: true };
        let widen = Some(Wider { item, why: "refused".into() });
        store
            .settle(Settlement { sends, widen, now_ms: START, at_ms: START, ..Settlement::default() })
            .await
            .unwrap();
    };
    let of_site = async || {
        let claimed = store.claim(Claim { site: true, ..call("fastly", START, LEASE, 9) }).await.unwrap();
        settle_all(&*store, &claimed.sends, SendOutcome::Done).await;
        claimed.sends.len()
    };
    refused(&claim(&*store, "fastly", START).await).await;
    assert_eq!(of_site().await, 1);
    store.arrived("p1".into(), START).await.unwrap();
    refused(&claim(&*store, "fastly", START).await).await;
    assert_eq!(view(&*store, "p1").await.jobs[0].state, State::Pending);
    assert_eq!(of_site().await, 1);
    assert_eq!(view(&*store, "p1").await.jobs[0].state, State::Done);
    assert_eq!(status(&*store, "fastly").await.pending, 0);
}

pub(super) async fn a_cancelled_purge_has_no_follow_up(store: Shared) {
    store.enqueue(purge_with(&[(0, 0), (1, 0)])).await.unwrap();
    settle_all(&*store, &claim(&*store, "fastly", START).await, SendOutcome::Done).await;
    assert_eq!(store.cancel("p1".into(), START).await.unwrap().len(), 2);
    assert_eq!(store.arrived("p1".into(), START).await.unwrap(), 0);
    assert_eq!((status(&*store, "fastly").await.pending, status(&*store, "varnish").await.pending), (0, 0));
}

pub(super) async fn the_latest_purges_are_told(store: Shared) {
    let ids = async |most| -> Vec<i64> {
        store.recent(most).await.unwrap().iter().map(|purge| purge.since_ms - START).collect()
    };
    assert_eq!(ids(9).await, [0; 0]);
    for n in 1..=3 {
        let new = purge(&format!("p{n}"), vec![job("fastly", 1)]);
        let request = PurgeRequest { paths: vec!["/a".into(), "/b".into()], ..Default::default() };
        store.enqueue(NewPurge { since_ms: START + n, request, ..new }).await.unwrap();
    }
    assert_eq!(ids(9).await, [3, 2, 1]);
    assert_eq!(ids(4).await, [3, 2, 1], "one more than have room");
    assert_eq!(ids(3).await, [3, 2]);
    assert_eq!(store.recent(0).await.unwrap()[0].request.paths, ["/a", "/b"]);
}

pub(super) async fn what_stays_stale_is_purged_again(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 2)])).await.unwrap();
    let look = async |seen, again_ms| {
        store.verified(key("fastly"), "p1".into(), (seen, START + 9), again_ms).await.unwrap();
        let job = view(&*store, "p1").await.jobs.remove(0);
        (job.state, job.verification, job.verified_ms)
    };
    // The job is not done yet, so there is nothing to verify.
    assert_eq!(look(Verification::Stale, Some(START)).await, (State::Pending, None, None));
    settle_all(&*store, &claim(&*store, "fastly", START).await, SendOutcome::Done).await;

    for _ in 0..2 {
        let stale = look(Verification::Stale, Some(START + 5)).await;
        assert_eq!(stale, (State::Done, Some(Verification::Stale), None));
    }
    assert_eq!(status(&*store, "fastly").await.pending, 0, "it holds up nothing");
    let again = claim(&*store, "fastly", START + 5).await;
    assert_eq!((again.len(), again[0].reason), (2, SendReason::Repeat));
    assert_eq!(settle_all(&*store, &again, SendOutcome::Done).await, []);

    let fresh = look(Verification::Fresh, None).await;
    assert_eq!(fresh, (State::Done, Some(Verification::Fresh), Some(START + 9)));
}
