//! A cold cache and a crowd: the refill after a purge of everything does not overload the origin, and purges of
//! everything that wait together become one call.

use crate::harness::eventually;
use crate::harness::http::Request;
use crate::harness::origin::{self, Exchange};
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::varnish::Varnish;
use serde_json::json;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// `origin_connections`.
const LIMIT: usize = 8;
const VISITORS: usize = 500;
const PAGES: usize = 125;

/// An origin that takes its time, and counts.
#[derive(Clone, Default)]
struct Origin(Arc<Mutex<Counts>>);

#[derive(Clone, Default)]
struct Counts {
    now: usize,
    most: usize,
    by_path: HashMap<String, usize>,
}

impl Origin {
    fn serve(&self) -> SocketAddr {
        let origin = self.clone();
        origin::serve(move |mut exchange: Exchange| {
            let path = exchange.asked.line.split(' ').nth(1).unwrap().to_owned();
            {
                let mut counts = origin.0.lock().unwrap();
                counts.now += 1;
                counts.most = counts.most.max(counts.now);
                *counts.by_path.entry(path).or_default() += 1;
            }
            thread::sleep(Duration::from_millis(20));
            // Before the answer: the shim may ask again as soon as it has that.
            origin.0.lock().unwrap().now -= 1;
            exchange.answer(200, &[], "a page");
        })
    }

    /// The counts since the last call.
    fn counts(&self) -> Counts {
        let mut counts = self.0.lock().unwrap();
        let now = counts.now;
        std::mem::replace(&mut *counts, Counts { now, ..Counts::default() })
    }
}

struct World {
    origin: Origin,
    shim: Shim,
    edge: Varnish,
}

impl World {
    fn start() -> Self {
        let origin = Origin::default();
        let upstream = origin.serve();
        let (shim, edge) = Shim::start_behind(|address| {
            let edge = Varnish::start(address);
            let site = Site::www(upstream)
                .keys(&format!("origin_connections = {LIMIT}"))
                .cache("stale_while_revalidate = \"1h\"")
                .varnish(&edge);
            (edge, format!("{site}[server.limits]\norigin_queue_timeout = \"60s\"\n"))
        });
        shim.wait_until_healthy();
        Self { origin, shim, edge }
    }

    /// All of them at once, each for one of the pages: how many got a copy.
    fn crowd(&self) -> usize {
        let edge = self.edge.address;
        let visit = move |number: usize| {
            let answer = Request::get(&format!("/page/{}", number % PAGES)).send(edge);
            assert_eq!((answer.status, answer.text()), (200, "a page"), "{answer:?}");
            answer.header("x-cache") == "HIT"
        };
        let visitors: Vec<_> = (0..VISITORS).map(|number| thread::spawn(move || visit(number))).collect();
        visitors.into_iter().map(|visitor| visitor.join().unwrap()).filter(|is_copy| *is_copy).count()
    }

    /// Calls that the CDN has accepted.
    fn calls(&self) -> u64 {
        let metrics = Request::get("/metrics").send(self.shim.admin);
        let accepted = |line: &&str| {
            line.starts_with("origin_shim_cdn_calls_total{") && line.contains("outcome=\"done\"")
        };
        let lines = metrics.text().lines().filter(accepted).map(|line| line.rsplit(' ').next().unwrap());
        lines.map(|count| count.parse::<u64>().unwrap()).sum()
    }

    fn operate(&self, what: &str) {
        let path = format!("/v1/sites/www/cdns/varnish/{what}");
        let answer = self.shim.call(Request::get(&path).method("POST"));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn a_cold_cache_does_not_run_the_origin_over() {
    let world = World::start();
    let is_cold = |when: &str| {
        world.crowd();
        let counts = world.origin.counts();
        assert_eq!(counts.by_path.len(), PAGES, "{when}: every page was fetched");
        assert!(counts.most <= LIMIT, "{when}: {} at a time", counts.most);
    };
    is_cold("at the start");
    world.shim.purge(&json!({"everything": true}));
    is_cold("after a purge of everything");

    // Softly: there is a copy for everybody, and the origin is asked behind their backs.
    world.shim.purge(&json!({"everything": true, "mode": "soft"}));
    assert_eq!(world.crowd(), VISITORS);
    eventually("every page is fetched again", || {
        (world.origin.0.lock().unwrap().by_path.len() == PAGES).then_some(())
    });
    let counts = world.origin.counts();
    assert!(counts.most <= LIMIT, "after a soft purge: {} at a time", counts.most);
}

#[test]
fn broad_purges_that_wait_together_are_one_call() {
    let world = World::start();
    let done = |ids: &[String]| {
        eventually("every purge is done", || {
            ids.iter().all(|id| world.shim.look_up(id)["state"] == "done").then_some(())
        });
    };
    let hold = || {
        world.operate("pause");
        eventually("the CDN is paused", || {
            let site = world.shim.call(Request::get("/v1/sites/www")).json();
            (site["cdns"][0]["paused"] == true).then_some(())
        });
    };

    // The same tag twenty times.
    hold();
    let before = world.calls();
    let tags: Vec<_> = (0..20).map(|_| world.shim.accept(&json!({"tags": ["all-products"]}))).collect();
    world.operate("resume");
    done(&tags);
    assert_eq!(world.calls() - before, 1);

    // Everything twenty times, and what it covers.
    hold();
    let before = world.calls();
    let mut broad: Vec<_> = (0..20).map(|_| world.shim.accept(&json!({"everything": true}))).collect();
    broad.extend((0..20).map(|number| world.shim.accept(&json!({"tags": [format!("tag-{number}")]}))));
    world.operate("resume");
    done(&broad);
    assert_eq!(world.calls() - before, 1);
}
