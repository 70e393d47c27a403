//! systemd: what it is told, and the unit.

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
    /// Waits for a message that says `line`.
    fn hear(&self, line: &str) {
        let mut message = [0; 512];
        loop {
            let length =
                self.0.recv(&mut message).unwrap_or_else(|error| panic!("never heard {line}: {error}"));
            let message = std::str::from_utf8(&message[..length]).unwrap();
            if message.lines().any(|said| said == line) {
                return;
            }
        }
    }
}

fn terminate(process: &Process) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", process.id())).status().unwrap();
    assert!(sent.success());
}

#[test]
fn systemd_hears_of_start_life_and_end() {
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
    terminate(&shim);
    manager.hear("STOPPING=1");
}
