//! Lines on their way to stderr. A thread of its own writes them, so that whoever reads stderr slowly, or not at all, cannot
//! hold up a request: lines that do not fit into the queue are dropped and counted.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const LINES: usize = 8_192;
/// The end of the program waits no longer for lines that nobody takes.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where lines are put.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Everything before it has been written when the other end hears of it.
    Flush(SyncSender<()>),
}

impl Queue {
    /// Starts the thread. `complaint` is the line that tells how many were dropped.
    pub(super) fn start(
        output: impl Write + Send + 'static,
        complaint: fn(u64) -> String,
    ) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&dropped);
        let writer = std::thread::Builder::new().name("log".to_owned());
        writer.spawn(move || write(output, &receiver, &count, complaint))?;
        Ok(Self { sender, dropped })
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

    fn put(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(Message::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(
    mut output: impl Write,
    receiver: &Receiver<Message>,
    dropped: &AtomicU64,
    complaint: fn(u64) -> String,
) {
    while let Ok(message) = receiver.recv() {
        // An output that is gone takes nothing, and there is nobody to tell.
        match message {
            Message::Line(line) => drop(output.write_all(&line)),
            Message::Flush(done) => {
                let _ = output.flush();
                let _ = done.try_send(());
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = output.write_all(complaint(lost).as_bytes());
        }
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// One line: it is written at once.
pub(super) struct Line<'a>(&'a Queue);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.put(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::Sender;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn complaint(lost: u64) -> String {
        format!("{lost} lost\n")
    }

    #[test]
    fn lines_arrive_in_order_before_a_flush_ends() {
        let page = Page::default();
        let queue = Queue::start(page.clone(), complaint).unwrap();
        for number in 0..3 {
            writeln!(queue.make_writer(), "{number}").unwrap();
        }
        queue.flush();
        assert_eq!(page.0.lock().unwrap().as_slice(), b"0\n1\n2\n");
    }

    /// Takes its first line, and then nothing more until it is told to.
    struct Stuck(Page, Sender<()>, Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.1.send(());
            let _ = self.2.recv();
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_does_not_read_holds_up_nobody() {
        let page = Page::default();
        let ((taken, took), (go, gone)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let queue = Queue::start(Stuck(page.clone(), taken, gone), complaint).unwrap();
        queue.put(b"first\n".to_vec());
        took.recv().unwrap();
        for _ in 0..LINES + 3 {
            queue.put(b"x".to_vec());
        }
        drop(go);
        queue.flush();
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("first\n3 lost\nxx"), "{}", &text[..20]);
    }
}
