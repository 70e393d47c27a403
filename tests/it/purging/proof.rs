//! Checks that a CDN really purges. A 200 is not enough, because a node that has not purged may also answer
//! 200. The node is a real Varnish whose VCL is replaced while the shim runs. Its origin answers every method
//! with a page.

use crate::harness::fake_cdn::{FakeCdn, Fastly};
use crate::harness::http::Request;
use crate::harness::origin::{self, Exchange};
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use crate::harness::varnish::{Varnish, shipped};
use crate::harness::{HOST, eventually};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A shim behind a Varnish that runs this VCL.
fn start(vcl: impl Fn(SocketAddr) -> String) -> (Shim, Varnish) {
    let origin = origin::serve(|mut exchange: Exchange| {
        exchange.answer(200, &[("cache-control".to_owned(), "max-age=60".to_owned())], "a page");
    });
    Shim::start_behind(|address| {
        let varnish = Varnish::start(address);
        varnish.use_vcl(&vcl(address));
        let site = Site::www(origin).default_site().varnish(&varnish);
        (varnish, site)
    })
}

/// A VCL without any purging. Requests of unknown methods go to the origin.
fn foreign(backend: SocketAddr) -> String {
    format!(
        "vcl 4.1;\nbackend shim {{ .host = \"127.0.0.1\"; .port = \"{}\"; }}\nsub vcl_recv {{ return (pass); }}\n",
        backend.port()
    )
}

/// The VCL that the project shipped before it proved its bans.
fn older(backend: SocketAddr) -> String {
    let text = shipped(backend);
    let proof = "set req.http.x-purged = \"ban\";";
    assert_eq!(text.matches(proof).count(), 2);
    text.replace(proof, "")
}

fn cdn(shim: &Shim) -> Value {
    shim.call(Request::get("/v1/sites/www")).json()["cdns"][0].clone()
}

fn reasons(shim: &Shim) -> String {
    cdn(shim)["reasons"].to_string()
}

#[test]
fn a_varnish_whose_vcl_was_replaced_has_purged_nothing() {
    let (shim, varnish) = start(shipped);
    shim.wait_until_healthy();
    let purges = [
        json!({ "tags": ["a"] }),
        json!({ "urls": [format!("http://{HOST}/a")] }),
        json!({ "prefixes": ["/a/"] }),
        json!({ "paths": ["/a"], "mode": "soft" }),
    ];
    for purge in &purges {
        shim.purge(purge);
    }

    varnish.use_vcl(&foreign(shim.address));
    let ids: Vec<String> = purges.iter().map(|purge| shim.accept(purge)).collect();
    for id in &ids {
        let attempt = eventually("it was tried", || {
            Some(shim.look_up(id)["jobs"][0]["attempts"][0].clone()).filter(|attempt| !attempt.is_null())
        });
        assert_eq!((&attempt["outcome"], &attempt["status"]), (&json!("unproven"), &json!(200)), "{attempt}");
        let message = attempt["message"].as_str().unwrap();
        assert!(message.starts_with("200 without X-Purged"), "{message}");
        assert!(message.ends_with(": a page"), "{message}");
        assert_ne!(shim.look_up(id)["state"], "done");
    }
    eventually("it is unhealthy at once", || reasons(&shim).contains("a purge was not proved").then_some(()));
    assert_eq!(shim.as_cdn("varnish", "/").header("surrogate-control"), "max-age=60", "the origin's own");

    varnish.use_vcl(&shipped(shim.address));
    for id in &ids {
        eventually("it is purged", || (shim.look_up(id)["state"] == "done").then_some(()));
    }
    shim.wait_until_healthy();
}

#[test]
fn a_varnish_that_never_purged_is_unhealthy_from_the_start_and_the_log_says_so() {
    let (shim, varnish) = start(foreign);
    eventually("it is refused", || reasons(&shim).contains("node 1: 200 without X-Purged").then_some(()));
    let line = eventually("the log says so", || {
        let log = String::from_utf8_lossy(&shim.written()).into_owned();
        log.lines().find(|line| line.contains("the CDN is unhealthy")).map(str::to_owned)
    });
    assert!(line.contains("WARN") && line.contains("X-Purged"), "{line}");
    varnish.use_vcl(&shipped(shim.address));
    shim.wait_until_healthy();
}

#[test]
fn an_older_copy_of_our_vcl_is_told_so() {
    let (shim, varnish) = start(older);
    eventually("it is refused", || {
        reasons(&shim)
            .contains("a BAN is answered without X-Purged, as by a copy of config/varnish.vcl")
            .then_some(())
    });
    let check = |shim: &Shim| {
        let answer = shim.call(Request::get("/v1/sites/www/credentials/check").method("POST"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["cdns"][0].clone()
    };
    let report = check(&shim);
    assert_eq!(report["usable"], "no", "{report}");
    let finding = &report["findings"][0];
    assert!(finding["text"].as_str().unwrap().contains("not its bans"), "{report}");
    assert!(finding["advice"].as_str().unwrap().contains("config/varnish.vcl"), "{report}");

    varnish.use_vcl(&shipped(shim.address));
    assert_eq!(check(&shim)["usable"], "yes");
    shim.wait_until_healthy();
}

#[test]
fn a_token_that_is_refused_from_the_start_is_logged() {
    let cdn = FakeCdn::start(Fastly { revoked: true, ..Fastly::default() });
    let origin = origin::serve(|mut exchange: Exchange| exchange.answer(200, &[], "a page"));
    let shim = Shim::start(Site::www(origin).cdn(&cdn.settings()));
    let line = eventually("the log says so", || {
        let log = String::from_utf8_lossy(&shim.written()).into_owned();
        log.lines().find(|line| line.contains("the CDN is unhealthy")).map(str::to_owned)
    });
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains("Provided credentials are missing or invalid"), "{line}");
    // The message is logged one time only, because the state does not change.
    eventually("it was checked again", || (cdn.calls().len() > 2).then_some(()));
    let log = String::from_utf8_lossy(&shim.written()).into_owned();
    assert_eq!(log.matches("the CDN is unhealthy").count(), 1);
}
