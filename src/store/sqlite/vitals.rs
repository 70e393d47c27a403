//! Signs of life of the store's threads, for the service manager's watchdog. A thread is alive while it waits
//! for work, and while its statement makes progress. A restart cannot help a thread that waits for the disk, and
//! would only cut off the visitors. That thread's verb is late instead, which makes the store unhealthy
//! ([`crate::store::StoreHealth`]).

use rusqlite::Connection;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The steps of SQLite's virtual machine between two signs of life of a statement: some milliseconds.
const STEPS: i32 = 100_000;
/// How long a thread must be quiet before its state is read.
const QUIET: Duration = Duration::from_secs(1);

/// The signs of life of a store's threads.
#[derive(Clone, Debug, Default)]
pub struct StoreVitals(Vec<Arc<Life>>);

impl StoreVitals {
    pub(super) fn new(threads: Vec<Arc<Life>>) -> Self {
        Self(threads)
    }

    /// Returns for how long the quietest thread has shown no sign of life, or the maximum if one has panicked.
    pub fn quiet_for(&self, now: Instant) -> Duration {
        self.0.iter().map(|life| life.quiet_for(now)).max().unwrap_or_default()
    }
}

/// One thread's signs of life.
#[derive(Debug)]
pub(super) struct Life {
    started: Instant,
    /// The time of the last progress, in milliseconds since `started` plus one; 0 while the thread waits for
    /// work.
    last: AtomicU64,
    panicked: AtomicBool,
    /// The thread's directory in `/proc`, if there is one.
    proc: OnceLock<PathBuf>,
}

impl Life {
    pub(super) fn new() -> Arc<Self> {
        let life = Self {
            started: Instant::now(),
            last: AtomicU64::new(0),
            panicked: AtomicBool::new(false),
            proc: OnceLock::new(),
        };
        Arc::new(life)
    }

    /// Called by the thread itself when it begins. The result must be kept until the thread ends. `connection`
    /// is the one that the thread uses.
    pub(super) fn begin(self: &Arc<Self>, connection: &mut Connection) -> rusqlite::Result<Ending> {
        if let Ok(thread) = fs::read_link("/proc/thread-self") {
            // Only this thread sets the path.
            let _ = self.proc.set(PathBuf::from("/proc").join(thread));
        }
        let life = Arc::clone(self);
        let goes_on = move || {
            life.gets_on();
            false
        };
        connection.progress_handler(STEPS, Some(goes_on))?;
        Ok(Ending(Arc::clone(self)))
    }

    /// Records that the thread has work and makes progress.
    pub(super) fn gets_on(&self) {
        let since_start = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.last.store(since_start + 1, Ordering::Relaxed);
    }

    /// Records that the thread waits for work.
    pub(super) fn rests(&self) {
        self.last.store(0, Ordering::Relaxed);
    }

    fn quiet_for(&self, now: Instant) -> Duration {
        if self.panicked.load(Ordering::Relaxed) {
            return Duration::MAX;
        }
        let Some(last) = self.last.load(Ordering::Relaxed).checked_sub(1) else { return Duration::ZERO };
        let quiet = now.saturating_duration_since(self.started).saturating_sub(Duration::from_millis(last));
        if quiet > QUIET && self.waits_for_the_disk() { Duration::ZERO } else { quiet }
    }

    /// Returns whether the thread is in the state that Linux calls uninterruptible sleep (proc_pid_stat(5)).
    fn waits_for_the_disk(&self) -> bool {
        let stat = self.proc.get().and_then(|thread| fs::read_to_string(thread.join("stat")).ok());
        stat.is_some_and(|stat| is_uninterruptible(&stat))
    }
}

/// Returns whether the state, which follows the name, is `D`. The name may contain parentheses.
fn is_uninterruptible(stat: &str) -> bool {
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('D'))
}

/// A guard that is dropped when the thread ends in any way.
pub(super) struct Ending(Arc<Life>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.rests();
        if std::thread::panicking() {
            self.0.panicked.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_quiet_while_it_does_not_get_on() {
        let life = Life::new();
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert_eq!(life.quiet_for(after(99)), Duration::ZERO, "it waits for work");
        life.gets_on();
        assert!(life.quiet_for(after(20)) >= Duration::from_secs(19));
        life.rests();
        let vitals = StoreVitals::new(vec![life, Life::new()]);
        assert_eq!(vitals.quiet_for(after(99)), Duration::ZERO);
    }

    #[test]
    fn a_long_statement_gets_on_and_a_panic_is_seen() {
        let life = Life::new();
        let of_thread = Arc::clone(&life);
        let thread = std::thread::spawn(move || {
            let mut connection = Connection::open_in_memory().unwrap();
            let _ending = of_thread.begin(&mut connection).unwrap();
            let count = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
                         SELECT count(*) FROM n";
            connection.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap();
            assert!(of_thread.last.load(Ordering::Relaxed) > 0, "the statement showed that it got on");
            panic!("on purpose");
        });
        assert!(thread.join().is_err());
        assert_eq!(life.quiet_for(Instant::now()), Duration::MAX);
    }

    #[test]
    fn waiting_for_the_disk_is_told_by_the_state() {
        assert!(is_uninterruptible("7 (store-write) D 1 7 7 0"));
        assert!(is_uninterruptible("7 (a) S (b) D 1 7 7 0"));
        assert!(!is_uninterruptible("7 (D) D) S 1 7 7 0"));
        assert!(!is_uninterruptible(""));
    }
}
