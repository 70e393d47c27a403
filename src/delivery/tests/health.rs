//! When purges are considered to get through.

use super::harness::{FakeCdn, OK, Shim, State, seconds, until};
use super::*;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn bad_credentials_pause_and_lose_nothing() {
    let is_good = |cdn: &FakeCdn| cdn.elapsed_ms() >= 300_000;
    let guarded = move |cdn: &FakeCdn| if is_good(cdn) { OK } else { Some((401, None)) };
    let cdn = FakeCdn::new(move |cdn, _| guarded(cdn)).with_check(guarded);
    let shim = Shim::new(cdn);
    shim.accept("p1", &["a"]).await;
    let engine = shim.start();
    shim.until_state("p1", State::Paused).await;
    shim.accept("p2", &["b"]).await;
    engine.wake("www");
    seconds(200).await;
    assert_eq!(shim.cdn.calls(), ["a"]);
    assert!(!shim.is_healthy());
    let status = &engine.status("www")[0];
    assert_eq!((status.paused, status.pending), (true, 2));
    assert_eq!(
        status.reasons,
        [
            "the credentials could not be proved: the CDN says 401",
            "paused because the credentials were refused: the CDN says 401",
            "the oldest job waits for 200 s; max_purge_lag is 60 s"
        ]
    );
    // The shim notices within a minute that the credentials are valid again.
    shim.until_state("p2", State::Done).await;
    assert!((300_000..361_000).contains(&shim.cdn.elapsed_ms()));
    assert_eq!(shim.purge("p1").await.state, State::Done);
    assert_eq!(shim.outcomes("p1").await, ["bad-credentials", "done"]);
    shim.until_healthy(true).await;
}

#[tokio::test(start_paused = true)]
async fn credentials_that_only_purges_refuse_are_tried_rarely() {
    let shim = Shim::new(FakeCdn::new(|_, _| Some((401, None))));
    shim.accept("p1", &["a"]).await;
    let _engine = shim.start();
    seconds(3_600).await;
    // The delays grow to a maximum of one minute, and average half of that. A storm would be thousands of calls.
    let calls = shim.cdn.received().len();
    assert!((30..400).contains(&calls), "{calls}");
    assert!(!shim.is_healthy());
}

#[tokio::test(start_paused = true)]
async fn health_begins_with_a_check() {
    let cdn = FakeCdn::new(|_, _| OK)
        .with_check(|cdn| if cdn.checks.lock().unwrap().len() <= 3 { None } else { OK });
    let shim = Shim::new(cdn);
    shim.view.cell("www", "fastly").set(true);
    let engine = shim.start();
    assert!(!shim.is_healthy());
    assert_eq!(
        engine.status("www")[0].reasons,
        ["the credentials are not checked yet", "the queue is not read yet"]
    );
    seconds(0).await;
    until(async || !shim.cdn.checks.lock().unwrap().is_empty()).await;
    until(async || {
        engine.status("www")[0].reasons == ["the credentials could not be proved: no connection to the CDN"]
    })
    .await;
    shim.until_healthy(true).await;
    // Three failures wait at most 1, 2 and 4 s.
    assert!(shim.cdn.elapsed_ms() < 8_000);
    let checks = shim.cdn.checks.lock().unwrap().len();
    seconds(3_600).await;
    assert_eq!(shim.cdn.checks.lock().unwrap().len(), checks + 5);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_cannot_tell_leaves_it_to_the_first_purge() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK).with_check(|_| Some((404, None))));
    let engine = shim.start();
    seconds(5).await;
    assert_eq!(
        engine.status("www")[0].reasons,
        ["the credentials are not proved before the first purge: the CDN says 404"]
    );
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    shim.until_healthy(true).await;
    seconds(3_600).await;
    assert!(shim.is_healthy());
}

#[tokio::test(start_paused = true)]
async fn a_success_without_proof_is_sent_again_and_nobody_relies_on_purges_meanwhile() {
    let is_back = |cdn: &FakeCdn| cdn.elapsed_ms() >= 10_000;
    let shim = Shim::new(FakeCdn::new(move |cdn, _| if is_back(cdn) { OK } else { Some((299, None)) }));
    let engine = shim.start();
    shim.until_healthy(true).await;
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    // Health ends at once, not when the purge has waited for too long, and a successful check does not restore it.
    shim.until_healthy(false).await;
    assert!(shim.cdn.elapsed_ms() < 2_000);
    assert_eq!(engine.status("www")[0].reasons, ["a purge was not proved: the CDN says 299"]);
    assert_ne!(shim.purge("p1").await.state, State::Done);
    shim.until_state("p1", State::Done).await;
    assert!(is_back(&shim.cdn));
    let outcomes = shim.outcomes("p1").await;
    assert_eq!((outcomes.first(), outcomes.last()), (Some(&"unproven".to_owned()), Some(&"done".to_owned())));
    shim.until_healthy(true).await;
}

#[tokio::test(start_paused = true)]
async fn a_check_that_somebody_else_answers_is_bad() {
    let somebody = |cdn: &FakeCdn| if cdn.elapsed_ms() < 1_000 { OK } else { Some((299, None)) };
    let shim = Shim::new(FakeCdn::new(|_, _| OK).with_check(somebody));
    let engine = shim.start();
    shim.until_healthy(true).await;
    seconds(610).await;
    assert!(!shim.is_healthy());
    assert_eq!(engine.status("www")[0].reasons, ["the credentials could not be proved: the CDN says 299"]);
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_waits_too_long_is_unhealthy() {
    let shim = Shim::new(FakeCdn::new(|_, _| Some((429, Some(3_600)))));
    let engine = shim.start();
    shim.until_healthy(true).await;
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    seconds(70).await;
    let reasons = &engine.status("www")[0].reasons;
    assert!(reasons[0].starts_with("the oldest job waits for "), "{reasons:?}");
    assert!(reasons[0].ends_with("; the last call: the CDN says 429"), "{reasons:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_commit_is_unhealthy() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    let engine = shim.start();
    shim.until_healthy(true).await;
    shim.store.refuse_writes(true).await;
    shim.until_healthy(false).await;
    assert!(shim.cdn.elapsed_ms() <= 11_000);
    let reasons = &engine.status("www")[0].reasons;
    assert!(reasons[0].starts_with("the store fails: the store cannot accept a purge: "), "{reasons:?}");
    shim.store.refuse_writes(false).await;
    shim.until_healthy(true).await;
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    shim.until_state("p1", State::Done).await;
}

/// Counts the changes of health, sampled ten times a second.
async fn changes_within(shim: &Shim, seconds: u64) -> u32 {
    let (mut healthy, mut changes) = (shim.is_healthy(), 0);
    for _ in 0..seconds * 10 {
        sleep(Duration::from_millis(100)).await;
        changes += u32::from(shim.is_healthy() != healthy);
        healthy = shim.is_healthy();
    }
    changes
}

#[tokio::test(start_paused = true)]
async fn a_cdn_that_often_fails_does_not_make_it_flap() {
    let moody = |cdn: &FakeCdn, _: &harness::Received| match cdn.received().len() % 5 {
        0 => None,
        1 => Some((503, None)),
        2 => Some((429, Some(2))),
        _ => OK,
    };
    let shim = Shim::new(FakeCdn::new(moody));
    let engine = shim.start();
    shim.until_healthy(true).await;
    let mut changes = 0;
    for n in 0..60 {
        shim.accept(&format!("p{n}"), &[&format!("tag-{n}")]).await;
        engine.wake("www");
        changes += changes_within(&shim, 2).await;
    }
    assert_eq!(changes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cdn_that_is_down_is_found_out_once() {
    let shim = Shim::new(FakeCdn::new(
        |cdn, _| {
            if (10_000..300_000).contains(&cdn.elapsed_ms()) { None } else { OK }
        },
    ));
    let engine = shim.start();
    shim.until_healthy(true).await;
    let mut changes = changes_within(&shim, 10).await;
    for n in 0..200 {
        shim.accept(&format!("p{n}"), &[&format!("tag-{n}")]).await;
        engine.wake("www");
        changes += changes_within(&shim, 2).await;
    }
    // Health ends a minute after the first purge that did not get through, and then returns.
    assert_eq!((changes, shim.is_healthy()), (2, true));
}

#[tokio::test(start_paused = true)]
async fn a_lost_check_is_repeated_before_it_counts() {
    let lossy = |cdn: &FakeCdn| if cdn.checks.lock().unwrap().len() % 3 == 2 { None } else { OK };
    let shim = Shim::new(FakeCdn::new(|_, _| OK).with_check(lossy));
    let _engine = shim.start();
    shim.until_healthy(true).await;
    assert_eq!(changes_within(&shim, 3_600).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_revoked_while_nothing_happens_is_found_out() {
    let revoked = |cdn: &FakeCdn| {
        if (60_000..1_200_000).contains(&cdn.elapsed_ms()) { Some((401, None)) } else { OK }
    };
    let shim = Shim::new(FakeCdn::new(|_, _| OK).with_check(revoked));
    let engine = shim.start();
    shim.until_healthy(true).await;
    shim.until_healthy(false).await;
    assert!(shim.cdn.elapsed_ms() < 601_000);
    assert_eq!(engine.status("www")[0].reasons, ["the credentials could not be proved: the CDN says 401"]);
    // Checks are frequent now, so that a new key takes effect soon.
    shim.until_healthy(true).await;
    assert!((1_200_000..1_261_000).contains(&shim.cdn.elapsed_ms()));
}

#[tokio::test(start_paused = true)]
async fn credentials_that_only_purges_refuse_do_not_make_it_flap() {
    let shim = Shim::new(FakeCdn::new(|_, _| Some((401, None))));
    let engine = shim.start();
    shim.until_healthy(true).await;
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    assert_eq!(changes_within(&shim, 3_600).await, 1);
    assert!(!shim.is_healthy());
}

#[tokio::test(start_paused = true)]
async fn a_wrong_clock_is_corrected_by_the_first_answer() {
    for skew_ms in [-600_000, -60_000, -20_000, 20_000, 60_000, 600_000] {
        let mut cdn = FakeCdn::new(|_, _| OK);
        cdn.skew_ms = skew_ms;
        let shim = Shim::new(cdn);
        shim.accept("p1", &["a"]).await;
        let _engine = shim.start();
        shim.until_healthy(true).await;
        shim.until_state("p1", State::Done).await;
        assert_eq!(shim.outcomes("p1").await, ["done"], "{skew_ms}");
        let late = shim.cdn.statuses().iter().filter(|status| **status == Some(498)).count();
        assert!(late <= 1 && shim.cdn.checks.lock().unwrap().len() <= 2, "{skew_ms}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_commit_is_asked_with_pauses() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    let _engine = shim.start();
    shim.until_healthy(true).await;
    shim.accept_at("p1", &["a"], shim.now_ms() + 5_000).await;
    shim.store.refuse_writes(true).await;
    // If the store were asked without a pause, the clock would stand still.
    seconds(60).await;
    assert_eq!(shim.cdn.received().len(), 0);
    shim.store.refuse_writes(false).await;
    shim.until_state("p1", State::Done).await;
    assert!(shim.cdn.elapsed_ms() < 125_000);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_purge_no_longer_speaks_against() {
    // Only purges are refused, so checks cannot confirm the refusal.
    let shim = Shim::new(FakeCdn::new(|_, _| Some((401, None))));
    let engine = shim.start();
    shim.until_healthy(true).await;
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    shim.until_healthy(false).await;
    seconds(300).await;
    assert!(!shim.is_healthy());
    shim.store.cancel("p1".into(), shim.now_ms()).await.unwrap();
    let cancelled_ms = shim.cdn.elapsed_ms();
    shim.until_healthy(true).await;
    // The queue is read within a second, and a check follows within the longest backoff.
    assert!(shim.cdn.elapsed_ms() - cancelled_ms <= 65_000);
}

#[tokio::test(start_paused = true)]
async fn a_cdn_that_asked_for_silence_is_not_asked_about_its_credentials() {
    let shim = Shim::new(FakeCdn::new(|cdn, _| match cdn.received().len() {
        1 => Some((429, Some(1_800))),
        _ => OK,
    }));
    let engine = shim.start();
    shim.until_healthy(true).await;
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    seconds(3_600).await;
    let checks = shim.cdn.checks.lock().unwrap().clone();
    assert!(checks.len() > 1 && checks[1] >= 1_800_000, "{checks:?}");
    assert_eq!(shim.purge("p1").await.state, State::Done);
}
