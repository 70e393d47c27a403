//! F7: credentials are revoked, and a reload brings new ones.

use super::{Cdns, Checker, Client, count};
use crate::harness::eventually;
use crate::harness::http::Request;
use crate::harness::shim::Shim;
use std::thread;
use std::time::Duration;

/// The CDNs that have credentials.
const GUARDED: [&str; 4] = ["fastly", "akamai", "cloudflare", "cloudfront"];

/// Makes every API accept only new credentials. Returns the old and the new ones.
fn rotate(cdns: &Cdns, round: usize) -> Vec<(String, String)> {
    let mut changed = Vec::new();
    let mut replace = |secret: &mut String, prefix: &str| {
        let old = std::mem::replace(secret, format!("{prefix}rotated-secret-{round:03}"));
        changed.push((old, secret.clone()));
    };
    cdns.fastly.change(|fastly| replace(&mut fastly.token.value, "fastly-"));
    cdns.akamai.change(|akamai| replace(&mut akamai.client_secret, "akamai-"));
    cdns.cloudflare.change(|cloudflare| replace(&mut cloudflare.token, "cfut_"));
    cdns.cloudfront.change(|cloudfront| replace(&mut cloudfront.secret_access_key, "aws-"));
    changed
}

fn paused(shim: &Shim) -> Vec<String> {
    let site = shim.call(Request::get("/v1/sites/www")).json();
    let cdns = site["cdns"].as_array().unwrap().iter().filter(|cdn| cdn["paused"] == true);
    cdns.map(|cdn| cdn["name"].as_str().unwrap().to_owned()).collect()
}

/// Whether metrics and readiness report that this CDN is paused.
fn is_told(shim: &Shim, cdn: &str) -> bool {
    let metrics = shim.call(Request::get("/metrics"));
    let ready = Request::get("/readyz").send(shim.admin);
    let metric = format!("origin_shim_purge_paused{{site=\"www\",cdn=\"{cdn}\"}} 1");
    metrics.text().lines().any(|line| line == metric) && ready.text().contains(&format!("www/{cdn}: "))
}

#[test]
fn f7_revoked_credentials_lose_nothing_and_new_ones_go_on() {
    let (rotations, revoked_for) = count((2, Duration::ZERO), (20, Duration::from_secs(60)));
    let cdns = Cdns::roomy();
    let shim = Shim::start(cdns.site(crate::harness::free_address(), "max_purge_lag = \"1h\"", "0s"));
    shim.wait_until_healthy();
    let client = Client::of(&shim);
    let mut checker = Checker::new(&cdns, &client);
    for round in 0..rotations {
        let changed = rotate(&cdns, round);
        checker.learn_secrets();
        client.keep_asking(20, || {
            eventually("every CDN with credentials is paused", || (paused(&shim) == GUARDED).then_some(()));
            thread::sleep(revoked_for);
        });
        assert_eq!(client.purge(), Some(202), "accepted all the same");
        eventually("metrics and readiness say so", || {
            GUARDED.iter().all(|cdn| is_told(&shim, cdn)).then_some(())
        });
        for (old, new) in &changed {
            shim.edit(old, new);
        }
        shim.hang_up();
        checker.wait(&shim, Duration::from_secs(90));
        shim.wait_until_healthy();
    }
    println!("F7: {rotations} rotations, {revoked_for:?} each; {}", checker.check(&shim));
}
