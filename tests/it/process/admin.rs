//! The operations that administrators perform on a running shim. The program is real. A CDN node answers as the
//! test chooses.

use crate::harness::http::{Download, Request};
use crate::harness::origin::{self, Exchange};
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::{PATIENCE, eventually, free_address};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A node with the purge protocol of the VCL that the project ships.
struct Node {
    address: SocketAddr,
    /// The status of its answers to purges. Its checks always succeed, unless this is 403.
    status: Arc<AtomicU16>,
    /// The tags of each purge.
    purged: Arc<Mutex<Vec<String>>>,
}

impl Node {
    fn start() -> Self {
        let (status, purged) = (Arc::new(AtomicU16::new(200)), Arc::new(Mutex::new(Vec::new())));
        let (answers, seen) = (status.clone(), purged.clone());
        let address = origin::serve(move |mut exchange: Exchange| {
            let tags = exchange.asked.header("xkey-purge").to_owned();
            let status = answers.load(Ordering::SeqCst);
            let is_check = tags.starts_with("origin-shim-check")
                || exchange.asked.header("x-ban-host").starts_with("origin-shim-check");
            if !is_check {
                seen.lock().unwrap().push(tags);
            }
            let status = if is_check && status != 403 { 200 } else { status };
            exchange.answer(status, &[("x-purged".to_owned(), "1".to_owned())], "");
        });
        Self { address, status, purged }
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Whether a purge of this tag arrived.
    fn saw(&self, tag: &str) -> bool {
        self.purged.lock().unwrap().iter().any(|tags| tags.split(' ').any(|seen| seen == tag))
    }
}

/// A shim with one CDN, and the node behind it.
fn start() -> (Shim, Node) {
    start_with("")
}

/// Does the same with a further line in `[sites.cache]`.
fn start_with(cache: &str) -> (Shim, Node) {
    let node = Node::start();
    let shim = Shim::start(site(node.address).cache(&format!("edge_ttl = \"1d\"\n{cache}")));
    shim.wait_until_healthy();
    (shim, node)
}

fn site(node: SocketAddr) -> Site {
    let origin = origin::serve(|mut exchange: Exchange| {
        exchange.answer(200, &[("cache-control".to_owned(), "max-age=60".to_owned())], "page");
    });
    let cdn = format!("type = \"varnish\"\nrepeat_after = \"0s\"\napi_urls = [\"http://{node}\"]");
    Site::www(origin).cdn(&cdn)
}

fn edge_ttl(shim: &Shim) -> String {
    shim.as_cdn("varnish", "/").header("surrogate-control").to_owned()
}

fn act(shim: &Shim, method: &str, path: &str) -> (u16, Value) {
    let answer = shim.call(Request::get(path).method(method));
    (answer.status, answer.json())
}

fn wait_for(shim: &Shim, id: &str, state: &str) -> Value {
    eventually(&format!("the purge is {state}"), || {
        Some(shim.look_up(id)).filter(|purge| purge["state"] == state)
    })
}

fn cdn(shim: &Shim) -> Value {
    shim.call(Request::get("/v1/sites/www")).json()["cdns"][0].clone()
}

fn metric(shim: &Shim, name: &str) -> String {
    let text = shim.call(Request::get("/metrics"));
    let line = text.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_default().to_owned()
}

#[test]
fn a_signal_or_a_call_reloads_and_a_broken_file_changes_nothing() {
    let (shim, _node) = start();
    assert_eq!(edge_ttl(&shim), "max-age=86400");

    shim.edit("edge_ttl = \"1d\"", "edge_ttl = \"3d\"");
    shim.hang_up();
    eventually("the new lifetime counts", || (edge_ttl(&shim) == "max-age=259200").then_some(()));

    shim.edit("edge_ttl = \"3d\"", "edge_ttl = \"3 fortnights\"");
    shim.hang_up();
    eventually("the broken file is refused", || {
        (metric(&shim, "origin_shim_config_reloads_total{result=\"refused\"}") == "1").then_some(())
    });
    let (status, problem) = act(&shim, "POST", "/v1/reload");
    assert_eq!((status, &problem["type"]), (422, &json!("urn:origin-shim:problem:configuration")));
    let error = &problem["errors"][0];
    assert!(error["item"].as_str().unwrap().contains("origin-shim.toml:"), "{problem}");
    assert!(error["message"].as_str().unwrap().contains("sites[0].cache.edge_ttl"), "{problem}");
    assert_eq!(edge_ttl(&shim), "max-age=259200", "the last good one stays");

    shim.edit("edge_ttl = \"3 fortnights\"", "edge_ttl = \"5d\"");
    shim.edit("workers = 2", "workers = 3");
    let (status, answer) = act(&shim, "POST", "/v1/reload");
    assert_eq!(status, 200, "{answer}");
    let changes = json!([
        {"key": "server.workers", "change": "changed"},
        {"key": "sites.www.cache.edge_ttl", "change": "changed"},
    ]);
    assert_eq!((&answer["changes"], &answer["restart_needed"]), (&changes, &json!(["server.workers"])));
    assert_eq!(edge_ttl(&shim), "max-age=432000");
    assert_eq!(metric(&shim, "origin_shim_config_reloads_total{result=\"accepted\"}"), "2");

    // Changed listeners need no restart.
    let (known, more) = (shim.address.to_string(), free_address());
    shim.edit(&format!("listen = [\"{known}\"]"), &format!("listen = [\"{known}\", \"{more}\"]"));
    let (status, answer) = act(&shim, "POST", "/v1/reload");
    assert_eq!((status, &answer["restart_needed"]), (200, &json!(["server.workers"])), "{answer}");
    assert_eq!(Request::get("/").send(more).status, Request::get("/").send(shim.address).status);
}

#[test]
fn refused_credentials_keep_the_queue_until_a_reload_brings_good_ones() {
    let (shim, node) = start();
    node.answer(403);
    let id = shim.accept(&json!({"tags": ["kept"]}));
    wait_for(&shim, &id, "paused");
    assert_eq!(cdn(&shim)["healthy"], false);

    // An additional node does not change the identity of the CDN. A replaced node would.
    let good = Node::start();
    node.answer(200);
    let nodes = format!("http://{}\", \"http://{}", node.address, good.address);
    shim.edit(&format!("http://{}", node.address), &nodes);
    let (status, answer) = act(&shim, "POST", "/v1/reload");
    assert_eq!((status, &answer["changes"][0]["key"]), (200, &json!("sites.www.cdns.varnish.api_urls")));
    wait_for(&shim, &id, "done");
    assert!(good.saw("kept"));
    shim.wait_until_healthy();
}

#[test]
fn a_failure_is_loud_until_it_is_retried_or_acknowledged() {
    let (shim, node) = start();
    for (verb, tag) in [("retry", "again"), ("acknowledge", "never")] {
        node.answer(400);
        let id = shim.accept(&json!({"tags": [tag]}));
        let purge = wait_for(&shim, &id, "failed");
        assert_eq!(purge["jobs"][0]["unacknowledged"], true);
        eventually("the failure speaks against the CDN", || (cdn(&shim)["healthy"] == false).then_some(()));
        let fallback = edge_ttl(&shim);
        assert_eq!(fallback, "max-age=60", "no long lifetime that a purge cannot take back");

        node.answer(200);
        let (status, purge) = act(&shim, "POST", &format!("/v1/purges/{id}/{verb}"));
        assert_eq!(status, 200, "{purge}");
        let state = if verb == "retry" { "done" } else { "failed" };
        let purge = wait_for(&shim, &id, state);
        assert_eq!(purge["jobs"][0]["unacknowledged"], false, "{purge}");
        shim.wait_until_healthy();
        eventually("long lifetimes are back", || (edge_ttl(&shim) == "max-age=86400").then_some(()));
    }
}

#[test]
fn a_cancelled_purge_is_not_sent_again() {
    let (shim, node) = start();
    node.answer(503);
    let id = shim.accept(&json!({"tags": ["unwanted"]}));
    wait_for(&shim, &id, "retrying");
    let (status, purge) = act(&shim, "DELETE", &format!("/v1/purges/{id}"));
    assert_eq!((status, &purge["state"]), (200, &json!("cancelled")), "{purge}");

    node.answer(200);
    node.purged.lock().unwrap().clear();
    shim.purge(&json!({"tags": ["wanted"]}));
    assert!(node.saw("wanted") && !node.saw("unwanted"));
    assert_eq!(shim.look_up(&id)["state"], "cancelled");
    shim.wait_until_healthy();
}

#[test]
fn a_paused_cdn_stays_paused_over_a_restart() {
    let (mut shim, node) = start();
    let pause = br#"{"reason": "maintenance of the edge"}"#;
    let request = Request { body: pause, ..Request::get("/v1/sites/www/cdns/varnish/pause") };
    let answer = shim.call(request.method("POST"));
    assert_eq!((answer.status, &answer.json()["paused"]), (200, &json!(true)));
    let id = shim.accept(&json!({"tags": ["later"]}));

    shim.kill();
    shim.start_again();
    eventually("the reason is shown", || {
        let reasons = cdn(&shim)["reasons"].to_string();
        reasons.contains("maintenance of the edge").then_some(())
    });
    assert_eq!(shim.look_up(&id)["state"], "paused");
    assert!(!node.saw("later"));

    assert_eq!(act(&shim, "POST", "/v1/sites/www/cdns/varnish/resume").0, 200);
    wait_for(&shim, &id, "done");
    shim.wait_until_healthy();
}

#[test]
fn events_show_the_life_of_a_purge() {
    let (shim, node) = start_with("max_purge_lag = \"1s\"");
    let mut events = Events::listen(&shim);
    assert_eq!(events.find("health", |_| true)["healthy"], true);

    node.answer(503);
    let id = shim.accept(&json!({"tags": ["followed"]}));
    let purge = events.find("purge", |_| true);
    assert_eq!((&purge["id"], &purge["state"]), (&json!(id), &json!("pending")));
    // The events may come in either order.
    let (mut unhealthy, mut retrying) = (false, false);
    while !unhealthy || !retrying {
        let (name, data) = events.next();
        unhealthy |= name == "health" && data["healthy"] == false;
        retrying |=
            name == "job" && data["state"] == "retrying" && data["purge"] == id && data["cdn"] == "varnish";
    }

    node.answer(200);
    let job = events.find("job", |job| job["state"] == "done");
    assert_eq!((&job["purge"], &job["purge_ended"]), (&json!(id), &json!("done")));
    assert_eq!(events.find("health", |_| true)["healthy"], true);

    assert_eq!(act(&shim, "POST", "/v1/reload").0, 200);
    assert_eq!(events.find("reload", |_| true)["accepted"], true);
}

/// A listener to `GET /v1/events`.
struct Events(BufReader<Download>);

impl Events {
    fn listen(shim: &Shim) -> Self {
        let download = shim.open(Request::get("/v1/events"));
        assert_eq!(download.head.header("content-type"), "text/event-stream");
        Self(BufReader::new(download))
    }

    /// Returns the next event, as its name and its data.
    fn next(&mut self) -> (String, Value) {
        let (mut event, started) = (String::new(), Instant::now());
        loop {
            // The stream contains a comment now and then, so that a read always ends.
            assert!(started.elapsed() < PATIENCE, "no event came");
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
            if let Some(name) = line.strip_prefix("event: ") {
                event = name.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (event, serde_json::from_str(data).unwrap());
            }
        }
    }

    /// Returns the data of the next matching event of this name, and skips all others.
    fn find(&mut self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let (event, data) = self.next();
            if event == name && wanted(&data) {
                return data;
            }
            assert!(started.elapsed() < PATIENCE, "no such {name} came");
        }
    }
}

#[test]
fn a_store_that_cannot_be_opened_is_opened_later() {
    let (mut shim, _node) = start();
    shim.kill();
    let lock = File::create(shim.config.with_file_name("store.db-lock")).unwrap();
    lock.lock().unwrap();
    shim.start_again();

    let refused = shim.post_purge(&json!({"tags": ["early"]}), &[]);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("retry-after"), "5");
    assert!(shim.call(Request::get("/readyz")).text().contains("the store cannot be opened"));
    assert_eq!(
        edge_ttl(&shim),
        "max-age=1",
        "whoever has the store may accept purges of which this one does not hear"
    );

    lock.unlock().unwrap();
    shim.wait_until_healthy();
    shim.purge(&json!({"tags": ["now"]}));
    assert_eq!(shim.call(Request::get("/readyz")).json()["degraded"], json!([]));
}

#[test]
fn without_a_store_proxying_goes_on_with_the_short_lifetime() {
    let (mut shim, _node) = start();
    shim.kill();
    let store = shim.config.with_file_name("store.db");
    std::fs::rename(&store, store.with_extension("aside")).unwrap();
    std::fs::create_dir(&store).unwrap();
    shim.start_again();
    assert_eq!(shim.post_purge(&json!({"tags": ["early"]}), &[]).status, 503);
    assert_eq!(edge_ttl(&shim), "max-age=60");

    std::fs::remove_dir(&store).unwrap();
    std::fs::rename(store.with_extension("aside"), &store).unwrap();
    shim.wait_until_healthy();
}
