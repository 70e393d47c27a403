//! Lines on their way to stderr. A thread of its own writes them, so that whoever reads stderr slowly, or not at all, cannot
//! hold up a request: lines that do not fit into the queue are dropped and counted. Audit lines have a queue of their own,
//! which drops none: whoever causes one has a place in it before ([`places`](super::places)).

use super::places::{self, Place};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const LINES: usize = 8_192;
/// The end of the program waits no longer for lines that nobody takes.
const PATIENCE: Duration = Duration::from_secs(2);
/// For a reader behind a pipe that does not block its writers.
const AGAIN: Duration = Duration::from_millis(10);
/// A line that takes longer is one that nobody reads.
const STUCK: Duration = Duration::from_secs(5);

/// Where lines are put.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: SyncSender<Message>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// The next audit line has its turn.
    Audit,
    /// Everything before it has been written when the other end hears of it.
    Flush(SyncSender<()>),
}

#[derive(Debug)]
struct AuditLine {
    bytes: Vec<u8>,
    /// Given back when it is written.
    _place: Option<Place>,
}

/// What both ends of the queue know.
#[derive(Debug)]
struct Shared {
    /// In the order in which they were put.
    audit: Mutex<VecDeque<AuditLine>>,
    /// Some of them have no message, since there was no room for it: they go before the next one.
    is_behind: AtomicBool,
    dropped: AtomicU64,
    lost: AtomicU64,
    started: Instant,
    /// When the line that is being written was begun, in milliseconds since the start, and 1 more; 0: none.
    writing: AtomicU64,
    /// The last line could not be written.
    is_broken: AtomicBool,
}

/// How the log does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Lines that were dropped, since nobody read them or they could not be written.
    pub dropped: u64,
    /// Audit lines that could not be written.
    pub lost: u64,
    /// What is wrong, in words.
    pub complaint: Option<&'static str>,
}

impl Queue {
    /// Starts the thread. `complaint` is the line that tells how many were dropped.
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

    /// Waits until what was put so far has been written, but not for ever.
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

    /// How it does at `now`.
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
            // Where it is full still, the writer has a message to come to, and looks then. Else this one wakes it.
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
    /// Of those that were dropped, how many were told.
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
                        // Who could be told of it is gone.
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

    /// Writes the next audit line, if there is one.
    fn audit(&mut self) -> bool {
        let Some(line) = self.shared.audit().pop_front() else { return false };
        if !self.write(&line.bytes) {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// Whether it was written. An output that is gone takes nothing, and holds up nobody.
    fn write(&mut self, line: &[u8]) -> bool {
        let begun = u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.shared.writing.store(begun + 1, Ordering::Relaxed);
        let written = write_all(&mut self.output, line);
        self.shared.writing.store(0, Ordering::Relaxed);
        self.shared.is_broken.store(written.is_err(), Ordering::Relaxed);
        written.is_ok()
    }
}

/// As the output's own, but for one that says that it takes nothing now.
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

/// One line: it is written at once.
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
