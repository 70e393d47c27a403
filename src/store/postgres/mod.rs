//! The store of a fleet: a PostgreSQL database that several instances share. Each instance has a few long-lived
//! connections, driven by one thread: one accepts purges, one serves the delivery tasks' changes, one their reads, and
//! one people's reads.
//!
//! The verbs do what SQLite's do, file by file. What differs is that others change the database at the same time
//! (`locks.rs`), that a statement costs a round trip (so each handles all rows at once), and that the database has a
//! clock of its own (`clock.rs`).

mod absorb;
mod awaited;
mod claim;
mod clock;
mod codes;
mod db;
mod due;
mod enqueue;
mod entries;
mod error;
mod fleet;
mod follow_up;
mod housekeeping;
mod lease;
mod list;
mod locks;
mod members;
mod migrations;
mod naming;
mod new_sends;
mod operate;
mod owners;
mod probe;
mod rates;
mod read;
mod server;
mod settle;
mod sweep;
mod tls;
mod transaction;
mod untagged;
mod verbs;
mod verified;
mod widen;
mod works;
mod writer;

#[cfg(test)]
pub(super) mod tests;

pub use clock::TellTime;
pub use entries::Entry;
pub use members::{Head, Member, Membership};
pub use tls::Certificates;

use super::{StoreError, StoreFuture};
use clock::Clock;
use db::{Db, get};
use error::Error;
use server::{Link, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use tls::Tls;
use tokio::sync::{Notify, mpsc, oneshot};
use transaction::{Kind, Step};
use uuid::Uuid;

/// The most verbs that wait for a connection. Further callers wait for room.
const QUEUE: usize = 1_024;

/// How to reach a database, and who does.
pub struct Settings {
    /// The database's hosts, name and user, as in a URL of libpq.
    pub config: tokio_postgres::Config,
    /// The way around a pooler that passes on no notifications.
    pub listen: Option<tokio_postgres::Config>,
    /// TLS, unless the connection stays on this machine.
    pub certificates: Option<Certificates>,
    /// The instance's name, unique within the fleet.
    pub instance: String,
    /// How the instance takes part in a fleet.
    pub membership: Membership,
    /// How long first sends may wait for the other members, in milliseconds.
    pub barrier_wait_ms: i64,
    /// The instance's steady clock; `None` in tests, whose moments count as the database's own.
    pub steady: Option<TellTime>,
}

/// Why a PostgreSQL store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the store in PostgreSQL")]
pub struct PostgresError {
    #[source]
    source: Error,
}

/// A store in PostgreSQL.
pub struct PostgresStore {
    /// Dropping the store takes them out, which ends the thread.
    lanes: Option<Lanes>,
    thread: Option<JoinHandle<()>>,
    server: Arc<Server>,
    commits: Arc<AtomicU64>,
    installation: String,
    run: Uuid,
    instance: Arc<str>,
    membership: Membership,
    /// Whether the log lacks purges that this instance knows.
    is_behind: AtomicBool,
    /// Notified when another member has accepted a purge.
    woken: Arc<Notify>,
}

struct Lanes {
    accept: mpsc::Sender<writer::Waiting>,
    write: mpsc::Sender<Job>,
    read: mpsc::Sender<Job>,
    browse: mpsc::Sender<Job>,
    /// The member's own renewals, on the connection that listens: if one works, so does the other.
    member: mpsc::Sender<Job>,
}

/// Work for a lane's connection.
type Job =
    Box<dyn for<'l> FnOnce(&'l mut Link) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'l>> + Send>;

impl PostgresStore {
    /// Connects to the database, and brings its schema to this version. Blocks the thread.
    pub fn open(settings: Settings) -> Result<Self, PostgresError> {
        Self::begin(settings).map_err(|source| PostgresError { source })
    }

    fn begin(settings: Settings) -> Result<Self, Error> {
        let tls = settings.certificates.as_ref().map(Tls::new).transpose()?;
        let clock = Arc::new(Clock::new(settings.steady));
        let listen = settings.listen.unwrap_or_else(|| settings.config.clone());
        let listen = Arc::new(Server::new(listen, tls.clone(), clock.clone()));
        let server = Arc::new(Server::new(settings.config, tls, clock));
        let run = Uuid::new_v4();
        let commits = Arc::<AtomicU64>::default();
        let (accept, to_accept) = mpsc::channel(QUEUE);
        let (write, to_write) = mpsc::channel(QUEUE);
        let (read, to_read) = mpsc::channel(QUEUE);
        let (browse, to_browse) = mpsc::channel(QUEUE);
        let (member, to_member) = mpsc::channel(QUEUE);
        let (woken, wait_ms) = (Arc::<Notify>::default(), settings.barrier_wait_ms);
        let to_wake = woken.clone();
        let (opened, opening) = std::sync::mpsc::channel();
        let (of_thread, counter) = (server.clone(), commits.clone());
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(opened.send(Err(Error::Thread(error)))),
            };
            runtime.block_on(async {
                let first = match open(&of_thread).await {
                    Ok((db, installation)) => {
                        drop(opened.send(Ok(installation)));
                        db
                    }
                    Err(error) => return drop(opened.send(Err(error))),
                };
                let link = |db| Link::new(of_thread.clone(), db);
                let (heard, mut hearing) = mpsc::unbounded_channel();
                tokio::spawn(async move {
                    while hearing.recv().await.is_some() {
                        to_wake.notify_one();
                    }
                });
                tokio::join!(
                    writer::run(link(Some(first)), to_accept, (run, wait_ms), counter),
                    work(link(None), to_write),
                    work(link(None), to_read),
                    work(link(None), to_browse),
                    work(Link::listening(listen, heard), to_member),
                );
            });
        });
        let thread = thread.map_err(Error::Thread)?;
        let installation = opening.recv().map_err(|_| Error::Closed)??;
        Ok(Self {
            lanes: Some(Lanes { accept, write, read, browse, member }),
            thread: Some(thread),
            server,
            commits,
            installation,
            run,
            instance: settings.instance.into(),
            membership: settings.membership,
            is_behind: AtomicBool::new(false),
            woken,
        })
    }

    /// Returns the id that the database was given when its schema was created.
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// Returns the number of transactions that accepted purges.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Runs a verb that writes.
    fn write<T, F>(&self, verb: &'static str, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t Db) -> Step<'t, T> + Send + Sync + 'static,
    {
        self.verb(verb, |lanes| &lanes.write, Kind::Write, work)
    }

    /// Runs a verb that reads for the delivery tasks, with one statement.
    fn read<T, F>(&self, verb: &'static str, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t Db) -> Step<'t, T> + Send + Sync + 'static,
    {
        self.verb(verb, |lanes| &lanes.read, Kind::Statement, work)
    }

    /// Runs a verb that reads for people.
    fn browse<T, F>(&self, verb: &'static str, work: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t Db) -> Step<'t, T> + Send + Sync + 'static,
    {
        self.verb(verb, |lanes| &lanes.browse, Kind::Read, work)
    }

    fn verb<T, F>(
        &self,
        verb: &'static str,
        lane: fn(&Lanes) -> &mpsc::Sender<Job>,
        kind: Kind,
        work: F,
    ) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t Db) -> Step<'t, T> + Send + Sync + 'static,
    {
        Box::pin(async move {
            let (tell, answer) = oneshot::channel();
            let job: Job = Box::new(move |link| {
                Box::pin(async move {
                    // A reader that no longer waits has nothing to learn.
                    if matches!(kind, Kind::Read | Kind::Statement) && tell.is_closed() {
                        return;
                    }
                    let result = transaction::run(link, kind, &work).await;
                    drop(tell.send(result));
                })
            });
            let lanes = self.lanes.as_ref().ok_or(StoreError::Closed)?;
            lane(lanes).send(job).await.map_err(|_| StoreError::Closed)?;
            answer.await.map_err(|_| StoreError::Closed)?.map_err(|error| error.of(verb))
        })
    }
}

/// Makes the first connection, and returns it with the installation's id.
async fn open(server: &Server) -> Result<(Db, String), Error> {
    let db = server.connect(None).await?;
    migrations::migrate(&db).await?;
    let row = db.one("SELECT id FROM installation", &[]).await?;
    let installation = get(&row, 0)?;
    Ok((db, installation))
}

/// Does a lane's work until every sender is gone and the queue is empty.
async fn work(mut link: Link, mut queue: mpsc::Receiver<Job>) {
    while let Some(job) = queue.recv().await {
        job(&mut link).await;
    }
}

impl Drop for PostgresStore {
    /// Waits until all queued verbs are committed.
    fn drop(&mut self) {
        drop(self.lanes.take());
        // A thread that panicked has nothing left to do.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
