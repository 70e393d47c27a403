mod clock;
mod completion;
mod harness;
mod health;
mod identity;
mod rates;
mod refusals;
mod reload;

use super::*;
use crate::config::Cdn;
use crate::purge::{PurgeRequest, testing};
use crate::rewrite::CdnType;
use crate::store::{PausedBy, Store};
use harness::{FakeCdn, OK, START, Shim, State, seconds, until};

fn key() -> CdnKey {
    CdnKey { site: "www".into(), cdn: "fastly".into() }
}

/// A CDN that replies 503 to the first calls, then 200.
fn failing_first(times: usize) -> FakeCdn {
    FakeCdn::new(move |cdn, _| if cdn.received().len() <= times { Some((503, None)) } else { OK })
}

#[tokio::test(start_paused = true)]
async fn an_accepted_purge_arrives() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    let engine = shim.start();
    shim.until_healthy(true).await;
    let mut changes = engine.changes();
    changes.mark_unchanged();
    shim.accept("p1", &["a", "b"]).await;
    engine.wake("www");
    changes.changed().await.unwrap();
    let purge = shim.purge("p1").await;
    assert_eq!(purge.state, State::Done);
    assert_eq!(shim.cdn.calls(), ["a b"]);
    let (attempt, items) = &purge.jobs[0].attempts[0];
    assert_eq!((attempt.outcome.as_str(), attempt.status, *items), ("done", Some(200), 2));
    assert_eq!((attempt.request_id.as_deref(), attempt.duration_ms), (Some("id"), 100));
    assert_eq!(attempt.message, "the CDN says 200");
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_together() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    for n in 0..50 {
        shim.accept(&format!("p{n:02}"), &["shared", &format!("tag-{n:02}")]).await;
    }
    let _engine = shim.start();
    shim.until_state("p49", State::Done).await;
    assert_eq!(shim.cdn.received().len(), 1);
    assert_eq!(shim.cdn.received()[0].items.len(), 51);
}

#[tokio::test(start_paused = true)]
async fn a_purge_is_not_sent_before_the_origin_settled() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    let engine = shim.start();
    shim.accept_at("p1", &["a"], START + 5_000).await;
    engine.wake("www");
    shim.until_state("p1", State::Done).await;
    assert_eq!(shim.cdn.received()[0].at_ms, 5_000);
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_tried_again() {
    let shim = Shim::new(failing_first(3));
    shim.accept("p1", &["a"]).await;
    let _engine = shim.start();
    shim.until_healthy(true).await;
    shim.until_state("p1", State::Retrying).await;
    // The purge is in progress and not late yet.
    assert!(shim.is_healthy());
    shim.until_state("p1", State::Done).await;
    assert_eq!(shim.outcomes("p1").await, ["later", "later", "later", "done"]);
    assert!(shim.is_healthy());
    // Every attempt repeats the same send, so the reference is the same.
    let received = shim.cdn.received();
    assert!(received.iter().all(|call| call.reference == received[0].reference));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_sent_again() {
    let shim = Shim::new(FakeCdn::new(|cdn, _| if cdn.received().len() == 1 { None } else { OK }));
    shim.accept("p1", &["a"]).await;
    let _engine = shim.start();
    shim.until_state("p1", State::Done).await;
    assert_eq!(shim.outcomes("p1").await, ["unreachable", "done"]);
    assert_eq!(shim.purge("p1").await.jobs[0].attempts[0].0.message, "no connection to the CDN");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_not_waited_for() {
    let mut cdn = FakeCdn::new(|_, _| OK);
    cdn.latency = Duration::from_secs(86_400);
    let shim = Shim::new(cdn);
    shim.accept("p1", &["a"]).await;
    let _engine = shim.start();
    // The test does not wait for `Retrying`: with the shortest backoff that state would end before the test could
    // see it.
    until(async || !shim.purge("p1").await.jobs[0].attempts.is_empty()).await;
    assert!((60_000..75_000).contains(&shim.cdn.elapsed_ms()));
    assert_eq!(shim.purge("p1").await.jobs[0].attempts[0].0.message, "no answer in time");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_the_cdn_allows_it() {
    let limited = |cdn: &FakeCdn, _: &_| if cdn.elapsed_ms() < 30_000 { Some((429, Some(30))) } else { OK };
    let shim = Shim::new(FakeCdn::new(limited));
    shim.accept("p1", &["a"]).await;
    let engine = shim.start();
    shim.until_state("p1", State::Retrying).await;
    // A new purge does not get through either, and is sent together with the old one.
    shim.accept("p2", &["b"]).await;
    engine.wake("www");
    shim.until_state("p2", State::Done).await;
    assert_eq!(shim.cdn.calls(), ["a", "b a"]);
    assert!(shim.cdn.received()[1].at_ms >= 30_100);
}

#[tokio::test(start_paused = true)]
async fn a_persons_pause_holds() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    shim.store.set_paused(key(), PausedBy::Person, Some("migration".into())).await.unwrap();
    shim.accept("p1", &["a"]).await;
    let engine = shim.start();
    seconds(3_600).await;
    assert_eq!(shim.cdn.calls(), [""; 0]);
    assert!(engine.status("www")[0].reasons.contains(&"paused: migration".into()));
    shim.store.set_paused(key(), PausedBy::Person, None).await.unwrap();
    engine.wake("www");
    shim.until_state("p1", State::Done).await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_what_was_under_way() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    shim.accept("p1", &["a"]).await;
    // The previous run claimed the send and was killed.
    shim.claim(START).await;
    let _engine = shim.start();
    shim.until_state("p1", State::Done).await;
    assert!(shim.cdn.elapsed_ms() < 1_000);
    assert_eq!(shim.cdn.calls(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_nobody_holds_any_more_ends() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    let _engine = shim.start();
    seconds(1).await;
    shim.accept("p1", &["a"]).await;
    // Another process claimed the send and vanished.
    shim.claim(shim.now_ms()).await;
    shim.until_state("p1", State::Done).await;
    assert!(shim.cdn.received()[0].at_ms >= 121_000);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_sent_later() {
    let mut site = testing::site(&[CdnType::Fastly]);
    site.cdns = vec![Arc::new(Cdn { repeat_after: Duration::from_secs(2), ..testing::cdn(CdnType::Fastly) })];
    let shim = Shim::with_site(FakeCdn::new(|_, _| OK), site);
    shim.accept("p1", &["a"]).await;
    let engine = shim.start();
    shim.until_state("p1", State::Done).await;
    assert_eq!(shim.cdn.received().len(), 1);
    until(async || shim.cdn.received().len() == 2).await;
    let received = shim.cdn.received();
    assert_eq!(received[1].at_ms - received[0].at_ms, 2_100);
    // CloudFront would ignore a repeat with the same reference.
    assert_ne!(received[0].reference, received[1].reference);
    seconds(3_600).await;
    assert_eq!(shim.cdn.calls(), ["a", "a"]);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_node_must_have_it() {
    let mut cdn = FakeCdn::new(|cdn, call| match call.node {
        1 if cdn.elapsed_ms() < 20_000 => None,
        _ => OK,
    });
    cdn.nodes = 3;
    let shim = Shim::new(cdn);
    shim.accept("p1", &["a"]).await;
    let _engine = shim.start();
    shim.until_state("p1", State::Retrying).await;
    let attempt = shim.purge("p1").await.jobs[0].attempts[0].0.clone();
    assert_eq!(
        (attempt.outcome.as_str(), attempt.message.as_str()),
        ("unreachable", "request 2 of 3: no connection to the CDN")
    );
    // The other nodes have the purge already.
    let nodes: Vec<_> = shim.cdn.received().iter().map(|call| call.node).collect();
    assert_eq!(nodes, [0, 1, 2]);
    shim.until_state("p1", State::Done).await;
    assert!(shim.cdn.elapsed_ms() >= 20_000);
}

#[tokio::test(start_paused = true)]
async fn a_small_purge_does_not_wait_for_a_bulk_one() {
    let mut cdn = FakeCdn::new(|_, _| OK);
    cdn.latency = Duration::from_secs(1);
    let shim = Shim::new(cdn);
    let tags: Vec<_> = (0..10_000).map(|n| format!("tag-{n}")).collect();
    shim.accept("bulk", &tags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let engine = shim.start();
    shim.until_state("bulk", State::Sending).await;
    shim.accept("small", &["urgent"]).await;
    engine.wake("www");
    let accepted_ms = shim.cdn.elapsed_ms();
    shim.until_state("small", State::Done).await;
    assert!(shim.cdn.elapsed_ms() - accepted_ms <= 2_100);
    assert_ne!(shim.purge("bulk").await.state, State::Done);
    shim.until_state("bulk", State::Done).await;
    // All calls are full, and each tag is sent one time.
    assert_eq!(shim.cdn.received().len(), 10_001_usize.div_ceil(256));
    let carried: usize = shim.cdn.received().iter().map(|call| call.items.len()).sum();
    assert_eq!(carried, 10_001);
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_what_is_under_way_and_begins_nothing() {
    let mut cdn = FakeCdn::new(|_, _| OK);
    cdn.latency = Duration::from_secs(10);
    let shim = Shim::new(cdn);
    let tags: Vec<_> = (0..5_000).map(|n| format!("tag-{n}")).collect();
    let engine = shim.start();
    shim.until_healthy(true).await;
    shim.accept("p1", &tags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    engine.wake("www");
    until(async || shim.cdn.received().len() == 4).await;
    engine.stop().await;
    assert_eq!(shim.cdn.received().len(), 4);
    assert!(!shim.is_healthy());
    // Calls that were sent are settled, and no lease is left.
    assert_eq!(shim.store.status().await.unwrap()[0].pending, 5_000 - 4 * 256);
    assert_eq!(shim.store.take_over(0.into(), i64::MAX).await.unwrap().leases, 0);

    let _engine = shim.start();
    shim.until_state("p1", State::Done).await;
    let carried: usize = shim.cdn.received().iter().map(|call| call.items.len()).sum();
    assert_eq!(carried, 5_000);
}

#[tokio::test(start_paused = true)]
async fn a_purge_is_given_up_when_no_copy_can_be_left() {
    let shim = Shim::new(FakeCdn::new(|_, _| Some((503, None))));
    let day = 24 * 60 * 60 * 1_000;
    shim.accept_at("old", &["a"], START - 30 * day - 1).await;
    shim.accept_at("young", &["b"], START - 30 * day + 60_000).await;
    let _engine = shim.start();
    shim.until_state("old", State::Failed).await;
    assert_ne!(shim.purge("young").await.state, State::Failed);
    shim.until_state("young", State::Failed).await;
    assert!(shim.cdn.elapsed_ms() > 60_000);
}

#[tokio::test(start_paused = true)]
async fn an_answer_survives_a_store_that_fails_for_a_while() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    let engine = shim.start();
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    until(async || shim.cdn.received().len() == 1).await;
    shim.store.refuse_writes(true).await;
    seconds(20).await;
    assert_eq!(shim.purge("p1").await.state, State::Sending);
    shim.store.refuse_writes(false).await;
    shim.until_state("p1", State::Done).await;
    assert_eq!(shim.cdn.calls(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn old_purges_go() {
    let mut shim = Shim::new(FakeCdn::new(|_, _| OK));
    shim.config.store.retention = Duration::from_secs(7_200);
    shim.accept("p1", &["a"]).await;
    let _engine = shim.start();
    seconds(7_100).await;
    assert_eq!(shim.purge("p1").await.state, State::Done);
    // The sweep follows after the retention has passed.
    seconds(3_800).await;
    assert_eq!(shim.store.get("p1".into()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_person_need_not_wait_for_the_next_try() {
    let shim = Shim::new(FakeCdn::new(
        |cdn, _| if cdn.received().len() == 1 { Some((503, Some(3_000))) } else { OK },
    ));
    let engine = shim.start();
    shim.until_healthy(true).await;
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    shim.until_state("p1", State::Retrying).await;
    assert_eq!(shim.store.hurry(key(), shim.now_ms()).await.unwrap(), 1);
    let asked_ms = shim.cdn.elapsed_ms();
    engine.hurry("www", "fastly");
    shim.until_state("p1", State::Done).await;
    assert!(shim.cdn.elapsed_ms() - asked_ms < 2_000);
}
