//! A purge belongs to a service, whatever its CDN is called.

use super::reload::{with_cdn, with_site};
use super::*;
use crate::config::{CdnSettings, Config};
use crate::purge::testing;
use std::sync::Arc;

/// A CDN of this name with this service.
fn fastly(name: &str, service: &str) -> Arc<Cdn> {
    let mut cdn = testing::cdn(crate::rewrite::CdnType::Fastly);
    cdn.name = name.to_owned();
    if let CdnSettings::Fastly(crate::config::cdns::Fastly { service_id, .. }) = &mut cdn.settings {
        *service_id = service.to_owned();
    }
    Arc::new(cdn)
}

fn with(config: &Config, cdns: &[(&str, &str)]) -> Config {
    with_site(config, |site| site.cdns = cdns.iter().map(|(name, service)| fastly(name, service)).collect())
}

/// Returns the service of each call that carries the item.
fn services(shim: &Shim, item: &str) -> Vec<String> {
    let calls = shim.cdn.received();
    calls.into_iter().filter(|call| call.items.contains(&item.to_owned())).map(|call| call.service).collect()
}

/// Returns a shim at which a purge waits for the CDN `fastly`. This CDN is `fastly:S1` and accepts nothing at
/// first.
async fn waiting() -> (Shim, Engine, Arc<std::sync::atomic::AtomicBool>) {
    let takes = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let answer = takes.clone();
    let is_good = move || answer.load(std::sync::atomic::Ordering::Relaxed);
    let mut shim = Shim::new(FakeCdn::new(move |_, _| if is_good() { OK } else { Some((503, None)) }));
    shim.config = with(&shim.config, &[("fastly", "S1")]);
    let engine = shim.start();
    shim.until_healthy(true).await;
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    shim.until_state("p1", State::Retrying).await;
    (shim, engine, takes)
}

async fn job(shim: &Shim) -> (String, State) {
    let job = shim.purge("p1").await.jobs.remove(0);
    (job.cdn, job.state)
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_renamed_gets_what_waits_for_it() {
    let (shim, engine, takes) = waiting().await;
    engine.reload(&with(&shim.config, &[("fastly", "S2"), ("fastly-old", "S1")]));
    let moved = engine.moved().await;
    assert_eq!(
        moved[0].to_string(),
        "www/fastly: the queue (1 purge) moves to fastly-old, which is the same CDN"
    );
    takes.store(true, std::sync::atomic::Ordering::Relaxed);
    shim.until_state("p1", State::Done).await;
    assert_eq!(job(&shim).await.0, "fastly-old");
    assert!(services(&shim, "a").iter().all(|service| service == "fastly:S1"), "{:?}", services(&shim, "a"));
    assert!(engine.orphans().is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_service_under_its_name_gets_nothing_of_it() {
    let (shim, engine, takes) = waiting().await;
    takes.store(true, std::sync::atomic::Ordering::Relaxed);
    engine.reload(&with(&shim.config, &[("fastly", "S2")]));
    let moved = engine.moved().await;
    assert!(moved[0].orphaned, "{moved:?}");
    seconds(7_200).await;
    assert_eq!(job(&shim).await, ("fastly:S1".to_owned(), State::Paused));
    assert!(services(&shim, "a").iter().all(|service| service == "fastly:S1"));
    let orphans = engine.orphans();
    assert_eq!((orphans.len(), orphans[0].jobs), (1, 1));
    assert!(shim.is_healthy(), "the service that is there has nothing to do with it");
    // The service comes back under yet another name.
    engine.reload(&with(&shim.config, &[("fastly", "S2"), ("cdn", "S1")]));
    shim.until_state("p1", State::Done).await;
    assert_eq!(job(&shim).await.0, "cdn");
    until(async || engine.orphans().is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn two_services_may_change_their_names_with_each_other() {
    let (shim, engine, takes) = waiting().await;
    engine.reload(&with(&shim.config, &[("fastly", "S1"), ("other", "S2")]));
    engine.moved().await;
    engine.reload(&with(&shim.config, &[("fastly", "S2"), ("other", "S1")]));
    takes.store(true, std::sync::atomic::Ordering::Relaxed);
    shim.until_state("p1", State::Done).await;
    assert_eq!(job(&shim).await.0, "other");
    assert!(services(&shim, "a").iter().all(|service| service == "fastly:S1"));
}

#[tokio::test(start_paused = true)]
async fn what_was_planned_for_the_former_service_waits_for_that() {
    let (shim, engine, takes) = waiting().await;
    takes.store(true, std::sync::atomic::Ordering::Relaxed);
    shim.until_state("p1", State::Done).await;
    engine.reload(&with(&shim.config, &[("fastly", "S2")]));
    engine.moved().await;
    // The caller planned this purge before the reload.
    shim.accept("p2", &["b"]).await;
    engine.wake("www");
    seconds(60).await;
    assert!(services(&shim, "b").is_empty());
    assert_eq!(shim.purge("p2").await.jobs[0].cdn, "fastly:S1");
}

#[tokio::test(start_paused = true)]
async fn a_restart_under_another_configuration_is_no_different() {
    let (mut shim, engine, takes) = waiting().await;
    engine.stop().await;
    takes.store(true, std::sync::atomic::Ordering::Relaxed);
    shim.config = with(&shim.config, &[("fastly", "S2"), ("fastly-old", "S1")]);
    let _engine = shim.start();
    shim.until_state("p1", State::Done).await;
    assert!(services(&shim, "a").iter().all(|service| service == "fastly:S1"));
}

#[tokio::test(start_paused = true)]
async fn other_credentials_for_the_same_service_are_no_other_service() {
    let (shim, engine, takes) = waiting().await;
    takes.store(true, std::sync::atomic::Ordering::Relaxed);
    engine.reload(&with_cdn(&shim.config, |cdn| {
        if let CdnSettings::Fastly(crate::config::cdns::Fastly { auth_token, .. }) = &mut cdn.settings {
            *auth_token = crate::config::secret::Secret::new("another");
        }
    }));
    assert!(engine.moved().await.is_empty());
    shim.until_state("p1", State::Done).await;
}
