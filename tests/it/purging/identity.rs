//! Pending purges belong to a service, whatever its name in the configuration, and stay with it over reloads
//! and restarts. The CDNs are two services of Fastly.

use crate::harness::fake_cdn::{FakeCdn, Fastly, Fault, Faults};
use crate::harness::http::Request;
use crate::harness::shim::{Shim, program};
use crate::harness::site::Site;
use crate::harness::{eventually, origin};
use serde_json::{Value, json};

/// Returns a shim with the CDN `fastly`, both services, and the configuration. The CDN is the service `OLD`,
/// which is down, and a purge is waiting for it.
fn waiting() -> (Shim, FakeCdn<Fastly>, FakeCdn<Fastly>, String) {
    let origin = origin::serve(|mut exchange| exchange.answer(200, &[], "a page"));
    let service = |id: &str| FakeCdn::start(Fastly { service_id: id.to_owned(), ..Fastly::default() });
    let (old, new) = (service("OLD"), service("NEW"));
    let cdn = format!("name = \"fastly\"\n{}", old.settings());
    let shim = Shim::start(Site::www(origin).default_site().cdn(&cdn));
    shim.wait_until_healthy();
    old.misbehave(Faults::always(Fault::Unavailable));
    let purge = shim.accept(&json!({ "tags": ["product-42"] }));
    eventually("it was tried", || (job(&shim, &purge)["state"] == "retrying").then_some(()));
    (shim, old, new, cdn)
}

fn job(shim: &Shim, purge: &str) -> Value {
    shim.look_up(purge)["jobs"][0].clone()
}

fn reload(shim: &Shim) -> Vec<String> {
    let answer = shim.call(Request::get("/v1/reload").method("POST"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_value(answer.json()["warnings"].clone()).unwrap()
}

/// Returns what `check` reports about this configuration while the shim runs.
fn check(shim: &Shim) -> String {
    let done = program().args(["check", "--config"]).arg(&shim.config).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn metric(shim: &Shim, name: &str) -> Option<String> {
    let text = shim.call(Request::get("/metrics")).text().to_owned();
    text.lines().find(|line| line.starts_with(name)).map(str::to_owned)
}

fn degraded(shim: &Shim) -> String {
    shim.call(Request::get("/readyz")).json()["degraded"].to_string()
}

fn purged(cdn: &FakeCdn<Fastly>) -> Vec<String> {
    cdn.purged().into_iter().map(|purged| purged.name).filter(|name| name == "product-42").collect()
}

#[test]
fn a_service_gets_what_waits_for_it_under_another_name() {
    let (shim, old, new, cdn) = waiting();
    let renamed = format!(
        "name = \"fastly\"\n{}\n[[sites.cdns]]\nname = \"fastly-old\"\n{}",
        new.settings(),
        old.settings()
    );
    shim.edit(&cdn, &renamed);
    let told = "www/fastly: the queue (1 purge) moves to fastly-old, which is the same CDN";
    assert!(check(&shim).contains(told), "{}", check(&shim));
    assert!(reload(&shim).contains(&told.to_owned()));
    old.behave();
    let id =
        shim.call(Request::get("/v1/purges?limit=1")).json()["purges"][0]["id"].as_str().unwrap().to_owned();
    eventually("it is done", || (job(&shim, &id)["state"] == "done").then_some(()));
    assert_eq!(job(&shim, &id)["cdn"], "fastly-old");
    assert!(!purged(&old).is_empty() && purged(&new).is_empty());
    assert!(!check(&shim).contains("the queue ("), "nothing moves any more");
}

#[test]
fn another_service_gets_nothing_of_it_and_it_is_seen() {
    let (mut shim, old, new, cdn) = waiting();
    let replaced = format!("name = \"fastly\"\n{}", new.settings());
    shim.edit(&cdn, &replaced);
    let told = "www/fastly: the queue (1 purge) belongs to a CDN that the site no longer has; it stays as fastly:OLD";
    assert!(check(&shim).contains(told), "{}", check(&shim));
    assert!(reload(&shim).iter().any(|warning| warning.starts_with(told)));
    old.behave();
    let id =
        shim.call(Request::get("/v1/purges?limit=1")).json()["purges"][0]["id"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        shim.wait_until_healthy();
        eventually("it is an orphan", || (job(&shim, &id)["state"] == "paused").then_some(()));
        assert_eq!(job(&shim, &id)["cdn"], "fastly:OLD");
        let seen =
            eventually("it is told", || Some(degraded(&shim)).filter(|text| text.contains("fastly:OLD")));
        assert!(seen.contains("1 of its purges wait"), "{seen}");
        let metric = metric(&shim, "origin_shim_purge_orphaned_jobs").unwrap();
        assert_eq!(metric, "origin_shim_purge_orphaned_jobs{site=\"www\",cdn=\"fastly:OLD\"} 1");
        assert!(purged(&old).is_empty() && purged(&new).is_empty());
        // A restart makes no difference.
        shim.kill();
        shim.start_again();
    }
    // An administrator cancels the purge.
    let answer = shim.call(Request::get(&format!("/v1/purges/{id}")).method("DELETE"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    eventually("nothing of it is left", || (!degraded(&shim).contains("fastly:OLD")).then_some(()));
    eventually("nor in the metrics", || {
        metric(&shim, "origin_shim_purge_orphaned_jobs").is_none().then_some(())
    });
}

#[test]
fn nothing_of_a_cdn_that_is_gone_stays_in_the_metrics() {
    let (shim, _old, new, cdn) = waiting();
    shim.edit(&cdn, &format!("name = \"other\"\n{}", new.settings()));
    reload(&shim);
    eventually("no series names it", || {
        let text = shim.call(Request::get("/metrics")).text().to_owned();
        (!text.contains("cdn=\"fastly\"")).then_some(())
    });
}
