//! Who runs the verbs: one thread writes, one reads. All writes that wait are committed together (group commit), since the
//! cost of a commit is one `fsync`, however much it carries. Each verb has a savepoint of its own, so that a bad one
//! fails alone; nobody is answered before the commit, and if that fails, everybody hears so.

use super::super::StoreError;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Verbs that may wait for a thread; further callers wait for room.
pub(super) const QUEUE: usize = 1_024;
/// Verbs that one transaction may carry.
const GROUP: usize = 1_024;

/// A verb that waits for its turn.
pub(super) trait Command: Send {
    /// Runs it inside the group's transaction.
    fn run(&mut self, connection: &Connection);
    /// Answers it, with what became of the transaction.
    fn answer(self: Box<Self>, commit: Result<(), Arc<rusqlite::Error>>);
}

/// A verb and where its answer goes.
pub(super) fn command<T, F>(
    verb: &'static str,
    work: F,
) -> (Box<dyn Command>, oneshot::Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    (Box::new(Verb { verb, work: Some(work), result: None, sender }), receiver)
}

struct Verb<T, F> {
    verb: &'static str,
    work: Option<F>,
    result: Option<rusqlite::Result<T>>,
    sender: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Command for Verb<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, connection: &Connection) {
        if let Some(work) = self.work.take() {
            self.result = Some(savepoint(connection, work));
        }
    }

    fn answer(self: Box<Self>, commit: Result<(), Arc<rusqlite::Error>>) {
        let verb = self.verb;
        let database = |source| StoreError::Database { verb, source };
        let answer = match (commit, self.result) {
            // A verb's own failure says more than that of its group.
            (_, Some(Err(own))) => Err(database(Arc::new(own))),
            (Err(commit), _) => Err(database(commit)),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Ok(()), None) => Err(StoreError::Closed),
        };
        // Nobody may be waiting any more: then there is nobody to tell.
        let _ = self.sender.send(answer);
    }
}

fn savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // Kept prepared: a group runs these hundreds of times.
    connection.prepare_cached("SAVEPOINT verb")?.execute([])?;
    let result = work(connection).and_then(|value| {
        connection.prepare_cached("RELEASE verb")?.execute([])?;
        Ok(value)
    });
    if result.is_err() && !connection.is_autocommit() {
        // A failure here leaves the transaction in doubt; the commit decides, and it fails if the transaction is gone.
        let _ = connection.execute_batch("ROLLBACK TO verb; RELEASE verb");
    }
    result
}

/// Writes until every sender is gone and the queue is empty.
pub(super) fn write(
    connection: &Connection,
    mut queue: mpsc::Receiver<Box<dyn Command>>,
    commits: &AtomicU64,
) {
    let place = Place::of(connection);
    while let Some(first) = queue.blocking_recv() {
        let mut group = VecDeque::from([first]);
        while group.len() < GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push_back(next);
        }
        match place.check() {
            Ok(()) => commit(connection, group, commits),
            Err(moved) => finish(connection, Err(moved), group),
        }
    }
}

/// The file as it was when it was opened. SQLite goes on writing to a file that has been removed: commits succeed, and a
/// restart finds nothing of them.
struct Place(Option<(PathBuf, FileId)>);

type FileId = (u64, u64);

impl Place {
    fn of(connection: &Connection) -> Self {
        let path = connection.path().map(PathBuf::from);
        Self(path.and_then(|path| Some((path.clone(), Self::id(&path)?))))
    }

    fn id(path: &Path) -> Option<FileId> {
        let file = std::fs::metadata(path).ok()?;
        Some((file.dev(), file.ino()))
    }

    fn check(&self) -> rusqlite::Result<()> {
        match &self.0 {
            Some((path, id)) if Self::id(path) != Some(*id) => {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY_DBMOVED);
                let message = format!("{} was removed or replaced: put it back, or restart", path.display());
                Err(rusqlite::Error::SqliteFailure(code, Some(message)))
            }
            _ => Ok(()),
        }
    }
}

/// Reads until every sender is gone and the queue is empty.
pub(super) fn read(connection: &Connection, mut queue: mpsc::Receiver<Box<dyn Command>>) {
    while let Some(command) = queue.blocking_recv() {
        look(connection, command);
    }
}

/// Runs a verb that only reads. All of it sees one state of the database.
pub(super) fn look(connection: &Connection, mut command: Box<dyn Command>) {
    let result = connection.execute_batch("BEGIN DEFERRED").and_then(|()| {
        command.run(connection);
        connection.execute_batch("COMMIT")
    });
    finish(connection, result, [command].into());
}

/// Runs a group in as few transactions as possible: one, unless SQLite itself ends it half-way.
pub(super) fn commit(connection: &Connection, mut group: VecDeque<Box<dyn Command>>, commits: &AtomicU64) {
    while !group.is_empty() {
        let mut ran = VecDeque::with_capacity(group.len());
        let before = connection.total_changes();
        let result = connection.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            while let Some(mut command) = group.pop_front() {
                command.run(connection);
                ran.push_back(command);
                // A full disk or an I/O error makes SQLite roll the whole transaction back by itself
                // (<https://sqlite.org/lang_transaction.html>): those that ran so far have failed with it.
                if connection.is_autocommit() {
                    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT);
                    return Err(rusqlite::Error::SqliteFailure(code, Some("rolled back by SQLite".into())));
                }
            }
            connection.execute_batch("COMMIT")?;
            // One that changed nothing costs no `fsync`.
            if connection.total_changes() != before {
                commits.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        if ran.is_empty() {
            // Not even begun: whoever waits would fare no better.
            ran = std::mem::take(&mut group);
        }
        finish(connection, result, ran);
    }
}

fn finish(connection: &Connection, result: rusqlite::Result<()>, commands: VecDeque<Box<dyn Command>>) {
    let result = result.map_err(Arc::new);
    if result.is_err() && !connection.is_autocommit() {
        // If this fails too, the next BEGIN says so.
        let _ = connection.execute_batch("ROLLBACK");
    }
    for command in commands {
        command.answer(result.clone());
    }
}
