//! The audit log of a test, in memory.

use super::CANARY;
use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};
use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

/// The log of this thread, as JSON lines.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures the log until the guard is dropped.
    pub(super) fn start() -> (Self, DefaultGuard) {
        // With a single subscriber, tracing asks the thread that first meets a log line whether the line is
        // enabled, and caches the answer, so that a test without a subscriber would silence the others. A second
        // subscriber prevents this.
        static SECOND: LazyLock<Dispatch> =
            LazyLock::new(|| Dispatch::new(tracing_subscriber::fmt().with_writer(io::sink).finish()));
        LazyLock::force(&SECOND);
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().json().without_time().with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// Returns the audit lines. No log line may contain a secret.
    pub(super) fn audit(&self) -> String {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains(CANARY), "{text}");
        text.lines()
            .filter(|line| line.contains("\"target\":\"audit\""))
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
