//! New configurations while the engine runs.

use super::*;
use crate::config::{Config, Site};
use std::sync::Arc;

/// The configuration with its only site changed.
pub(super) fn with_site(config: &Config, change: impl FnOnce(&mut Site)) -> Config {
    let mut site = Site::clone(&config.sites[0]);
    change(&mut site);
    Config { sites: vec![Arc::new(site)], ..config.clone() }
}

/// The configuration with its only CDN changed.
pub(super) fn with_cdn(config: &Config, change: impl FnOnce(&mut Cdn)) -> Config {
    with_site(config, |site| {
        let mut cdn = Cdn::clone(&site.cdns[0]);
        change(&mut cdn);
        site.cdns = vec![Arc::new(cdn)];
    })
}

fn checks(shim: &Shim) -> usize {
    shim.cdn.checks.lock().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn a_cdn_that_did_not_change_keeps_its_health() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    let engine = shim.start();
    shim.until_healthy(true).await;
    let asked = checks(&shim);
    engine.reload(&with_site(&shim.config, |site| {
        site.hosts.push("new.example.com".into());
        site.policy.ttls.edge *= 2;
        site.max_purge_lag *= 2;
    }));
    assert!(shim.is_healthy());
    seconds(5).await;
    assert!(shim.is_healthy());
    assert_eq!(checks(&shim), asked);
}

#[tokio::test(start_paused = true)]
async fn a_cdn_that_changed_must_prove_itself_again() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    let engine = shim.start();
    shim.until_healthy(true).await;
    let asked = checks(&shim);
    engine.reload(&with_cdn(&shim.config, |cdn| cdn.hosts.push("new.example.com".into())));
    assert!(!shim.is_healthy());
    shim.until_healthy(true).await;
    assert_eq!(checks(&shim), asked + 1);

    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    shim.until_state("p1", State::Done).await;
    assert_eq!(shim.cdn.calls(), ["a"], "by one of the two");
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_end_and_count() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    let engine = shim.start();
    shim.until_healthy(true).await;
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    until(async || !shim.cdn.received().is_empty()).await;
    engine.reload(&with_cdn(&shim.config, |cdn| cdn.hosts.push("new.example.com".into())));
    shim.until_state("p1", State::Done).await;
    seconds(300).await;
    assert_eq!(shim.cdn.calls(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_are_asked_for_again_by_a_reload() {
    let good = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (purges, asked) = (good.clone(), good.clone());
    let is_good = |good: &std::sync::atomic::AtomicBool| good.load(std::sync::atomic::Ordering::Relaxed);
    let answer = move |good: bool| if good { OK } else { Some((401, None)) };
    let cdn = FakeCdn::new(move |_, _| answer(is_good(&purges))).with_check(move |_| answer(is_good(&asked)));
    let shim = Shim::new(cdn);
    let engine = shim.start();
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    shim.until_state("p1", State::Paused).await;

    good.store(true, std::sync::atomic::Ordering::Relaxed);
    engine.reload(&with_cdn(&shim.config, |cdn| cdn.hosts.push("new.example.com".into())));
    shim.until_state("p1", State::Done).await;
    shim.until_healthy(true).await;
}

#[tokio::test(start_paused = true)]
async fn a_cdn_that_is_gone_is_not_purged_until_it_is_back() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    let engine = shim.start();
    shim.until_healthy(true).await;
    engine.reload(&with_site(&shim.config, |site| site.cdns.clear()));
    assert!(!shim.is_healthy());
    assert!(engine.status("www").is_empty());
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    seconds(300).await;
    assert!(shim.cdn.received().is_empty() && !shim.is_healthy());

    engine.reload(&shim.config);
    shim.until_state("p1", State::Done).await;
    shim.until_healthy(true).await;
    engine.stop().await;
    assert!(!shim.is_healthy());
}

/// The configuration without its only CDN.
fn without_cdn(config: &Config) -> Config {
    with_site(config, |site| site.cdns.clear())
}

#[tokio::test(start_paused = true)]
async fn purges_of_a_cdn_that_is_gone_say_so_and_fail_when_retries_would_end() {
    // The purge is almost as old as retries last.
    let then_ms = START - 30 * 24 * 60 * 60 * 1_000 + 60_000;
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    let everything = PurgeRequest { everything: true, ..Default::default() };
    shim.accept_request(0, "all", everything, then_ms).await;
    shim.accept_at("p1", &["a", "b"], then_ms).await;
    shim.accept("young", &["c"]).await;
    let gone = Shim { config: without_cdn(&shim.config), ..shim };
    let engine = gone.start();
    for id in ["all", "p1"] {
        gone.until_state(id, State::Paused).await;
        let job = gone.purge(id).await.jobs.remove(0);
        assert_eq!(job.attempts.len(), 1, "{id}");
        assert_eq!(job.attempts[0].0.message, crate::delivery::orphans::WHY);
    }
    // A restart does not repeat the attempt.
    engine.stop().await;
    let engine = gone.start();
    seconds(30).await;
    assert_eq!(gone.outcomes("p1").await, ["unreachable"]);
    assert_eq!(gone.purge("p1").await.state, State::Paused);
    seconds(60).await;
    for id in ["all", "p1"] {
        let job = gone.purge(id).await.jobs.remove(0);
        assert_eq!((job.state, job.unacknowledged), (State::Failed, true), "{id}");
        assert_eq!(job.attempts.last().unwrap().0.message, crate::delivery::orphans::WHY);
    }
    let status = gone.store.status().await.unwrap().remove(0);
    assert_eq!((status.jobs, status.pending, status.failed), (1, 1, 2));
    assert_eq!(gone.purge("young").await.state, State::Paused);
    assert!(gone.cdn.received().is_empty());
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn purges_of_a_cdn_that_comes_back_go_on() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    shim.accept("p1", &["a"]).await;
    let engine = shim.start();
    engine.reload(&without_cdn(&shim.config));
    shim.until_state("p1", State::Paused).await;
    seconds(3_600).await;
    engine.reload(&shim.config);
    shim.until_state("p1", State::Done).await;
    shim.until_healthy(true).await;
    assert_eq!(shim.cdn.calls(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_by_a_person_outlives_the_cdn() {
    let shim = Shim::new(FakeCdn::new(|_, _| OK));
    shim.accept_at("p1", &["a"], START - 40 * 24 * 60 * 60 * 1_000).await;
    let why = Some("maintenance".to_owned());
    shim.store.set_paused(super::key(), PausedBy::Person, why).await.unwrap();
    let engine = shim.start();
    engine.reload(&without_cdn(&shim.config));
    seconds(60).await;
    assert_eq!(shim.purge("p1").await.state, State::Paused);
    engine.reload(&shim.config);
    seconds(60).await;
    assert_eq!(shim.store.status().await.unwrap()[0].paused.as_ref().unwrap().reason, "maintenance");
}

#[tokio::test(start_paused = true)]
async fn a_late_refusal_of_the_old_credentials_does_not_pause_the_new_ones() {
    let mut cdn = FakeCdn::new(|cdn, _| if cdn.received().len() == 1 { Some((401, None)) } else { OK });
    cdn.latency = Duration::from_secs(10);
    let shim = Shim::new(cdn);
    let engine = shim.start();
    shim.until_healthy(true).await;
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    until(async || !shim.cdn.received().is_empty()).await;
    engine.reload(&with_cdn(&shim.config, |cdn| cdn.hosts.push("new.example.com".into())));
    let reloaded_ms = shim.cdn.elapsed_ms();
    shim.until_state("p1", State::Done).await;
    // The old call ends, and the new one follows.
    assert!(shim.cdn.elapsed_ms() - reloaded_ms <= 25_000);
}
