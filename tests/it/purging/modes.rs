//! Copies without tags: those of the modes `observe` and `off`, and those of opt-ins that were not trusted. A
//! real Varnish with the VCL that the project ships keeps them for as long as the origin allows, and every kind
//! of purge removes them.

use crate::harness::http::Request;
use crate::harness::origin::{self, Exchange};
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::varnish::Varnish;
use crate::harness::{HOST, eventually};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// The note in the response to every purge that did not rely on tags.
const WITHOUT_TAGS: &str = "copies without tags may be in this CDN";
/// The time after which the store has the news, which it gets once a second.
const TOLD: Duration = Duration::from_millis(2_500);

/// The version of every page.
#[derive(Clone, Default)]
struct Pages(Arc<AtomicU32>);

impl Pages {
    fn serve(&self) -> SocketAddr {
        let pages = self.clone();
        origin::serve(move |mut exchange: Exchange| {
            let path = exchange.asked.line.split(' ').nth(1).unwrap().to_owned();
            let version = pages.0.load(Ordering::Relaxed);
            // The origin chooses the response now and sends it later.
            if path.starts_with("/slow/") && version == 0 {
                thread::sleep(Duration::from_secs(2));
            }
            let headers = [("cache-control", "max-age=600"), ("surrogate-key", "product")]
                .map(|(name, value)| (name.into(), value.into()));
            exchange.answer(200, &headers, &format!("version {version}"));
        })
    }

    fn publish(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// visitor -> Varnish -> shim -> origin
struct World {
    pages: Pages,
    shim: Shim,
    varnish: Varnish,
}

impl World {
    fn start(keys: &str, more: &str) -> Self {
        let pages = Pages::default();
        let origin = pages.serve();
        let (shim, varnish) = Shim::start_behind(|address| {
            let varnish = Varnish::start(address);
            let site = Site::www(origin).keys(keys).tables(more).varnish(&varnish);
            (varnish, site)
        });
        shim.wait_until_healthy();
        Self { pages, shim, varnish }
    }

    /// Returns the source of the page and its version, for instance `HIT 3`.
    fn sees(&self, target: &str) -> String {
        let answer = Request::get(target).send(self.varnish.address);
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        format!("{} {}", answer.header("x-cache"), answer.text().trim_start_matches("version "))
    }

    /// Brings the page into the cache.
    fn cache(&self, target: &str) {
        let version = self.pages.0.load(Ordering::Relaxed);
        self.sees(target);
        assert_eq!(self.sees(target), format!("HIT {version}"), "{target}");
    }

    /// Publishes and purges. Asserts that these pages are new, and that the response reports how they were
    /// purged.
    fn refreshes(&self, purge: &Value, targets: &[&str]) -> Value {
        for target in targets {
            self.cache(target);
        }
        let version = self.pages.publish();
        for target in targets {
            assert_eq!(self.sees(target), format!("HIT {}", version - 1), "{target} is kept");
        }
        let purged = self.shim.purge(purge);
        for target in targets {
            assert_eq!(self.sees(target), format!("MISS {version}"), "{target} after {purge}: {purged}");
        }
        purged
    }

    fn refreshes_by_every_kind(&self) {
        let url = format!("http://{HOST}/blog/p?x=1");
        let table: [(Value, &[&str]); 5] = [
            (json!({"paths": ["/blog/p"]}), &["/blog/p", "/blog/p?x=1"]),
            (json!({"urls": [url]}), &["/blog/p?x=1"]),
            (json!({"tags": ["product"]}), &["/blog/p", "/blog/p?x=1", "/q"]),
            (json!({"prefixes": ["/blog/"]}), &["/blog/p", "/blog/p?x=1"]),
            (json!({"everything": true}), &["/blog/p", "/blog/p?x=1", "/q"]),
        ];
        for (purge, targets) in table {
            self.shim.purge(&json!({"everything": true}));
            let purged = self.refreshes(&purge, targets);
            // A purge by URL or native prefix relies on no tags, so it needs no note.
            let relies_on_tags = ["paths", "tags", "everything"].iter().any(|kind| purge.get(kind).is_some());
            assert_eq!(says_so(&purged), relies_on_tags, "{purge}: {purged}");
        }
    }

    /// Returns the time until which copies without tags may exist, or `None` if there are none.
    fn until(&self) -> Option<String> {
        let site = self.shim.call(Request::get("/v1/sites/www")).json();
        site["cdns"][0]["copies_without_tags_until"].as_str().map(str::to_owned)
    }

    fn reload(&self, from: &str, to: &str) {
        self.shim.edit(&format!("mode = \"{from}\""), &format!("mode = \"{to}\""));
        self.shim.hang_up();
        eventually("the mode has changed", || {
            let site = self.shim.call(Request::get("/v1/sites/www")).json();
            (site["mode"] == to).then_some(())
        });
    }
}

/// Whether the response reports that copies without tags were taken into account.
fn says_so(purge: &Value) -> bool {
    let notes = purge["jobs"][0]["fallback"].as_array().unwrap();
    notes.iter().any(|note| note.as_str().unwrap().contains(WITHOUT_TAGS))
}

#[test]
fn every_kind_of_purge_in_mode_observe() {
    let world = World::start("mode = \"observe\"", "");
    world.refreshes_by_every_kind();
    let purged = world.refreshes(&json!({"paths": ["/p"]}), &["/p"]);
    let note = format!("paths: purged by URL, too: {WITHOUT_TAGS} (mode observe)");
    assert_eq!(purged["jobs"][0]["fallback"], json!([note]));
    let answer = Request::get("/p").send(world.shim.address);
    assert_eq!(answer.header("surrogate-key"), "product", "nothing is changed");
}

#[test]
fn every_kind_of_purge_in_mode_off() {
    World::start("mode = \"off\"", "").refreshes_by_every_kind();
}

#[test]
fn after_a_switch_to_on_and_after_a_restart() {
    for mode in ["observe", "off"] {
        let mut world = World::start(&format!("mode = \"{mode}\""), "");
        assert_eq!(world.until(), None);
        world.cache("/p?x=1");
        world.cache("/q");
        world.cache("/r");
        let until = world.until().unwrap();
        world.reload(mode, "on");
        assert_eq!(world.until(), Some(until));
        let version = world.pages.publish();
        let purged = world.shim.purge(&json!({"paths": ["/p"]}));
        assert!(says_so(&purged), "{purged}");
        assert_eq!(world.sees("/p?x=1"), format!("MISS {version}"));
        assert_eq!(world.sees("/q"), "HIT 0", "of another path");

        thread::sleep(TOLD);
        world.shim.kill();
        world.shim.start_again();
        world.shim.wait_until_healthy();
        assert!(world.until().is_some());
        let purged = world.shim.purge(&json!({"paths": ["/q"]}));
        assert!(says_so(&purged), "{purged}");
        assert_eq!(world.sees("/q"), format!("MISS {version}"));
        assert_eq!(world.sees("/r"), "HIT 0");
        world.shim.purge(&json!({"tags": ["product"]}));
        assert_eq!(world.sees("/r"), format!("MISS {version}"));

        // Everything was purged, so no copies without tags are left, neither now nor after a restart.
        for again in [false, true] {
            if again {
                thread::sleep(TOLD);
                world.shim.kill();
                world.shim.start_again();
                world.shim.wait_until_healthy();
            }
            assert_eq!(world.until(), None);
            let purged = world.refreshes(&json!({"tags": ["product"]}), &["/r", "/p?x=1"]);
            assert!(!says_so(&purged), "{purged}");
        }
    }
}

#[test]
fn copies_with_tags_are_purged_after_a_switch_to_observe() {
    let world = World::start("mode = \"on\"", "");
    world.cache("/p?x=1");
    world.cache("/q?x=1");
    assert_eq!(world.until(), None, "those have tags");
    world.reload("on", "observe");
    world.cache("/p?y=2");
    let version = world.pages.publish();
    world.shim.purge(&json!({"paths": ["/p"]}));
    for target in ["/p?x=1", "/p?y=2"] {
        assert_eq!(world.sees(target), format!("MISS {version}"), "{target}");
    }
    assert_eq!(world.sees("/q?x=1"), "HIT 0");
}

#[test]
fn an_opt_in_that_is_not_believed() {
    // The VCL sends no secret.
    let world =
        World::start("", "[sites.opt_in]\ntrust = \"secret\"\nsecret = \"literal:edge-secret-0123456789\"\n");
    assert_eq!(world.until(), None);
    world.refreshes_by_every_kind();
    assert!(world.until().is_some());
}

/// A request without the opt-in header comes from a cache that nobody purges.
#[test]
fn where_every_copy_has_tags_purges_rely_on_them() {
    let world = World::start("", "");
    world.cache("/p");
    assert_eq!(Request::get("/p").send(world.shim.address).status, 200);
    let purged = world.refreshes(&json!({"paths": ["/p"], "tags": ["product"]}), &["/p", "/q"]);
    assert!(!says_so(&purged), "{purged}");
    assert_eq!(world.until(), None);
}

#[test]
fn what_is_on_its_way_is_purged_again() {
    let secret = "[sites.opt_in]\ntrust = \"secret\"\nsecret = \"literal:edge-secret-0123456789\"\n";
    for (keys, more) in [("mode = \"observe\"", ""), ("mode = \"off\"", ""), ("", secret)] {
        let world = World::start(keys, more);
        thread::scope(|scope| {
            scope.spawn(|| world.sees("/slow/p"));
            // The origin has chosen its response, and the shim does not have its lifetime yet.
            thread::sleep(Duration::from_millis(700));
            world.pages.publish();
            let purged = world.shim.purge(&json!({"paths": ["/slow/p"]}));
            assert!(says_so(&purged), "{keys}: {purged}");
        });
        let seen = world.sees("/slow/p");
        assert!(seen.ends_with(" 1"), "{keys}: {seen}");
    }
}
