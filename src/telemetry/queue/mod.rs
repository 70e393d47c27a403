//! The queue of log lines on their way to stderr. A thread of its own writes them, so that a slow or absent reader
//! of stderr cannot delay a request: lines that do not fit into the queue are dropped and counted. Audit lines
//! have a queue of their own, which drops none, because each has a place before it is made
//! ([`places`](super::places)).

use super::places::{self, Place};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// The number of lines that may wait.
const LINES: usize = 8_192;
/// How long the end of the program waits for lines that are not read.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two attempts to write to a non-blocking pipe that is full.
const AGAIN: Duration = Duration::from_millis(10);
/// The duration of a write after which the log is regarded as unread.
const STUCK: Duration = Duration::from_secs(5);

/// The end of the queue where lines are put.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: SyncSender<Message>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Writes the next audit line.
    Audit,
    /// Reports when everything before it has been written.
    Flush(SyncSender<()>),
}

#[derive(Debug)]
struct AuditLine {
    bytes: Vec<u8>,
    /// The place, given back when the line is written.
    _place: Option<Place>,
}

/// The state that both ends of the queue share.
#[derive(Debug)]
struct Shared {
    /// The audit lines, in the order in which they were put.
    audit: Mutex<VecDeque<AuditLine>>,
    /// Whether there was no room for the message of some audit line. The writer then writes all audit lines before
    /// the next message.
    is_behind: AtomicBool,
    dropped: AtomicU64,
    lost: AtomicU64,
    started: Instant,
    /// The start of the current write, in milliseconds since `started`, plus 1; 0 if there is none.
    writing: AtomicU64,
    /// Whether the last line could not be written.
    is_broken: AtomicBool,
}

/// The state of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Lines that were dropped because they were not read in time or could not be written.
    pub dropped: u64,
    /// Audit lines that could not be written.
    pub lost: u64,
    /// The current problem, in words.
    pub complaint: Option<&'static str>,
}

impl Queue {
    /// Starts the thread. `complaint` returns the line that reports how many lines were dropped.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        complaint: fn(u64) -> String,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(LINES);
        let shared = Arc::new(Shared {
            audit: Mutex::default(),
            is_behind: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            started: Instant::now(),
            writing: AtomicU64::new(0),
            is_broken: AtomicBool::new(false),
        });
        let writer = Writer { output, shared: Arc::clone(&shared), complaint, told: 0 };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self { sender, shared })
    }

    /// Waits until all lines so far have been written, but not forever.
    pub(super) fn flush(&self) {
        let (done, written) = sync_channel(1);
        let deadline = Instant::now() + PATIENCE;
        let mut message = Message::Flush(done);
        while let Err(TrySendError::Full(back)) = self.sender.try_send(message) {
            if Instant::now() > deadline {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }

    /// Returns the state of the log at `now`.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let shared = &*self.shared;
        let begun = shared.writing.load(Ordering::Relaxed).checked_sub(1);
        let is_stuck = begun.is_some_and(|begun| {
            now.saturating_duration_since(shared.started) >= Duration::from_millis(begun) + STUCK
        });
        let complaint = match (shared.is_broken.load(Ordering::Relaxed), is_stuck) {
            (true, _) => Some("the log cannot be written: audit lines are lost"),
            (false, true) => Some("nobody reads the log: changes wait for their audit lines, and get 503"),
            (false, false) => None,
        };
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Standing { dropped: count(&shared.dropped), lost: count(&shared.lost), complaint }
    }

    fn put(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(Message::Line(line)) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn put_audit(&self, bytes: Vec<u8>) {
        let line = AuditLine { bytes, _place: places::current() };
        self.shared.audit().push_back(line);
        if let Err(TrySendError::Full(_)) = self.sender.try_send(Message::Audit) {
            self.shared.is_behind.store(true, Ordering::SeqCst);
            // If the queue is still full, the writer has a message to receive, and checks the flag then.
            // Otherwise, this message wakes it.
            let _ = self.sender.try_send(Message::Audit);
        }
    }
}

impl Shared {
    fn audit(&self) -> std::sync::MutexGuard<'_, VecDeque<AuditLine>> {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer<W> {
    output: W,
    shared: Arc<Shared>,
    complaint: fn(u64) -> String,
    /// The number of dropped lines that has been reported.
    told: u64,
}

impl<W: Write> Writer<W> {
    fn run(mut self, receiver: &Receiver<Message>) {
        while let Ok(message) = receiver.recv() {
            if self.shared.is_behind.swap(false, Ordering::SeqCst) {
                while self.audit() {}
            }
            match message {
                Message::Line(line) => {
                    if !self.write(&line) {
                        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                        // The output is gone, so this cannot be reported.
                        self.told += 1;
                    }
                }
                Message::Audit => {
                    self.audit();
                }
                Message::Flush(done) => {
                    while self.audit() {}
                    let _ = self.output.flush();
                    let _ = done.try_send(());
                }
            }
            let dropped = self.shared.dropped.load(Ordering::Relaxed);
            if dropped > self.told {
                let complaint = (self.complaint)(dropped - self.told);
                self.write(complaint.as_bytes());
                self.told = dropped;
            }
        }
    }

    /// Writes the next audit line. Returns whether there was one.
    fn audit(&mut self) -> bool {
        let Some(line) = self.shared.audit().pop_front() else { return false };
        if !self.write(&line.bytes) {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// Writes a line, and returns whether that succeeded. An output that is gone fails at once and delays nothing.
    fn write(&mut self, line: &[u8]) -> bool {
        let begun = u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.shared.writing.store(begun + 1, Ordering::Relaxed);
        let written = write_all(&mut self.output, line);
        self.shared.writing.store(0, Ordering::Relaxed);
        self.shared.is_broken.store(written.is_err(), Ordering::Relaxed);
        written.is_ok()
    }
}

/// Writes like `Write::write_all`, but tries again if a non-blocking output is full.
fn write_all(output: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(AGAIN),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, is_audit: false }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line { queue: self, is_audit: meta.target() == "audit" }
    }
}

/// A line, which is written in a single call.
pub(super) struct Line<'a> {
    queue: &'a Queue,
    is_audit: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.is_audit {
            true => self.queue.put_audit(line.to_vec()),
            false => self.queue.put(line.to_vec()),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
