//! F1: the process is killed again and again while purges are requested.

use super::{Cdns, Checker, Client, count};
use crate::harness::shim::Shim;
use std::thread;
use std::time::Duration;

#[test]
fn f1_what_was_accepted_survives_kills() {
    let (kills, longest_ms) = count((12, 600), (500, 2_000));
    let cdns = Cdns::roomy();
    let mut shim = Shim::start(cdns.site(crate::harness::free_address(), "max_purge_lag = \"1h\"", "0s"));
    let client = Client::of(&shim);
    let mut dice = fastrand::Rng::with_seed(1);
    client.keep_asking(50, || {
        for _ in 0..kills {
            thread::sleep(Duration::from_millis(dice.u64(50..=longest_ms)));
            shim.kill();
            shim.start_again();
        }
    });
    let mut checker = Checker::new(&cdns, &client);
    checker.kills = kills;
    let took = checker.wait(&shim, Duration::from_secs(120));
    println!("F1: {kills} kills; drained {took:?} after the last; {}", checker.check(&shim));
}
