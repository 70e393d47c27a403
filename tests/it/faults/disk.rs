//! F4: the disk fails. `strace` makes a system call of the real program fail as the kernel would.

use super::{Cdns, Checker, Client, count};
use crate::harness::http::Request;
use crate::harness::origin::Page;
use crate::harness::shim::Shim;
use std::process::Command;
use std::time::Duration;

/// Wraps `command` in `strace`, which makes calls of this kind fail. `when` is as in `strace(1)`.
fn failing(command: &Command, log: &std::path::Path, calls: &str, error: &str, when: &str) -> Command {
    let mut strace = Command::new("strace");
    // strace runs as a grandchild, so that the child is the program itself.
    strace.args(["-D", "-f", "-qq", "--seccomp-bpf", "-e", "signal=none", "-o"]).arg(log);
    strace.args([
        "-e",
        &format!("trace={calls}"),
        "-e",
        &format!("inject={calls}:error={error}:when={when}"),
    ]);
    strace.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace
}

struct Disk {
    cdns: Cdns,
    shim: Shim,
    client: Client,
    kills: usize,
}

impl Disk {
    fn new() -> Self {
        let page = Page::default();
        page.set(200, &[("cache-control", "max-age=60")], "page");
        let cdns = Cdns::roomy();
        let shim = Shim::start(cdns.site(page.serve(), "max_purge_lag = \"1h\"", "0s"));
        let client = Client::of(&shim);
        Self { cdns, shim, client, kills: 0 }
    }

    /// Restarts the shim with a disk that fails in this way, and requests purges and pages. Returns the number
    /// of failed calls.
    fn fail(&mut self, calls: &str, error: &str, when: &str, purges: usize) -> usize {
        let log = self.shim.config.with_file_name("strace.log");
        self.shim.kill();
        self.kills += 1;
        self.shim.start_again_as(|command| failing(&command, &log, calls, error, when));
        for _ in 0..purges {
            let status = self.client.purge();
            assert!(matches!(status, Some(202 | 503)), "{error} at call {when}: {status:?}");
            let page = Request::get("/").send(self.shim.address);
            assert_eq!((page.status, page.text()), (200, "page"), "proxying goes on");
        }
        let log = std::fs::read_to_string(log).unwrap();
        log.matches("(INJECTED)").count()
    }

    /// Restarts the shim with a working disk, and waits until every accepted purge has arrived.
    fn recover(&mut self) {
        self.shim.kill();
        self.shim.start_again();
        self.kills += 1;
        self.checker().wait(&self.shim, Duration::from_secs(60));
    }

    fn checker(&self) -> Checker<'_> {
        Checker { kills: self.kills, ..Checker::new(&self.cdns, &self.client) }
    }
}

#[test]
fn f4_a_failing_disk_never_makes_a_false_promise() {
    let mut disk = Disk::new();
    let mut injected = 0;
    let kinds = [("fsync,fdatasync", "EIO"), ("pwrite64", "ENOSPC"), ("pwrite64", "EIO")];
    let nth: &[usize] = &count(vec![2, 5, 11], (1..=50).collect());
    for (calls, error) in kinds {
        for nth in nth {
            injected += disk.fail(calls, error, &nth.to_string(), count(12, 20));
            disk.recover();
        }
    }
    assert!(injected > 0, "nothing was made to fail");
    let refused = disk.client.asked().iter().filter(|asked| asked.status == Some(503)).count();
    let figures = disk.checker().check(&disk.shim);
    println!("F4: {} failures of {} kinds, {refused} refused; {figures}", injected, kinds.len());
}

#[test]
fn f4_a_disk_that_stays_full_refuses_purges_and_nothing_else() {
    let mut disk = Disk::new();
    disk.client.purges(5);
    // Writes fail from the store's first one on.
    let injected = disk.fail("pwrite64", "ENOSPC", "1+", 5);
    assert!(injected > 0, "nothing was made to fail");
    let asked = disk.client.asked();
    assert!(asked[5..].iter().all(|asked| asked.status == Some(503)), "{asked:?}");
    let ready = Request::get("/readyz").send(disk.shim.admin);
    assert!(ready.status == 200 && ready.text().contains("store"), "{}", ready.text());
    let opted_in = disk.shim.as_cdn("fastly", "/");
    assert_eq!(opted_in.header("surrogate-control"), "max-age=60", "no long lifetime");
    disk.recover();
    assert_eq!(disk.client.purge(), Some(202));
    disk.recover();
    disk.checker().check(&disk.shim);
}
