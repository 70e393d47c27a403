//! F6: the CDNs' clocks differ from that of the shim. Akamai allows 30 s, CloudFront 5 minutes. F9: the clock
//! of the shim is set.

use super::{Cdns, Checker, Client, count};
use crate::harness::eventually;
use crate::harness::fake_cdn::{Fault, Faults};
use crate::harness::http::Request;
use crate::harness::shim::Shim;
use crate::harness::wall_clock::WallClock;
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
        let shim = Shim::start(cdns.site(crate::harness::free_address(), "max_purge_lag = \"1h\"", "0s"));
        shim.wait_until_healthy();
        let client = Client::of(&shim);
        let checker = Checker::new(&cdns, &client);
        // The clocks change while the shim runs, and its next call detects the difference.
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

const HOUR: i64 = 3_600;
/// Changes of the machine's clock by an administrator, in seconds.
const SETTINGS: [i64; 6] = [-HOUR, HOUR, -24 * HOUR, 24 * HOUR, -30 * 24 * HOUR, 30 * 24 * HOUR];

/// A limit far beyond the time at which the retry is due.
const SOON: Duration = Duration::from_secs(60);

/// Returns a shim that uses `clock`, with one CDN whose signatures depend on the time and one without.
fn start(clock: &WallClock, cdns: &Cdns) -> Shim {
    let mut shim = Shim::start(cdns.site(crate::harness::free_address(), "max_purge_lag = \"1h\"", "0s"));
    shim.kill();
    shim.start_again_as(|command| clock.show_to(command));
    shim.wait_until_healthy();
    shim
}

fn is_down(cdns: &Cdns, is_down: bool) {
    let faults = if is_down { Faults::always(Fault::Unavailable) } else { Faults::default() };
    cdns.misbehave(faults);
}

/// Waits until a purge was tried and has to be tried again.
fn wait_until_retrying(shim: &Shim) {
    eventually("a purge is tried again", || {
        let purges = shim.call(Request::get("/v1/purges?state=retrying&limit=1")).json();
        purges["purges"].as_array().filter(|purges| !purges.is_empty()).map(|_| ())
    });
}

#[test]
fn f9_setting_the_machines_clock_holds_up_nothing() {
    let settings = count(&SETTINGS[..4], &SETTINGS[..]);
    let dir = tempfile::tempdir().unwrap();
    let (clock, cdns) = (WallClock::new(dir.path()), Cdns::roomy());
    let shim = start(&clock, &cdns);
    let client = Client::of(&shim);
    let checker = Checker { kills: 1, ..Checker::new(&cdns, &client) };
    for seconds in settings {
        is_down(&cdns, true);
        client.purge();
        wait_until_retrying(&shim);
        clock.set(*seconds);
        client.purge();
        is_down(&cdns, false);
        checker.wait(&shim, SOON);
        shim.wait_until_healthy();
        let site = shim.call(Request::get("/v1/sites/www")).json();
        for cdn in site["cdns"].as_array().unwrap() {
            assert_eq!(cdn["oldest_pending_seconds"], serde_json::Value::Null, "{seconds}: {cdn}");
        }
    }
    println!("F9: set {} times while purges were retrying; {}", settings.len(), checker.check(&shim));
}

#[test]
fn f9_a_clock_that_is_set_between_two_runs_holds_up_nothing() {
    let settings = count(&SETTINGS[..4], &SETTINGS[..]);
    let dir = tempfile::tempdir().unwrap();
    let (clock, cdns) = (WallClock::new(dir.path()), Cdns::roomy());
    let mut shim = start(&clock, &cdns);
    let client = Client::of(&shim);
    let mut checker = Checker { kills: 1, ..Checker::new(&cdns, &client) };
    for seconds in settings {
        is_down(&cdns, true);
        client.purge();
        wait_until_retrying(&shim);
        shim.kill();
        checker.kills += 1;
        clock.set(*seconds);
        shim.start_again_as(|command| clock.show_to(command));
        client.purge();
        is_down(&cdns, false);
        checker.wait(&shim, SOON);
        shim.wait_until_healthy();
    }
    println!("F9: set {} times between two runs; {}", settings.len(), checker.check(&shim));
}
