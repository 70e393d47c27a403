//! The store of one instance: an SQLite file, a thread that writes, one that reads for the workers, and two that read for people:
//! what those ask for may take long, and no claim waits for it.

mod absorb;
mod claim;
mod codes;
mod due;
mod enqueue;
mod follow_up;
mod guard;
mod housekeeping;
mod list;
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
mod verified;
mod vitals;
mod widen;
mod works;

#[cfg(test)]
mod tests;

pub use open::OpenError;
pub use vitals::StoreVitals;

use super::{
    CdnKey, Claim, Claimed, Due, EndedJob, Enqueued, Filter, Left, Listed, NewPurge, Now, PausedBy,
    PurgeView, QueueStatus, RecentPurge, Settled, Settlement, Store, StoreError, StoreFuture, Swept,
    UntaggedCopies, Verification, Wider, Work,
};
use crate::failpoint;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use threads::{Command, Held, Writer};
use tokio::sync::{mpsc, oneshot};
use vitals::Life;

/// An SQLite store, in a file or in memory.
pub struct SqliteStore {
    access: Access,
    commits: Arc<AtomicU64>,
    vitals: StoreVitals,
    installation: String,
}

/// Threads that read for people.
const BROWSERS: usize = 2;

/// How verbs reach their connection.
enum Access {
    /// Each verb waits for its thread.
    Threads(Threads),
    /// In memory nothing waits for a disk, so the caller runs the verb: no thread to race with, which tests
    /// with a paused clock need.
    Inline(Mutex<Connection>),
}

struct Threads {
    /// Gone when the store is being dropped; that is what ends the threads.
    queues: Option<Queues>,
    running: Vec<JoinHandle<()>>,
}

struct Queues {
    write: mpsc::Sender<Box<dyn Command>>,
    read: mpsc::Sender<Box<dyn Command>>,
    browse: mpsc::Sender<Box<dyn Command>>,
}

/// For whom something is read.
#[derive(Clone, Copy)]
enum For {
    Workers,
    People,
}

impl SqliteStore {
    /// Opens or creates the store in `path`, and keeps every other instance out of it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let open::Opened { writer, readers, guard, place, installation } = open::file(path, 1 + BROWSERS)?;
        let commits = Arc::new(AtomicU64::new(0));
        let (write, to_write) = mpsc::channel(threads::QUEUE);
        let (read, to_read) = mpsc::channel(threads::QUEUE);
        let (browse, to_browse) = mpsc::channel(threads::QUEUE);
        let [to_read, to_browse] = [to_read, to_browse].map(|queue| Arc::new(Mutex::new(queue)));
        let (guard, mut lives, mut running) = (Arc::new(guard), Vec::new(), Vec::new());
        let mut held = |connection| {
            let life = Life::new();
            lives.push(Arc::clone(&life));
            Held { connection, life, _guard: Arc::clone(&guard) }
        };
        let (writer, counter) = (held(writer), commits.clone());
        running.push(spawn("store-write", move || threads::write(place, writer, to_write, &counter))?);
        for (number, reader) in readers.into_iter().enumerate() {
            let (name, queue, whom) = match number {
                0 => ("store-read", &to_read, For::Workers),
                _ => ("store-browse", &to_browse, For::People),
            };
            let (reader, queue) = (held(reader), Arc::clone(queue));
            running.push(spawn(name, move || threads::read(reader, &queue, whom))?);
        }
        let access = Access::Threads(Threads { queues: Some(Queues { write, read, browse }), running });
        Ok(Self { access, commits, vitals: StoreVitals::new(lives), installation })
    }

    /// A store that ends with the process: for the demo and tests. Its verbs run on the caller's thread.
    pub fn in_memory() -> Result<Self, OpenError> {
        let (connection, installation) = open::memory()?;
        Ok(Self {
            access: Access::Inline(Mutex::new(connection)),
            commits: Arc::default(),
            vitals: StoreVitals::default(),
            installation,
        })
    }

    /// The signs of life of its threads.
    pub fn vitals(&self) -> &StoreVitals {
        &self.vitals
    }

    /// The id of the installation: random, and the same for as long as there is the file.
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// Transactions committed so far: fewer than verbs, the more of them come at once.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    fn write<T, F>(&self, verb: &'static str, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Box::pin(self.commit(threads::command(verb, work)))
    }

    async fn commit<T>(
        &self,
        (command, answer): (Box<dyn Command>, oneshot::Receiver<Result<T, StoreError>>),
    ) -> Result<T, StoreError> {
        match &self.access {
            Access::Threads(threads) => threads.write(command).await?,
            Access::Inline(connection) => {
                let connection = &connection.lock().unwrap_or_else(PoisonError::into_inner);
                let writer = Writer { connection, commits: &self.commits, place: None, life: None };
                writer.commit([command].into());
            }
        }
        answer.await.map_err(|_| StoreError::Closed)?
    }

    fn read<T, F>(&self, verb: &'static str, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.look(For::Workers, verb, work)
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
            let (command, answer) = threads::command(verb, work);
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
            For::Workers => &queues.read,
            For::People => &queues.browse,
        };
        queue.send(command).await.map_err(|_| StoreError::Closed)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(OpenError::Thread)
}

impl Drop for Threads {
    /// Waits until what was queued is committed, so that whoever opens the file next finds it unlocked and whole.
    fn drop(&mut self) {
        self.queues = None;
        for thread in self.running.drain(..) {
            // A thread that panicked has nothing left to commit.
            let _ = thread.join();
        }
    }
}

impl Store for SqliteStore {
    fn enqueue(&self, purge: NewPurge) -> StoreFuture<'_, Enqueued> {
        self.write("accept a purge", move |connection| {
            let enqueued = enqueue::enqueue(connection, &purge)?;
            failpoint::reached("writing");
            Ok(enqueued)
        })
    }

    fn arrived(&self, id: String, due_ms: i64) -> StoreFuture<'_, u64> {
        self.write("make follow-ups due", move |connection| follow_up::arrived(connection, &id, due_ms))
    }

    fn recent(&self, most_items: u64) -> StoreFuture<'_, Vec<RecentPurge>> {
        self.read("tell recent purges", move |connection| read::recent(connection, most_items))
    }

    fn due(&self, key: CdnKey, now_ms: i64, most: usize) -> StoreFuture<'_, Due> {
        self.read("tell what is due", move |connection| due::due(connection, &key, now_ms, most))
    }

    fn claim(&self, claim: Claim) -> StoreFuture<'_, Claimed> {
        self.write("lease sends", move |connection| {
            let claimed = claim::claim(connection, &claim)?;
            if !claimed.sends.is_empty() {
                failpoint::reached("claiming");
            }
            Ok(claimed)
        })
    }

    fn settle(&self, settlement: Settlement) -> StoreFuture<'_, Settled> {
        self.write("settle sends", move |connection| {
            let settled = settle::settle(connection, &settlement)?;
            failpoint::reached("settling");
            Ok(settled)
        })
    }

    fn widen(&self, key: CdnKey, wider: Wider, now_ms: i64) -> StoreFuture<'_, u64> {
        self.write("widen what is pending", move |connection| widen::queue(connection, &key, &wider, now_ms))
    }

    fn works(&self, key: CdnKey) -> StoreFuture<'_, Vec<Work>> {
        self.read("tell what is under way", move |connection| works::of(connection, &key))
    }

    fn complete(&self, work: i64, completed_ms: Option<i64>) -> StoreFuture<'_, ()> {
        self.write("note a completion", move |connection| works::complete(connection, work, completed_ms))
    }

    fn verified(
        &self,
        key: CdnKey,
        purge: String,
        seen: (Verification, i64),
        again_ms: Option<i64>,
    ) -> StoreFuture<'_, ()> {
        self.write("note what a look at the copies showed", move |connection| {
            verified::note(connection, &key, &purge, seen, again_ms)
        })
    }

    fn unverified(&self, ended_after_ms: i64) -> StoreFuture<'_, Vec<EndedJob>> {
        self.read("tell what is not verified", move |connection| verified::open(connection, ended_after_ms))
    }

    fn get(&self, id: String) -> StoreFuture<'_, Option<PurgeView>> {
        self.browse("read a purge", move |connection| read::get(connection, &id, read::ALL))
    }

    fn glance(&self, id: String) -> StoreFuture<'_, Option<PurgeView>> {
        self.browse("read a purge", move |connection| read::get(connection, &id, read::LISTED))
    }

    fn list(&self, filter: Filter) -> StoreFuture<'_, Listed> {
        self.browse("list purges", move |connection| list::list(connection, &filter))
    }

    fn status(&self) -> StoreFuture<'_, Vec<QueueStatus>> {
        self.read("tell how its queues stand", housekeeping::status)
    }

    fn survey(&self) -> StoreFuture<'_, Vec<QueueStatus>> {
        self.browse("tell how its queues stand", housekeeping::status)
    }

    fn set_paused(&self, key: CdnKey, by: PausedBy, reason: Option<String>) -> StoreFuture<'_, ()> {
        self.write("pause or resume a CDN", move |connection| {
            housekeeping::set_paused(connection, &key, by, reason.as_deref())
        })
    }

    fn acknowledge(&self, id: String) -> StoreFuture<'_, u64> {
        self.write("acknowledge a failure", move |connection| housekeeping::acknowledge(connection, &id))
    }

    fn retry(&self, id: String, now_ms: i64) -> StoreFuture<'_, u64> {
        self.write("retry a failure", move |connection| operate::retry(connection, &id, now_ms))
    }

    fn cancel(&self, id: String, at_ms: i64) -> StoreFuture<'_, Vec<EndedJob>> {
        self.write("cancel a purge", move |connection| operate::cancel(connection, &id, at_ms))
    }

    fn take_over(&self, now: Now, furthest_ms: i64) -> StoreFuture<'_, Left> {
        self.write("take over from a former run", move |connection| {
            housekeeping::take_over(connection, &now, furthest_ms)
        })
    }

    fn sweep(&self, ended_before_ms: i64, now_ms: i64) -> StoreFuture<'_, Swept> {
        Box::pin(async move {
            let more =
                self.write("remove old purges", move |connection| sweep::step(connection, now_ms)).await?;
            if more {
                return Ok(Swept { purges: 0, more });
            }
            let found =
                self.browse("find old purges", move |connection| sweep::find(connection, ended_before_ms));
            let found = found.await?;
            if found.is_empty() {
                return Ok(Swept::default());
            }
            let begin = move |connection: &Connection| sweep::begin(connection, &found, ended_before_ms);
            let purges = self.write("remove old purges", begin).await?;
            Ok(Swept { purges, more: purges > 0 })
        })
    }

    fn note_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()> {
        self.write("note copies without tags", move |connection| untagged::note(connection, &copies))
    }

    fn forget_untagged(&self, copies: Vec<UntaggedCopies>) -> StoreFuture<'_, ()> {
        self.write("forget copies without tags", move |connection| untagged::forget(connection, &copies))
    }

    fn untagged(&self) -> StoreFuture<'_, Vec<UntaggedCopies>> {
        self.read("tell of copies without tags", untagged::all)
    }

    fn probe(&self, now: Now) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let at_ms = now.steady_ms;
            let rehearsal = move |connection: &Connection| rehearse::accept(connection, at_ms);
            self.commit(threads::rehearsal("accept a purge", rehearsal)).await?;
            self.write("commit", move |connection| housekeeping::probe(connection, &now)).await
        })
    }
}
