//! The outlet of one client's connection: which responses have ended on it, and which of these have left its send
//! queue. A response that was written has not necessarily left: if a CDN does not read, the bytes stay in our kernel
//! for as long as the CDN likes.

use super::response::Response;
use super::waiting::Waiting;
use crate::guard::Report;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use tokio::sync::mpsc::UnboundedSender;

/// The kernel keeps times in ticks, of which the longest take 10 ms.
const KERNEL_TICK_MS: i64 = 10;

/// The kernel's report on the bytes that it was given for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The number of bytes that have reached the client's kernel.
    pub acknowledged: u64,
    /// The time since the client's kernel last sent anything, in milliseconds.
    pub quiet_ms: i64,
    /// Whether no more bytes will reach it.
    pub over: bool,
}

/// The send queue of a connection.
pub trait Queue: fmt::Debug {
    /// Returns the number of bytes that the kernel was given.
    fn given(&self) -> u64;

    /// Asks the kernel, which takes a system call. Returns `None` if the kernel does not report it.
    fn ask(&self) -> Option<Sent>;

    /// Ends the sending: nothing more will be given, and what was given is still delivered.
    fn finish(&self);

    /// Gives the connection back to the kernel, which closes it. Undelivered bytes are still delivered, unless it is
    /// `aborted`: the client then notices that the response is incomplete.
    fn close(&self, aborted: bool);
}

/// One or several responses that have ended.
#[derive(Debug)]
pub(super) enum Left {
    /// One tracked response.
    Known(Response),
    /// One or several responses that are not tracked.
    Unknown { margin_ms: i64, waiting: Waiting },
}

#[derive(Debug)]
struct Ended {
    what: Left,
    /// The number of bytes given to the connection up to and including the last byte of the response.
    at: u64,
    ended_ms: i64,
    /// A moment by which that byte had certainly left the queue.
    left_ms: Option<i64>,
}

impl Left {
    fn margin_ms(&self) -> i64 {
        match self {
            Self::Known(response) => response.margin_ms,
            Self::Unknown { margin_ms, .. } => *margin_ms,
        }
    }

    fn waiting(&self) -> &Waiting {
        match self {
            Self::Known(Response { waiting, .. }) | Self::Unknown { waiting, .. } => waiting,
        }
    }

    pub(super) fn waiting_mut(&mut self) -> &mut Waiting {
        match self {
            Self::Known(Response { waiting, .. }) | Self::Unknown { waiting, .. } => waiting,
        }
    }
}

impl Ended {
    fn arrived_ms(&self) -> Option<i64> {
        self.left_ms.map(|left_ms| left_ms.saturating_add(self.what.margin_ms()))
    }

    fn has_arrived(&self, now_ms: i64) -> bool {
        self.arrived_ms().is_some_and(|arrived_ms| arrived_ms < now_ms)
    }

    fn leave(&mut self, left_ms: i64) {
        let left_ms = left_ms.max(self.ended_ms);
        self.left_ms = Some(left_ms);
        let arrived_ms = left_ms.saturating_add(self.what.margin_ms());
        self.what.waiting_mut().tell(arrived_ms);
    }
}

/// A connection from the view of the responses that leave through it.
#[derive(Debug)]
pub struct Outlet {
    queue: Rc<dyn Queue>,
    /// How long the client may take nothing, in milliseconds.
    idle_timeout_ms: i64,
    overdue: Cell<bool>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of responses that leave by this connection and have not ended.
    open: usize,
    /// The responses that have ended, in that order. So those that have left come first.
    ended: VecDeque<Ended>,
    /// The number of responses that have ended since the kernel was last asked.
    unseen: usize,
    /// The number of bytes that the kernel last reported as acknowledged, and since when it has reported this
    /// number.
    acknowledged: (u64, i64),
    asked_ms: Option<i64>,
    /// Whether nothing more will be delivered.
    is_over: bool,
    /// Whether the kernel reports nothing.
    is_blind: bool,
    /// Whether a purge waits for a response that has not left.
    is_awaited: bool,
    /// Since when the connection is no longer served, while the bytes that it was given are still to be
    /// delivered.
    let_go_ms: Option<i64>,
    /// Whether the connection was given back.
    is_closed: bool,
    /// The connection's index among the tracked ones.
    pub(super) place: Option<usize>,
}

impl State {
    /// Adds an ended response. An untracked one is merged into the last entry if that is untracked as well.
    /// Returns whether there is one more entry.
    fn add(&mut self, mut what: Left, at: u64, now_ms: i64) -> bool {
        if let Left::Unknown { margin_ms, waiting } = &mut what
            && let Some(last) = self.ended.back_mut()
            && let Ended { what: Left::Unknown { margin_ms: longest, waiting: all }, left_ms: None, .. } =
                last
        {
            *longest = (*longest).max(*margin_ms);
            all.join(std::mem::take(waiting));
            (last.at, last.ended_ms) = (at, now_ms);
            return false;
        }
        self.ended.push_back(Ended { what, at, ended_ms: now_ms, left_ms: None });
        true
    }
}

impl Outlet {
    /// Creates the outlet of a connection whose client may take nothing for `idle_timeout_ms`.
    pub fn new(queue: Rc<dyn Queue>, idle_timeout_ms: i64) -> Rc<Self> {
        Rc::new(Self { queue, idle_timeout_ms, overdue: Cell::new(false), state: RefCell::default() })
    }

    /// Returns whether a purge waits for bytes that the client has left untaken for longer than allowed.
    pub fn is_overdue(&self) -> bool {
        self.overdue.get()
    }

    /// Records that a response will leave by this connection.
    pub fn begin(&self) {
        self.state.borrow_mut().open += 1;
    }

    /// Records the end of a response: its last byte was given to the kernel, or none will be. Returns whether
    /// there is one more entry.
    pub(super) fn end(&self, what: Left, now_ms: i64) -> bool {
        let is_awaited = !what.waiting().is_empty();
        let at = self.queue.given();
        let (is_new, is_closed) = {
            let state = &mut *self.state.borrow_mut();
            state.open -= 1;
            state.unseen += 1;
            (state.add(what, at, now_ms), state.is_closed)
        };
        // The kernel is asked only in these two cases: an awaited response is worth the system call, and a
        // closed connection needs none.
        if is_awaited || is_closed {
            self.look(now_ms);
        }
        is_new
    }

    /// Asks the kernel which of the ended responses have left.
    pub(super) fn look(&self, now_ms: i64) {
        let state = &mut *self.state.borrow_mut();
        let left = state.ended.partition_point(|ended| ended.left_ms.is_some());
        state.unseen = 0;
        // A kernel that has failed to report one time is not asked again.
        let sent = if state.is_blind { None } else { self.queue.ask() };
        state.asked_ms = Some(now_ms);
        state.is_blind = sent.is_none();
        state.is_over = sent.is_some_and(|sent| sent.over);
        if let Some(sent) = sent
            && sent.acknowledged != state.acknowledged.0
        {
            state.acknowledged = (sent.acknowledged, now_ms);
        }
        for ended in state.ended.range_mut(left..) {
            match sent {
                // The client's kernel has acknowledged the byte, at the latest when ours last heard from it.
                Some(sent) if sent.acknowledged >= ended.at => {
                    ended.leave(now_ms - (sent.quiet_ms - KERNEL_TICK_MS).max(0));
                }
                Some(sent) if sent.over => ended.leave(now_ms),
                Some(_) => break,
                // The kernel does not report it, and no purge waits for ever.
                None if ended.ended_ms.saturating_add(self.idle_timeout_ms) <= now_ms => {
                    ended.leave(ended.ended_ms.saturating_add(self.idle_timeout_ms));
                }
                None => break,
            }
        }
        let mut rest = state.ended.iter().skip_while(|ended| ended.left_ms.is_some());
        state.is_awaited = rest.any(|ended| !ended.what.waiting().is_empty());
    }

    /// Like [`Outlet::look`], for everybody who asks at this moment: skipped if the kernel was already asked, or
    /// if all have left.
    pub(super) fn look_once(&self, now_ms: i64) {
        let needed = {
            let state = self.state.borrow();
            state.ended.back().is_some_and(|ended| ended.left_ms.is_none()) && state.asked_ms != Some(now_ms)
        };
        if needed {
            self.look(now_ms);
        }
    }

    /// Returns whether the kernel has to be asked now: a purge waits for its answer, the connection is no longer
    /// served, or `often` responses have ended since the last time.
    pub(super) fn wants_look(&self, often: usize) -> bool {
        let state = self.state.borrow();
        state.is_awaited || state.let_go_ms.is_some() || state.unseen >= often
    }

    /// Gives up bytes that the client has left untaken for too long. Returns whether the connection was no
    /// longer served.
    pub(super) fn give_up(&self, now_ms: i64) -> bool {
        let is_late = {
            let state = self.state.borrow();
            let since = match state.ended.iter().find(|ended| ended.left_ms.is_none()) {
                Some(ended) if state.is_awaited => Some(ended.ended_ms),
                _ => state.let_go_ms,
            };
            let late = |since: i64| {
                since.max(state.acknowledged.1).saturating_add(self.idle_timeout_ms) < now_ms
                    && !state.is_blind
            };
            since.is_some_and(late)
        };
        if !is_late {
            return false;
        }
        // If the connection is still served, its server closes it for that.
        self.overdue.set(true);
        let is_let_go = self.state.borrow().let_go_ms.is_some();
        if is_let_go {
            self.close(true, now_ms);
        }
        is_let_go
    }

    /// Ends the service of the connection. It is given back at once, unless the kernel may still hold bytes of tracked
    /// responses. These are waited for if there is `room` for one more such connection, or else aborted. Returns
    /// whether the connection is waited for.
    pub(super) fn let_go(&self, room: bool, now_ms: i64) -> bool {
        let counts = {
            let state = self.state.borrow();
            state.open > 0 || !state.ended.is_empty()
        };
        if !counts {
            self.close(false, now_ms);
            return false;
        }
        self.look(now_ms);
        if self.is_delivered() {
            self.close(false, now_ms);
            return false;
        }
        if !room || self.overdue.get() {
            self.close(true, now_ms);
            return false;
        }
        self.queue.finish();
        self.state.borrow_mut().let_go_ms = Some(now_ms);
        true
    }

    /// Gives back a connection that was let go, if everything is delivered.
    pub(super) fn close_if_delivered(&self, now_ms: i64) {
        if self.is_let_go() && self.is_delivered() {
            self.close(false, now_ms);
        }
    }

    /// Returns whether everything that can be delivered is, as far as the kernel's last report shows.
    fn is_delivered(&self) -> bool {
        let state = self.state.borrow();
        state.is_over || state.is_blind || state.acknowledged.0 >= self.queue.given()
    }

    /// Gives the connection back.
    pub(super) fn close(&self, aborted: bool, now_ms: i64) {
        self.queue.close(aborted);
        let is_empty = {
            let state = &mut *self.state.borrow_mut();
            (state.is_closed, state.let_go_ms) = (true, None);
            state.ended.is_empty()
        };
        if !is_empty {
            self.look(now_ms);
        }
    }

    /// Returns whether the connection only waits for its client to take the rest.
    pub(super) fn is_let_go(&self) -> bool {
        self.state.borrow().let_go_ms.is_some()
    }

    /// Forgets responses that have arrived, and returns their number. If margins differ, some are forgotten a
    /// little later.
    pub(super) fn forget(&self, now_ms: i64) -> usize {
        let ended = &mut self.state.borrow_mut().ended;
        let before = ended.len();
        while ended.front().is_some_and(|ended| ended.has_arrived(now_ms)) {
            ended.pop_front();
        }
        before - ended.len()
    }

    /// Returns whether there is nothing to track.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state.borrow();
        state.ended.is_empty() && state.let_go_ms.is_none()
    }

    /// Returns the connection's index among the tracked ones.
    pub(super) fn place(&self) -> Option<usize> {
        self.state.borrow().place
    }

    /// Sets the connection's index among the tracked ones.
    pub(super) fn put(&self, place: Option<usize>) {
        self.state.borrow_mut().place = place;
    }

    /// Subscribes `answers` to the ended responses that may not have arrived and that `is_meant`. `is_meant` gets
    /// `None` for an entry whose responses are not tracked.
    pub(super) fn await_each(
        &self,
        answers: &UnboundedSender<Report>,
        now_ms: i64,
        mut is_meant: impl FnMut(Option<&Response>) -> bool,
    ) {
        let state = &mut *self.state.borrow_mut();
        for ended in &mut state.ended {
            let response = match &ended.what {
                Left::Known(response) => Some(response),
                Left::Unknown { .. } => None,
            };
            if ended.has_arrived(now_ms) || !is_meant(response) {
                continue;
            }
            match ended.arrived_ms() {
                Some(arrived_ms) => drop(answers.send(Report::Ends(arrived_ms))),
                None => {
                    ended.what.waiting_mut().add(answers.clone());
                    state.is_awaited = true;
                }
            }
        }
    }
}

/// A kernel whose reports a test sets.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    #[derive(Debug)]
    pub(crate) struct FakeQueue {
        pub(crate) given: Cell<u64>,
        pub(crate) sent: Cell<Option<Sent>>,
        pub(crate) asked: Cell<usize>,
        pub(crate) finished: Cell<bool>,
        /// Whether the connection was closed, and if so, whether it was aborted.
        pub(crate) closed: Cell<Option<bool>>,
    }

    impl Default for FakeQueue {
        fn default() -> Self {
            let sent = Some(Sent { acknowledged: 0, quiet_ms: 0, over: false });
            Self {
                given: Cell::new(0),
                sent: Cell::new(sent),
                asked: Cell::new(0),
                finished: Cell::new(false),
                closed: Cell::new(None),
            }
        }
    }

    impl FakeQueue {
        pub(crate) fn outlet(self: &Rc<Self>, idle_timeout_ms: i64) -> Rc<Outlet> {
            Outlet::new(Rc::clone(self) as Rc<dyn Queue>, idle_timeout_ms)
        }

        /// Gives the kernel this number of further bytes.
        pub(crate) fn give(&self, bytes: u64) {
            self.given.set(self.given.get() + bytes);
        }

        /// Sets the report: the client's kernel has taken everything, this long ago.
        pub(crate) fn take_all(&self, quiet_ms: i64) {
            self.sent.set(Some(Sent { acknowledged: self.given.get(), quiet_ms, over: false }));
        }
    }

    impl Queue for FakeQueue {
        fn given(&self) -> u64 {
            self.given.get()
        }

        fn ask(&self) -> Option<Sent> {
            self.asked.set(self.asked.get() + 1);
            let over = self.closed.get().is_some();
            self.sent.get().map(|sent| Sent { over: sent.over || over, ..sent })
        }

        fn finish(&self) {
            self.finished.set(true);
        }

        fn close(&self, aborted: bool) {
            self.closed.set(Some(aborted));
        }
    }
}
