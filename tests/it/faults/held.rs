//! F13: another process holds the locks of the store, or the disk hangs.

use super::health::{Row, degraded, is_green, settled, shim};
use super::{Cdns, Checker, Client};
use crate::harness::{PATIENCE, eventually};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A program that takes SQLite's write lock, reports that, and holds the lock until its input ends.
const HOLDER: &str = "import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.read()
connection.execute('ROLLBACK')";

#[test]
fn f13_a_foreign_lock_ends_health_and_its_end_brings_it_back() {
    let cdns = Cdns::roomy();
    let shim = shim(&cdns, "0s");
    assert!(settled(&shim));
    let client = Client::of(&shim);
    let mut holder = Command::new("python3");
    holder.args(["-c", HOLDER]).arg(shim.config.with_file_name("store.db"));
    let Ok(mut holder) = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        println!("NOT TESTED: there is no python3 to hold a lock with");
        return;
    };
    let mut said = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "held\n");
    let row = Row::watch(&shim, &client, 3);
    assert_eq!((row.accepted, row.green_while_refused, row.green.1), (0, 0, false), "{row}");
    let why = degraded(&shim).join("; ");
    assert!(why.contains("locked"), "{why}");
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    eventually("it is healthy again", || is_green(&shim).then_some(()));
    assert_eq!(client.purge(), Some(202));
    Checker::new(&cdns, &client).wait(&shim, Duration::from_secs(60));
    println!("F13: a foreign lock: {row}");
}

/// A file system in a file, which can be frozen.
struct Frozen {
    directory: PathBuf,
    is_frozen: bool,
}

fn run(command: &[&str], paths: &[&Path]) -> bool {
    let output = Command::new(command[0]).args(&command[1..]).args(paths).output();
    output.is_ok_and(|output| output.status.success())
}

impl Frozen {
    /// Mounts it, or returns `None` if the system does not allow that.
    fn mounted(within: &Path) -> Option<Self> {
        let (disk, directory) = (within.join("disk"), within.join("mount"));
        std::fs::create_dir(&directory).unwrap();
        let is_mounted = run(&["truncate", "-s", "64M"], &[&disk])
            && run(&["mkfs.ext4", "-q"], &[&disk])
            && run(&["mount", "-o", "loop"], &[&disk, &directory]);
        let mut disk = is_mounted.then_some(Self { directory, is_frozen: false })?;
        // Only an attempt shows whether it can be frozen at all.
        (disk.freeze("--freeze") && disk.freeze("--unfreeze")).then_some(disk)
    }

    fn freeze(&mut self, how: &str) -> bool {
        let done = run(&["fsfreeze", how], &[&self.directory]);
        self.is_frozen = (how == "--freeze") == done;
        done
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if self.is_frozen {
            self.freeze("--unfreeze");
        }
        run(&["umount", "--lazy"], &[&self.directory]);
    }
}

/// Waits for three more signs of life.
fn still_alive(manager: &UnixDatagram) {
    let mut message = [0; 512];
    manager.set_nonblocking(true).unwrap();
    while manager.recv(&mut message).is_ok() {}
    manager.set_nonblocking(false).unwrap();
    for _ in 0..3 {
        let length = manager.recv(&mut message).expect("no sign of life");
        assert_eq!(&message[..length], b"WATCHDOG=1\n");
    }
}

#[test]
fn f13_a_disk_that_hangs_ends_health_and_nothing_else() {
    let cdns = Cdns::roomy();
    let mut shim = shim(&cdns, "0s");
    let Some(mut disk) = Frozen::mounted(shim.config.parent().unwrap()) else {
        println!("NOT TESTED: no file system can be mounted and frozen here");
        return;
    };
    shim.kill();
    shim.edit("sqlite:store.db", &format!("sqlite:{}/store.db", disk.directory.display()));
    let socket = shim.config.with_file_name("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    shim.start_again_as(|mut command| {
        command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "4000000");
        command
    });
    assert!(settled(&shim));
    let client = Client::of(&shim);
    assert_eq!(client.purges(3), [Some(202); 3]);
    Checker { kills: 1, ..Checker::new(&cdns, &client) }.wait(&shim, Duration::from_secs(60));
    assert!(disk.freeze("--freeze"));
    eventually("the store is known to hang", || {
        degraded(&shim).iter().any(|reason| reason.contains("has not answered")).then_some(())
    });
    // A restart would not repair a disk, so the watchdog still gets its signs of life.
    still_alive(&manager);
    let row = Row::watch(&shim, &client, 1);
    assert_eq!(
        (row.accepted, row.refused, row.green_while_refused, row.green),
        (0, 1, 0, (false, false)),
        "{row}"
    );
    assert!(disk.freeze("--unfreeze"));
    eventually("it is healthy again", || is_green(&shim).then_some(()));
    assert_eq!(client.purge(), Some(202));
    println!("F13: a frozen disk: {row}");
    shim.kill();
}
