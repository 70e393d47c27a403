//! Another configuration while the engine runs.

use super::*;
use crate::config::{Config, Site};
use std::sync::Arc;

/// The configuration with its only site changed.
fn with_site(config: &Config, change: impl FnOnce(&mut Site)) -> Config {
    let mut site = Site::clone(&config.sites[0]);
    change(&mut site);
    Config { sites: vec![Arc::new(site)], ..config.clone() }
}

/// The configuration with its only CDN changed.
fn with_cdn(config: &Config, change: impl FnOnce(&mut Cdn)) -> Config {
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
