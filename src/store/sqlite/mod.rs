//! The store of one instance: an SQLite file, one thread that writes, one that reads for the delivery tasks
//! (`For::Delivery`), and two that read for people. Reads for people may take long, and no claim waits for them.

mod absorb;
mod claim;
mod codes;
mod due;
mod enqueue;
mod files;
mod follow_up;
mod guard;
mod housekeeping;
mod lease;
mod list;
mod mark;
mod migrations;
mod naming;
mod new_sends;
mod open;
mod operate;
mod place;
mod rates;
mod read;
mod rehearse;
mod settle;
mod shrinking;
mod sweep;
mod threads;
mod untagged;
mod verbs;
mod verified;
mod vitals;
mod widen;
mod works;

#[cfg(test)]
mod tests;

pub use files::OpenError;
pub use vitals::StoreVitals;

use super::{CdnKey, Moved, StoreError, StoreFuture};
use crate::cdn::Identity;
use mark::Mark;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use threads::{Command, For, Held, Kind, Writer};
use tokio::sync::mpsc;
use vitals::Life;

/// An SQLite store, in a file or in memory.
pub struct SqliteStore {
    access: Access,
    commits: Arc<AtomicU64>,
    /// The mark beside the file; `None` in memory.
    mark: Option<Arc<Mutex<Mark>>>,
    vitals: StoreVitals,
    installation: String,
}

/// The number of threads that read for people.
const BROWSERS: usize = 2;

/// The way in which verbs reach their connection.
enum Access {
    /// Each verb waits for its thread.
    Threads(Threads),
    /// The caller runs the verb. In memory nothing waits for a disk, and without a thread there is no race,
    /// which tests with a paused clock need.
    Inline(Mutex<Connection>),
}

struct Threads {
    /// The queues. Dropping the store takes them out, which ends the threads.
    queues: Option<Queues>,
    writer: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

struct Queues {
    write: mpsc::Sender<Box<dyn Command>>,
    read: mpsc::Sender<Box<dyn Command>>,
    browse: mpsc::Sender<Box<dyn Command>>,
}

impl SqliteStore {
    /// Opens or creates the store in `path`, and keeps every other instance out of it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let open::Opened { writer, readers, guard, place, mark, installation } =
            open::file(path, 1 + BROWSERS)?;
        let commits = Arc::new(AtomicU64::new(0));
        let (write, to_write) = mpsc::channel(threads::QUEUE);
        let (read, to_read) = mpsc::channel(threads::QUEUE);
        let (browse, to_browse) = mpsc::channel(threads::QUEUE);
        let [to_read, to_browse] = [to_read, to_browse].map(|queue| Arc::new(Mutex::new(queue)));
        let (guard, mut lives, mut threads) = (Arc::new(guard), Vec::new(), Vec::new());
        let mut held = |connection| {
            let life = Life::new();
            lives.push(Arc::clone(&life));
            Held { connection, life, _guard: Arc::clone(&guard) }
        };
        let mark = Arc::new(Mutex::new(mark));
        let (writer, counter, marks) = (held(writer), commits.clone(), mark.clone());
        let writer = spawn("store-write", move || {
            threads::write((place, &marks), writer, to_write, &counter);
        })?;
        for (number, reader) in readers.into_iter().enumerate() {
            let (name, queue, whom) = match number {
                0 => ("store-read", &to_read, For::Delivery),
                _ => ("store-browse", &to_browse, For::People),
            };
            let (reader, queue) = (held(reader), Arc::clone(queue));
            threads.push(spawn(name, move || threads::read(reader, &queue, whom))?);
        }
        let queues = Some(Queues { write, read, browse });
        let access = Access::Threads(Threads { queues, writer: Some(writer), readers: threads });
        Ok(Self { access, commits, mark: Some(mark), vitals: StoreVitals::new(lives), installation })
    }

    /// Returns what [`super::Store::name_queues`] would return for the store in `path`. The store is only read,
    /// and may be open elsewhere. Must not be called while this process has it open, because closing a file ends
    /// all locks that a process has on it.
    pub fn would_move(path: &Path, cdns: &[(CdnKey, Identity)]) -> Result<Vec<Moved>, OpenError> {
        let Some(connection) = open::look(path)? else { return Ok(Vec::new()) };
        let database = |source| OpenError::Database { path: path.to_owned(), source };
        naming::would_move(&connection, cdns).map_err(database)
    }

    /// Creates a store that ends with the process, for the demo and tests. Its verbs run on the caller's thread.
    pub fn in_memory() -> Result<Self, OpenError> {
        let (connection, installation) = open::memory()?;
        Ok(Self {
            access: Access::Inline(Mutex::new(connection)),
            commits: Arc::default(),
            mark: None,
            vitals: StoreVitals::default(),
            installation,
        })
    }

    /// Returns the signs of life of the store's threads.
    pub fn vitals(&self) -> &StoreVitals {
        &self.vitals
    }

    /// Returns the id of the installation, which is random and stays the same as long as the file exists.
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// Returns the number of transactions committed so far. Verbs that arrive together share one.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn write<T, F>(&self, verb: &'static str, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.commit(verb, Kind::Plain, work)
    }

    fn commit<T, F>(&self, verb: &'static str, kind: Kind, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Box::pin(async move {
            let (command, answer) = threads::command(verb, kind, work);
            match &self.access {
                Access::Threads(threads) => threads.write(command).await?,
                Access::Inline(connection) => {
                    let connection = &connection.lock().unwrap_or_else(PoisonError::into_inner);
                    let writer =
                        Writer { connection, commits: &self.commits, place: None, mark: None, life: None };
                    writer.commit([command].into());
                }
            }
            answer.await.map_err(|_| StoreError::Closed)?
        })
    }

    fn read<T, F>(&self, verb: &'static str, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.look(For::Delivery, verb, work)
    }

    fn browse<T, F>(&self, verb: &'static str, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.look(For::People, verb, work)
    }

    fn look<T, F>(&self, whom: For, verb: &'static str, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Box::pin(async move {
            let (command, answer) = threads::command(verb, Kind::Plain, work);
            match &self.access {
                Access::Threads(threads) => threads.read(whom, command).await?,
                Access::Inline(connection) => {
                    let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                    threads::look(&connection, command);
                }
            }
            answer.await.map_err(|_| StoreError::Closed)?
        })
    }
}

impl Threads {
    async fn write(&self, command: Box<dyn Command>) -> Result<(), StoreError> {
        let queues = self.queues.as_ref().ok_or(StoreError::Closed)?;
        queues.write.send(command).await.map_err(|_| StoreError::Closed)
    }

    async fn read(&self, whom: For, command: Box<dyn Command>) -> Result<(), StoreError> {
        let queues = self.queues.as_ref().ok_or(StoreError::Closed)?;
        let queue = match whom {
            For::Delivery => &queues.read,
            For::People => &queues.browse,
        };
        queue.send(command).await.map_err(|_| StoreError::Closed)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(OpenError::Thread)
}

impl Drop for Threads {
    /// Waits until all queued verbs are committed, so that the next process to open the file finds it unlocked
    /// and complete. The writer ends last: SQLite then moves the log into the database and removes it, which is
    /// impossible while other connections are open.
    fn drop(&mut self) {
        let write = self.queues.take().map(|queues| queues.write);
        // A thread that panicked has nothing left to do.
        self.readers.drain(..).for_each(|thread| drop(thread.join()));
        drop(write);
        let _ = self.writer.take().map(JoinHandle::join);
    }
}
