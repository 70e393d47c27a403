//! F10: few descriptors, and more connections than descriptors. The parts that must go on have descriptors of
//! their own.

use super::{Cdns, Checker, Client};
use crate::harness::http::{Download, Request};
use crate::harness::origin::Page;
use crate::harness::process::after;
use crate::harness::shim::Shim;
use crate::harness::{HOST, PATIENCE, eventually};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const FILES: u32 = 256;
const CROWD: usize = 600;

/// Wraps `command` so that it may have only `FILES` open files.
fn with_few_files(command: &Command) -> Command {
    after(&format!("ulimit -n {FILES}"), command)
}

/// Makes a call of the admin API, which must be answered. Returns how long it took.
fn takes(shim: &Shim, target: &str) -> Duration {
    let began = Instant::now();
    let answer = Request::get(target).send(shim.admin);
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    began.elapsed()
}

fn metric(shim: &Shim, series: &str) -> u64 {
    let metrics = Request::get("/metrics").send(shim.admin);
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
}

#[test]
fn f10_few_descriptors_keep_visitors_waiting_and_neither_purges_nor_probes() {
    let page = Page::default();
    page.set(200, &[("cache-control", "max-age=60")], "page");
    let cdns = Cdns::roomy();
    let mut shim = Shim::start(cdns.site(page.serve(), "", "0s"));
    shim.kill();
    shim.start_again_as(|command| with_few_files(&command));
    shim.wait_until_healthy();
    let client = Client::of(&shim);

    // A silent crowd occupies all places.
    let limited = "origin_shim_limited_total{limit=\"connections\"}";
    let silent: Vec<_> = (0..CROWD).map(|_| TcpStream::connect(shim.address).unwrap()).collect();
    eventually("it is told", || (metric(&shim, limited) > 0).then_some(()));
    let probes = [takes(&shim, "/healthz"), takes(&shim, "/readyz"), takes(&shim, "/metrics")];
    let began = Instant::now();
    let purged = shim.purge(&serde_json::json!({ "tags": ["tag-000000"] }));
    let purge = began.elapsed();
    assert_eq!(purged["jobs"].as_array().unwrap().len(), 5, "{purged}");
    assert_eq!(client.purges(20), [Some(202); 20]);
    drop(silent);
    let served = || Request::get("/").try_send(shim.address).is_ok_and(|answer| answer.status == 200);
    eventually("visitors are served again", || served().then_some(()));

    // Each client of a crowd that sends requests gets an answer, although all keep their connections, because
    // idle ones are closed.
    let ask = |mut stream: TcpStream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).unwrap();
        stream
    };
    let asking: Vec<_> = (0..CROWD).map(|_| ask(TcpStream::connect(shim.address).unwrap())).collect();
    let (mut ok, mut turned_away) = (0, 0);
    for stream in &asking {
        let mut answer = Download::new(BufReader::new(stream.try_clone().unwrap()), false).unwrap();
        let mut body = String::new();
        answer.read_to_string(&mut body).unwrap();
        match answer.head.status {
            200 => ok += 1,
            503 => turned_away += 1,
            other => panic!("{other}: {:?}", answer.head),
        }
    }
    assert_eq!(ok + turned_away, CROWD);
    drop(asking);
    eventually("visitors are served again", || served().then_some(()));

    let checker = Checker::new(&cdns, &client);
    checker.wait(&shim, PATIENCE);
    let log = String::from_utf8_lossy(&shim.written()).into_owned();
    // There are a few lines for each reason, however many connections there were.
    let lines =
        log.lines().filter(|line| line.contains("(ulimit -n)") || line.contains("not accepted")).count();
    assert!((1..20).contains(&lines), "{lines} lines");
    println!(
        "F10: ulimit -n {FILES}, {CROWD} silent connections: healthz, readyz, metrics after {probes:?}, a purge done at \
         5 CDNs after {purge:?}, 20 of 20 purges accepted; {CROWD} that asked: {ok} x 200, {turned_away} x 503, 0 \
         without an answer; {} limited, {lines} lines",
        metric(&shim, limited)
    );
}
