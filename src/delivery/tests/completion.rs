//! CDNs that accept first and complete later: CloudFront.

use super::harness::{FakeCdn, OK, Shim, State, until};
use super::rates::{FOR_EVER, site};
use super::*;
use tokio::time::sleep;

fn cloudfront(completes_after: Duration) -> Shim {
    let mut cdn = FakeCdn::new(|_, _| OK);
    cdn.completes_after = Some(completes_after);
    Shim::with_site(cdn, site(CdnType::Cloudfront, FOR_EVER))
}

impl Shim {
    async fn completed_ms(&self, id: &str) -> Option<i64> {
        self.purge(id).await.jobs[0].completed_ms
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_is_accepted_and_later_completed() {
    let shim = cloudfront(Duration::from_secs(20));
    shim.accept("p1", &["a"]).await;
    let _engine = shim.start();
    shim.until_state("p1", State::Done).await;
    let accepted_ms = shim.purge("p1").await.jobs[0].accepted_ms.unwrap();
    assert_eq!(shim.completed_ms("p1").await, None);
    until(async || shim.completed_ms("p1").await.is_some()).await;
    let took_ms = shim.completed_ms("p1").await.unwrap() - accepted_ms;
    assert!((25_000..60_000).contains(&took_ms), "{took_ms}");
    // The questions become less frequent, and stop after completion.
    sleep(Duration::from_secs(3_600)).await;
    assert!((3..6).contains(&shim.cdn.asked.lock().unwrap().len()));
    assert_eq!(shim.store.works(super::key()).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_asking() {
    let shim = cloudfront(Duration::from_secs(60));
    shim.accept("p1", &["a"]).await;
    let engine = shim.start();
    shim.until_state("p1", State::Done).await;
    sleep(Duration::from_secs(10)).await;
    engine.stop().await;
    let _engine = shim.start();
    until(async || shim.completed_ms("p1").await.is_some()).await;
    assert_eq!(shim.cdn.received().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_under_way_than_the_distribution_allows() {
    let shim = cloudfront(Duration::from_secs(20));
    let engine = shim.start();
    let tags: Vec<_> = (0..7_000).map(|n| format!("tag-{n}")).collect();
    shim.accept_for(0, "bulk", &tags).await;
    let paths = (0..20).map(|n| format!("/{n}/")).collect();
    let prefixes = PurgeRequest { prefixes: paths, ..Default::default() };
    shim.accept_request(0, "wild", prefixes, shim.now_ms()).await;
    engine.wake("www");
    shim.until_state("wild", State::Done).await;
    shim.until_state("bulk", State::Done).await;
    let calls = shim.cdn.received();
    let wild = |call: &harness::Received| call.items.iter().filter(|item| item.ends_with('*')).count();
    // Each work takes at least 25 s, and the next call is made when it is complete.
    for (index, call) in calls.iter().enumerate() {
        let since = calls[..index].iter().filter(|other| call.at_ms - other.at_ms < 20_000);
        let (mut items, mut wildcards) = (call.items.len(), wild(call));
        for other in since {
            items += other.items.len();
            wildcards += wild(other);
        }
        assert!(items <= 3_000 && wildcards <= 15, "{items} items, {wildcards} wildcards");
    }
    assert!(calls.len() <= 5, "{}", calls.len());
}

#[tokio::test(start_paused = true)]
async fn a_retry_has_the_reference_of_the_first_try_even_after_a_restart() {
    let cdn = FakeCdn::new(|cdn, _| if cdn.elapsed_ms() < 30_000 { None } else { OK });
    let shim = Shim::with_site(cdn, site(CdnType::Cloudfront, FOR_EVER));
    shim.accept("p1", &["a", "b"]).await;
    let engine = shim.start();
    shim.until_state("p1", State::Retrying).await;
    // Later items form another call. A retried purge of the site is the same call only if it covers the same
    // items.
    shim.accept("p2", &["b", "c"]).await;
    sleep(Duration::from_secs(10)).await;
    engine.stop().await;
    let _engine = shim.start();
    for id in ["p1", "p2"] {
        shim.until_state(id, State::Done).await;
    }
    let received = shim.cdn.received();
    let reference = |items: [&str; 2], count| {
        let tries: Vec<_> = received.iter().filter(|call| call.items == items).collect();
        assert!(tries.len() >= count && tries.iter().all(|call| call.reference == tries[0].reference));
        &tries[0].reference
    };
    assert_ne!(reference(["a", "b"], 2), reference(["b", "c"], 1));
    assert!(received.iter().all(|call| call.items.len() == 2));
}

#[tokio::test(start_paused = true)]
async fn a_site_that_is_purged_again_covers_what_came_since_under_another_reference() {
    let cdn = FakeCdn::new(|cdn, _| if cdn.elapsed_ms() < 30_000 { None } else { OK });
    let shim = Shim::with_site(cdn, site(CdnType::Cloudfront, FOR_EVER));
    let everything = || PurgeRequest { everything: true, ..Default::default() };
    shim.accept("p1", &["a"]).await;
    shim.accept_request(0, "all", everything(), shim.now_ms()).await;
    let engine = shim.start();
    shim.until_state("all", State::Retrying).await;
    let before = shim.cdn.received().len();
    shim.accept("p2", &["b"]).await;
    engine.wake("www");
    for id in ["p1", "p2", "all"] {
        shim.until_state(id, State::Done).await;
    }
    let received = shim.cdn.received();
    assert!(received.iter().all(|call| call.items == ["site-www"]));
    let references = |calls: &[harness::Received]| -> std::collections::HashSet<String> {
        calls.iter().map(|call| call.reference.clone()).collect()
    };
    assert_eq!(references(&received[..before]).len(), 1);
    assert!(references(&received[..before]).is_disjoint(&references(&received[before..])));
}
