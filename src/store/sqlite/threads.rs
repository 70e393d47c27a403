//! The threads that run the verbs: one writes, others read. All waiting writes are committed together (group
//! commit), because a commit costs one `fsync`, however much it carries. Each verb has its own savepoint, so
//! that a failing one fails alone. No caller gets an answer before the commit. If that fails, all get its error.

use super::super::StoreError;
use super::guard::Guard;
use super::mark::{self, Mark};
use super::place::Place;
use super::vitals::Life;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// The most verbs that wait for a thread. Further callers wait for room.
pub(super) const QUEUE: usize = 1_024;
/// The most verbs in one transaction.
const GROUP: usize = 1_024;

/// For whom a read is: the delivery tasks (`Delivery`), or people who use the admin API.
#[derive(Clone, Copy)]
pub(super) enum For {
    Delivery,
    People,
}

/// The relation of a verb to its commit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The caller learns the result.
    Plain,
    /// The verb leases sends. Once they are committed, the claimer must learn of them, or they are not sent
    /// until the lease ends.
    Lease,
    /// Nothing of the verb may remain.
    Rehearsal,
}

/// A verb that waits for its turn.
pub(super) trait Command: Send {
    /// Runs the verb inside the group's transaction.
    fn run(&mut self, connection: &Connection);
    /// Returns the kind of the verb.
    fn kind(&self) -> Kind;
    /// Answers the caller, given the result of the transaction.
    fn answer(self: Box<Self>, commit: Result<(), Arc<rusqlite::Error>>);
}

/// Wraps a verb. Returns it and the receiver of its answer.
pub(super) fn command<T, F>(
    verb: &'static str,
    kind: Kind,
    work: F,
) -> (Box<dyn Command>, oneshot::Receiver<Result<T, StoreError>>)
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    (Box::new(Verb { verb, kind, work: Some(work), result: None, sender }), receiver)
}

struct Verb<T, F> {
    verb: &'static str,
    kind: Kind,
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

    fn kind(&self) -> Kind {
        self.kind
    }

    fn answer(self: Box<Self>, commit: Result<(), Arc<rusqlite::Error>>) {
        let verb = self.verb;
        let database = |source: Arc<rusqlite::Error>| {
            let is_corrupt = is_corruption(&source);
            StoreError::Database { verb, source, is_corrupt, in_doubt: false }
        };
        let answer = match (commit, self.result) {
            // A verb's own failure is more specific than that of its group.
            (_, Some(Err(own))) => Err(database(Arc::new(own))),
            (Err(commit), _) => Err(database(commit)),
            (Ok(()), Some(Ok(value))) => Ok(value),
            (Ok(()), None) => Err(StoreError::Closed),
        };
        // The caller may no longer be waiting.
        let _ = self.sender.send(answer);
    }
}

/// Returns whether the data on the disk is corrupt.
fn is_corruption(error: &rusqlite::Error) -> bool {
    // The extended codes have the same primary code (<https://sqlite.org/rescode.html>).
    let is_corrupt =
        |code| matches!(code, rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase);
    error.sqlite_error_code().is_some_and(is_corrupt)
        // These are values that SQLite read without an error but that this program cannot have written.
        || matches!(
            error,
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..)
        )
}

fn savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    // The statements stay prepared, because a group runs them hundreds of times.
    connection.prepare_cached("SAVEPOINT verb")?.execute([])?;
    let result = work(connection).and_then(|value| {
        connection.prepare_cached("RELEASE verb")?.execute([])?;
        Ok(value)
    });
    if result.is_err() && !connection.is_autocommit() {
        // A failure here leaves the transaction in doubt. The commit decides, and it fails if the transaction is
        // gone.
        let _ = connection.execute_batch("ROLLBACK TO verb; RELEASE verb");
    }
    result
}

/// A connection, and what must not end before it does.
pub(super) struct Held {
    pub(super) connection: Connection,
    pub(super) life: Arc<Life>,
    /// The guard is dropped after the connection, because fields are dropped in their order.
    pub(super) _guard: Arc<Guard>,
}

/// A queue of verbs that several threads share. The next idle thread takes the next verb.
pub(super) type Shared = Arc<Mutex<mpsc::Receiver<Box<dyn Command>>>>;

/// Writes until every sender is gone and the queue is empty.
pub(super) fn write(
    (place, mark): (Place, &Mutex<Mark>),
    mut held: Held,
    mut queue: mpsc::Receiver<Box<dyn Command>>,
    commits: &AtomicU64,
) {
    let Ok(_ending) = held.life.begin(&mut held.connection) else { return };
    let Held { connection, life, .. } = &held;
    let writer = Writer { connection, commits, place: Some(&place), mark: Some(mark), life: Some(life) };
    while let Some(first) = queue.blocking_recv() {
        let mut group = VecDeque::from([first]);
        while group.len() < GROUP
            && let Ok(next) = queue.try_recv()
        {
            group.push_back(next);
        }
        writer.commit(group);
        life.rests();
    }
}

/// The longest rest after a read.
const REST: Duration = Duration::from_millis(50);

/// Reads until every sender is gone and the queue is empty. A thread that reads for people rests after each read
/// for as long as the read took: the log restarts only while no connection reads (<https://sqlite.org/wal.html>,
/// "Avoiding Excessively Large WAL Files"), and other threads need the processor.
pub(super) fn read(mut held: Held, queue: &Shared, whom: For) {
    let Ok(_ending) = held.life.begin(&mut held.connection) else { return };
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(command) = next else { return };
        held.life.gets_on();
        let began = Instant::now();
        look(&held.connection, command);
        held.life.rests();
        if matches!(whom, For::People) {
            thread::sleep(began.elapsed().min(REST));
        }
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

/// The part of the store that commits.
pub(super) struct Writer<'a> {
    pub(super) connection: &'a Connection,
    pub(super) commits: &'a AtomicU64,
    /// The store's files; `None` in memory.
    pub(super) place: Option<&'a Place>,
    pub(super) mark: Option<&'a Mutex<Mark>>,
    pub(super) life: Option<&'a Life>,
}

impl Writer<'_> {
    /// Runs a group in as few transactions as possible: one, unless SQLite itself ends it midway.
    pub(super) fn commit(&self, mut group: VecDeque<Box<dyn Command>>) {
        while let Some(first) = group.front() {
            if first.kind() == Kind::Rehearsal {
                let ran: VecDeque<_> = group.pop_front().into_iter().collect();
                self.rehearse(ran);
                continue;
            }
            let mut ran = VecDeque::with_capacity(group.len());
            let result = self.is_in_place().and_then(|()| self.transaction(&mut group, &mut ran));
            if ran.is_empty() {
                // The transaction did not even begin, so the other waiting verbs would fail as well.
                ran = std::mem::take(&mut group);
            }
            if let (Ok(()), Some(mark)) = (&result, self.mark) {
                mark::locked(mark).note(self.connection);
            }
            // The files may have gone meanwhile, and the commit with them, so no caller may rely on it. A lease
            // promises nothing.
            let in_place = result.and_then(|()| {
                let in_place = self.is_in_place();
                if in_place.is_err() {
                    let (leases, others) = ran.drain(..).partition(|command| command.kind() == Kind::Lease);
                    ran = others;
                    finish(self.connection, Ok(()), leases);
                }
                in_place
            });
            finish(self.connection, in_place, ran);
        }
    }

    fn transaction(
        &self,
        group: &mut VecDeque<Box<dyn Command>>,
        ran: &mut VecDeque<Box<dyn Command>>,
    ) -> rusqlite::Result<()> {
        let before = self.connection.total_changes();
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        while let Some(mut command) = group.pop_front_if(|next| next.kind() != Kind::Rehearsal) {
            self.gets_on();
            command.run(self.connection);
            ran.push_back(command);
            // A full disk or an I/O error makes SQLite roll back the whole transaction by itself
            // (<https://sqlite.org/lang_transaction.html>). The verbs that ran so far have failed with it.
            if self.connection.is_autocommit() {
                let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT);
                return Err(rusqlite::Error::SqliteFailure(code, Some("rolled back by SQLite".into())));
            }
        }
        self.gets_on();
        self.connection.execute_batch("COMMIT")?;
        // A transaction that changed nothing costs no `fsync`.
        if self.connection.total_changes() != before {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Runs verbs that must leave nothing behind, in a transaction of their own: the pages that a savepoint
    /// restores would still be written.
    fn rehearse(&self, mut commands: VecDeque<Box<dyn Command>>) {
        self.gets_on();
        let result = self.is_in_place().and_then(|()| self.connection.execute_batch("BEGIN IMMEDIATE"));
        let result = result.and_then(|()| {
            commands.iter_mut().for_each(|command| command.run(self.connection));
            if self.connection.is_autocommit() { Ok(()) } else { self.connection.execute_batch("ROLLBACK") }
        });
        finish(self.connection, result, commands);
    }

    fn is_in_place(&self) -> rusqlite::Result<()> {
        self.place.map_or(Ok(()), |place| place.check(self.connection))
    }

    fn gets_on(&self) {
        self.life.iter().for_each(|life| life.gets_on());
    }
}

fn finish(connection: &Connection, result: rusqlite::Result<()>, commands: VecDeque<Box<dyn Command>>) {
    let result = result.map_err(Arc::new);
    if result.is_err() && !connection.is_autocommit() {
        // If this fails too, the next BEGIN reports it.
        let _ = connection.execute_batch("ROLLBACK");
    }
    for command in commands {
        command.answer(result.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn corruption_is_told_by_the_primary_code() {
        let of = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        for code in
            [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB, ffi::SQLITE_CORRUPT_INDEX, ffi::SQLITE_CORRUPT_SEQUENCE]
        {
            assert!(is_corruption(&of(code)), "{code}");
        }
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_BUSY] {
            assert!(!is_corruption(&of(code)), "{code}");
        }
    }
}
