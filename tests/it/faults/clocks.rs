//! F6: the CDNs' clocks differ from ours. Akamai allows 30 s, CloudFront 5 minutes.

use super::{Cdns, Checker, Client, count};
use crate::harness::shim::Shim;
use std::time::Duration;

const SECOND: i64 = 1_000;

#[test]
fn f6_a_clock_that_differs_costs_one_call_at_most() {
    let purges = count(20, 200);
    let mut refused = Vec::new();
    for skew_ms in [20, -20, 60, -60, 600, -600].map(|seconds| seconds * SECOND) {
        let cdns = Cdns::roomy();
        let skew = |skew_ms| {
            cdns.akamai.skew_clock(skew_ms);
            cdns.cloudfront.skew_clock(skew_ms);
        };
        let shim = Shim::start(&cdns.site(crate::harness::free_address(), "max_purge_lag = \"1h\"", "0s"));
        shim.wait_until_healthy();
        let client = Client::of(&shim);
        let checker = Checker::new(&cdns, &client);
        // The clocks are set while it runs; the first call after that learns it.
        skew(skew_ms);
        client.purge();
        checker.wait(&shim, Duration::from_secs(60));
        client.purges(purges);
        checker.wait(&shim, Duration::from_secs(60));
        for receipts in cdns.receipts() {
            let late = receipts.calls.iter().filter(|call| call.status().is_some_and(|status| status >= 400));
            refused.push(late.count());
            assert!(refused.last() <= Some(&1), "{} at {skew_ms} ms: {refused:?}", receipts.cdn);
        }
        checker.check(&shim);
    }
    let refused: usize = refused.into_iter().sum();
    println!("F6: 6 skews x {purges} purges; {refused} calls signed again, none of them twice");
}
