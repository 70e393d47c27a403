//! F2: the process dies at each failpoint that a purge passes. `src/failpoint.rs` describes them.

use super::checker::carried;
use super::{Cdns, Checker, Client, count};
use crate::harness::eventually;
use crate::harness::http::Request;
use crate::harness::shim::Shim;
use std::time::Duration;

/// On the way: asked for, in the transaction, committed, answered; in the transaction of the claim, claimed, signed,
/// the CDN's answer is there, in the transaction of the settlement, settled; and the same of the repeat.
const POINTS: [&str; 12] = [
    "accepting",
    "writing",
    "committed",
    "answering",
    "claiming",
    "claimed",
    "sending",
    "replied",
    "settling",
    "settled",
    "repeating",
    "repeated",
];

#[test]
fn f2_what_was_accepted_survives_a_death_at_any_point() {
    let rounds = count(1, 20);
    let cdns = Cdns::roomy();
    let mut shim = Shim::start(cdns.site(crate::harness::free_address(), "max_purge_lag = \"1h\"", "100ms"));
    let client = Client::of(&shim);
    let mut checker = Checker::new(&cdns, &client);
    for _ in 0..rounds {
        for point in POINTS {
            // Otherwise the rest of an earlier purge, perhaps a repeat, would reach the point before this purge
            // is requested.
            eventually("nothing is left to be sent", || {
                let site = shim.call(Request::get("/v1/sites/www")).json();
                site["cdns"].as_array()?.iter().all(|cdn| cdn["pending"] == 0).then_some(())
            });
            shim.kill();
            shim.start_again_as(|mut command| {
                command.env("ORIGIN_SHIM_KILL_AT", point);
                command
            });
            let is_early = ["accepting", "writing"].contains(&point);
            let status = client.purge();
            assert!(!is_early || status.is_none(), "{point}: {status:?}");
            shim.wait_until_ended();
            checker.kills += 1;
            shim.start_again();
            checker.wait(&shim, Duration::from_secs(60));
        }
    }
    // A repeat belongs to its purge, whatever happened in between.
    let accepted = client.asked().into_iter().filter(|asked| asked.is_accepted());
    for asked in accepted {
        eventually("the repeat arrives", || {
            let calls = cdns.fastly.calls();
            (calls.iter().filter(|call| carried(call).contains(&asked.tag)).count() >= 2).then_some(())
        });
    }
    // CloudFront recognises a repeated call by its reference, and does nothing a second time.
    let receipts = cdns.receipts();
    let cloudfront = receipts.iter().find(|receipts| receipts.cdn == "cloudfront").unwrap();
    assert_eq!(checker.duplicates(cloudfront), 0);
    println!("F2: {rounds} x {} points; {}", POINTS.len(), checker.check(&shim));
}
