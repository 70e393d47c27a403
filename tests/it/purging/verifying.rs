//! Purges are verified at the edge, which exposes a CDN that reports a purge without having purged.

use crate::harness::eventually;
use crate::harness::http::{Answer, Request};
use crate::harness::origin::{self, Exchange, Page};
use crate::harness::shim::{Shim, TOKEN, program};
use crate::harness::site::Site;
use crate::harness::varnish::Varnish;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

struct World {
    page: Page,
    shim: Shim,
    edge: Varnish,
    /// Whether the CDN's API reports success and does nothing.
    lies: Arc<AtomicBool>,
}

impl World {
    fn start(keys: &str) -> Self {
        let page = Page::default();
        let upstream = page.serve();
        let (shim, (edge, lies)) = Shim::start_behind(|address| {
            let edge = Varnish::start(address);
            let lies = Arc::new(AtomicBool::new(false));
            let api = serve_api(edge.address, lies.clone());
            let cdn = format!(
                "type = \"varnish\"\napi_urls = [\"http://{api}\"]\nverify_url = \"http://{}\"\n{keys}",
                edge.address
            );
            ((edge, lies), Site::www(upstream).cdn(&cdn))
        });
        shim.wait_until_healthy();
        Self { page, shim, edge, lies }
    }

    fn visit(&self) -> Answer {
        Request::get("/page").send(self.edge.address)
    }

    fn degraded(&self) -> String {
        Request::get("/readyz").send(self.shim.admin).json()["degraded"].to_string()
    }

    fn metric(&self, line: &str) -> Option<u64> {
        let metrics = Request::get("/metrics").send(self.shim.admin);
        let line = metrics.text().lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    /// Returns the job of a purge as soon as the verification has this result.
    fn seen(&self, id: &str, what: &str) -> Value {
        eventually(what, || {
            let job = self.shim.look_up(id)["jobs"][0].clone();
            (job["verification"] == what).then_some(job)
        })
    }
}

/// Serves Varnish's API, except while `lies` is set.
fn serve_api(edge: SocketAddr, lies: Arc<AtomicBool>) -> SocketAddr {
    origin::serve(move |mut exchange: Exchange| {
        if lies.load(Ordering::SeqCst) {
            return exchange.answer(200, &[("x-purged".to_owned(), "1".to_owned())], "Purged");
        }
        let (line, headers) = (exchange.asked.line.clone(), exchange.asked.headers.clone());
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        let headers: Vec<_> =
            headers.iter().filter(|(name, _)| name.starts_with('x')).map(|(n, v)| (&**n, &**v)).collect();
        let host = exchange.asked.header("host").to_owned();
        let request = Request { host: &host, ..Request::get(target) }.method(method).headers(&headers);
        match request.try_send(edge) {
            Ok(answer) => {
                let purged = ("x-purged".to_owned(), answer.header("x-purged").to_owned());
                exchange.answer(answer.status, &[purged], "relayed");
            }
            Err(_) => exchange.answer(503, &[], "the edge is gone"),
        }
    })
}

#[test]
fn a_purge_that_did_not_take_is_found_retried_and_told() {
    let world = World::start("verify = true");
    world.page.set(200, &[], "old");
    let first = world.visit();
    assert_eq!((first.text(), first.header("x-origin-shim-stamp").is_empty()), ("old", false));

    world.lies.store(true, Ordering::SeqCst);
    world.page.set(200, &[], "new");
    let purge = world.shim.purge(&json!({"paths": ["/page"]}));
    let id = purge["id"].as_str().unwrap();
    let job = world.seen(id, "stale");
    assert_eq!((&job["state"], &job["verified_at"]), (&json!("done"), &Value::Null), "{job}");
    assert_eq!(world.visit().text(), "old");
    eventually("it is purged again", || {
        (world.shim.look_up(id)["jobs"][0]["attempts"].as_array().unwrap().len() > 1).then_some(())
    });
    assert!(world.degraded().contains("older than its purge"), "{}", world.degraded());
    let seen = |what: &str| {
        world.metric(&format!(
            "origin_shim_verifications_total{{site=\"www\",cdn=\"varnish\",seen=\"{what}\"}}"
        ))
    };
    assert!(seen("stale").is_some_and(|count| count > 0));
    assert!(String::from_utf8_lossy(&world.shim.written()).contains("older than its purge"));

    // As soon as the CDN really purges, the next attempt takes effect.
    world.lies.store(false, Ordering::SeqCst);
    let job = world.seen(id, "fresh");
    assert!(job["verified_at"].is_string(), "{job}");
    assert_eq!((world.visit().text(), seen("fresh")), ("new", Some(1)));
    world.shim.wait_until_healthy();
    let count = "origin_shim_publish_to_verified_seconds_count{site=\"www\",cdn=\"varnish\"}";
    assert_eq!(world.metric(count), Some(1));
}

#[test]
fn a_restart_takes_up_what_was_being_verified() {
    let mut world = World::start("verify = true");
    world.page.set(200, &[], "old");
    world.visit();
    world.lies.store(true, Ordering::SeqCst);
    world.page.set(200, &[], "new");
    let purge = world.shim.purge(&json!({"paths": ["/page"]}));
    let id = purge["id"].as_str().unwrap();
    world.seen(id, "stale");
    world.shim.kill();
    // Only the next run can detect that the page is still old, and purge it again.
    world.lies.store(false, Ordering::SeqCst);
    world.shim.start_again();
    world.seen(id, "fresh");
    assert_eq!(world.visit().text(), "new");
    world.shim.wait_until_healthy();
}

#[test]
fn only_what_is_wished_for_is_verified() {
    let world = World::start("");
    world.page.set(200, &[], "old");
    assert_eq!(world.visit().header("x-origin-shim-stamp"), "");
    let purge = world.shim.purge(&json!({"paths": ["/page"]}));
    // A page without a stamp is judged by its `Age`, and a fresh one's is too small for a second or two.
    let admin = format!("http://{}", world.shim.admin);
    let command = program()
        .args(["purge", "--admin", &admin, "--path", "/page", "--verify", "--wait"])
        .env("ORIGIN_SHIM_TOKEN", TOKEN)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&command.stdout);
    assert!(command.status.success(), "{told} {}", String::from_utf8_lossy(&command.stderr));
    let seen =
        ["unknown", "fresh"].map(|seen| told.contains(&format!("note: varnish: verification: {seen}")));
    assert!(seen.contains(&true), "{told}");
    let job = world.shim.look_up(purge["id"].as_str().unwrap())["jobs"][0].clone();
    assert_eq!(job["verification"], Value::Null, "{job}");
}
