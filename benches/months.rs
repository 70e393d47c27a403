//! The costs of a store that has been in use for long: removing old purges, and listing pending ones.
//!
//! `cargo bench --bench months`. It fails if the sweep of purges of 50,000 tags of 120 characters on four CDNs
//! takes 200 MiB, if a commit waits for more than 500 ms during the sweep, or if the space is not released. It
//! also fails if lists delay a claim by more than 100 ms with 300,000 purges pending. `ORIGIN_SHIM_LONG=1`
//! sweeps 100 purges instead of 4, which takes minutes and 5 GB.

use origin_shim::cdn::{Identity, Item, ItemKind};
use origin_shim::purge::{JobPlan, PurgeRequest, Room, State};
use origin_shim::rewrite::CdnType;
use origin_shim::store::{
    CdnKey, Claim, Filter, NewPurge, SendOutcome, Settlement, SqliteStore, Store, Wider,
};
use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const NOW: i64 = 1_700_000_000_000;
const CDNS: [&str; 4] = ["fastly", "akamai", "cloudflare", "varnish"];
const ITEMS: usize = 50_000;
const PENDING: usize = 300_000;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut checks = runtime.block_on(sweeping());
    checks.extend(runtime.block_on(looking()));
    let mut all_met = true;
    for (what, value, most) in checks {
        let met = value <= most;
        println!("{} {value:8.1}  {what} (at most {most:.0})", if met { "ok  " } else { "FAIL" });
        all_met &= met;
    }
    if all_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The name of a measurement, its value, and the highest permitted value.
type Check = (&'static str, f64, f64);

async fn sweeping() -> Vec<Check> {
    let purges = if std::env::var_os("ORIGIN_SHIM_LONG").is_some() { 100 } else { 4 };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.db");
    let store = Arc::new(SqliteStore::open(&path).expect("a store"));
    let began = Instant::now();
    for n in 0..purges {
        let id = id(n);
        store.enqueue(purge(id.clone(), ITEMS, &CDNS)).await.expect("accepted");
        store.cancel(id, NOW).await.expect("cancelled");
    }
    drop(store);
    println!("{purges} purges made in {:?}: {} MiB", began.elapsed(), mib(&path));
    let store = Arc::new(SqliteStore::open(&path).expect("a store"));
    // This resets the peak of memory use (proc_pid_clear_refs(5)).
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    println!("{:.0} MiB resident before", status("VmRSS"));

    let done = Arc::new(AtomicBool::new(false));
    let (others, is_done) = (store.clone(), done.clone());
    let commits = tokio::spawn(async move {
        let (mut took, mut n) = (Vec::new(), 0);
        while !is_done.load(Ordering::Relaxed) {
            let began = Instant::now();
            others.enqueue(purge(format!("n{n:08}"), 1, &CDNS[..1])).await.expect("accepted");
            took.push(began.elapsed());
            n += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Took::of(took)
    });
    let (began, mut steps, mut slowest, mut gone) = (Instant::now(), 0, Duration::ZERO, 0);
    loop {
        let step = Instant::now();
        let swept = store.sweep(NOW + 1, NOW).await.expect("swept");
        (steps, gone, slowest) = (steps + 1, gone + swept.purges, slowest.max(step.elapsed()));
        if !swept.more {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    done.store(true, Ordering::Relaxed);
    let meanwhile = commits.await.expect("commits");
    let highest = status("VmHWM");
    assert_eq!(gone, purges as u64);
    drop(store);
    println!(
        "swept in {took:?}, {steps} steps, the slowest {slowest:?}; commits meanwhile: {meanwhile}; {} MiB are left",
        mib(&path)
    );
    vec![
        ("ms that a commit waited during a sweep, 99th percentile", milliseconds(meanwhile.p99), 500.0),
        ("MiB of memory during a sweep", highest, 200.0),
        ("MiB that are left of the file", mib(&path) as f64, 32.0),
    ]
}

/// Measures, with 300,000 purges pending, the time of lists, the delay that ten concurrent lists cause to
/// claims, and the time of unbounded verbs.
async fn looking() -> Vec<Check> {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Arc::new(SqliteStore::open(&directory.path().join("store.db")).expect("a store"));
    let mut filling = JoinSet::new();
    for n in 0..PENDING {
        let store = store.clone();
        filling.spawn(async move { store.enqueue(purge(id(n), 1, &CDNS[..1])).await.expect("accepted") });
        if filling.len() > 2_000 {
            filling.join_next().await;
        }
    }
    filling.join_all().await;
    let states = [
        None,
        Some(State::Pending),
        Some(State::Sending),
        Some(State::Retrying),
        Some(State::Paused),
        Some(State::Done),
        Some(State::Failed),
    ];
    claim(&store, 256).await;
    for state in states {
        let began = Instant::now();
        let page = store.list(Filter { state, limit: 100, ..Filter::default() }).await.expect("a list");
        let more = if page.next.is_some() { "more" } else { "no more" };
        println!("a list of {state:?}: {:?}, {} purges, {more}", began.elapsed(), page.purges.len());
    }
    let alone = claims(&store).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut lookers = JoinSet::new();
    for n in 0..10 {
        let (store, done) = (store.clone(), done.clone());
        lookers.spawn(async move {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) {
                let state = states[n % states.len()];
                store.list(Filter { state, limit: 100, ..Filter::default() }).await.expect("a list");
                looks += 1;
            }
            looks
        });
    }
    let beside = claims(&store).await;
    done.store(true, Ordering::Relaxed);
    let looks: usize = lookers.join_all().await.into_iter().sum();
    println!("due, claim and settle: alone {alone}; beside ten that list ({looks} lists) {beside}");
    println!("the log has {} MiB", mib(&directory.path().join("store.db-wal")));
    unbounded(&store).await;
    vec![(
        "ms by which lists delay a claim, 99th percentile",
        milliseconds(beside.p99.saturating_sub(alone.p99)),
        100.0,
    )]
}

/// Measures some rounds of a worker's calls.
async fn claims(store: &SqliteStore) -> Took {
    let mut took = Vec::new();
    for _ in 0..500 {
        let began = Instant::now();
        store.due(key(), NOW, 256).await.expect("what is due");
        let sends = claim(store, 256).await;
        let sends = sends.into_iter().map(|(id, attempt)| (id, attempt, SendOutcome::Unsent)).collect();
        let settlement = Settlement { sends, now_ms: NOW, at_ms: NOW, ..Settlement::default() };
        store.settle(settlement).await.expect("settled");
        took.push(began.elapsed());
    }
    Took::of(took)
}

/// The times of repeated work. The longest includes other work of the machine.
struct Took {
    rounds: usize,
    p50: Duration,
    p99: Duration,
    longest: Duration,
}

impl Took {
    fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100];
        Self { rounds: took.len(), p50: at(50), p99: at(99), longest: at(100) }
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, p50, p99, longest } = self;
        write!(f, "{rounds} rounds, p50 {p50:.1?}, p99 {p99:.1?}, the longest {longest:.1?}")
    }
}

async fn claim(store: &SqliteStore, items: usize) -> Vec<(i64, u32)> {
    let claim = Claim {
        identity: Identity::default(),
        key: key(),
        now_ms: NOW,
        lease_until_ms: NOW + 120_000,
        site: false,
        hard: true,
        room: Room { items: [0, items, 0, 0], total: items, bytes: 1 << 20 },
        bulk: [0; 4],
        keep_together: false,
        rates: vec![],
    };
    let claimed = store.claim(claim).await.expect("sends");
    claimed.sends.into_iter().map(|send| (send.id, send.attempt)).collect()
}

/// Measures the verbs that cannot be split into steps.
async fn unbounded(store: &SqliteStore) {
    let tell = |what: &str, began: Instant| {
        println!("{what}: {:?}, {:.0} MiB at most", began.elapsed(), status("VmHWM"));
    };
    store.enqueue(purge("z1".into(), ITEMS, &CDNS)).await.expect("accepted");
    let began = Instant::now();
    store.get("z1".into()).await.expect("a purge");
    tell("get of 50,000 items", began);
    let began = Instant::now();
    store.cancel("z1".into(), NOW).await.expect("cancelled");
    tell("cancel of 50,000 items at four CDNs", began);
    let began = Instant::now();
    let wider = Wider { item: item("site".to_owned()), why: "too slow".into() };
    store.widen(key(), wider, NOW).await.expect("widened");
    tell("widen of 300,000 jobs", began);
    let began = Instant::now();
    let site = Claim {
        identity: Identity::default(),
        key: key(),
        now_ms: NOW,
        lease_until_ms: NOW + 120_000,
        site: true,
        hard: true,
        room: Room { items: [9; 4], total: 9, bytes: 1 << 20 },
        bulk: [0; 4],
        keep_together: false,
        rates: vec![],
    };
    let claimed = store.claim(site).await.expect("sends");
    tell(&format!("claim that absorbs {}", claimed.absorbed), began);
    let began = Instant::now();
    store.take_over((NOW + 60_000).into(), NOW + 600_000).await.expect("taken over");
    tell("take over with 300,000 pending", began);
}

fn key() -> CdnKey {
    CdnKey { site: "www".into(), cdn: "fastly".into() }
}

fn id(n: usize) -> String {
    format!("{n:032}")
}

fn item(value: String) -> Item {
    Item { kind: ItemKind::Tag, value, hard: true }
}

fn purge(id: String, items: usize, cdns: &[&str]) -> NewPurge {
    let tags: Vec<String> = (0..items).map(|item| format!("{id}-{item:0>87}")).collect();
    let job = |cdn: &&str| JobPlan {
        identity: Identity::default(),
        cdn: (*cdn).to_owned(),
        cdn_type: CdnType::Fastly,
        items: tags.iter().cloned().map(item).collect(),
        everything: false,
        untagged: false,
        fallback: vec![],
        repeat_after_ms: 0,
    };
    NewPurge {
        id,
        site: "www".into(),
        jobs: cdns.iter().map(job).collect(),
        request: PurgeRequest { tags, ..Default::default() },
        caller: "bench".into(),
        now_ms: NOW,
        since_ms: NOW,
        due_ms: NOW,
        idempotency: None,
        follow_ups: Default::default(),
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn mib(path: &Path) -> u64 {
    std::fs::metadata(path).map(|file| file.len() >> 20).unwrap_or_default()
}

/// Returns a line of `/proc/self/status` in MiB, or 0 if there is none.
fn status(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default();
    kib / 1_024.0
}
