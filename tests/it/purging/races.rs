//! Publishes at every moment of a fetch. The origin chooses its response when it gets the request, delays it,
//! and sends the body slowly. The CDN stores the response when all of it has arrived. After a purge is done,
//! nothing older stays in the cache, whatever the moment.

use crate::harness::http::Request;
use crate::harness::origin::{self, Exchange};
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::varnish::Varnish;
use crate::harness::{HOST, eventually, is_long};
use serde_json::json;
use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The number of trials that run at the same time.
const CROWD: usize = 30;
/// A time by which the guard's lifetime is over.
const LASTING: Duration = Duration::from_secs(4);

/// The pages' versions, which the tests change, and the requests that are being answered.
#[derive(Clone, Default)]
struct Pages(Arc<Mutex<HashMap<String, u32>>>);

impl Pages {
    fn version(&self, path: &str) -> u32 {
        *self.0.lock().unwrap().entry(path.to_owned()).or_insert(1)
    }

    fn publish(&self, path: &str) -> u32 {
        let mut pages = self.0.lock().unwrap();
        let version = pages.entry(path.to_owned()).or_insert(1);
        *version += 1;
        *version
    }

    fn serve(&self) -> SocketAddr {
        let pages = self.clone();
        origin::serve(move |mut exchange: Exchange| {
            let path = exchange.asked.line.split(' ').nth(1).unwrap().to_owned();
            // The origin chooses the response now and sends it later.
            let version = pages.version(&path);
            let body = format!("version {version} ") + &".".repeat(4_000);
            // Only the first version is slow, because only that one races.
            let Some((delay, trickle)) = times_of(&path).filter(|_| version == 1) else {
                let tag = ("surrogate-key".to_owned(), tag_of(&path));
                return exchange.answer(200, &[tag], &body);
            };
            thread::sleep(delay);
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\nsurrogate-key: {}\r\ncontent-length: {}\r\n\r\n",
                tag_of(&path),
                body.len()
            );
            let _ = exchange.writer.write_all(head.as_bytes());
            for part in body.as_bytes().chunks(body.len().div_ceil(8)) {
                thread::sleep(trickle / 8);
                if exchange.writer.write_all(part).is_err() {
                    return;
                }
            }
        })
    }
}

/// Returns the time until the head and the duration of the body, which the path has in milliseconds:
/// `/slow/300/500/name`.
fn times_of(path: &str) -> Option<(Duration, Duration)> {
    let mut parts =
        path.strip_prefix("/slow/")?.split('/').map(|part| part.parse().map(Duration::from_millis));
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

struct World {
    pages: Pages,
    shim: Shim,
    edges: Vec<Varnish>,
}

impl World {
    fn start(edges: usize, environment: &[(&str, &str)]) -> Self {
        let pages = Pages::default();
        let origin = pages.serve();
        let (shim, edges) = Shim::start_behind_in(environment, |address| {
            // Varnish stores a response when it is complete, as most CDNs with a shield do.
            let start = |_| Varnish::start_with(address, "set beresp.do_stream = false;");
            let edges: Vec<_> = (0..edges).map(start).collect();
            let cdn = |(number, edge): (usize, &Varnish)| {
                let api = edge.address;
                format!("name = \"edge-{number}\"\ntype = \"varnish\"\napi_urls = [\"http://{api}\"]")
            };
            let cdns = edges.iter().enumerate().map(cdn);
            let site = cdns.fold(Site::www(origin), |site, cdn| site.cdn(&cdn));
            (edges, site)
        });
        shim.wait_until_healthy();
        Self { pages, shim, edges }
    }

    /// Waits until the shim has rewritten the first response and the CDN has not stored it.
    fn until_one_is_on_its_way(&self) {
        eventually("the response is under way", || {
            let metrics = Request::get("/metrics").send(self.shim.admin);
            let begun = |line: &str| line.starts_with("origin_shim_origin_duration_seconds_count");
            let line = metrics.text().lines().find(|line| begun(line))?;
            (line.split(' ').nth(1)?.parse::<f64>().ok()? >= 1.0).then_some(())
        });
    }

    fn sees(&self, edge: usize, path: &str) -> String {
        let answer = Request::get(path).send(self.edges[edge].address);
        answer.text().split('.').next().unwrap().trim().to_owned()
    }

    /// Publishes one time, this long after all edges requested the page. Returns whether an old page stays.
    fn stays_stale(&self, path: &str, after: Duration, purge: &serde_json::Value) -> bool {
        thread::scope(|scope| {
            for edge in 0..self.edges.len() {
                scope.spawn(move || self.sees(edge, path));
            }
            thread::sleep(after);
            let version = self.pages.publish(path);
            self.shim.purge(purge);
            version
        });
        // All earlier requests have been answered.
        let fresh = format!("version {}", self.pages.version(path));
        let since = Instant::now();
        let is_stale = |edge: &usize| {
            while since.elapsed() < LASTING {
                if self.sees(*edge, path) == fresh {
                    return false;
                }
                thread::sleep(Duration::from_millis(100));
            }
            true
        };
        (0..self.edges.len()).filter(is_stale).count() > 0
    }

    /// The paths of `trials` publishes after which an old page stays: at moments spread over fetches of different
    /// length.
    fn stale_after(&self, trials: usize, longest_ms: usize) -> Vec<String> {
        let numbers: Vec<_> = (0..trials).collect();
        let mut stale = Vec::new();
        for crowd in numbers.chunks(CROWD) {
            thread::scope(|scope| {
                let trial = |number: &usize| {
                    let (number, step) = (*number, number % CROWD);
                    let delay = 100 + (longest_ms - 100) * (step * 7 % CROWD) / CROWD;
                    let trickle = 100 + 600 * (step * 11 % CROWD) / CROWD;
                    let path = format!("/slow/{delay}/{trickle}/{number}");
                    let after = (delay + trickle) * step * 11 / CROWD / 10;
                    let purge = match number % 3 {
                        0 => json!({"paths": [path]}),
                        1 => json!({"urls": [format!("http://{HOST}{path}")]}),
                        _ => json!({"tags": [tag_of(&path)]}),
                    };
                    scope.spawn(move || {
                        let after = Duration::from_millis(u64::try_from(after).unwrap());
                        self.stays_stale(&path, after, &purge).then_some(path)
                    })
                };
                let threads: Vec<_> = crowd.iter().map(trial).collect();
                stale.extend(threads.into_iter().filter_map(|thread| thread.join().unwrap()));
            });
        }
        stale
    }
}

/// The origin's own tag of a page.
fn tag_of(path: &str) -> String {
    path.replace('/', "-")
}

/// Proves that the other tests can fail.
#[test]
fn without_the_guard_old_pages_stay() {
    if !cfg!(debug_assertions) {
        return;
    }
    let world = World::start(1, &[("ORIGIN_SHIM_TEST_WITHOUT_GUARD", "1")]);
    let stale = world.stale_after(CROWD, 1_000);
    assert!(stale.len() > CROWD / 4, "{stale:?}");
}

#[test]
fn nothing_old_stays() {
    let (trials, longest_ms) = if is_long() { (500, 3_000) } else { (CROWD, 1_000) };
    let world = World::start(1, &[]);
    assert_eq!(world.stale_after(trials, longest_ms), Vec::<String>::new());
}

#[test]
fn nothing_old_stays_at_two_cdns() {
    let (trials, longest_ms) = if is_long() { (120, 3_000) } else { (CROWD, 1_000) };
    let world = World::start(2, &[]);
    assert_eq!(world.stale_after(trials, longest_ms), Vec::<String>::new());
}

/// Returns the number of calls to the CDN for a purge that is done.
fn calls(purge: &serde_json::Value, shim: &Shim) -> usize {
    let purge = shim.look_up(purge["id"].as_str().unwrap());
    purge["jobs"][0]["attempts"].as_array().unwrap().len()
}

#[test]
fn only_what_was_on_its_way_is_purged_again() {
    let world = World::start(1, &[]);
    let (trickling, quick) = ("/slow/0/5000/page", "/quick");
    thread::scope(|scope| {
        scope.spawn(|| world.sees(0, trickling));
        world.until_one_is_on_its_way();
        let other = world.shim.purge(&json!({"paths": ["/other"]}));
        assert_eq!(calls(&other, &world.shim), 1);
        world.pages.publish(trickling);
        let purge = world.shim.purge(&json!({"paths": [trickling, "/other"]}));
        let attempts = world.shim.look_up(purge["id"].as_str().unwrap())["jobs"][0]["attempts"].clone();
        assert_eq!((&attempts[0]["items"], &attempts[1]["items"]), (&json!(2), &json!(1)), "{attempts}");
    });
    assert_eq!(world.sees(0, trickling), "version 2");

    assert_eq!(world.sees(0, quick), "version 1");
    world.pages.publish(quick);
    eventually("nothing is on its way any more", || {
        (calls(&world.shim.purge(&json!({"paths": [quick]})), &world.shim) == 1).then_some(())
    });
    assert_eq!(world.sees(0, quick), "version 2");
}

#[test]
fn a_follow_up_survives_a_crash() {
    let mut world = World::start(1, &[]);
    let path = "/slow/0/60000/page";
    let edge = world.edges[0].address;
    let visitor = thread::spawn(move || Request::get(path).try_send(edge).map(|answer| answer.status));
    world.until_one_is_on_its_way();
    let id = world.shim.accept(&json!({"paths": [path]}));
    eventually("the CDN was called", || {
        let attempts = world.shim.look_up(&id)["jobs"][0]["attempts"].as_array().unwrap().len();
        (attempts > 0).then_some(())
    });
    assert_ne!(world.shim.look_up(&id)["state"], "done");
    world.pages.publish(path);
    world.shim.kill();
    world.shim.start_again();
    eventually("the purge ends", || (world.shim.look_up(&id)["state"] == "done").then_some(()));
    assert_eq!(world.shim.look_up(&id)["jobs"][0]["attempts"].as_array().unwrap().len(), 2);
    let _ = visitor.join().unwrap();
    eventually("the page is fresh", || (world.sees(0, path) == "version 2").then_some(()));
}

/// A crowd of publishes is under way when the program is killed. Whoever got a 202 gets what it promises, whoever did
/// not asks again; in the end nothing old is at the edge.
#[test]
fn nothing_old_stays_after_a_crash_among_publishes() {
    let mut world = World::start(1, &[]);
    let paths: Vec<_> =
        (0..CROWD).map(|number| format!("/slow/300/{}/{number}", 200 + 40 * number)).collect();
    let edge = world.edges[0].address;
    let (pages, shim) = (&world.pages, &world.shim);
    let accepted: Vec<Option<String>> = thread::scope(|scope| {
        for path in &paths {
            // These connections may break when the shim is killed.
            scope.spawn(move || Request::get(path).try_send(edge).is_ok());
        }
        let publish = |(number, path): (usize, &String)| {
            let path = path.clone();
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(25 * u64::try_from(number).unwrap()));
                pages.publish(&path);
                shim.try_accept(&json!({"paths": [path]}))
            })
        };
        let publishes: Vec<_> = paths.iter().enumerate().map(publish).collect();
        // The kill comes in the middle: some publishes have been accepted, and some have not.
        thread::sleep(Duration::from_millis(25 * CROWD as u64 / 2));
        shim.kill_now();
        publishes.into_iter().map(|publish| publish.join().unwrap()).collect()
    });
    world.shim.kill();
    world.shim.start_again();
    let again = |(id, path): (Option<String>, &String)| {
        id.unwrap_or_else(|| world.shim.accept(&json!({"paths": [path]})))
    };
    let ids: Vec<_> = accepted.into_iter().zip(&paths).map(again).collect();
    eventually("every purge is done", || {
        ids.iter().all(|id| world.shim.look_up(id)["state"] == "done").then_some(())
    });
    let since = Instant::now();
    for path in &paths {
        while world.sees(0, path) != "version 2" {
            assert!(since.elapsed() < LASTING, "{path} stays old");
            thread::sleep(Duration::from_millis(50));
        }
    }
}
