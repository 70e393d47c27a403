//! Rules for a person's decisions about a purge.

use super::*;

const LATER: i64 = START + 1_000;

async fn cancel(store: &dyn Store, id: &str) -> Vec<(String, State, Option<State>)> {
    let ended = store.cancel(id.into(), LATER).await.unwrap();
    ended.into_iter().map(|job| (job.key.cdn, job.state, job.purge_ended)).collect()
}

/// Returns the numbers of jobs under way, pending items and failures.
async fn counts(store: &dyn Store, cdn: &str) -> (u64, u64, u64) {
    let status = status(store, cdn).await;
    (status.jobs, status.pending, status.failed)
}

pub(super) async fn a_retry_makes_failed_items_due_again(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 3), job("varnish", 1)])).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    settle_all(&*store, &sends[..1], SendOutcome::Done).await;
    settle_all(&*store, &sends[1..], SendOutcome::Failed).await;
    assert_eq!(counts(&*store, "fastly").await, (0, 0, 1));

    assert_eq!(store.retry("other".into(), LATER).await.unwrap(), 0);
    assert_eq!(store.retry("p1".into(), LATER).await.unwrap(), 1);
    assert_eq!(store.retry("p1".into(), LATER).await.unwrap(), 0);
    assert_eq!(counts(&*store, "fastly").await, (1, 2, 0));
    assert_eq!(status(&*store, "fastly").await.oldest_due_ms, Some(LATER), "it is not late from the start");
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.state, seen.jobs[0].state), (State::Retrying, State::Retrying));
    assert!(!seen.jobs[0].unacknowledged);

    assert_eq!(claim(&*store, "fastly", LATER - 1).await, []);
    let again = claim(&*store, "fastly", LATER).await;
    assert_eq!(again.iter().map(|send| &*send.item.value).collect::<Vec<_>>(), ["tag-1", "tag-2"]);
    settle_all(&*store, &again[..1], SendOutcome::Done).await;
    settle_all(&*store, &again[1..], SendOutcome::Failed).await;
    assert_eq!(counts(&*store, "fastly").await, (0, 0, 1), "what fails again is loud again");

    // An acknowledged failure can be retried, too, and a purge that had ended is under way again.
    settle_all(&*store, &claim(&*store, "varnish", START).await, SendOutcome::Done).await;
    assert_eq!(view(&*store, "p1").await.state, State::Failed);
    store.acknowledge("p1".into()).await.unwrap();
    assert_eq!(store.retry("p1".into(), LATER).await.unwrap(), 1);
    assert_eq!(view(&*store, "p1").await.finished_ms, None);
    settle_all(&*store, &claim(&*store, "fastly", LATER).await, SendOutcome::Done).await;
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.state, seen.finished_ms), (State::Done, Some(START)));
    assert_eq!(seen.jobs[0].accepted_ms, Some(START));
}

pub(super) async fn a_cancelled_purge_is_not_sent(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 3), job("varnish", 1)])).await.unwrap();
    store.enqueue(purge("p2", vec![job("fastly", 1)])).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    let sends: Vec<_> = sends.iter().filter(|send| send.job == sends[0].job).cloned().collect();
    settle_all(&*store, &sends[..1], SendOutcome::Done).await;
    settle_all(&*store, &sends[1..], SendOutcome::RetryAt(LATER)).await;

    let cancelled = [
        ("fastly".to_owned(), State::Cancelled, None),
        ("varnish".to_owned(), State::Cancelled, Some(State::Cancelled)),
    ];
    assert_eq!(cancel(&*store, "other").await, []);
    assert_eq!(cancel(&*store, "p1").await, cancelled);
    assert_eq!(cancel(&*store, "p1").await, []);
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.state, seen.finished_ms), (State::Cancelled, Some(LATER)));
    assert!(seen.jobs.iter().all(|job| job.state == State::Cancelled && job.next_attempt_ms.is_none()));
    assert_eq!(counts(&*store, "fastly").await, (1, 1, 0), "that of p2");
    assert_eq!(counts(&*store, "varnish").await, (0, 0, 0));
    assert_eq!(claim(&*store, "varnish", LATER).await, []);
    assert_eq!(store.retry("p1".into(), LATER).await.unwrap(), 0);
}

pub(super) async fn what_is_being_sent_when_it_is_cancelled_changes_nothing(store: Shared) {
    for (index, outcome) in
        [SendOutcome::Done, SendOutcome::Failed, SendOutcome::RetryAt(LATER), SendOutcome::Together(1)]
            .into_iter()
            .enumerate()
    {
        let id = format!("p{index}");
        store.enqueue(purge(&id, vec![job("fastly", 2)])).await.unwrap();
        let sends = claim(&*store, "fastly", START).await;
        assert_eq!(cancel(&*store, &id).await.len(), 1);
        assert_eq!(settle_all(&*store, &sends, outcome).await, []);
        assert_eq!(view(&*store, &id).await.state, State::Cancelled, "{outcome:?}");
        assert_eq!(counts(&*store, "fastly").await, (0, 0, 0), "{outcome:?}");
        assert_eq!(claim(&*store, "fastly", START + DAY).await, [], "{outcome:?}");
    }
}

pub(super) async fn only_what_is_under_way_is_cancelled(store: Shared) {
    let mut repeated = job("fastly", 1);
    repeated.repeat_after_ms = 2_000;
    store.enqueue(purge("p1", vec![repeated, job("varnish", 1)])).await.unwrap();
    settle_all(&*store, &claim(&*store, "fastly", START).await, SendOutcome::Done).await;

    let expected = [("varnish".to_owned(), State::Cancelled, Some(State::Cancelled))];
    assert_eq!(cancel(&*store, "p1").await, expected);
    let seen = view(&*store, "p1").await;
    let states: Vec<_> = seen.jobs.iter().map(|job| job.state).collect();
    assert_eq!((seen.state, states), (State::Cancelled, vec![State::Done, State::Cancelled]));
    assert_eq!(claim(&*store, "fastly", START + DAY).await.len(), 1, "what was accepted keeps its repeat");

    store.enqueue(purge("p2", vec![job("fastly", 1), job("varnish", 1)])).await.unwrap();
    settle_all(&*store, &claim(&*store, "fastly", START).await, SendOutcome::Failed).await;
    assert_eq!(cancel(&*store, "p2").await[0].2, Some(State::Failed), "a failure stays one");
    assert_eq!(counts(&*store, "fastly").await, (0, 0, 1));
}

pub(super) async fn what_waits_for_another_try_can_be_hurried(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 3)])).await.unwrap();
    store.enqueue(NewPurge { due_ms: LATER + 9, ..purge("p2", vec![job("fastly", 1)]) }).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    settle_all(&*store, &sends[..2], SendOutcome::RetryAt(START + DAY)).await;
    assert_eq!(store.hurry(key("varnish"), LATER).await.unwrap(), 0);
    assert_eq!(
        store.hurry(key("fastly"), LATER).await.unwrap(),
        2,
        "neither what is leased nor what was never tried"
    );
    assert_eq!(store.hurry(key("fastly"), LATER).await.unwrap(), 0);
    assert_eq!(claim(&*store, "fastly", LATER).await.len(), 2);
}
