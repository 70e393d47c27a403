//! Purges that the origin asks for in a response: whoever gets the response finds no older page afterwards.

use crate::harness::eventually;
use crate::harness::h2::{self, Client};
use crate::harness::http::{Answer, Request};
use crate::harness::origin::{self, Exchange};
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::varnish::Varnish;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// An application whose pages have the group `news` or `other`. A request with `X-Answer` is answered with that status
/// and with the headers that `X-Ask` has, and changes every page.
fn application() -> SocketAddr {
    let version = Arc::new(AtomicU32::new(1));
    origin::serve(move |mut exchange: Exchange| {
        let path = exchange.asked.line.split(' ').nth(1).unwrap().to_owned();
        let group = if path.starts_with("/news") { "news" } else { "other" };
        let mut headers = vec![
            ("cache-control".to_owned(), "max-age=600".to_owned()),
            ("surrogate-key".to_owned(), group.to_owned()),
        ];
        let mut status = 200;
        if let Ok(wanted) = exchange.asked.header("x-answer").parse() {
            status = wanted;
            version.fetch_add(1, Ordering::Relaxed);
        }
        if let Some((name, value)) = exchange.asked.header("x-ask").split_once(": ") {
            headers.push((name.to_owned(), value.to_owned()));
        }
        let body = version.load(Ordering::Relaxed).to_string();
        exchange.answer(status, &headers, &body);
    })
}

/// visitor -> Varnish -> shim -> application
struct World {
    shim: Shim,
    varnish: Varnish,
}

impl World {
    fn start(keys: &str) -> Self {
        let origin = application();
        let (shim, varnish) = Shim::start_behind(|address| {
            let varnish = Varnish::start(address);
            let site = Site::www(origin).keys(keys).varnish(&varnish);
            (varnish, site)
        });
        shim.wait_until_healthy();
        Self { shim, varnish }
    }

    /// Returns the source of the page: `HIT` or `MISS`.
    fn see(&self, target: &str) -> String {
        Request::get(target).send(self.varnish.address).header("x-cache").to_owned()
    }

    /// Brings both pages into the cache.
    fn cache(&self) {
        for page in ["/news", "/other"] {
            self.see(page);
            assert_eq!(self.see(page), "HIT", "{page}");
        }
    }

    fn change(&self, method: &str, status: &str, ask: &str) -> Answer {
        let headers = [("x-answer", status), ("x-ask", ask)];
        Request::get("/form").method(method).headers(&headers).send(self.shim.address)
    }

    /// Returns how many purges origins have asked for.
    fn purges(&self) -> usize {
        let purges = self.shim.call(Request::get("/v1/purges?limit=100")).json();
        let purges = purges["purges"].as_array().unwrap();
        purges.iter().filter(|purge| purge["reason"] == "asked for by the origin in a response").count()
    }

    /// Waits until every purge is done.
    fn settle(&self) {
        eventually("all purges are done", || {
            let purges = self.shim.call(Request::get("/v1/purges?limit=100")).json();
            purges["purges"].as_array().unwrap().iter().all(|purge| purge["state"] == "done").then_some(())
        });
    }
}

const GROUPS: &str = "cache-group-invalidation";

#[test]
fn a_successful_change_purges_what_its_response_names() {
    let world = World::start(
        r#"purge_headers = [{ header = "X-Purge-Paths", items = "paths" }, { header = "X-Purge-Tags", separator = "|" }]"#,
    );
    for (method, status, ask) in [
        ("POST", "200", r#"Cache-Group-Invalidation: "news""#),
        ("DELETE", "204", r#"cache-group-invalidation: "absent", "news""#),
        ("PATCH", "303", "x-purge-tags: absent|news"),
        ("MKCOL", "201", "x-purge-paths: /absent, /news"),
    ] {
        world.cache();
        let before = world.purges();
        let answer = world.change(method, status, ask);
        assert_eq!(answer.status.to_string(), status, "{ask}");
        let names = [GROUPS, "x-purge-tags", "x-purge-paths"];
        assert!(names.iter().all(|name| answer.header(name).is_empty()), "{ask}: {answer:?}");
        // The purge was committed before the response came.
        assert_eq!(world.purges(), before + 1, "{ask}");
        world.settle();
        assert_eq!((&*world.see("/news"), &*world.see("/other")), ("MISS", "HIT"), "{ask}");
    }
    let metrics = world.shim.call(Request::get("/metrics"));
    let line = "origin_shim_header_purges_total{site=\"www\",result=\"committed\"} 4";
    assert!(metrics.text().contains(line), "{}", metrics.text());
}

#[test]
fn neither_a_safe_request_nor_a_failed_one_purges() {
    let world = World::start("");
    world.cache();
    let ask = r#"Cache-Group-Invalidation: "news""#;
    for status in ["400", "404", "500"] {
        let answer = world.change("POST", status, ask);
        assert_eq!((&*answer.status.to_string(), answer.header(GROUPS)), (status, ""));
    }
    for method in ["GET", "OPTIONS", "PROPFIND"] {
        // Here the header means nothing.
        assert_eq!(world.change(method, "200", ask).header(GROUPS), "\"news\"", "{method}");
    }
    for nothing in ["Cache-Group-Invalidation: ", "Cache-Group-Invalidation: news", "x-purge-tags: news"] {
        world.change("POST", "200", nothing);
    }
    assert_eq!(world.purges(), 0);
    assert_eq!((&*world.see("/news"), &*world.see("/other")), ("HIT", "HIT"));
}

#[test]
fn a_visitor_may_use_http2() {
    let world = World::start("");
    world.cache();
    let mut wire = Client::connect(world.shim.address);
    let mut headers = h2::request("POST", "/form", crate::harness::HOST);
    headers.push(("x-answer", "200".to_owned()));
    headers.push(("x-ask", r#"Cache-Group-Invalidation: "news""#.to_owned()));
    wire.request(1, &headers, true);
    assert_eq!(wire.status(1), 200);
    assert_eq!(world.purges(), 1);
    world.settle();
    assert_eq!((&*world.see("/news"), &*world.see("/other")), ("MISS", "HIT"));
}

#[test]
fn an_empty_list_turns_it_off() {
    let world = World::start("purge_headers = []");
    world.cache();
    let answer = world.change("POST", "200", r#"Cache-Group-Invalidation: "news""#);
    assert_eq!(answer.header(GROUPS), "\"news\"");
    assert_eq!(world.purges(), 0);
    assert_eq!(world.see("/news"), "HIT");
}

#[test]
fn without_the_store_a_response_waits_for_a_while_and_its_purge_is_kept() {
    let world = World::start("purge_header_wait = \"10ms\"");
    world.cache();
    let store = rusqlite::Connection::open(world.shim.config.with_file_name("store.db")).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..20 {
        assert_eq!(world.change("POST", "200", r#"Cache-Group-Invalidation: "news""#).status, 200);
    }
    // Other requests wait for nothing.
    assert_eq!(Request::get("/new").send(world.shim.address).status, 200);
    let late = "origin_shim_header_purges_total{site=\"www\",result=\"late\"} 20";
    let metrics = world.shim.call(Request::get("/metrics"));
    assert!(metrics.text().contains(late), "{}", metrics.text());
    store.execute_batch("ROLLBACK").unwrap();
    eventually("the page is fresh", || (world.see("/news") == "MISS").then_some(()));
    assert_eq!(world.see("/other"), "HIT");
    assert!(world.purges() <= 2, "{} purges of the same group", world.purges());
}

#[test]
fn a_flood_becomes_a_few_purges() {
    let world = World::start("purge_header_wait = \"10s\"");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let world = &world;
            scope.spawn(move || {
                for number in 0..25 {
                    let ask = format!("Cache-Group-Invalidation: \"group-{thread}-{number}\"");
                    assert_eq!(world.change("POST", "200", &ask).status, 200);
                }
            });
        }
    });
    // Each of the threads waits for its commit, so there are about as many purges as requests of one thread.
    let purges = world.purges();
    assert!((1..100).contains(&purges), "{purges} purges for 200 responses");
}
