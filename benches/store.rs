//! The benefit of group commit and the cost of a long backlog, as ratios within one run, and memory.
//!
//! `cargo bench --bench store`. It fails in three cases: 256 callers that share commits do not reach five times
//! as many accepted purges a second as one `fsync` per purge allows; at that rate, their 99th percentile is
//! more than three times that of a lone commit; or 1,000,000 pending items take 200 MiB.

use origin_shim::cdn::{Identity, Item, ItemKind};
use origin_shim::purge::{JobPlan, PurgeRequest, Room};
use origin_shim::rewrite::CdnType;
use origin_shim::store::{CdnKey, Claim, NewPurge, SendOutcome, Settlement, SqliteStore, Store};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CALLERS: u64 = 256;
const MEASURED: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;
/// The required ratio of accepted purges a second, of many callers to one.
const WANTED_RATIO: f64 = 5.0;
const BACKLOG: usize = 1_000_000;
const PER_PURGE: usize = 50_000;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let memory = runtime.block_on(backlog());
    let (ratio, latency) = runtime.block_on(commits());
    let checks = [
        ("purges a second, shared commits to lone ones", ratio, ratio >= WANTED_RATIO, "at least 5"),
        ("99th percentile, shared commits at that rate to lone ones", latency, latency <= 3.0, "at most 3"),
        ("MiB with 1,000,000 items pending", memory, memory < 200.0, "below 200"),
    ];
    let mut all_met = true;
    for (what, value, met, wanted) in checks {
        println!("{} {value:8.2}  {what} ({wanted})", if met { "ok  " } else { "FAIL" });
        all_met &= met;
    }
    if all_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The results of a number of callers.
struct Run {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    commits: u64,
    purges: usize,
}

/// The times at which callers send requests.
#[derive(Clone, Copy)]
enum Pace {
    /// Each caller continues as soon as it has its answer.
    AtOnce,
    /// All callers together send this number of requests a second.
    PerSecond(f64),
}

/// Returns two ratios of 256 callers to one. The first is of accepted purges a second if each caller continues
/// at once. The second is of latency if all together send five times as many requests as one caller can. (If
/// all continue at once, they mostly wait for each other, and the latency shows no more than the rate.)
async fn commits() -> (f64, f64) {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut lone, mut paced, mut full) = (Vec::new(), Vec::new(), Vec::new());
    // The runs alternate, so that a disk that becomes slower or faster affects all of them.
    for round in 0..ROUNDS {
        let store = |name: &str| directory.path().join(format!("{name}-{round}.db"));
        let one = measure(&store("lone"), 1, Pace::AtOnce).await;
        let rate = WANTED_RATIO * one.per_second;
        paced.push(measure(&store("paced"), CALLERS, Pace::PerSecond(rate)).await);
        full.push(measure(&store("full"), CALLERS, Pace::AtOnce).await);
        lone.push(one);
    }
    for (name, runs) in [("lone", &lone), ("paced", &paced), ("full", &full)] {
        for run in runs {
            println!(
                "{name:>6}: {:8.0} purges/s, p50 {:?}, p99 {:?}, {} purges in {} commits",
                run.per_second, run.p50, run.p99, run.purges, run.commits
            );
        }
    }
    // Only runs of the same round are compared, because they saw the machine in the same state.
    let ratio = |runs: &[Run], value: fn(&Run) -> f64| {
        let mut ratios: Vec<f64> =
            runs.iter().zip(&lone).map(|(run, lone)| value(run) / value(lone)).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    (ratio(&full, |run| run.per_second), ratio(&paced, |run| run.p99.as_secs_f64()))
}

async fn measure(path: &Path, callers: u64, pace: Pace) -> Run {
    let store = Arc::new(SqliteStore::open(path).expect("a store"));
    let number = Arc::new(AtomicU64::new(0));
    let before = store.commits();
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (store, number) = (store.clone(), number.clone());
        tasks.spawn(async move {
            let mut took = Vec::new();
            let mut turn = 0;
            while began.elapsed() < MEASURED {
                // The wait of a late caller starts at the time of its turn.
                let mut asked = Instant::now();
                if let Pace::PerSecond(rate) = pace {
                    let due = began + Duration::from_secs_f64((turn * callers + caller) as f64 / rate);
                    turn += 1;
                    tokio::time::sleep_until(due.into()).await;
                    asked = if due < asked { due } else { Instant::now() };
                }
                let purge = purge(number.fetch_add(1, Ordering::Relaxed), 1);
                store.enqueue(purge).await.expect("accepted");
                took.push(asked.elapsed());
            }
            took
        });
    }
    let mut took: Vec<Duration> = tasks.join_all().await.concat();
    let seconds = began.elapsed().as_secs_f64();
    took.sort_unstable();
    Run {
        per_second: took.len() as f64 / seconds,
        p50: took[took.len() / 2],
        p99: took[took.len() * 99 / 100],
        commits: store.commits() - before,
        purges: took.len(),
    }
}

/// Returns the highest resident memory in MiB, with a million items pending of which some are claimed and
/// settled.
async fn backlog() -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(&directory.path().join("backlog.db")).expect("a store");
    let began = Instant::now();
    for n in 0..BACKLOG / PER_PURGE {
        store.enqueue(purge(n as u64, PER_PURGE)).await.expect("accepted");
    }
    println!("{BACKLOG} items accepted in {:?}, {:.0} MiB", began.elapsed(), resident("VmRSS"));
    let key = CdnKey { site: "www".into(), cdn: "fastly".into() };
    let (mut looked, mut claimed, mut settled) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    const CALLS: u32 = 200;
    for _ in 0..CALLS {
        let began = Instant::now();
        store.due(key.clone(), NOW, 256).await.expect("what is due");
        looked += began.elapsed();
        let began = Instant::now();
        let claim = Claim {
            identity: Identity::default(),
            key: key.clone(),
            now_ms: NOW,
            lease_until_ms: NOW + 120_000,
            site: false,
            hard: true,
            room: Room { items: [0, 256, 0, 0], total: 256, bytes: 48_000 },
            bulk: [0, 64, 0, 0],
            keep_together: false,
            rates: vec![],
        };
        let sends = store.claim(claim).await.expect("sends").sends;
        assert_eq!(sends.len(), 256);
        claimed += began.elapsed();
        let began = Instant::now();
        let sends = sends.iter().map(|send| (send.id, send.attempt, SendOutcome::Done)).collect();
        store
            .settle(Settlement { sends, now_ms: NOW, at_ms: NOW, ..Settlement::default() })
            .await
            .expect("settled");
        settled += began.elapsed();
    }
    println!(
        "of a call of 256 items: what is due {:?}, claim {:?}, settle {:?}",
        looked / CALLS,
        claimed / CALLS,
        settled / CALLS
    );
    resident("VmHWM")
}

const NOW: i64 = 1_700_000_000_000;

fn purge(n: u64, items: usize) -> NewPurge {
    let tag = |item: usize| format!("product-{n}-{item}");
    let items: Vec<Item> =
        (0..items).map(|item| Item { kind: ItemKind::Tag, value: tag(item), hard: true }).collect();
    NewPurge {
        id: format!("{n:032}"),
        site: "www".into(),
        request: PurgeRequest {
            tags: items.iter().map(|item| item.value.clone()).collect(),
            ..Default::default()
        },
        caller: "bench".into(),
        now_ms: NOW,
        since_ms: NOW,
        due_ms: NOW,
        jobs: vec![JobPlan {
            cdn: "fastly".into(),
            identity: Identity::default(),
            cdn_type: CdnType::Fastly,
            items,
            everything: false,
            untagged: false,
            fallback: vec![],
            repeat_after_ms: 0,
        }],
        idempotency: None,
        follow_ups: Default::default(),
    }
}

/// Returns a line of `/proc/self/status` in MiB, or 0 if there is none.
fn resident(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or_default();
    kib / 1_024.0
}
