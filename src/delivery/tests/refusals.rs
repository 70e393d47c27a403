//! Items that a CDN will never accept, alone or among others.

use super::harness::{Answer, FakeCdn, NOT_THE_FIRST, OK, Received, Shim, State};
use super::*;

const SITE: &str = "site-www";
const WHY: &str = "the CDN refused an item, so a purge of everything of the site takes its place";

/// A CDN that refuses every call that carries one of these items.
fn refusing(poison: &'static [&str], status: u16) -> FakeCdn {
    FakeCdn::new(move |_, call: &Received| -> Answer {
        let is_bad = call.items.iter().any(|item| poison.contains(&item.as_str()));
        if is_bad { Some((status, None)) } else { OK }
    })
}

/// Returns the items of the calls that were accepted.
fn accepted(shim: &Shim, poison: &[&str]) -> Vec<String> {
    let received = shim.cdn.received();
    let good = received.iter().filter(|call| call.items.iter().all(|item| !poison.contains(&item.as_str())));
    good.flat_map(|call| call.items.clone()).collect()
}

fn tags() -> Vec<String> {
    (0..64).map(|n| format!("tag-{n:02}")).collect()
}

#[tokio::test(start_paused = true)]
async fn halving_finds_the_poison_and_the_site_goes_in_its_place() {
    let shim = Shim::new(refusing(&["tag-13"], 400));
    let tags = tags();
    shim.accept("p1", &tags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let _engine = shim.start();
    shim.until_state("p1", State::Done).await;
    let accepted = accepted(&shim, &["tag-13"]);
    let missing: Vec<_> = tags.iter().filter(|tag| !accepted.contains(tag)).collect();
    assert_eq!(missing, ["tag-13"]);
    // These are the whole batch, six times two halves, and then the site.
    assert_eq!(shim.cdn.received().len(), 14);
    assert_eq!(shim.cdn.calls().last().unwrap(), SITE);
    let job = &shim.purge("p1").await.jobs[0];
    assert_eq!((job.fallback.as_slice(), job.items), ([WHY.to_owned()].as_slice(), 64));
    shim.until_healthy(true).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_site_fails_and_is_loud() {
    let shim = Shim::new(refusing(&["tag-13", SITE], 400));
    let tags = tags();
    shim.accept("p1", &tags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let engine = shim.start();
    shim.until_state("p1", State::Failed).await;
    assert_eq!(accepted(&shim, &["tag-13", SITE]).len(), 63);
    shim.until_healthy(false).await;
    assert_eq!(engine.status("www")[0].reasons, ["failed jobs that must be retried or acknowledged: 1"]);
    shim.store.acknowledge("p1".into()).await.unwrap();
    shim.until_healthy(true).await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_what_failed_sends_the_site_again() {
    let moody = |cdn: &FakeCdn, _: &Received| if cdn.elapsed_ms() < 60_000 { Some((404, None)) } else { OK };
    let shim = Shim::new(FakeCdn::new(moody));
    shim.accept("p1", &["a"]).await;
    let engine = shim.start();
    shim.until_state("p1", State::Failed).await;
    assert_eq!(shim.cdn.calls(), ["a", SITE]);
    super::seconds(60).await;
    shim.store.retry("p1".into(), shim.now_ms()).await.unwrap();
    engine.wake("www");
    shim.until_state("p1", State::Done).await;
    assert_eq!(shim.cdn.calls(), ["a", SITE, SITE]);
}

#[tokio::test(start_paused = true)]
async fn something_a_little_broader_is_tried_before_the_site() {
    let shim = Shim::new(refusing(&["~b", "~d", "wide-d"], 400));
    shim.accept("p1", &["a", "~b"]).await;
    let _engine = shim.start();
    shim.until_state("p1", State::Done).await;
    assert_eq!(shim.cdn.calls(), ["a ~b", "a", "~b", "wide-b"]);
    let fallback = &shim.purge("p1").await.jobs[0].fallback;
    assert_eq!(*fallback, ["the CDN refused an item, so a purge of wide-b takes its place"]);

    shim.accept("p2", &["~d"]).await;
    shim.until_state("p2", State::Done).await;
    assert_eq!(shim.cdn.calls()[4..], ["~d", "wide-d", SITE]);
    let fallback = &shim.purge("p2").await.jobs[0].fallback;
    assert_eq!(*fallback, ["the CDN refused an item, so a purge of wide-d takes its place", WHY]);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_as_a_whole_becomes_the_site_at_once() {
    let shim = Shim::new(refusing(&["a"], 404));
    shim.accept("p1", &["a", "b"]).await;
    shim.accept("p2", &["c"]).await;
    let _engine = shim.start();
    shim.until_state("p1", State::Done).await;
    shim.until_state("p2", State::Done).await;
    // One purge of the site absorbs the other.
    assert_eq!(shim.cdn.calls(), ["a b c", SITE]);
}

#[tokio::test(start_paused = true)]
async fn what_a_cdn_left_out_is_sent_again() {
    let partial = |cdn: &FakeCdn, _: &Received| if cdn.received().len() == 1 { NOT_THE_FIRST } else { OK };
    let shim = Shim::new(FakeCdn::new(partial));
    shim.accept("p1", &["a", "b"]).await;
    shim.accept("p2", &["c"]).await;
    shim.accept("p3", &["a"]).await;
    let _engine = shim.start();
    shim.until_state("p2", State::Done).await;
    shim.until_state("p1", State::Done).await;
    assert_eq!(shim.cdn.calls(), ["a b c", "a"]);
    assert_eq!(shim.outcomes("p1").await, ["partial", "done"]);
    assert_eq!(shim.outcomes("p2").await, ["partial"]);
    assert_eq!(shim.outcomes("p3").await, ["partial", "done"]);
}

#[tokio::test(start_paused = true)]
async fn without_anything_broader_the_good_ones_get_through() {
    let mut site = testing::site(&[CdnType::Akamai]);
    site.policy.tags.site = false;
    site.cdns = vec![Arc::new(Cdn { name: "fastly".into(), ..testing::cdn(CdnType::Akamai) })];
    let shim = Shim::with_site(refusing(&["b"], 404), site);
    shim.accept("p1", &["a", "b", "c"]).await;
    let _engine = shim.start();
    shim.until_state("p1", State::Failed).await;
    assert_eq!(shim.cdn.calls(), ["a b c", "a", "b c", "b", "c"]);
    assert_eq!(shim.outcomes("p1").await.last().unwrap(), "done");
}
