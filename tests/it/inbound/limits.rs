//! Who may use a listener, and what becomes of purges that come twice or cannot be kept.

use super::*;
use crate::harness::program::Program;
use serde_json::json;
use std::thread;

#[test]
fn other_networks_purge_nothing() {
    let world = World::start(&[
        &format!("{FASTLY}\nallow = [\"192.0.2.0/24\"]"),
        "listen = [\"{}\"]\nprotocol = \"webhook\"\nallow = [\"192.0.2.0/24\"]\n[[inbound.hooks]]\nname = \"all\"\nsite = \"www\"\neverything = true",
    ]);
    let [fastly, webhook] = world.listeners[..] else { panic!("two listeners") };
    let all = || call(fastly, "POST", "/service/www/purge_all", &[("fastly-key", TOKEN)], "");
    assert_eq!(all().status, 403);
    assert!(all().json()["detail"].as_str().unwrap().contains("inbound.allow"), "{}", all().text());
    assert_eq!(call(webhook, "POST", "/all", &[], "{}").status, 403);
    assert_eq!(world.purges(), 0);
    // A reload applies to listeners that are open.
    let text = std::fs::read_to_string(&world.shim.config).unwrap();
    std::fs::write(&world.shim.config, text.replace("192.0.2.0/24", "127.0.0.0/8")).unwrap();
    let reloaded = world.shim.call(Request::get("/v1/reload").method("POST"));
    assert_eq!(
        (reloaded.status, &reloaded.json()["restart_needed"]),
        (200, &json!([])),
        "{}",
        reloaded.text()
    );
    assert_eq!(all().status, 200);
    assert_eq!(call(webhook, "POST", "/all", &[], "{}").json()["purged"], true);
    let metrics = world.shim.call(Request::get("/metrics")).text().to_owned();
    let line =
        "origin_shim_inbound_requests_total{protocol=\"fastly\",client=\"other\",outcome=\"accepted\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[test]
fn one_purge_at_several_addresses_is_one() {
    let two = "listen = [\"{}\", \"{}\"]\nprotocol = \"fastly\"";
    let world = World::start(&[two, FASTLY]);
    let purge = |to: SocketAddr| {
        let answer = call(to, "POST", "/service/www/purge/news", &[("fastly-key", TOKEN)], "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let ids: Vec<String> = thread::scope(|scope| {
        let all: Vec<_> = world.listeners.iter().map(|to| scope.spawn(|| purge(*to))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(world.purges(), 1);
    // At the same address, it is another one.
    assert_ne!(purge(world.listeners[0]), ids[0]);
    assert_eq!(world.purges(), 2);
}

#[test]
fn what_cannot_be_kept_is_not_accepted() {
    let listener = free_address();
    let program = Program::start(|place| {
        format!(
            "[server]\nlisten = [\"{}\"]\n[admin]\nlisten = \"{}\"\nhosts = [\"{HOST}\"]\n\
             [[admin.tokens]]\nname = \"test\"\ntoken = \"literal:{TOKEN}\"\nscopes = [\"purge\", \"purge-everything\"]\n\
             [store]\nurl = \"sqlite:/proc/absent/store.db\"\n\
             [[inbound]]\nlisten = [\"{listener}\"]\nprotocol = \"fastly\"\n{}",
            place.address,
            place.admin,
            Site::www("127.0.0.1:9").varnish_at("127.0.0.1:9"),
        )
    });
    let answer = call(listener, "POST", "/service/www/purge_all", &[("fastly-key", TOKEN)], "");
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{}", answer.text());
    assert!(answer.json()["msg"].is_string());
    drop(program);
}

/// One save in a content management system may purge hundreds of pages, each by a request of its own.
#[test]
fn a_burst_leaves_in_few_calls() {
    const BURST: usize = 300;
    let world = World::start(&[FASTLY]);
    let to = world.listeners[0];
    thread::scope(|scope| {
        for number in 0..BURST {
            scope.spawn(move || {
                let target = format!("/service/www/purge/product-{number}");
                let answer = call(to, "POST", &target, &[("fastly-key", TOKEN)], "");
                assert_eq!(answer.status, 200, "{}", answer.text());
            });
        }
    });
    eventually("all purges are done", || {
        let metrics = world.shim.call(Request::get("/metrics")).text().to_owned();
        let done = "origin_shim_purges_total{site=\"www\",state=\"done\"} 300";
        let calls = "origin_shim_cdn_calls_total{site=\"www\",cdn=\"varnish\",outcome=\"done\"} ";
        metrics.contains(done).then(|| {
            let calls = metrics.lines().find_map(|line| line.strip_prefix(calls)).unwrap();
            // The first purges leave at once, and the others in batches.
            assert!(calls.parse::<usize>().unwrap() <= BURST / 3, "{calls} calls");
        })
    });
}
