//! Changes of the machine's clock neither delay nor hurry anything that waits.

use super::*;
use std::sync::atomic::Ordering;

const HOUR: i64 = 3_600_000;

#[tokio::test(start_paused = true)]
async fn setting_the_clock_moves_nothing() {
    for ahead_ms in [-HOUR, HOUR, -1_000 * HOUR, 1_000 * HOUR] {
        let shim = Shim::new(failing_first(4));
        let engine = shim.start();
        shim.until_healthy(true).await;
        shim.accept("p1", &["a"]).await;
        engine.wake("www");
        until(async || shim.cdn.received().len() == 2).await;
        shim.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        let set_at = shim.cdn.elapsed_ms();
        shim.until_state("p1", State::Done).await;
        // Three more attempts follow, with delays of at most 2, 4 and 8 s.
        assert!(shim.cdn.elapsed_ms() - set_at < 16_000, "{ahead_ms}: {:?}", shim.cdn.received());
        assert!(shim.is_healthy());
        // Users see the machine's time.
        let purge = shim.purge("p1").await;
        let finished_ms = purge.finished_ms.unwrap() - ahead_ms;
        assert!((START..shim.now_ms() + 1).contains(&finished_ms), "{finished_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_with_a_clock_that_is_set_back_goes_on_sending() {
    // A previous run left this purge while its clock was an hour ahead.
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    shim.accept_at("p1", &["a"], START + HOUR).await;
    let engine = shim.start();
    // The time for which the job has waited is unknown.
    let why = "it is not known for how long the oldest job waits, since the clock was set back";
    until(async || engine.status("www")[0].reasons == [why]).await;
    assert!(!shim.is_healthy());
    shim.until_state("p1", State::Done).await;
    assert!(shim.cdn.received()[0].at_ms <= 61_000, "{:?}", shim.cdn.received());
    shim.until_healthy(true).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_somebody_else_ends_health_at_once() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    let (engine, store) = shim.start_watched();
    shim.until_healthy(true).await;
    shim.store.refuse_writes(true).await;
    // The admin API makes such a call, with nothing in between.
    assert!(store.acknowledge("p1".into()).await.is_err());
    assert!(!shim.is_healthy());
    assert!(engine.status("www")[0].reasons[0].starts_with("the store fails: "));
    shim.store.refuse_writes(false).await;
    store.acknowledge("p1".into()).await.unwrap();
    assert!(shim.is_healthy());
}

/// A purge accepted before the take-over would be treated as left by the previous run, and its follow-ups would
/// wait for nothing.
#[tokio::test(start_paused = true)]
async fn a_former_run_is_taken_over_before_more_is_accepted() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    shim.store.refuse_writes(true).await;
    let engine = shim.start();
    let taken_over = engine.taken_over();
    tokio::pin!(taken_over);
    assert!(tokio::time::timeout(Duration::from_secs(300), &mut taken_over).await.is_err());
    shim.store.refuse_writes(false).await;
    taken_over.await;
}
