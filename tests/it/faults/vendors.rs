//! F5: the CDNs' APIs misbehave under load.

use super::{Cdns, Checker, Client, count};
use crate::harness::fake_cdn::Faults;
use crate::harness::shim::Shim;
use std::thread;
use std::time::Duration;

#[test]
fn f5_chaos_at_the_cdns_loses_nothing_and_keeps_to_their_rates() {
    let lasts = count(Duration::from_secs(6), Duration::from_secs(600));
    let cdns = Cdns::tight();
    let shim = Shim::start(cdns.site(crate::harness::free_address(), "max_purge_lag = \"60s\"", "0s"));
    let client = Client::of(&shim);
    cdns.misbehave(Faults {
        too_many: 0.30,
        unavailable: 0.10,
        lost_answer: 0.05,
        reset: 0.05,
        partly: 0.05,
        ..Faults::seed(5)
    });
    client.keep_asking(100, || thread::sleep(lasts));
    cdns.misbehave(Faults::default());
    let checker = Checker::new(&cdns, &client);
    // The last failure may have requested a pause of one minute.
    let took = checker.wait(&shim, Duration::from_secs(300));
    println!("F5: {lasts:?} of chaos; drained {took:?} after it; {}", checker.check(&shim));
}
