//! Rules for widening, for works under way at the CDN, and for the buckets of accounts.

use super::*;

fn site(hard: bool) -> Wider {
    let item = Item { kind: ItemKind::Tag, value: "site".into(), hard };
    Wider { item, why: "too slow".into() }
}

async fn fallbacks(store: &dyn Store, id: &str) -> Vec<String> {
    view(store, id).await.jobs[0].fallback.clone()
}

async fn claim_site(store: &dyn Store, now_ms: i64) -> Claimed {
    store.claim(Claim { site: true, ..call("fastly", now_ms, now_ms + 9, 9) }).await.unwrap()
}

pub(super) async fn what_is_due_can_be_widened(store: Shared) {
    assert_eq!(store.widen(key("fastly"), site(true), START).await.unwrap(), 0);
    store.enqueue(purge("p1", vec![job("fastly", 3)])).await.unwrap();
    store.enqueue(purge("p2", vec![job("fastly", 2), job("varnish", 1)])).await.unwrap();
    store.enqueue(NewPurge { due_ms: START + 1, ..purge("p3", vec![job("fastly", 1)]) }).await.unwrap();
    assert_eq!(store.widen(key("fastly"), site(true), START).await.unwrap(), 2);
    assert_eq!(store.widen(key("fastly"), site(false), START).await.unwrap(), 0, "it waits already");
    for (id, expected) in [("p1", vec!["too slow"]), ("p2", vec!["too slow"]), ("p3", vec![])] {
        assert_eq!(fallbacks(&*store, id).await, expected, "{id}");
    }
    assert_eq!(status(&*store, "fastly").await.pending, 7);
    let claimed = claim_site(&*store, START).await;
    assert_eq!((claimed.sends[0].item.clone(), claimed.absorbed), (site(true).item, 5));
    settle_all(&*store, &claimed.sends, SendOutcome::Done).await;
    let seen = view(&*store, "p1").await;
    assert_eq!((seen.state, seen.jobs[0].items), (State::Done, 3));
    assert_eq!(view(&*store, "p2").await.jobs[0].state, State::Done);
    assert_eq!(status(&*store, "fastly").await.pending, 1);
}

pub(super) async fn a_refused_item_is_widened_once_for_its_job(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 3)])).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    let settle = async |sends: &[ClaimedSend]| {
        let sends = sends.iter().map(|send| (send.id, send.attempt, SendOutcome::Widened)).collect();
        let settlement = Settlement {
            sends,
            widen: Some(site(true)),
            now_ms: START,
            at_ms: START,
            ..Settlement::default()
        };
        store.settle(settlement).await.unwrap()
    };
    let settled = settle(&sends[..2]).await;
    assert_eq!((settled.widened, settled.ended), (1, vec![]));
    assert_eq!(settle(&sends[2..]).await.widened, 0);
    assert_eq!(status(&*store, "fastly").await.pending, 1);
    assert_eq!(fallbacks(&*store, "p1").await, ["too slow"]);
    let claimed = claim_site(&*store, START).await;
    settle_all(&*store, &claimed.sends, SendOutcome::Failed).await;
    assert_eq!((status(&*store, "fastly").await.failed, view(&*store, "p1").await.state), (1, State::Failed));
    // A retry is a retry of the failed items.
    store.retry("p1".into(), START).await.unwrap();
    let claimed = claim_site(&*store, START).await;
    assert_eq!(claimed.sends.len(), 1);
    settle_all(&*store, &claimed.sends, SendOutcome::Done).await;
    assert_eq!((status(&*store, "fastly").await.pending, view(&*store, "p1").await.state), (0, State::Done));
}

/// A URL in place of a refused item is an item like any other: it absorbs nothing, and each refused item gets
/// its own.
pub(super) async fn a_refused_item_can_be_widened_to_less_than_the_site(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 3)])).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    let settle = async |send: &ClaimedSend, value: &str| {
        let item = Item { kind: ItemKind::Url, value: value.into(), hard: true };
        let sends = vec![(send.id, send.attempt, SendOutcome::Widened)];
        let widen = Some(Wider { item, why: format!("refused: {value}") });
        store
            .settle(Settlement { sends, widen, now_ms: START, at_ms: START, ..Settlement::default() })
            .await
            .unwrap()
            .widened
    };
    assert_eq!(settle(&sends[0], "/a*").await, 1);
    assert_eq!(settle(&sends[1], "/b*").await, 1);
    assert_eq!(settle(&sends[2], "/a*").await, 0, "the job has it");
    assert_eq!(fallbacks(&*store, "p1").await, ["refused: /a*", "refused: /b*"]);
    assert_eq!(claim_site(&*store, START).await.sends, []);
    let claimed = claim(&*store, "fastly", START).await;
    let values: Vec<_> = claimed.iter().map(|send| (send.lane, send.item.value.as_str())).collect();
    assert_eq!(values, [(Lane::Small, "/a*"), (Lane::Small, "/b*")]);
    settle_all(&*store, &claimed, SendOutcome::Done).await;
    assert_eq!((status(&*store, "fastly").await.pending, view(&*store, "p1").await.state), (0, State::Done));
}

pub(super) async fn a_repeat_that_is_refused_widens_nothing(store: Shared) {
    let mut repeated = job("fastly", 1);
    repeated.repeat_after_ms = 1;
    store.enqueue(purge("p1", vec![repeated])).await.unwrap();
    settle_all(&*store, &claim(&*store, "fastly", START).await, SendOutcome::Done).await;
    let repeats = claim(&*store, "fastly", START + 1).await;
    let sends = repeats.iter().map(|send| (send.id, send.attempt, SendOutcome::Widened)).collect();
    let settlement =
        Settlement { sends, widen: Some(site(true)), now_ms: START, at_ms: START, ..Settlement::default() };
    assert_eq!(store.settle(settlement).await.unwrap(), Settled::default());
    assert_eq!(view(&*store, "p1").await.state, State::Done);
    assert_eq!(status(&*store, "fastly").await.pending, 0);
}

/// Settles all sends as accepted, with a work of this name.
async fn accept(store: &dyn Store, sends: &[ClaimedSend], name: &str) -> i64 {
    let sends: Vec<_> = sends.iter().map(|send| (send.id, send.attempt, SendOutcome::Done)).collect();
    let work = NewWork { name: name.into(), items: sends.len() as u64, wildcards: 1 };
    let settlement =
        Settlement { sends, work: Some(work), now_ms: START, at_ms: START, ..Settlement::default() };
    store.settle(settlement).await.unwrap().work.unwrap()
}

async fn completed(store: &dyn Store, id: &str) -> Option<i64> {
    view(store, id).await.jobs[0].completed_ms
}

pub(super) async fn a_job_is_complete_when_all_its_work_is(store: Shared) {
    store.enqueue(purge("p1", vec![job("fastly", 3)])).await.unwrap();
    store.enqueue(purge("p2", vec![job("fastly", 4)])).await.unwrap();
    let sends = claim(&*store, "fastly", START).await;
    let first = accept(&*store, &sends[..5], "I1").await;
    let second = accept(&*store, &sends[5..], "I2").await;
    assert_eq!(view(&*store, "p2").await.jobs[0].accepted_ms, Some(START));
    let works = store.works(key("fastly")).await.unwrap();
    let expected = |id, name: &str, items| Work {
        id,
        since_ms: START,
        what: NewWork { name: name.into(), items, wildcards: 1 },
    };
    assert_eq!(works, [expected(first, "I1", 5), expected(second, "I2", 2)]);

    store.complete(first, Some(START + 5)).await.unwrap();
    assert_eq!((completed(&*store, "p1").await, completed(&*store, "p2").await), (Some(START + 5), None));
    store.complete(first, Some(START + 9)).await.unwrap();
    store.complete(second, Some(START + 7)).await.unwrap();
    assert_eq!(
        (completed(&*store, "p1").await, completed(&*store, "p2").await),
        (Some(START + 5), Some(START + 7))
    );
    assert_eq!(store.works(key("fastly")).await.unwrap(), []);
}

pub(super) async fn work_of_which_nobody_hears_completes_nothing(store: Shared) {
    let mut repeated = job("fastly", 1);
    repeated.repeat_after_ms = 1;
    store.enqueue(purge("p1", vec![repeated])).await.unwrap();
    let work = accept(&*store, &claim(&*store, "fastly", START).await, "I1").await;
    store.complete(work, None).await.unwrap();
    assert_eq!(completed(&*store, "p1").await, None);
    // A repeat is a work, but the job does not wait for it.
    let work = accept(&*store, &claim(&*store, "fastly", START + 1).await, "I2").await;
    store.complete(work, Some(START + 9)).await.unwrap();
    assert_eq!(completed(&*store, "p1").await, None);
}

pub(super) async fn buckets_only_get_emptier(store: Shared) {
    let rate = |name: &str, full_us| SavedRate { account: "main".into(), name: name.into(), full_us };
    let now_us = START * 1_000;
    store.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    let rates = vec![rate("calls", now_us + 5), rate("tags", now_us)];
    let sends = store.claim(Claim { rates, ..call("fastly", START, LEASE, 1) }).await.unwrap().sends;
    let sends = sends.iter().map(|send| (send.id, send.attempt, SendOutcome::Done)).collect();
    let rates = vec![rate("calls", now_us + 3), rate("tags", now_us + 7)];
    store
        .settle(Settlement { sends, rates, now_ms: START, at_ms: START, ..Settlement::default() })
        .await
        .unwrap();
    let saved = store.take_over(START.into(), i64::MAX).await.unwrap().rates;
    assert_eq!(saved, [rate("calls", now_us + 5), rate("tags", now_us + 7)]);
}
