//! `check --edge` passes for a working chain, and names the broken link of any other.

use crate::harness::chain::Chain;
use crate::harness::shim::{TOKEN, program};
use serde_json::Value;
use std::net::SocketAddr;

/// Returns the exit code, the state of each step, and the whole output.
fn check(chain: &Chain, connect: SocketAddr, url: &str) -> (Option<i32>, Vec<String>, Value) {
    let mut command = program();
    command.args(["check", "--json", "--wait", "2", "--edge", url, "--connect", &connect.to_string()]);
    command.args(["--admin", &format!("http://{}", chain.shim.admin)]).env("ORIGIN_SHIM_TOKEN", TOKEN);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    let found: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let steps = found["edge"]["steps"].as_array().unwrap();
    let states =
        steps.iter().map(|step| format!("{} {}", word(&step["name"]), word(&step["state"]))).collect();
    (output.status.code(), states, found)
}

const PAGE: &str = "http://www.example.test/products/42.html";

#[test]
fn a_chain_that_works_is_proved() {
    let chain = Chain::start("");
    for _ in 0..2 {
        let (code, states, found) = check(&chain, chain.varnish.address, PAGE);
        let all = ["reached ok", "opt-in ok", "cached ok", "purged ok", "fresh ok"];
        assert_eq!((code, states), (Some(0), all.map(str::to_owned).to_vec()), "{found}");
        assert!(found.to_string().contains("came through varnish"), "{found}");
    }
    // The last request of the check brought a fresh copy into the cache.
    assert_eq!(chain.see("/products/42.html"), "HIT /products/42.html 1");
}

#[test]
fn the_broken_link_is_named() {
    let chain = Chain::start("");
    let expect = |connect, url: &str, expected: &[&str], words: &str| {
        let (code, states, found) = check(&chain, connect, url);
        assert_eq!(
            (code, &states[..]),
            (Some(1), &expected.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{found}"
        );
        assert!(found.to_string().contains(words), "{words} is not in {found}");
    };
    let varnish = chain.varnish.address;
    expect(varnish, "http://nowhere.example.test/", &["site failed"], "has the host nowhere.example.test");
    expect(varnish, "http://www.example.test/missing", &["reached failed"], "answers 404");
    // The requests bypass the CDN.
    let past = ["reached ok", "opt-in failed", "cached failed", "purged ok", "fresh skipped"];
    expect(chain.shim.address, PAGE, &past, "X-Push-Invalidation: enabled");
    // This CDN cannot be purged.
    chain.gate.refuse();
    let stuck = ["reached ok", "opt-in unclear", "cached ok", "purged failed", "fresh skipped"];
    chain.see("/products/42.html");
    expect(varnish, PAGE, &stuck, "check --credentials");
}
