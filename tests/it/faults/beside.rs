//! F12: files beside the store are removed or replaced while the store is open.

use super::health::{Row, degraded, is_green, shim};
use super::{Cdns, Checker, Client};
use crate::harness::http::Request;
use crate::harness::process::Process;
use crate::harness::shim::{Shim, program};
use crate::harness::{eventually, free_address};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

fn beside(shim: &Shim, ending: &str) -> PathBuf {
    shim.config.with_file_name(format!("store.db{ending}"))
}

/// Pauses or resumes all sending.
fn operate(shim: &Shim, verb: &str) {
    for cdn in ["fastly", "akamai", "cloudflare", "cloudfront", "varnish"] {
        let target = format!("/v1/sites/www/cdns/{cdn}/{verb}");
        let request = Request::get(&target).method("POST");
        let answer = shim.call(Request { headers: &[("content-type", "application/json")], ..request });
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn f12_what_was_accepted_survives_the_removal_of_the_log_and_a_kill() {
    for endings in [&["-wal"][..], &["-shm"], &["-wal", "-shm", "-lock"]] {
        let cdns = Cdns::roomy();
        let mut shim = shim(&cdns, "0s");
        shim.wait_until_healthy();
        operate(&shim, "pause");
        let client = Client::of(&shim);
        assert_eq!(client.purges(5), [Some(202); 5]);
        endings.iter().for_each(|ending| fs::remove_file(beside(&shim, ending)).unwrap());
        let row = Row::watch(&shim, &client, 5);
        assert_eq!((row.accepted, row.refused, row.green_while_refused), (0, 5, 0), "{endings:?}: {row}");
        let said = degraded(&shim).join("; ");
        assert!(said.contains("was removed or replaced; purges accepted before are saved"), "{said}");
        shim.kill();
        shim.start_again();
        operate(&shim, "resume");
        let checker = Checker { kills: 1, ..Checker::new(&cdns, &client) };
        checker.wait(&shim, Duration::from_secs(60));
        assert_eq!(client.purge(), Some(202));
        checker.wait(&shim, Duration::from_secs(60));
        println!("F12: {} removed: {row}; {}", endings.join(", "), checker.check(&shim));
    }
}

#[test]
fn f12_a_second_instance_never_opens_a_store_that_is_open() {
    let cdns = Cdns::roomy();
    let shim = shim(&cdns, "0s");
    shim.wait_until_healthy();
    let client = Client::of(&shim);
    fs::remove_file(beside(&shim, "-lock")).unwrap();

    let (address, admin) = (free_address(), free_address());
    let config = fs::read_to_string(&shim.config).unwrap();
    let config = config.replace(&shim.address.to_string(), &address.to_string());
    let second = shim.config.with_file_name("second.toml");
    fs::write(&second, config.replace(&shim.admin.to_string(), &admin.to_string())).unwrap();
    let mut command = program();
    command.arg("serve").arg("--config").arg(&second);
    let _process = Process::start("second", command, shim.config.parent().unwrap());
    let said = eventually("the second instance says how it stands", || {
        let ready = Request::get("/readyz").try_send(admin).ok().filter(|ready| ready.status == 200)?;
        Some(ready.text().to_owned())
    });
    assert!(said.contains("the store cannot be opened"), "{said}");
    let refused = Client::at(admin);
    assert_eq!(refused.purge(), Some(503));

    assert_eq!(client.purges(5), [Some(202); 5]);
    Checker::new(&cdns, &client).wait(&shim, Duration::from_secs(60));
    assert!(is_green(&shim), "{:?}", degraded(&shim));
    assert!(beside(&shim, "-lock").exists(), "it was made anew");
}
