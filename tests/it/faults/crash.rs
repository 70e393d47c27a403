//! A purge that got a 202 reaches the CDN even if the process is killed.

use crate::harness::chain::Chain;
use crate::harness::eventually;
use serde_json::json;

#[test]
fn a_purge_accepted_before_a_kill_arrives_after_the_restart() {
    let mut chain = Chain::start("");
    for expected in ["MISS home 1", "HIT home 1"] {
        assert_eq!(chain.see("/"), expected);
    }
    chain.nginx.publish("/index.html", "home 2");

    // The CDN does not answer, so the shim cannot finish. The kill may interrupt any step.
    chain.gate.close();
    let id = chain.shim.accept(&json!({"tags": ["home"]}));
    chain.shim.kill();
    assert_eq!(chain.see("/"), "HIT home 1", "nothing has been purged");

    chain.gate.open();
    chain.shim.start_again();
    let purge = eventually("the purge is done", || {
        Some(chain.shim.look_up(&id)).filter(|purge| purge["state"] == "done")
    });
    let attempts = purge["jobs"][0]["attempts"].as_array().unwrap();
    assert_eq!(attempts.last().unwrap()["status"], 200, "{purge}");
    assert_eq!(chain.see("/"), "MISS home 2");
}

#[test]
fn a_purge_killed_while_it_was_sent_is_sent_again() {
    let mut chain = Chain::start("");
    chain.see("/");
    chain.nginx.publish("/index.html", "home 2");
    chain.gate.close();
    let id = chain.shim.accept(&json!({"paths": ["/"]}));
    eventually("the purge is under way", || (chain.gate.held() > 0).then_some(()));
    chain.shim.kill();
    assert_eq!(chain.see("/"), "HIT home 1");

    chain.gate.open();
    chain.shim.start_again();
    eventually("the purge is done", || (chain.shim.look_up(&id)["state"] == "done").then_some(()));
    assert_eq!(chain.see("/"), "MISS home 2");
}

#[test]
fn ended_purges_are_not_sent_again_by_a_restart() {
    let mut chain = Chain::start("");
    chain.shim.purge(&json!({"tags": ["home"]}));
    chain.shim.kill();
    chain.shim.start_again();
    chain.shim.wait_until_healthy();
    assert_eq!(chain.see("/"), "MISS home 1");
    // This purge is the only one sent, because earlier ones would have been sent first.
    chain.shim.purge(&json!({"tags": ["blog"]}));
    assert_eq!(chain.see("/"), "HIT home 1");
}
