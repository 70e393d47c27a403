//! Tests of what is specific to SQLite: one instance, crashes, group commit, failing commits, query plans.

use super::*;
use crate::store::contract::{claim_until, job, purge};
use crate::store::{Enqueued, Filter, NewPurge, Store};
use rusqlite::ErrorCode;
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::task::JoinSet;

mod bounded;
mod files;

impl SqliteStore {
    /// Refuses writes like a disk that has become read-only, until called with `false`.
    pub(crate) async fn refuse_writes(&self, refuse: bool) {
        let pragma = move |connection: &Connection| connection.pragma_update(None, "query_only", refuse);
        self.read("set a pragma", pragma).await.unwrap();
    }
}

fn file() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    (directory, path)
}

async fn enqueue(store: &SqliteStore, id: &str) -> Result<Enqueued, StoreError> {
    store.enqueue(purge(id, vec![job("fastly", 1)])).await
}

#[test]
fn a_second_instance_is_refused() {
    let (_directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::InUse { .. })));
    drop(store);
    SqliteStore::open(&path).unwrap();
}

#[test]
fn a_store_that_cannot_be_opened_says_why() {
    let (directory, path) = file();
    let check = |expected: &str| {
        let error = SqliteStore::open(&path).err().unwrap();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    };
    std::fs::write(&path, "certainly not a database, but long enough to be looked at").unwrap();
    check("Database");
    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    check("Foreign");
    std::fs::remove_file(&path).unwrap();
    drop(SqliteStore::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    check("Newer");
    let nowhere = directory.path().join("missing/store.db");
    assert!(matches!(SqliteStore::open(&nowhere), Err(OpenError::Lock { .. })));
}

/// A file of each older version, with a purge that waits.
#[tokio::test]
async fn an_older_file_is_brought_to_this_version() {
    for version in 1..migrations::STEPS.len() {
        let (_directory, path) = file();
        let old = Connection::open(&path).unwrap();
        migrations::STEPS[..version].iter().for_each(|step| old.execute_batch(step).unwrap());
        old.pragma_update(None, "application_id", migrations::APPLICATION).unwrap();
        old.pragma_update(None, "user_version", version as i32).unwrap();
        old.execute_batch(
            "INSERT INTO cdns (id, site, name, jobs, pending) VALUES (1, 'www', 'fastly', 1, 1);
             INSERT INTO purges (n, id, site, caller, created_ms, items, head, body)
                 VALUES (1, 'p1', 'www', 'cms', 7, 1, '{}', '[[],[],[\"tag-0\"],[]]');
             INSERT INTO jobs (id, purge, cdn, type, items, fallback, repeat_after_ms, lane, due_ms)
                 VALUES (1, 1, 1, 'fastly', 1, '[]', 0, 1, 7);
             INSERT INTO items (job, n, kind, hard, value) VALUES (1, 0, 1, 1, 'tag-0');
             INSERT INTO sends (job, n, cdn, lane, kind, hard, due_ms, reason) VALUES (1, 0, 1, 1, 1, 1, 7, 0)",
        )
        .unwrap();
        // Only version 4 has the column in this table.
        let had_since = old.execute("UPDATE purges SET since_ms = 9", []).is_ok();
        assert_eq!(had_since, version == 4);
        drop(old);
        let store = SqliteStore::open(&path).unwrap();
        let view = store.get("p1".into()).await.unwrap().unwrap();
        assert_eq!((view.jobs.len(), view.jobs[0].verification), (1, None), "version {version}");
        let claimed = claim_until(&store, "fastly", 7, 8, 1).await;
        let since_ms = if had_since { 9 } else { 7 };
        assert_eq!((claimed[0].created_ms, claimed[0].since_ms), (7, since_ms), "version {version}");
        enqueue(&store, "p2").await.unwrap();
    }
}

#[test]
fn an_installation_keeps_its_id() {
    let (_directory, path) = file();
    let id = SqliteStore::open(&path).unwrap().installation().to_owned();
    assert!(id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
    assert_eq!(SqliteStore::open(&path).unwrap().installation(), id);
    let (_directory, other) = file();
    assert_ne!(SqliteStore::open(&other).unwrap().installation(), id);
    assert_ne!(SqliteStore::in_memory().unwrap().installation(), id);
}

#[tokio::test]
async fn what_was_accepted_survives_closing() {
    let (_directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    enqueue(&store, "p1").await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert!(store.get("p1".into()).await.unwrap().is_some());
}

/// The files at one moment are what a crash at that moment leaves.
#[tokio::test]
async fn what_was_accepted_survives_a_crash() {
    let (directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    enqueue(&store, "p1").await.unwrap();
    let claimed = claim_until(&store, "fastly", i64::MAX - 1, i64::MAX, 10).await;
    enqueue(&store, "p2").await.unwrap();

    let after = directory.path().join("after.db");
    std::fs::copy(&path, &after).unwrap();
    std::fs::copy(directory.path().join("store.db-wal"), directory.path().join("after.db-wal")).unwrap();
    let reopened = SqliteStore::open(&after).unwrap();
    for id in ["p1", "p2"] {
        assert!(reopened.get(id.into()).await.unwrap().is_some());
    }
    assert_eq!(reopened.take_over(0.into(), i64::MAX).await.unwrap().leases, 1);
    let again = claim_until(&reopened, "fastly", i64::MAX - 1, i64::MAX, 10).await;
    assert_eq!(again.len(), 2);
    assert_eq!((again[0].id, again[0].attempt), (claimed[0].id, 2));
}

/// The arrival of a former run's responses is unknown.
#[tokio::test]
async fn a_follow_up_is_due_after_the_next_start() {
    let (_directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    let follow_ups = crate::store::FollowUps { items: vec![(0, 0)], margin_ms: 500 };
    store.enqueue(NewPurge { follow_ups, ..purge("p1", vec![job("fastly", 1)]) }).await.unwrap();
    let waiting = crate::store::WAITING_MS;
    assert_eq!(claim_until(&store, "fastly", waiting - 1, waiting, 10).await.len(), 1);
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    let now_ms = now_ms();
    store.take_over(now_ms.into(), now_ms + 60_000).await.unwrap();
    assert_eq!(claim_until(&store, "fastly", now_ms + 499, waiting, 1).await.len(), 1, "the purge itself");
    let next = store.due(crate::store::contract::key("fastly"), now_ms + 499, 9).await.unwrap().next_ms;
    assert_eq!(next, Some(now_ms + 500));
    assert_eq!(claim_until(&store, "fastly", now_ms + 500, waiting, 10).await.len(), 1);
}

/// A gate that holds the writer until all callers have queued, so that nothing depends on their speed.
struct Gate<'a> {
    queue: &'a mpsc::Sender<Box<dyn Command>>,
    open: std::sync::mpsc::Sender<()>,
}

impl<'a> Gate<'a> {
    async fn closed(store: &'a SqliteStore) -> Self {
        let Access::Threads(threads) = &store.access else { panic!("a store in a file") };
        let queue = &threads.queues.as_ref().unwrap().write;
        let (open, gate) = std::sync::mpsc::channel();
        let (reached, at_gate) = tokio::sync::oneshot::channel();
        let (command, _answer) = threads::command("wait", threads::Kind::Plain, move |_| {
            reached.send(()).unwrap();
            gate.recv().unwrap();
            Ok(())
        });
        queue.send(command).await.unwrap();
        at_gate.await.unwrap();
        Self { queue, open }
    }

    async fn open_before(self, callers: JoinSet<()>) {
        while self.queue.max_capacity() - self.queue.capacity() < callers.len() {
            tokio::task::yield_now().await;
        }
        self.open.send(()).unwrap();
        callers.join_all().await;
    }
}

#[tokio::test]
async fn waiting_purges_share_a_commit() {
    let (_directory, path) = file();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let gate = Gate::closed(&store).await;
    let mut callers = JoinSet::new();
    for n in 0..100 {
        let store = store.clone();
        callers.spawn(async move {
            enqueue(&store, &format!("p{n:03}")).await.unwrap();
        });
    }
    let before = store.commits();
    gate.open_before(callers).await;
    assert_eq!(store.commits() - before, 1);
    assert_eq!(store.list(Filter { limit: 200, ..Filter::default() }).await.unwrap().purges.len(), 100);
}

/// SQLite itself would commit to the removed file, and a restart would find nothing of it.
#[tokio::test]
async fn nothing_is_promised_once_the_file_is_gone() {
    let (directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    enqueue(&store, "p1").await.unwrap();
    let aside = directory.path().join("aside");
    std::fs::rename(&path, &aside).unwrap();
    let refused = enqueue(&store, "p2").await.unwrap_err();
    let source = std::error::Error::source(&refused).unwrap().to_string();
    assert!(source.contains("was removed or replaced"), "{source}");
    std::fs::write(&path, "another file").unwrap();
    assert!(enqueue(&store, "p3").await.is_err());
    std::fs::rename(&aside, &path).unwrap();
    enqueue(&store, "p4").await.unwrap();
}

#[tokio::test]
async fn a_bad_verb_fails_alone() {
    let (_directory, path) = file();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let mut callers = JoinSet::new();
    for n in 0..10 {
        let store = store.clone();
        callers.spawn(async move {
            // The second purge of each id is refused.
            let first = enqueue(&store, &format!("p{n}")).await;
            let second = enqueue(&store, &format!("p{n}")).await;
            assert!(first.is_ok() && second.is_err());
        });
    }
    callers.join_all().await;
    assert_eq!(store.status().await.unwrap()[0].pending, 10);
}

#[tokio::test]
async fn a_commit_that_fails_fails_everyone_in_it() {
    let (_directory, path) = file();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let gate = Gate::closed(&store).await;
    let mut callers = JoinSet::new();
    let one = store.clone();
    callers.spawn(async move {
        enqueue(&one, "innocent").await.unwrap_err();
    });
    let other = store.clone();
    callers.spawn(async move {
        // A foreign key that is checked at the commit and does not hold.
        let broken = other.write("break", |connection| {
            connection.execute_batch(
                "PRAGMA defer_foreign_keys = ON;
                 INSERT INTO attempts (job, call, items) VALUES (404, 404, 1)",
            )
        });
        broken.await.unwrap_err();
    });
    gate.open_before(callers).await;
    assert!(store.get("innocent".into()).await.unwrap().is_none());
    enqueue(&store, "next").await.unwrap();
    assert!(store.get("next".into()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_full_disk_is_never_a_success() {
    let (_directory, path) = file();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    let limit = |pages: i64| {
        store.write("limit", move |connection| {
            connection.pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
        })
    };
    let used = limit(1).await.unwrap();
    let big = || store.enqueue(purge("big", vec![job("fastly", 20_000)]));
    match big().await {
        Err(StoreError::Database { source, .. }) => {
            let source = source.downcast_ref::<rusqlite::Error>().unwrap();
            assert_eq!(source.sqlite_error_code(), Some(ErrorCode::DiskFull));
        }
        other => panic!("{other:?}"),
    }
    assert!(store.get("big".into()).await.unwrap().is_none());
    limit(used + 100_000).await.unwrap();
    big().await.unwrap();
    assert_eq!(store.status().await.unwrap()[0].pending, 20_000);
}

/// The vitals reveal a panic of any of the threads.
#[tokio::test]
async fn a_thread_that_panics_is_seen() {
    for reads in [false, true] {
        let (_directory, path) = file();
        let store = SqliteStore::open(&path).unwrap();
        enqueue(&store, "p1").await.unwrap();
        assert!(store.vitals().quiet_for(std::time::Instant::now()) < std::time::Duration::from_secs(60));
        let panics = |_: &Connection| -> rusqlite::Result<()> { panic!("on purpose") };
        let answer =
            if reads { store.browse("panic", panics).await } else { store.write("panic", panics).await };
        assert!(matches!(answer, Err(StoreError::Closed)));
        // The answer comes before the thread has ended.
        while store.vitals().quiet_for(std::time::Instant::now()) != std::time::Duration::MAX {
            thread::yield_now();
        }
    }
}

#[tokio::test]
async fn a_sweep_leaves_no_rows_behind() {
    let store = SqliteStore::in_memory().unwrap();
    enqueue(&store, "p1").await.unwrap();
    enqueue(&store, "p2").await.unwrap();
    let now = purge("", vec![]).now_ms;
    let sends = claim_until(&store, "fastly", now, now + 1, 10).await;
    crate::store::contract::settle_all(&store, &sends, crate::store::SendOutcome::Done).await;
    assert_eq!(crate::store::contract::sweep(&store, i64::MAX, now).await, 2);
    for table in ["purges", "jobs", "items", "sends", "attempts", "calls", "removing", "accepted"] {
        let rows = store
            .read("count", move |connection| {
                connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))
            })
            .await;
        assert_eq!(rows.unwrap(), 0, "{table}");
    }
}

/// With a million rows waiting, the worker's frequent queries must be short walks along an index.
#[tokio::test]
async fn frequent_queries_follow_an_index() {
    let store = SqliteStore::in_memory().unwrap();
    let check = async |query: &'static str, index: &str| {
        let plan = store.read("explain", move |connection| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
            let rows = statement.query_map([], |row| row.get::<_, String>(3))?;
            rows.collect::<Result<Vec<_>, _>>()
        });
        let plan = plan.await.unwrap().join("; ");
        assert!(plan.contains(index), "{query}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{query}: {plan}");
    };
    check(
        "SELECT value FROM sends JOIN items ON items.job = sends.job AND items.n = sends.n
         WHERE cdn = 1 AND lane = 0 AND sends.kind = 0 AND sends.hard = 0 AND due_ms <= 9 AND batch IS NULL
         ORDER BY due_ms, sends.id LIMIT 9",
        "INDEX sends_due",
    )
    .await;
    check(
        "SELECT count(*), min(due_ms) FROM
             (SELECT due_ms FROM sends
              WHERE cdn = 1 AND lane = 0 AND kind = 0 AND hard = 0 AND due_ms <= 9 ORDER BY due_ms LIMIT 9)",
        "COVERING INDEX sends_due",
    )
    .await;
    check(
        "SELECT min(due_ms) FROM sends WHERE cdn = 1 AND lane = 0 AND kind = 0 AND hard = 0 AND due_ms > 9",
        "COVERING INDEX sends_due",
    )
    .await;
    check(
        "SELECT id FROM sends WHERE batch = 1 AND cdn = 1 AND due_ms <= 9 ORDER BY id",
        "INDEX sends_batched",
    )
    .await;
    check("SELECT id FROM sends WHERE absorber = 1 ORDER BY id", "INDEX sends_absorbed").await;
    check(
        "SELECT id FROM sends WHERE cdn = 1 AND lane IN (0, 1, 2) AND kind IN (0, 1, 2, 3) AND hard IN (0, 1)
             AND due_ms <= 9 AND id <> 7
             AND (1 OR kind <> 3 AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = job AND untagged)) LIMIT 9",
        "INDEX sends_due",
    )
    .await;
    check("SELECT min(due_ms) FROM jobs WHERE cdn = 1 AND outcome IS NULL", "jobs_under_way").await;
    check(
        "SELECT count(*) FROM jobs WHERE cdn = 1 AND outcome = 'failed' AND acknowledged = 0",
        "jobs_failed",
    )
    .await;
    check(
        "SELECT min(due_ms) FROM sends WHERE job = 1 AND reason = 0 AND leased = 0",
        "COVERING INDEX sends_by_job",
    )
    .await;
    check("SELECT max(job) FROM sends WHERE leased = 1 AND job < 9", "COVERING INDEX sends_leased").await;
    check(
        "SELECT n FROM purges INDEXED BY purges_unsuccessful
         WHERE outcome IN ('failed', 'cancelled') AND outcome = 'failed' AND id < 'x' ORDER BY id DESC",
        "purges_unsuccessful (outcome=? AND id<?)",
    )
    .await;
    check(
        "SELECT n FROM purges INDEXED BY purges_under_way WHERE outcome IS NULL AND id < 'x' ORDER BY id DESC",
        "purges_under_way (id<?)",
    )
    .await;
    check("UPDATE sends SET leased = 0, due_ms = 0 WHERE leased = 1", "USING INDEX sends_leased").await;
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}
