//! systemd: the notifications that it gets, and the unit.

use super::read;
use crate::harness::PATIENCE;
use crate::harness::process::Process;
use crate::harness::shim::program;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use tempfile::TempDir;

/// A service manager that only listens.
struct Manager(UnixDatagram);

impl Manager {
    /// Waits for a message that contains `line`.
    fn hear(&self, line: &str) -> String {
        let mut message = [0; 512];
        loop {
            let length =
                self.0.recv(&mut message).unwrap_or_else(|error| panic!("never heard {line}: {error}"));
            let message = std::str::from_utf8(&message[..length]).unwrap();
            if message.lines().any(|said| said == line) {
                return message.to_owned();
            }
        }
    }
}

fn signal(process: &Process, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", process.id())).status().unwrap();
    assert!(sent.success());
}

#[test]
fn systemd_hears_of_start_life_reloads_and_end() {
    let dir = TempDir::new().unwrap();
    let config = dir.path().join("origin-shim.toml");
    let text = r#"
        server = { listen = ["127.0.0.1:0"], workers = 2 }
        admin = { listen = "127.0.0.1:0" }
        store = { url = "sqlite::memory:" }
        sites = [{ name = "www", default = true, origin = "http://127.0.0.1:9" }]
    "#;
    fs::write(&config, text).unwrap();
    let socket = dir.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&socket).unwrap());
    manager.0.set_read_timeout(Some(PATIENCE)).unwrap();

    let mut command = program();
    command
        .arg("serve")
        .arg("--config")
        .arg(&config)
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "4000000");
    let shim = Process::start("origin-shim", command, dir.path());
    manager.hear("READY=1");
    manager.hear("WATCHDOG=1");
    manager.hear("WATCHDOG=1");
    // The reload of the unit's `ExecReload`. The shim is ready again, whatever the result.
    for (text, status) in
        [(text.to_owned(), ""), ("nonsense".to_owned(), "; the last configuration was refused")]
    {
        fs::write(&config, text).unwrap();
        signal(&shim, "HUP");
        manager.hear("RELOADING=1");
        let message = manager.hear("READY=1");
        assert!(message.trim_end().ends_with(status), "{message}");
    }
    manager.hear("WATCHDOG=1");
    signal(&shim, "TERM");
    manager.hear("STOPPING=1");
}

const UNIT: &str = "config/deploy/origin-shim.service";

fn directive(name: &str) -> String {
    let unit = read(UNIT);
    let value = unit.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    value.unwrap_or_else(|| panic!("no {name} in {UNIT}")).to_owned()
}

#[test]
fn the_unit_fits_the_program() {
    assert_eq!(directive("Type"), "notify");
    assert_eq!(
        directive("ExecStart"),
        "/usr/local/bin/origin-shim serve --config /etc/origin-shim/origin-shim.toml"
    );
    // `systemd_hears_of_start_life_reloads_and_end` tests this command.
    assert_eq!(directive("ExecReload"), "/bin/kill -HUP $MAINPID");
    // The user exists, and an invalid configuration does not cause endless restarts.
    let user = directive("User");
    assert!(read("config/deploy/sysusers.conf").lines().any(|line| line.starts_with(&format!("u {user} "))));
    let wrong = program().args(["check", "--config", "/nonexistent/shim.toml"]).output().unwrap();
    assert_eq!(wrong.status.code().unwrap().to_string(), directive("RestartPreventExitStatus"));
}

/// Tests systemd's own assessment of the unit. It runs only if systemd is installed. systemd need not be
/// running.
#[test]
fn systemd_takes_the_unit_for_safe() {
    let analyze = || {
        let mut command = Command::new("systemd-analyze");
        command.env("SYSTEMD_PAGER", "");
        command
    };
    if analyze().arg("--version").output().is_err() {
        eprintln!("not checked: systemd-analyze is not installed");
        return;
    }
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("origin-shim.service");
    let installed = "ExecStart=/usr/local/bin/origin-shim";
    let here = concat!("ExecStart=", env!("CARGO_BIN_EXE_origin-shim"));
    fs::write(&file, read(UNIT).replace(installed, here)).unwrap();
    let run = |command: &mut Command| {
        let output = command.arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), said)
    };
    let (right, said) = run(analyze().args(["verify", "--man=no"]));
    assert!(right && !said.contains("origin-shim.service:"), "{said}");

    // The threshold in hundredths of an exposure from 1.0 to 10.0. Up to 2.0, systemd calls the unit fine.
    let (safe, said) = run(analyze().args(["security", "--offline=true", "--threshold=20", "--no-pager"]));
    if said.contains("unrecognized option") {
        eprintln!("not checked: this systemd-analyze cannot judge a file");
        return;
    }
    assert!(safe, "{said}");
}
