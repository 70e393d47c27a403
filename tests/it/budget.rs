//! What a request may cost: instructions in user space, counted by valgrind on the release binary. Unlike time they are
//! steady from run to run, so that a few per cent more are noticed. `benches/BUDGET` holds what they were;
//! `UPDATE=1 tests/run` writes it anew.

use crate::fake_cdn::{Cloudflare, FakeCdn};
use crate::harness::process::Process;
use crate::harness::{eventually, free_address};
use crate::support_proxy::{Origin, Wire, header};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The release binary, which `tests/run` builds.
const BINARY: &str = "ORIGIN_SHIM_RELEASE_BINARY";
/// A count may be this many times what it was.
const GROWTH: f64 = 1.05;
/// Requests of a short and of a long run: their difference costs what requests cost, without start and end.
const RUNS: [u64; 2] = [200, 1200];

const RESPONSE: &str = "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\nCache-Control: max-age=300\r\n\
    ETag: \"5f3e9c-400\"\r\nLast-Modified: Mon, 23 Nov 2026 10:00:00 GMT\r\nSurrogate-Key: product-42\r\n\
    Vary: Accept-Encoding\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: SAMEORIGIN\r\n\
    Strict-Transport-Security: max-age=31536000\r\n\r\n";

const OPT_IN: &str = "x-push-invalidation: enabled\r\nx-byo-cdn-type: cloudflare\r\n";

#[test]
fn a_request_costs_what_it_did() {
    let Some(binary) = env::var_os(BINARY).map(PathBuf::from) else {
        eprintln!("not checked: {BINARY} is not set (tests/run does)");
        return;
    };
    let counted = BTreeMap::from([
        ("rewritten", instructions_per_request(&binary, "on", OPT_IN)),
        ("mode-off", instructions_per_request(&binary, "off", OPT_IN)),
        ("not-opted-in", instructions_per_request(&binary, "on", "")),
    ]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/BUDGET");
    if env::var_os("UPDATE").is_some() {
        fs::write(path, written(&counted)).unwrap();
        return;
    }
    let text = fs::read_to_string(path).unwrap();
    let budget = read(&text);
    for (what, count) in counted {
        let before = budget[what];
        assert!(
            count as f64 <= before as f64 * GROWTH,
            "{what}: {count} instructions per request, up from {before}. Where they went, \
             `valgrind --tool=callgrind` tells; if they are worth it, `UPDATE=1 tests/run`."
        );
    }
}

const HEADING: &str = "# Instructions per request (user space, callgrind, release build): a GET of 1 KiB with twelve \
    response fields.\n# Written by tests/it/budget.rs with UPDATE=1; a test fails when one grows by more than 5 %.\n";

fn written(counts: &BTreeMap<&str, u64>) -> String {
    let lines = counts.iter().map(|(what, count)| format!("{what} {count}\n"));
    HEADING.to_owned() + &lines.collect::<String>()
}

fn read(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(what, count)| (what, count.parse().unwrap()))
        .collect()
}

#[test]
fn the_budget_is_read_as_it_is_written() {
    let counts = BTreeMap::from([("a", 1), ("b-c", 23_456)]);
    assert_eq!(read(&written(&counts)), counts);
}

fn instructions_per_request(binary: &Path, mode: &str, lines: &str) -> u64 {
    let [short, long] = RUNS.map(|requests| run(binary, mode, lines, requests));
    (long.0 - short.0) / (long.1 - short.1)
}

/// Instructions of the thread that serves, and how many requests it served.
fn run(binary: &Path, mode: &str, lines: &str, requests: u64) -> (u64, u64) {
    let page = RESPONSE.to_owned() + &"x".repeat(1024);
    let origin = Origin::playing(move |served| {
        while served.request().is_some() {
            served.wire.send(&page);
        }
    });
    let cdn = FakeCdn::start(Cloudflare::default());
    let dir = tempfile::tempdir().unwrap();
    let (address, admin) = (free_address(), free_address());
    let config = dir.path().join("config.toml");
    fs::write(&config, configuration(address, admin, origin.address, mode, &cdn.settings())).unwrap();
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--separate-threads=yes"])
        .arg(format!("--callgrind-out-file={}", dir.path().join("out.%p").display()));
    valgrind.arg(binary).arg("serve").arg("--config").arg(&config);
    let mut shim = Process::start("valgrind", valgrind, dir.path());
    shim.wait_until(|| crate::harness::listens(address)).unwrap();

    let mut client = Wire::connect(address);
    let request = format!("GET /a/page HTTP/1.1\r\nhost: www.example.test\r\n{lines}\r\n");
    let mut served = 0;
    let mut ask = || {
        let (head, body) = client.request(&request);
        served += 1;
        assert_eq!(body.len(), 1024, "{head}");
        header(&head, "cache-control").map(str::to_owned)
    };
    let expected = if mode == "on" && !lines.is_empty() { "max-age=7200" } else { "max-age=300" };
    eventually("the response is as it should be", || (ask().as_deref() == Some(expected)).then_some(()));
    for _ in 0..requests {
        assert_eq!(ask().as_deref(), Some(expected));
    }
    drop(client);
    shim.terminate();
    (busiest_thread(dir.path()), served)
}

/// The most instructions that one thread executed.
fn busiest_thread(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let profiles = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("out."));
    let total = |path: PathBuf| {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
        line.trim().parse().ok()
    };
    profiles.filter_map(total).max().unwrap()
}

fn configuration(
    address: SocketAddr,
    admin: SocketAddr,
    origin: SocketAddr,
    mode: &str,
    cdn: &str,
) -> String {
    format!(
        r#"[server]
listen = ["{address}"]
workers = 1

[admin]
listen = "{admin}"

[store]
url = "sqlite:store.db"

[[sites]]
name = "www"
hosts = ["www.example.test"]
origin = "http://{origin}"
mode = "{mode}"

[[sites.cdns]]
{cdn}
"#
    )
}
