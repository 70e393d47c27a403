//! Tests that a verb takes no longer the more there is in the store, except for verbs that must. The measure is
//! rows and steps, not time.

use super::*;
use crate::purge::State;
use crate::store::contract::{self, settle_all, sweep};
use crate::store::{SendOutcome, Swept};
use std::sync::atomic::AtomicUsize;

/// Returns the steps of SQLite's virtual machine that a read takes, in hundreds.
async fn steps<T: Send + 'static>(
    store: &SqliteStore,
    look: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> (T, usize) {
    let steps = Arc::new(AtomicUsize::new(0));
    let counter = steps.clone();
    let Access::Inline(connection) = &store.access else { panic!("a store in memory") };
    let count = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        false
    };
    connection.lock().unwrap().progress_handler(100, Some(count)).unwrap();
    let found = store.read("look", look).await.unwrap();
    connection.lock().unwrap().progress_handler(100, None::<fn() -> bool>).unwrap();
    (found, steps.load(Ordering::Relaxed))
}

fn of(state: State) -> Filter {
    Filter { state: Some(state), limit: 20, ..Filter::default() }
}

/// A store in which this number of purges wait for a CDN, behind one that failed, one that is being sent and one
/// that is done.
async fn crowded(purges: usize) -> SqliteStore {
    let store = SqliteStore::in_memory().unwrap();
    for (id, end) in
        [("a-failed", Some(SendOutcome::Failed)), ("b-done", Some(SendOutcome::Done)), ("c-sending", None)]
    {
        store.enqueue(purge(id, vec![job("fastly", 1)])).await.unwrap();
        let sends = claim_until(&store, "fastly", i64::MAX - 1, i64::MAX, 9).await;
        if let Some(end) = end {
            settle_all(&store, &sends, end).await;
        }
    }
    let filled = store.write("fill", move |connection| {
        for n in 0..purges {
            enqueue::enqueue(connection, &purge(&format!("p{n:06}"), vec![job("fastly", 1)]))?;
        }
        Ok(())
    });
    filled.await.unwrap();
    store
}

/// Returns everything that a filter finds, page by page, with the number of pages and the steps of the most
/// expensive one.
async fn pages(store: &SqliteStore, filter: Filter) -> (Vec<String>, usize, usize) {
    let (mut found, mut pages, mut most, mut before) = (Vec::new(), 0, 0, None);
    loop {
        let filter = Filter { before, ..filter.clone() };
        let (listed, steps) = steps(store, move |connection| list::list(connection, &filter)).await;
        found.extend(listed.purges.into_iter().map(|purge| purge.id));
        (pages, most, before) = (pages + 1, most.max(steps), listed.next);
        if before.is_none() {
            return (found, pages, most);
        }
    }
}

#[tokio::test]
async fn a_list_looks_at_a_limited_number_of_purges() {
    let (few, many) = (crowded(1_500).await, crowded(6_000).await);
    for (state, expected) in [
        (State::Sending, &["c-sending"][..]),
        (State::Failed, &["a-failed"]),
        (State::Done, &["b-done"]),
        (State::Retrying, &[]),
    ] {
        let (found, _, at_few) = pages(&few, of(state)).await;
        assert_eq!(found, expected);
        let (found, count, at_many) = pages(&many, of(state)).await;
        assert_eq!(found, expected);
        // The cost of a page does not depend on the number of purges.
        assert!(at_many <= at_few + at_few / 20 + 1, "{state:?}: {at_many} and {at_few} hundred steps");
        let has_index = matches!(state, State::Sending | State::Failed);
        assert_eq!(count, if has_index { 1 } else { 7 }, "{state:?}");
        assert!(!has_index || at_many < 20, "{state:?}: {at_many} hundred steps");
    }
}

#[tokio::test]
async fn pages_have_every_purge_once() {
    let store = crowded(2_500).await;
    let (found, ..) = pages(&store, of(State::Pending)).await;
    assert_eq!(found.len(), 2_500);
    assert!(found.is_sorted_by(|one, next| one > next), "newest first, none twice");
    for sites in [None, Some(vec!["www".to_owned()]), Some(vec!["www".to_owned(), "shop".to_owned()])] {
        let (found, ..) = pages(&store, Filter { sites, limit: 100, ..Filter::default() }).await;
        assert_eq!(found.len(), 2_503);
        assert!(found.is_sorted_by(|one, next| one > next));
    }
    let nobodys = Filter { sites: Some(vec![]), limit: 100, ..Filter::default() };
    assert_eq!(pages(&store, nobodys).await.0, [""; 0]);
}

/// More sends are leased than one list examines.
#[tokio::test]
async fn many_that_are_sent_are_found_page_by_page() {
    let store = crowded(2_500).await;
    let leased = store.write("lease", |connection| connection.execute("UPDATE sends SET leased = 1", []));
    assert_eq!(leased.await.unwrap(), 2_501);
    let (found, ..) = pages(&store, of(State::Sending)).await;
    assert_eq!(found.len(), 2_501);
    assert!(found.is_sorted_by(|one, next| one > next));
}

/// Long reads for people hold up no worker, because they have threads of their own.
#[tokio::test]
async fn workers_do_not_wait_for_readers() {
    let (_directory, path) = file();
    let store = Arc::new(SqliteStore::open(&path).unwrap());
    enqueue(&store, "p1").await.unwrap();
    let (open, gate) = std::sync::mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let mut slow = JoinSet::new();
    // There are more reads than threads.
    for _ in 0..10 {
        let (store, gate) = (store.clone(), gate.clone());
        slow.spawn(async move {
            let look = store.browse("look for long", move |_| {
                // The read ends when the sender is dropped.
                let _ = gate.lock().unwrap().recv();
                Ok(())
            });
            look.await.unwrap();
        });
    }
    tokio::task::yield_now().await;
    assert_eq!(store.due(contract::key("fastly"), i64::MAX - 1, 9).await.unwrap().pending, 1);
    assert_eq!(store.status().await.unwrap().len(), 1);
    assert_eq!(claim_until(&*store, "fastly", i64::MAX - 1, i64::MAX, 9).await.len(), 1);
    enqueue(&store, "p2").await.unwrap();
    drop(open);
    slow.join_all().await;
}

/// Purges of many items that ended long ago.
async fn expired(store: &SqliteStore, purges: usize, items: usize) {
    for n in 0..purges {
        let id = format!("p{n}");
        store.enqueue(purge(&id, vec![job("fastly", items), job("akamai", items)])).await.unwrap();
        store.cancel(id, 0).await.unwrap();
    }
}

async fn rows(store: &SqliteStore) -> i64 {
    let counted = store.read("count", |connection| {
        ["purges", "jobs", "items", "sends", "attempts", "calls", "idempotency", "accepted"].iter().try_fold(
            0,
            |sum, table| {
                let rows = connection
                    .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0))?;
                Ok(sum + rows)
            },
        )
    });
    counted.await.unwrap()
}

#[tokio::test]
async fn a_step_of_a_sweep_removes_a_limited_number_of_rows() {
    let store = SqliteStore::in_memory().unwrap();
    expired(&store, 3, 9_000).await;
    enqueue(&store, "kept").await.unwrap();
    let mut steps = Vec::new();
    let mut left = rows(&store).await;
    loop {
        let Swept { purges, more } = store.sweep(1, now_ms()).await.unwrap();
        let now_left = rows(&store).await;
        steps.push((purges, left - now_left));
        left = now_left;
        // The purges are hidden from the first step on, however long the rest takes.
        for n in 0..3 {
            let id = format!("p{n}");
            assert_eq!(store.get(id.clone()).await.unwrap(), None);
            assert_eq!(store.retry(id.clone(), 1).await.unwrap(), 0);
            assert_eq!(store.acknowledge(id).await.unwrap(), 0);
        }
        assert_eq!(store.list(Filter { limit: 9, ..Filter::default() }).await.unwrap().purges.len(), 1);
        assert_eq!(store.recent(9).await.unwrap().len(), 1);
        if !more {
            break;
        }
    }
    assert_eq!(steps[0], (3, 0));
    assert!(steps.len() >= 27, "{steps:?}");
    assert!(steps.iter().all(|(_, rows)| *rows < 2_200), "{steps:?}");
    // The rows of the purge that is kept: purge, acceptance, job, item and send.
    assert_eq!(left, 5);
}

#[tokio::test]
async fn space_comes_back() {
    let (_directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    expired(&store, 8, 40_000).await;
    let before = size(&store).await;
    assert_eq!(sweep(&store, 1, now_ms()).await, 8);
    let after = size(&store).await;
    assert!(before > 4_096 + 1_000 && after <= 4_096 + 200, "{before} and {after} pages");
    enqueue(&store, "next").await.unwrap();
}

async fn size(store: &SqliteStore) -> i64 {
    let pages =
        store.read("ask", |connection| connection.pragma_query_value(None, "page_count", |row| row.get(0)));
    pages.await.unwrap()
}

/// A table that the rehearsal finds broken makes the store unhealthy before the next purge is requested.
#[tokio::test]
async fn a_probe_finds_what_no_purge_could_be_written_to() {
    let store = SqliteStore::in_memory().unwrap();
    enqueue(&store, "p1").await.unwrap();
    store.probe(7.into()).await.unwrap();
    let all = store.list(Filter { limit: 9, ..Filter::default() }).await.unwrap();
    assert_eq!(all.purges.len(), 1, "nothing of a rehearsal stays");
    assert_eq!(store.status().await.unwrap().len(), 1);
    for table in ["items", "accepted", "idempotency"] {
        let rename = |from: String, to: String| {
            store.write("rename", move |connection| {
                connection.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}"))
            })
        };
        rename(table.to_owned(), "elsewhere".to_owned()).await.unwrap();
        let error = store.probe(8.into()).await.unwrap_err().to_string();
        assert_eq!(error, "the store cannot accept a purge");
        rename("elsewhere".to_owned(), table.to_owned()).await.unwrap();
        store.probe(9.into()).await.unwrap();
    }
}

/// The next run continues what a step has begun.
#[tokio::test]
async fn a_sweep_goes_on_after_a_restart() {
    let (_directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    expired(&store, 1, 9_000).await;
    for _ in 0..2 {
        assert!(store.sweep(1, now_ms()).await.unwrap().more);
    }
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.get("p0".into()).await.unwrap(), None);
    assert_eq!(sweep(&store, 1, now_ms()).await, 0);
    assert_eq!(rows(&store).await, 0);
}
