//! The cost of a request: instructions in user space, counted by valgrind. Unlike time, the count is steady
//! from run to run, so that a growth of a few per cent is noticed. `benches/BUDGET` holds the previous counts.
//! `UPDATE=1 cargo test budget` writes it anew.
//!
//! The counted program is the unoptimised binary of the tests. An optimised build would take longer than all
//! tests, and its count would depend on the processor, whose widest instructions it chooses at the start.
//! `benches/compare.sh` counts the instructions of an optimised build.

use crate::harness::fake_cdn::{Cloudflare, FakeCdn};
use crate::harness::process::Process;
use crate::harness::scripted::Origin;
use crate::harness::site::Site;
use crate::harness::wire::{Wire, header};
use crate::harness::{eventually, free_address};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

/// The limit of a count, as a multiple of the previous one.
const GROWTH: f64 = 1.05;
/// Requests of each kind in every run, after which connections are open and caches are filled.
const FIRST: i64 = 20;
/// Additional requests in a longer run. The difference between the runs is their cost, without start and end.
const MORE: i64 = 200;

const RESPONSE: &str = "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\nCache-Control: max-age=300\r\n\
    ETag: \"5f3e9c-400\"\r\nLast-Modified: Mon, 23 Nov 2026 10:00:00 GMT\r\nSurrogate-Key: product-42\r\n\
    Vary: Accept-Encoding\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: SAMEORIGIN\r\n\
    Strict-Transport-Security: max-age=31536000\r\n\r\n";

const OPT_IN: &str = "x-push-invalidation: enabled\r\nx-byo-cdn-type: cloudflare\r\n";

#[test]
fn a_request_costs_what_it_did() {
    // The runs are parallel, because the counts do not depend on time.
    let [short, rewritten, untouched, new] = thread::scope(|scope| {
        let runs =
            [[0, 0, 0], [MORE, 0, 0], [0, MORE, 0], [0, 0, MORE]].map(|more| scope.spawn(move || run(more)));
        runs.map(|run| run.join().unwrap())
    });
    let per_request = (rewritten.instructions - short.instructions) / (rewritten.asked - short.asked);
    let beyond = |run: &Run| {
        let waited = (run.asked - short.asked) * per_request;
        (run.instructions - short.instructions - waited) / MORE
    };
    let counted = BTreeMap::from([
        ("rewritten", per_request),
        ("rewritten-anew", beyond(&new)),
        ("not-opted-in", beyond(&untouched)),
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
        eprintln!("{what}: {count} instructions, {before} before");
        assert!(
            count as f64 <= before as f64 * GROWTH,
            "{what}: {count} instructions per request, up from {before}. Where they went, \
             `valgrind --tool=callgrind` tells; if they are worth it, `UPDATE=1 cargo test budget`."
        );
    }
}

const HEADING: &str = "# Instructions per request in user space, without optimisation: a GET of 1 KiB with twelve \
    response fields.\n# Written by tests/it/process/budget.rs with UPDATE=1; a test fails when one grows by more than 5 %.\n";

fn written(counts: &BTreeMap<&str, i64>) -> String {
    let lines = counts.iter().map(|(what, count)| format!("{what} {count}\n"));
    HEADING.to_owned() + &lines.collect::<String>()
}

fn read(text: &str) -> BTreeMap<&str, i64> {
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

struct Run {
    /// The instructions of the thread that serves.
    instructions: i64,
    /// The number of requests for the rewritten page, including those that wait for the CDN to become healthy.
    asked: i64,
}

/// A run with so many requests that opt in, that do not, and that opt in each for a page of its own, beyond the first
/// ones.
fn run([rewritten, untouched, new]: [i64; 3]) -> Run {
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
    fs::write(&config, configuration(address, admin, origin.address, &cdn.settings())).unwrap();
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--separate-threads=yes"])
        .arg(format!("--callgrind-out-file={}", dir.path().join("out.%p").display()))
        .arg(env!("CARGO_BIN_EXE_origin-shim"))
        .args(["serve", "--config"])
        .arg(&config);
    let mut shim = Process::start("valgrind", valgrind, dir.path());
    shim.wait_until(|| crate::harness::listens(address)).unwrap();

    let mut client = Wire::connect(address);
    let mut lifetime = |page: &str, opt_in: &str| {
        let request = format!("GET /a/{page} HTTP/1.1\r\nhost: www.example.test\r\n{opt_in}\r\n");
        let (head, body) = client.request(&request);
        assert_eq!(body.len(), 1024, "{head}");
        header(&head, "cloudflare-cdn-cache-control").map(str::to_owned)
    };
    let long = Some("max-age=172800");
    let mut asked = FIRST + rewritten;
    eventually("the CDN is healthy", || {
        asked += 1;
        (lifetime("page", OPT_IN).as_deref() == long).then_some(())
    });
    for _ in 0..FIRST + rewritten {
        assert_eq!(lifetime("page", OPT_IN).as_deref(), long);
    }
    for _ in 0..FIRST + untouched {
        assert_eq!(lifetime("page", ""), None);
    }
    for number in 0..FIRST + new {
        assert_eq!(lifetime(&format!("{number:04}"), OPT_IN).as_deref(), long);
    }
    drop(client);
    shim.terminate();
    Run { instructions: instructions_of_the_worker(dir.path()), asked }
}

/// Returns the instructions of the only worker's thread, which is the only one that answers clients.
fn instructions_of_the_worker(dir: &Path) -> i64 {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let profiles = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("out."));
    let total = |path: PathBuf| {
        let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
        text.contains("proxy::handle").then(|| line.trim().parse().unwrap())
    };
    profiles.filter_map(total).next().expect("a thread that answers clients")
}

fn configuration(address: SocketAddr, admin: SocketAddr, origin: SocketAddr, cdn: &str) -> String {
    format!(
        r#"[server]
listen = ["{address}"]
workers = 1

[admin]
listen = "{admin}"
hosts = ["www.example.test"]

[store]
url = "sqlite:store.db"

{}"#,
        Site::www(origin).cdn(cdn)
    )
}
