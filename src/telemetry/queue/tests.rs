use super::*;
use std::sync::mpsc::{Sender, channel};

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

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
        queue.put_audit(format!("audit {number}\n").into_bytes());
    }
    queue.flush();
    assert_eq!(page.text(), "0\naudit 0\n1\naudit 1\n2\naudit 2\n");
    assert_eq!(queue.standing(Instant::now()), Standing::default());
}

/// An output that does not finish a line before the test lets it.
struct Stuck(Page, Sender<()>, Receiver<()>);

impl Stuck {
    /// Returns the output, a receiver that reports each line, and a sender that lets the output continue.
    fn new(page: &Page) -> (Self, Receiver<()>, Sender<()>) {
        let ((taken, took), (go, gone)) = (channel(), channel());
        (Self(page.clone(), taken, gone), took, go)
    }
}

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
fn who_does_not_read_holds_up_nobody_and_loses_no_audit_line() {
    let page = Page::default();
    let (stuck, took, go) = Stuck::new(&page);
    let queue = Queue::start(stuck, complaint).unwrap();
    queue.put(b"first\n".to_vec());
    took.recv().unwrap();
    queue.put_audit(b"audit 1\n".to_vec());
    for _ in 0..LINES + 2 {
        queue.put(b"x".to_vec());
    }
    queue.put_audit(b"audit 2\n".to_vec());
    queue.put_audit(b"audit 3\n".to_vec());
    let now = Instant::now();
    assert_eq!(queue.standing(now).complaint, None);
    let standing = queue.standing(now + STUCK + Duration::from_secs(1));
    assert!(standing.complaint.unwrap().starts_with("nobody reads the log"), "{standing:?}");
    assert_eq!((standing.dropped, standing.lost), (3, 0));
    drop(go);
    queue.flush();
    let text = page.text();
    assert!(text.starts_with("first\n3 lost\naudit 1\naudit 2\naudit 3\nxx"), "{}", &text[..60]);
    assert_eq!(queue.standing(Instant::now() + STUCK * 2), Standing { dropped: 3, lost: 0, complaint: None });
}

/// A pipe whose other end is closed after this number of writes.
struct Closing(usize);

impl Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.checked_sub(1) {
            Some(left) => self.0 = left,
            None => return Err(ErrorKind::BrokenPipe.into()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_cannot_be_written_is_counted_and_its_place_is_free_again() {
    let queue = Queue::start(Closing(1), complaint).unwrap();
    let places = places::Places::new(1);
    queue.put(b"written\n".to_vec());
    for _ in 0..3 {
        // Each line waits for the place of the previous one.
        let place = loop {
            match places.now() {
                Some(place) => break place,
                None => std::thread::yield_now(),
            }
        };
        place.write(|| queue.put_audit(b"audit\n".to_vec()));
        queue.put(b"x".to_vec());
    }
    queue.flush();
    let standing = queue.standing(Instant::now());
    assert_eq!((standing.dropped, standing.lost), (3, 3));
    assert_eq!(standing.complaint, Some("the log cannot be written: audit lines are lost"));
}

/// A non-blocking pipe that has room on every second attempt.
#[derive(Default)]
struct Unblocking(Page, bool);

impl Write for Unblocking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.0.write(&bytes[..bytes.len().min(3)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_pipe_that_does_not_block_gets_whole_lines() {
    let page = Page::default();
    let queue = Queue::start(Unblocking(page.clone(), false), complaint).unwrap();
    queue.put(b"a line\n".to_vec());
    queue.put_audit(b"an audit line\n".to_vec());
    queue.flush();
    assert_eq!(page.text(), "a line\nan audit line\n");
}
