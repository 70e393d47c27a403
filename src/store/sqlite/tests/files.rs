//! Tests of the store's files: missing, replaced and old ones.

use super::*;
use crate::base::beside;
use crate::store::contract::claim_until;

/// Returns a store of the files that a crash at this moment leaves.
async fn after_a_crash(path: &std::path::Path) -> (TempDir, SqliteStore) {
    let (directory, after) = file();
    for ending in ["", "-wal"] {
        let file = beside(path, ending);
        if file.exists() {
            std::fs::copy(file, beside(&after, ending)).unwrap();
        }
    }
    (directory, SqliteStore::open(&after).unwrap())
}

fn why(error: &StoreError) -> String {
    crate::base::with_causes(error)
}

async fn has(store: &SqliteStore, id: &str) -> bool {
    store.get(id.into()).await.unwrap().is_some()
}

#[tokio::test]
async fn nothing_is_lost_with_a_file_beside_the_store() {
    for ending in ["-wal", "-shm"] {
        let (_directory, path) = file();
        let store = SqliteStore::open(&path).unwrap();
        enqueue(&store, "p1").await.unwrap();
        std::fs::remove_file(beside(&path, ending)).unwrap();
        for id in ["p2", "p3"] {
            let refused = why(&enqueue(&store, id).await.unwrap_err());
            assert!(refused.contains(ending) && refused.contains("was removed or replaced"), "{refused}");
            assert!(refused.contains("purges accepted before are saved"), "{refused}");
        }
        let (_after, crashed) = after_a_crash(&path).await;
        assert!(has(&crashed, "p1").await, "{ending}");
        assert!(!has(&crashed, "p2").await, "{ending}: it was refused");
        drop(store);
        let store = SqliteStore::open(&path).unwrap();
        assert!(has(&store, "p1").await);
        enqueue(&store, "p4").await.unwrap();
    }
}

#[tokio::test]
async fn a_log_that_is_put_back_is_gone_on_with() {
    let (directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    enqueue(&store, "p1").await.unwrap();
    let aside = directory.path().join("aside");
    std::fs::rename(beside(&path, "-wal"), &aside).unwrap();
    enqueue(&store, "p2").await.unwrap_err();
    std::fs::rename(&aside, beside(&path, "-wal")).unwrap();
    enqueue(&store, "p3").await.unwrap();
    let (_after, crashed) = after_a_crash(&path).await;
    assert_eq!((has(&crashed, "p1").await, has(&crashed, "p3").await), (true, true));
}

/// An older log of the same store is valid, so a start would use it.
#[tokio::test]
async fn another_log_is_never_taken_for_ours() {
    let (directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    enqueue(&store, "old").await.unwrap();
    let older = directory.path().join("older");
    std::fs::copy(beside(&path, "-wal"), &older).unwrap();
    for n in 0..50 {
        enqueue(&store, &format!("p{n:02}")).await.unwrap();
    }
    std::fs::rename(&older, beside(&path, "-wal")).unwrap();
    enqueue(&store, "refused").await.unwrap_err();
    assert!(beside(&path, "-wal-foreign").exists());
    let (_after, crashed) = after_a_crash(&path).await;
    assert!(has(&crashed, "p49").await);
    let found = crashed.write("check", |connection| {
        connection.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))
    });
    assert_eq!(found.await.unwrap(), "ok");
}

/// The removal may come between the commit and the answer.
#[tokio::test]
async fn a_commit_to_a_removed_log_is_no_promise() {
    let (_directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    enqueue(&store, "p1").await.unwrap();
    let log = beside(&path, "-wal");
    let removed = store.write("remove", move |connection| {
        std::fs::remove_file(log).unwrap();
        connection.execute("INSERT INTO cdns (site, name) VALUES ('a', 'b')", [])
    });
    let refused = why(&removed.await.unwrap_err());
    assert!(refused.contains("was removed or replaced"), "{refused}");
}

#[tokio::test]
async fn a_second_instance_is_refused_whatever_was_removed() {
    let (_directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    enqueue(&store, "p1").await.unwrap();
    for endings in [&["-lock"][..], &["-lock", "-shm"], &["-lock", "-wal", "-shm"]] {
        for ending in endings {
            // An earlier round may already have removed the file.
            let _ = std::fs::remove_file(beside(&path, ending));
        }
        assert!(matches!(SqliteStore::open(&path), Err(OpenError::InUse { .. })), "{endings:?}");
        // The attempt did not drop this process's locks either, which another process would meet.
        assert!(is_locked(&path), "{endings:?}");
    }
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert!(has(&store, "p1").await);
}

/// Returns whether another process finds SQLite's own lock on the database.
fn is_locked(path: &std::path::Path) -> bool {
    // fcntl(F_GETLK) reports only the locks of other processes, and `/proc/locks` reports all.
    let file = std::fs::metadata(path).unwrap();
    let inode = format!(":{}", std::os::unix::fs::MetadataExt::ino(&file));
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let of_file = |line: &&str| line.split_whitespace().any(|field| field.ends_with(&inode));
    locks.lines().filter(of_file).any(|line| line.contains("POSIX"))
}

#[tokio::test]
async fn a_lock_file_that_is_gone_is_made_anew() {
    let (_directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    std::fs::remove_file(beside(&path, "-lock")).unwrap();
    enqueue(&store, "p1").await.unwrap();
    // An older version would try this.
    assert!(matches!(super::super::files::lock(&path), Err(OpenError::InUse { .. })));
    std::fs::remove_file(beside(&path, "-lock")).unwrap();
    let theirs = super::super::files::lock(&path).unwrap();
    let refused = why(&enqueue(&store, "p2").await.unwrap_err());
    assert!(refused.contains("in use by another instance"), "{refused}");
    drop(theirs);
    enqueue(&store, "p3").await.unwrap();
}

/// A file that cannot shrink, as earlier versions created it.
async fn old_file(path: &std::path::Path) {
    let store = SqliteStore::open(path).unwrap();
    enqueue(&store, "p1").await.unwrap();
    drop(store);
    let old = Connection::open(path).unwrap();
    old.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = NONE; VACUUM").unwrap();
}

async fn pragma(store: &SqliteStore, name: &'static str) -> i64 {
    let asked =
        store.read("ask", move |connection| connection.pragma_query_value(None, name, |row| row.get(0)));
    asked.await.unwrap()
}

#[tokio::test]
async fn an_older_file_learns_to_shrink() {
    let (directory, path) = file();
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(pragma(&store, "auto_vacuum").await, 2, "a new file can");
    drop(store);
    old_file(&path).await;
    std::fs::write(beside(&path, "-new"), "of a start that was broken off").unwrap();
    // A user who interrupted that start because it took too long must not wait as long on each further start.
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(pragma(&store, "auto_vacuum").await, 0);
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(pragma(&store, "auto_vacuum").await, 2);
    assert_eq!(claim_until(&store, "fastly", i64::MAX - 1, i64::MAX, 9).await.len(), 1);
    enqueue(&store, "p2").await.unwrap();
    let left = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: std::collections::BTreeSet<_> = left.collect();
    assert_eq!(left.len(), 5, "{left:?}");
    assert!(matches!(SqliteStore::open(&path), Err(OpenError::InUse { .. })));
}

#[tokio::test]
async fn a_file_that_cannot_be_written_anew_is_used_as_it_is() {
    let (_directory, path) = file();
    old_file(&path).await;
    // Nothing can be written through a dangling link, not even by root.
    std::os::unix::fs::symlink("missing/new", beside(&path, "-new")).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(pragma(&store, "auto_vacuum").await, 0);
    enqueue(&store, "p2").await.unwrap();
    assert!(crate::store::contract::sweep(&store, i64::MAX, now_ms()).await == 0);
}

#[tokio::test]
async fn whoever_only_looks_leaves_nothing_behind() {
    let (directory, path) = file();
    let files = || {
        let all = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        all.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(SqliteStore::would_move(&path, &[]).unwrap(), []);
    assert!(files().is_empty());
    let store = SqliteStore::open(&path).unwrap();
    enqueue(&store, "p1").await.unwrap();
    let other = (CdnKey { site: "www".into(), cdn: "other".into() }, Identity::default());
    drop(store);
    let before = files();
    assert_eq!(
        SqliteStore::would_move(&path, &[other]).unwrap(),
        [],
        "a queue of a service that nobody knows keeps its name"
    );
    assert_eq!(files(), before);
    assert_eq!(before.len(), 3, "the database, the lock and the mark: {before:?}");
}
