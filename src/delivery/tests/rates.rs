//! Accounts obey their rates with full calls, and are never refused for exceeding them. Purges that would take too
//! long become the purge of the site.

use super::harness::{Answer, FakeCdn, OK, Received, Shim, State};
use super::*;
use crate::config::{CdnSettings, CloudflarePlan, Rate, Site};
use std::sync::Mutex;
use tokio::time::sleep;

const SITE: &str = "site-www";
pub(super) const FOR_EVER: Duration = Duration::from_secs(365 * 86_400);

/// A vendor's own token bucket, which refuses calls that exceed it.
struct Vendor {
    per_second: f64,
    burst: f64,
    /// The number of tokens and its time.
    state: Mutex<(f64, u64)>,
}

impl Vendor {
    fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, state: Mutex::new((burst, 0)) }
    }

    fn admits(&self, at_ms: u64, tokens: usize) -> bool {
        let mut state = self.state.lock().unwrap();
        let refilled = (at_ms - state.1) as f64 / 1_000.0 * self.per_second;
        *state = ((state.0 + refilled).min(self.burst), at_ms);
        let admits = state.0 >= tokens as f64;
        if admits {
            state.0 -= tokens as f64;
        }
        admits
    }
}

/// A CDN that charges calls or items.
fn counting(vendor: Vendor, counts_items: bool) -> FakeCdn {
    FakeCdn::new(move |_, call: &Received| -> Answer {
        let tokens = if counts_items { call.items.len() } else { 1 };
        if vendor.admits(call.at_ms, tokens) { OK } else { Some((429, None)) }
    })
}

pub(super) fn site(cdn_type: CdnType, max_purge_lag: Duration) -> Site {
    let mut site = testing::site(&[cdn_type]);
    site.max_purge_lag = max_purge_lag;
    let mut cdn = Cdn { name: "fastly".into(), ..testing::cdn(cdn_type) };
    if cdn_type == CdnType::Cloudfront {
        cdn.dialect.tag_header = Some(http::HeaderName::from_static("cache-tag"));
    }
    site.cdns = vec![Arc::new(cdn)];
    site
}

fn with_cdn(mut site: Site, change: impl FnOnce(&mut Cdn)) -> Site {
    let mut cdn = Cdn::clone(&site.cdns[0]);
    change(&mut cdn);
    site.cdns = vec![Arc::new(cdn)];
    site
}

fn tags(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}-{n:05}")).collect()
}

impl Shim {
    async fn accept_tags(&self, id: &str, tags: &[String]) {
        self.accept(id, &tags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    /// Waits for the end of a purge. Checks are rare, because the purge takes hours.
    async fn until_done(&self, id: &str) {
        for _ in 0..100_000 {
            if self.purge(id).await.state == State::Done {
                return;
            }
            sleep(Duration::from_secs(20)).await;
        }
        panic!("{id} is never done");
    }

    fn refusals(&self) -> usize {
        self.cdn.statuses().into_iter().filter(|status| *status != Some(200)).count()
    }
}

/// The largest purge that the admin API takes, or a smaller one in the quick variant.
fn burst() -> usize {
    if std::env::var_os("ORIGIN_SHIM_LONG").is_some() { 50_000 } else { 5_000 }
}

#[tokio::test(start_paused = true)]
async fn a_burst_leaves_in_the_fewest_calls_and_is_never_refused() {
    let items = burst();
    // The arguments are the rate that the vendor publishes, whether it counts items, and how many items fit into a
    // call. Akamai and Varnish limit bytes: a 64-byte tag with two quotes and a comma is 67.
    let check = async |cdn_type, vendor, counts_items, per_call: usize| {
        let mut cdn = counting(vendor, counts_items);
        cdn.completes_after = (cdn_type == CdnType::Cloudfront).then(|| Duration::from_secs(20));
        let shim = Shim::with_site(cdn, site(cdn_type, FOR_EVER));
        let tags: Vec<_> = (0..items).map(|n| format!("{n:064}")).collect();
        shim.accept_tags("p1", &tags).await;
        let engine = shim.start();
        shim.until_done("p1").await;
        engine.stop().await;
        assert_eq!(shim.cdn.received().len(), items.div_ceil(per_call), "{cdn_type:?}");
        assert_eq!(shim.refusals(), 0, "{cdn_type:?}");
        let mut carried: Vec<_> = shim.cdn.received().into_iter().flat_map(|call| call.items).collect();
        carried.sort_unstable();
        assert!(carried == tags, "{cdn_type:?}: each tag once");
    };
    check(CdnType::Fastly, Vendor::new(100_000.0 / 3_600.0, 100_000.0), true, 256).await;
    check(CdnType::Akamai, Vendor::new(500.0 / 60.0, 5_000.0), true, 49_986 / 67).await;
    check(CdnType::Cloudflare, Vendor::new(5.0 / 60.0, 25.0), false, 100).await;
    check(CdnType::Varnish, Vendor::new(1e9, 1e9), false, 6_900 / 67).await;
    // Calls follow one another, because only this many items may be in progress.
    check(CdnType::Cloudfront, Vendor::new(1.0, 5.0), false, 3_000).await;
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_small_purges_is_paced_in_full_calls() {
    let shim =
        Shim::with_site(counting(Vendor::new(5.0 / 60.0, 25.0), false), site(CdnType::Cloudflare, FOR_EVER));
    let engine = shim.start();
    for n in 0..600 {
        shim.accept(&format!("p{n:03}"), &[&format!("tag-{n:03}"), "shared"]).await;
        engine.wake("www");
        sleep(Duration::from_millis(250)).await;
    }
    shim.until_done("p599").await;
    assert_eq!(shim.refusals(), 0);
    // Until the burst is used up, each purge is sent at once. After that, a call every 12 s carries all that came
    // meanwhile.
    let sizes: Vec<_> = shim.cdn.received().iter().map(|call| call.items.len()).collect();
    let paced = sizes.iter().position(|items| *items > 2).unwrap();
    assert!((20..25).contains(&paced) && sizes.len() - paced <= 13, "{sizes:?}");
    assert!(sizes[paced..sizes.len() - 1].iter().all(|items| *items > 40), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn restarts_do_not_fill_the_bucket() {
    let cdn = counting(Vendor::new(5.0 / 60.0, 25.0), false);
    let shim = Shim::with_site(cdn, site(CdnType::Cloudflare, FOR_EVER));
    shim.accept_tags("p1", &tags("tag", 6_000)).await;
    let mut stops = 0;
    while shim.purge("p1").await.state != State::Done {
        let engine = shim.start();
        sleep(Duration::from_millis(100 + 3_700 * (stops % 7))).await;
        engine.stop().await;
        stops += 1;
        assert!(stops < 1_000);
    }
    assert_eq!(shim.refusals(), 0);
    assert!(shim.cdn.received().len() <= 60 + stops as usize / 10, "{}", shim.cdn.received().len());
}

#[tokio::test(start_paused = true)]
async fn the_sites_of_an_account_share_its_rate() {
    let cdn = counting(Vendor::new(5.0, 25.0), false);
    let pro = |cdn: &mut Cdn| {
        if let CdnSettings::Cloudflare(crate::config::cdns::Cloudflare { plan, .. }) = &mut cdn.settings {
            *plan = CloudflarePlan::Pro;
        }
    };
    let mut shim = Shim::with_site(cdn, with_cdn(site(CdnType::Cloudflare, FOR_EVER), pro));
    let mut other = with_cdn(site(CdnType::Cloudflare, FOR_EVER), pro);
    other.name = "other".into();
    shim.config.sites.push(Arc::new(other));
    let _engine = shim.start();
    shim.accept_tags("p1", &tags("a", 3_000)).await;
    shim.accept_for(1, "p2", &tags("b", 3_000)).await;
    shim.until_done("p1").await;
    shim.until_done("p2").await;
    assert_eq!((shim.cdn.received().len(), shim.refusals()), (60, 0));
}

#[tokio::test(start_paused = true)]
async fn who_shares_an_account_shares_no_haste_while_the_store_fails() {
    let mut shim = Shim::with_site(FakeCdn::new(|_, _| OK), site(CdnType::Fastly, FOR_EVER));
    let mut other = site(CdnType::Fastly, FOR_EVER);
    other.name = "other".into();
    shim.config.sites.push(Arc::new(other));
    let _engine = shim.start();
    shim.until_healthy(true).await;
    shim.accept_tags("p1", &tags("a", 3)).await;
    shim.accept_for(1, "p2", &tags("b", 3)).await;
    shim.store.refuse_writes(true).await;
    // If each queue woke the other without a pause, the clock would stand still.
    sleep(Duration::from_secs(60)).await;
    assert_eq!(shim.cdn.received().len(), 0);
    shim.store.refuse_writes(false).await;
    shim.until_done("p1").await;
    shim.until_done("p2").await;
}

#[tokio::test(start_paused = true)]
async fn small_purges_do_not_wait_for_a_bulk_one_that_cannot_leave() {
    let cdn = counting(Vendor::new(500.0 / 60.0, 5_000.0), true);
    let shim = Shim::with_site(cdn, site(CdnType::Akamai, FOR_EVER));
    let engine = shim.start();
    shim.accept_tags("bulk", &tags("bulk", 12_000)).await;
    engine.wake("www");
    // The bucket is now empty, and a full call must wait for minutes.
    sleep(Duration::from_secs(60)).await;
    for n in 0..5 {
        let (id, before) = (format!("small-{n}"), shim.cdn.elapsed_ms());
        shim.accept(&id, &[&id]).await;
        engine.wake("www");
        shim.until_state(&id, State::Done).await;
        assert!(shim.cdn.elapsed_ms() - before < 2_000);
        sleep(Duration::from_secs(20)).await;
    }
    assert_ne!(shim.purge("bulk").await.state, State::Done);
    shim.until_done("bulk").await;
    assert_eq!(shim.refusals(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_would_take_too_long_becomes_the_site() {
    let cdn = counting(Vendor::new(500.0 / 60.0, 5_000.0), true);
    let shim = Shim::with_site(cdn, site(CdnType::Akamai, Duration::from_secs(60)));
    // This is as much as the bucket holds and refills within a minute.
    shim.accept_tags("p1", &tags("one", 5_000)).await;
    let engine = shim.start();
    shim.until_state("p1", State::Done).await;
    assert_eq!(shim.purge("p1").await.jobs[0].fallback, [""; 0]);
    let calls = shim.cdn.received().len();

    for n in 0..600 {
        shim.accept(&format!("small-{n:03}"), &[&format!("small-{n:03}")]).await;
    }
    shim.accept_tags("bulk", &tags("two", 2_000)).await;
    engine.wake("www");
    for id in ["small-000", "small-599", "bulk"] {
        shim.until_state(id, State::Done).await;
    }
    assert_eq!(shim.cdn.calls()[calls..], [SITE]);
    let why = "at the CDN's rate it would take longer than max_purge_lag (60 s), so a purge of everything of the site takes its place";
    for id in ["small-000", "small-599", "bulk"] {
        let job = &shim.purge(id).await.jobs[0];
        assert_eq!((job.fallback.as_slice(), job.attempts.len()), ([why.to_owned()].as_slice(), 1), "{id}");
    }
    assert_eq!(shim.refusals(), 0);
    assert_eq!(shim.store.status().await.unwrap()[0].pending, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cdns_word_silences_the_whole_account_and_outlives_a_restart() {
    let cdn = FakeCdn::new(|cdn, _| if cdn.received().len() == 1 { Some((429, Some(300))) } else { OK });
    let mut shim = Shim::with_site(cdn, site(CdnType::Fastly, FOR_EVER));
    let mut other = site(CdnType::Fastly, FOR_EVER);
    other.name = "other".into();
    shim.config.sites.push(Arc::new(other));
    let engine = shim.start();
    shim.accept("p1", &["a"]).await;
    engine.wake("www");
    shim.until_state("p1", State::Retrying).await;
    shim.accept_for(1, "p2", &["b".into()]).await;
    engine.wake("other");
    sleep(Duration::from_secs(100)).await;
    engine.stop().await;
    let _engine = shim.start();
    shim.until_done("p1").await;
    shim.until_done("p2").await;
    let times: Vec<_> = shim.cdn.received().iter().map(|call| call.at_ms).collect();
    assert!(times.len() == 3 && times[1..].iter().all(|at_ms| *at_ms >= 300_000), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_configured_rate_holds() {
    let rate = Rate { calls_per_second: Some(0.5), call_burst: Some(2), ..Rate::default() };
    let site = with_cdn(site(CdnType::Varnish, FOR_EVER), |cdn| cdn.rate = rate);
    let shim = Shim::with_site(counting(Vendor::new(0.5, 2.0), false), site);
    shim.accept_tags("p1", &tags("tag", 5_000)).await;
    let _engine = shim.start();
    shim.until_done("p1").await;
    assert_eq!(shim.refusals(), 0);
    let received = shim.cdn.received();
    let seconds = received.last().unwrap().at_ms / 1_000;
    assert!(seconds < received.len() as u64 * 2 * 11 / 10, "{seconds} s for {}", received.len());
}
