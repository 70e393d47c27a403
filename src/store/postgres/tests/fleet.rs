//! Tests of members that wait for each other.

use super::server::execute;
use super::*;
use crate::purge::State;

/// Returns two members of a fleet.
async fn two() -> (PostgresStore, PostgresStore, tokio_postgres::Config) {
    let database = database();
    let (a, b) = (member(&database, "a"), member(&database, "b"));
    a.join().await.unwrap();
    b.join().await.unwrap();
    (a, b, database)
}

async fn claim(store: &PostgresStore, now_ms: i64) -> Vec<crate::store::ClaimedSend> {
    store.claim(call("fastly", now_ms, now_ms + 120_000, 9)).await.unwrap().sends
}

async fn state(store: &PostgresStore) -> (State, bool) {
    let purge = store.get("p1".into()).await.unwrap().unwrap();
    (purge.state, purge.jobs[0].waits)
}

#[tokio::test]
async fn a_purge_that_all_apply_at_once_is_sent_once() {
    let (a, b, _) = two().await;
    a.enqueue(purge("p1", vec![job("fastly", 2)])).await.unwrap();
    assert_eq!(claim(&a, START).await, [], "it waits a moment for the other member");
    let entries = b.entries(0).await.unwrap();
    assert_eq!((entries.len(), entries[0].n, entries[0].is_own), (1, 1, false));
    assert_eq!((&*entries[0].id, &*entries[0].site, entries[0].jobs.len()), ("p1", "www", 1));
    assert_eq!(entries[0].jobs[0], job("fastly", 2));
    assert!(a.entries(0).await.unwrap()[0].is_own);

    b.has_applied("p1".into(), FollowUps::default()).await.unwrap();
    let sends = claim(&b, START).await;
    assert_eq!(sends.len(), 2);
    assert_eq!(settle_all(&b, &sends, SendOutcome::Done).await.len(), 1);
    assert_eq!(state(&a).await, (State::Done, false));
    assert_eq!(b.renew(1).await.unwrap().unwrap().n, 1);
}

#[tokio::test]
async fn what_left_before_a_member_applied_it_is_sent_once_more() {
    let (a, b, _) = two().await;
    a.enqueue(purge("p1", vec![job("fastly", 2)])).await.unwrap();
    let sends = claim(&a, START + 100).await;
    assert_eq!(settle_all(&a, &sends, SendOutcome::Done).await, [], "it is not done");
    assert_eq!(state(&a).await, (State::Pending, true));
    assert_eq!(a.status().await.unwrap()[0].oldest_due_ms, Some(WAITING_MS), "and not late");

    // One of the items is on its way from the other member.
    let found = FollowUps { items: vec![(0, 1)], margin_ms: 500 };
    b.has_applied("p1".into(), found.clone()).await.unwrap();
    b.has_applied("p1".into(), found).await.unwrap();
    let sends = claim(&a, START + 200).await;
    let items: Vec<_> = sends.iter().map(|send| send.item.value.as_str()).collect();
    assert_eq!(items, ["tag-0"]);
    assert_eq!(settle_all(&a, &sends, SendOutcome::Done).await, []);
    assert_eq!(b.arrived("p1".into(), START + 300).await.unwrap(), 1);
    let sends = claim(&a, START + 300).await;
    assert_eq!(settle_all(&a, &sends, SendOutcome::Done).await.len(), 1);
    assert_eq!(state(&b).await, (State::Done, false));
    assert_eq!(a.status().await.unwrap()[0].pending, 0);
}

#[tokio::test]
async fn what_waits_for_another_attempt_is_not_sent_twice() {
    let (a, b, _) = two().await;
    a.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    let sends = claim(&a, START + 100).await;
    settle_all(&a, &sends, SendOutcome::RetryAt(START + 500)).await;
    b.has_applied("p1".into(), FollowUps::default()).await.unwrap();
    let sends = claim(&a, START + 500).await;
    assert_eq!(sends.len(), 1);
    assert_eq!(settle_all(&a, &sends, SendOutcome::Done).await.len(), 1);
}

#[tokio::test]
async fn a_call_that_is_under_way_while_a_member_applies_is_made_again() {
    let (a, b, _) = two().await;
    a.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    let sends = claim(&a, START + 100).await;
    b.has_applied("p1".into(), FollowUps::default()).await.unwrap();
    assert_eq!(settle_all(&a, &sends, SendOutcome::Done).await, []);
    let again = claim(&a, START + 100).await;
    assert_eq!(settle_all(&a, &again, SendOutcome::Done).await.len(), 1);
}

#[tokio::test]
async fn a_member_that_is_gone_holds_up_nothing_for_long() {
    let (a, b, database) = two().await;
    a.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    let sends = claim(&a, START + 100).await;
    settle_all(&a, &sends, SendOutcome::Done).await;
    assert_eq!(a.remove_gone().await.unwrap(), [""; 0]);
    execute(
        &database,
        "UPDATE members SET lease_until = clock_timestamp() - interval '1 hour' WHERE instance = 'b'",
    );
    let mut store = a;
    // The test's server has just been started.
    store.membership.lease = Duration::ZERO;
    assert_eq!(store.remove_gone().await.unwrap(), ["b"]);
    assert_eq!(b.renew(0).await.unwrap(), None, "it learns that it takes part no more");
    let again = claim(&store, i64::MAX / 2).await;
    assert_eq!(settle_all(&store, &again, SendOutcome::Done).await.len(), 1);
    assert_eq!(store.members().await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_joins_after_a_purge_is_not_awaited() {
    let database = database();
    let (a, b) = (member(&database, "a"), member(&database, "b"));
    assert_eq!(a.join().await.unwrap().n, 0);
    a.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    assert_eq!(b.join().await.unwrap().n, 1);
    let sends = claim(&a, START).await;
    assert_eq!(settle_all(&a, &sends, SendOutcome::Done).await.len(), 1);
}

#[tokio::test]
async fn who_leaves_is_not_awaited_but_what_it_sent_is() {
    let (a, b, _) = two().await;
    a.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    b.leave(START + 60_000).await.unwrap();
    let first = claim(&a, START).await;
    assert_eq!(settle_all(&a, &first, SendOutcome::Done).await, []);
    let again = claim(&a, START + 60_000).await;
    assert_eq!(settle_all(&a, &again, SendOutcome::Done).await.len(), 1);
}

#[tokio::test]
async fn accounts_are_spread_and_have_one_owner() {
    let (a, b, _) = two().await;
    let accounts: Vec<String> = (0..5).map(|n| format!("account {n}")).collect();
    let of_a = a.own(accounts.clone()).await.unwrap();
    assert_eq!(of_a.len(), 3, "its share");
    let of_b = b.own(accounts.clone()).await.unwrap();
    assert_eq!(of_b.len(), 2);
    assert!(of_b.iter().all(|account| !of_a.contains(account)));
    assert_eq!(a.own(accounts.clone()).await.unwrap().len(), 3);
    a.leave(0).await.unwrap();
    assert_eq!(b.own(accounts).await.unwrap().len(), 5, "handed over at once");
}

#[tokio::test]
async fn a_purge_of_one_member_wakes_the_other() {
    let (a, b, _) = two().await;
    // The connection that listens wakes once itself.
    b.woken().await;
    a.enqueue(purge("p1", vec![job("fastly", 1)])).await.unwrap();
    b.woken().await;
    assert_eq!(b.entries(0).await.unwrap().len(), 1);
}
