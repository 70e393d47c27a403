//! Where the responses of one client's connection leave: which of them have ended there, and which of these have left its send
//! queue. That a response was written says little: an edge that does not read leaves it with our kernel for as long as it likes.

use super::Response;
use super::waiting::Waiting;
use crate::guard::Report;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use tokio::sync::mpsc::UnboundedSender;

/// The kernel counts what it remembers of time in ticks, the longest of which take 10 ms.
const KERNEL_TICK_MS: i64 = 10;

/// What the kernel tells about the bytes that it was given for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// So many of them have reached the client's kernel.
    pub acknowledged: u64,
    /// Nothing was heard from that for so long, in milliseconds.
    pub quiet_ms: i64,
    /// No more of them will.
    pub over: bool,
}

/// The send queue of a connection.
pub trait Queue: fmt::Debug {
    /// Bytes that the kernel was given.
    fn given(&self) -> u64;

    /// Asks the kernel, which takes a system call; none where it does not tell.
    fn ask(&self) -> Option<Sent>;

    /// Nothing more will be given. What was is delivered.
    fn finish(&self);

    /// Gives the connection back. What was not delivered still is, unless it is `aborted`: the client then sees that it does
    /// not have all.
    fn close(&self, aborted: bool);
}

/// What has ended.
#[derive(Debug)]
pub(super) enum Left {
    /// A response.
    Known(Response),
    /// One or several of which nothing else is known.
    Unknown { margin_ms: i64, waiting: Waiting },
}

#[derive(Debug)]
struct Ended {
    what: Left,
    /// Its last byte is among so many of the connection.
    at: u64,
    ended_ms: i64,
    /// When that byte had certainly left the queue.
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

/// A connection as seen by the responses that leave through it.
#[derive(Debug)]
pub struct Outlet {
    queue: Rc<dyn Queue>,
    /// For how long its client may take nothing.
    patience_ms: i64,
    overdue: Cell<bool>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Those that leave by it and have not ended.
    open: usize,
    /// Those that have, in this order; so those that have left come first.
    ended: VecDeque<Ended>,
    /// Since the kernel was asked.
    unseen: usize,
    /// What it said, and since when it has said that.
    acknowledged: (u64, i64),
    asked_ms: Option<i64>,
    /// Nothing more will be delivered.
    is_over: bool,
    /// The kernel tells nothing.
    is_blind: bool,
    /// Somebody waits for one that has not left.
    is_awaited: bool,
    /// Nobody serves it any more since then; what it was given is still to be delivered.
    let_go_ms: Option<i64>,
    /// It is given back.
    is_closed: bool,
    /// Its number among those that are looked after.
    pub(super) place: Option<usize>,
}

impl State {
    /// What has ended comes last, or is one with the last where neither is known. Whether there is one more to remember.
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
    /// That of a connection whose client may take nothing for so long.
    pub fn new(queue: Rc<dyn Queue>, patience_ms: i64) -> Rc<Self> {
        Rc::new(Self { queue, patience_ms, overdue: Cell::new(false), state: RefCell::default() })
    }

    /// Whether somebody waits for what its client has not taken for longer than it may.
    pub fn is_overdue(&self) -> bool {
        self.overdue.get()
    }

    /// A response will leave by it.
    pub fn begin(&self) {
        self.state.borrow_mut().open += 1;
    }

    /// It has ended: its last byte was given to the kernel, or none will be. Whether there is one more to remember.
    pub(super) fn end(&self, what: Left, now_ms: i64) -> bool {
        let is_awaited = !what.waiting().is_empty();
        let at = self.queue.given();
        let (is_new, is_closed) = {
            let state = &mut *self.state.borrow_mut();
            state.open -= 1;
            state.unseen += 1;
            (state.add(what, at, now_ms), state.is_closed)
        };
        // Only then: who waits is worth a system call, and what is closed needs none.
        if is_awaited || is_closed {
            self.look(now_ms);
        }
        is_new
    }

    /// Asks the kernel which of those that have ended have left.
    pub(super) fn look(&self, now_ms: i64) {
        let state = &mut *self.state.borrow_mut();
        let left = state.ended.partition_point(|ended| ended.left_ms.is_some());
        state.unseen = 0;
        // Who does not tell once never will.
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
                // The last word of the client's kernel was about this byte, or about a later one.
                Some(sent) if sent.acknowledged >= ended.at => {
                    ended.leave(now_ms - (sent.quiet_ms - KERNEL_TICK_MS).max(0));
                }
                Some(sent) if sent.over => ended.leave(now_ms),
                Some(_) => break,
                // Nobody can tell, and nobody waits for ever.
                None if ended.ended_ms.saturating_add(self.patience_ms) <= now_ms => {
                    ended.leave(ended.ended_ms.saturating_add(self.patience_ms));
                }
                None => break,
            }
        }
        let mut rest = state.ended.iter().skip_while(|ended| ended.left_ms.is_some());
        state.is_awaited = rest.any(|ended| !ended.what.waiting().is_empty());
    }

    /// The same for whoever asks at this moment, unless it was asked already or all have left.
    pub(super) fn look_once(&self, now_ms: i64) {
        let needed = {
            let state = self.state.borrow();
            state.ended.back().is_some_and(|ended| ended.left_ms.is_none()) && state.asked_ms != Some(now_ms)
        };
        if needed {
            self.look(now_ms);
        }
    }

    /// Whether the kernel has to be asked now: somebody waits for its answer, or `often` have ended since it was.
    pub(super) fn wants_look(&self, often: usize) -> bool {
        let state = self.state.borrow();
        state.is_awaited || state.let_go_ms.is_some() || state.unseen >= often
    }

    /// Gives up what its client has not taken for too long. Whether that was a connection that nobody serves.
    pub(super) fn give_up(&self, now_ms: i64) -> bool {
        let is_late = {
            let state = self.state.borrow();
            let since = match state.ended.iter().find(|ended| ended.left_ms.is_none()) {
                Some(ended) if state.is_awaited => Some(ended.ended_ms),
                _ => state.let_go_ms,
            };
            let late = |since: i64| {
                since.max(state.acknowledged.1).saturating_add(self.patience_ms) < now_ms && !state.is_blind
            };
            since.is_some_and(late)
        };
        if !is_late {
            return false;
        }
        // Whoever serves it will close it for that.
        self.overdue.set(true);
        let is_let_go = self.state.borrow().let_go_ms.is_some();
        if is_let_go {
            self.close(true, now_ms);
        }
        is_let_go
    }

    /// Whoever served it does not any more. It is given back, unless its kernel still holds what counts: that is then waited
    /// for, where there is `room` for one more of those, or aborted. Whether it is waited for.
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

    /// Gives back a connection that was let go, if all is delivered.
    pub(super) fn close_if_delivered(&self, now_ms: i64) {
        if self.is_let_go() && self.is_delivered() {
            self.close(false, now_ms);
        }
    }

    /// All that will be, as far as it could be told when the kernel was asked.
    fn is_delivered(&self) -> bool {
        let state = self.state.borrow();
        state.is_over || state.is_blind || state.acknowledged.0 >= self.queue.given()
    }

    /// Gives it back.
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

    /// Whether it only waits for its client to take the rest.
    pub(super) fn is_let_go(&self) -> bool {
        self.state.borrow().let_go_ms.is_some()
    }

    /// Forgets what has arrived; how much that was. Where margins differ, some of it is forgotten a little later.
    pub(super) fn forget(&self, now_ms: i64) -> usize {
        let ended = &mut self.state.borrow_mut().ended;
        let before = ended.len();
        while ended.front().is_some_and(|ended| ended.has_arrived(now_ms)) {
            ended.pop_front();
        }
        before - ended.len()
    }

    /// Whether there is nothing to look after.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state.borrow();
        state.ended.is_empty() && state.let_go_ms.is_none()
    }

    /// Its number among those that are looked after.
    pub(super) fn place(&self) -> Option<usize> {
        self.state.borrow().place
    }

    /// It gets another one.
    pub(super) fn put(&self, place: Option<usize>) {
        self.state.borrow_mut().place = place;
    }

    /// Of those that have ended and may not have arrived: whoever asks waits for those that `is_meant`, where none stands for
    /// any response.
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

/// A kernel that says what a test tells it to.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    #[derive(Debug)]
    pub(crate) struct FakeQueue {
        pub(crate) given: Cell<u64>,
        pub(crate) sent: Cell<Option<Sent>>,
        pub(crate) asked: Cell<usize>,
        pub(crate) finished: Cell<bool>,
        /// Whether it was closed, and then whether it was aborted.
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
        pub(crate) fn outlet(self: &Rc<Self>, patience_ms: i64) -> Rc<Outlet> {
            Outlet::new(Rc::clone(self) as Rc<dyn Queue>, patience_ms)
        }

        /// The kernel gets so many bytes more.
        pub(crate) fn give(&self, bytes: u64) {
            self.given.set(self.given.get() + bytes);
        }

        /// The client's kernel has taken all, so long ago.
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
