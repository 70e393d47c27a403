//! The store cannot be opened, its disk is full, its file is gone, or every CDN is down. Proxying goes on
//! without a failed request, the responses have short lifetimes, no purge is accepted that could be lost, and
//! the shim recovers by itself.

use crate::harness::fake_cdn::{Akamai, Cloudflare, Cloudfront, FakeCdn, Fastly, Fault, Faults, Node};
use crate::harness::http::{Answer, Request};
use crate::harness::program::{Mounts, Place, Program};
use crate::harness::scripted::Origin;
use crate::harness::site::Site;
use crate::harness::wire::{Wire, get_with, status};
use crate::harness::{HOST, eventually};
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const TOKEN: &str = "degraded-test-token-0123";
const EDGE: &str = "max-age=172800";
/// The origin's lifetime, which the fallback never exceeds.
const FALLBACK: &str = "max-age=60";
const OPT_IN: &str = "x-push-invalidation: enabled\r\nx-byo-cdn-type: varnish\r\n";

fn origin() -> Origin {
    Origin::answering("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 2\r\n\r\nok")
}

fn configuration(place: &Place, store: &str, origin: SocketAddr, cdns: &[String]) -> String {
    let site = Site::www(origin).host("www.example.com").cache("max_purge_lag = \"1s\"");
    let site = cdns.iter().fold(site, |site, cdn| site.cdn(cdn));
    format!(
        "[server]\nlisten = [\"{}\"]\nworkers = 2\n[admin]\nlisten = \"{}\"\nhosts = [\"{HOST}\"]\n[[admin.tokens]]\nname = \"test\"\n\
         token = \"literal:{TOKEN}\"\nscopes = [\"read\", \"purge\"]\n[store]\nurl = \"sqlite:{store}\"\n{site}",
        place.address, place.admin
    )
}

/// Visitors who send requests over kept connections without a pause, whatever else happens.
struct Visitors {
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Visitors {
    fn of(program: &Program) -> Self {
        let (answered, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let address = program.address;
        let threads = (0..4).map(|_| {
            let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut wire = Wire::connect(address);
                while !stop.load(Ordering::SeqCst) {
                    let (head, body) = wire.request(&get_with("/", OPT_IN));
                    assert_eq!((status(&head), body.as_str()), (200, "ok"), "{head}");
                    answered.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
            })
        });
        Self { threads: threads.collect(), answered, stop }
    }

    /// Returns after this many more requests were answered.
    fn go_on(&self, more: u64) {
        let target = self.answered.load(Ordering::SeqCst) + more;
        eventually("visitors are answered", || {
            let failed = self.threads.iter().any(|thread| thread.is_finished());
            (failed || self.answered.load(Ordering::SeqCst) >= target).then_some(())
        });
        assert!(!self.threads.iter().any(|thread| thread.is_finished()), "a visitor was not answered");
    }

    fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn purge(program: &Program) -> Answer {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let request = Request { body: br#"{"tags": ["a"]}"#, ..Request::get("/v1/sites/www/purges") };
    request.method("POST").headers(&headers).send(program.admin)
}

/// Returns the reasons that `/readyz` reports. None of them turns off proxying.
fn degraded(program: &Program) -> Vec<String> {
    let ready = Request::get("/readyz").send(program.admin);
    assert_eq!(ready.status, 200, "{}", ready.text());
    serde_json::from_value(ready.json()["degraded"].clone()).unwrap()
}

fn edge_ttl(program: &Program, cdn: &str) -> String {
    let headers = [("x-push-invalidation", "enabled"), ("x-byo-cdn-type", cdn)];
    let answer = Request::get("/").headers(&headers).send(program.address);
    answer.header("surrogate-control").to_owned()
}

fn is_well(program: &Program) {
    eventually("all is well", || degraded(program).is_empty().then_some(()));
    eventually("lifetimes are long", || (edge_ttl(program, "varnish") == EDGE).then_some(()));
    assert_eq!(purge(program).status, 202);
}

/// Waits until the store fails, and checks that no purge is accepted for as long as that lasts.
fn store_fails(program: &Program, visitors: &Visitors, why: &str) {
    eventually("a purge is refused", || {
        let answer = purge(program);
        assert!(matches!(answer.status, 202 | 503), "{answer:?}");
        (answer.status == 503).then_some(())
    });
    let named = eventually("readiness names it", || {
        degraded(program).into_iter().find(|reason| reason.contains(why))
    });
    eventually("lifetimes are short", || (edge_ttl(program, "varnish") == FALLBACK).then_some(()));
    for _ in 0..3 {
        let refused = purge(program);
        assert_eq!((refused.status, refused.header("content-type")), (503, "application/problem+json"));
        visitors.go_on(50);
    }
    println!("{named}");
}

#[test]
fn a_store_that_cannot_be_opened_costs_long_lifetimes_and_nothing_else() {
    let (origin, cdn) = (origin(), FakeCdn::start(Node::default()));
    let program = Program::start(|place| {
        // A file is in the place of the store's directory.
        fs::write(place.dir.join("data"), "").unwrap();
        configuration(place, "data/store.db", origin.address, &[cdn.settings()])
    });
    let visitors = Visitors::of(&program);
    store_fails(&program, &visitors, "the store cannot be opened");
    fs::remove_file(program.dir().join("data")).unwrap();
    fs::create_dir(program.dir().join("data")).unwrap();
    is_well(&program);
    visitors.end();
}

#[test]
fn a_store_whose_file_is_gone_promises_nothing_until_it_is_back() {
    let (origin, cdn) = (origin(), FakeCdn::start(Node::default()));
    let program = Program::start(|place| configuration(place, "store.db", origin.address, &[cdn.settings()]));
    let visitors = Visitors::of(&program);
    is_well(&program);
    let (store, aside) = (program.dir().join("store.db"), program.dir().join("aside"));
    fs::rename(&store, &aside).unwrap();
    store_fails(&program, &visitors, "was removed or replaced");
    fs::rename(&aside, &store).unwrap();
    is_well(&program);
    visitors.end();
}

/// The store is on a disk of its own, which is temporarily full of something else.
#[test]
fn a_full_disk_costs_long_lifetimes_and_nothing_else() {
    let Some(mounts) = Mounts::allowed() else { return };
    let (origin, cdn) = (origin(), FakeCdn::start(Node::default()));
    let program = Program::start_with(
        |place, program| {
            let disk = place.dir.join("disk");
            fs::create_dir(&disk).unwrap();
            mounts.launch(program, &[&format!("-t tmpfs -o size=2m tmpfs {}", disk.display())])
        },
        |place| configuration(place, "disk/store.db", origin.address, &[cdn.settings()]),
    );
    let visitors = Visitors::of(&program);
    is_well(&program);
    let filler = program.seen(&program.dir().join("disk/filler"));
    // This fills all the space that is left.
    assert!(fs::write(&filler, vec![0; 4 << 20]).is_err());
    store_fails(&program, &visitors, "full");
    fs::remove_file(&filler).unwrap();
    is_well(&program);
    visitors.end();
}

#[test]
fn with_every_cdn_down_purges_wait_and_lifetimes_are_short() {
    let origin = origin();
    let (fastly, akamai) = (FakeCdn::start(Fastly::default()), FakeCdn::start(Akamai::default()));
    let (cloudflare, cloudfront) =
        (FakeCdn::start(Cloudflare::default()), FakeCdn::start(Cloudfront::default()));
    let varnish = FakeCdn::start(Node::default());
    let settings = [
        fastly.settings(),
        akamai.settings(),
        cloudflare.settings(),
        cloudfront.settings(),
        varnish.settings(),
    ];
    let misbehave = |faults: Faults| {
        fastly.misbehave(faults);
        akamai.misbehave(faults);
        cloudflare.misbehave(faults);
        cloudfront.misbehave(faults);
        varnish.misbehave(faults);
    };
    let program = Program::start(|place| configuration(place, "store.db", origin.address, &settings));
    let visitors = Visitors::of(&program);
    eventually("every CDN is healthy", || degraded(&program).is_empty().then_some(()));
    for cdn in ["varnish", "fastly"] {
        eventually("lifetimes are long", || (edge_ttl(&program, cdn) == EDGE).then_some(()));
    }

    misbehave(Faults::always(Fault::Unavailable));
    let accepted = purge(&program);
    assert_eq!(accepted.status, 202, "the store has it: {}", accepted.text());
    eventually("readiness names every CDN", || (degraded(&program).len() == settings.len()).then_some(()));
    for cdn in ["varnish", "fastly"] {
        eventually("lifetimes are short", || (edge_ttl(&program, cdn) == FALLBACK).then_some(()));
    }
    visitors.go_on(200);

    misbehave(Faults::default());
    let id = accepted.json()["id"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {TOKEN}");
    eventually("what was accepted arrives", || {
        let headers = [("authorization", bearer.as_str())];
        let state = Request::get(&format!("/v1/purges/{id}")).headers(&headers).send(program.admin);
        (state.json()["state"] == "done").then_some(())
    });
    is_well(&program);
    visitors.end();
}
