//! Deadlines and draining of client connections. hyper's one timer cannot tell a slow head from an idle
//! connection, so each connection notes where it stands and since when, and one sweep per worker looks at all
//! of them: no timer per connection or request.

use crate::config::Limits;
use crate::proxy::clock::Clock;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A client that takes no byte of its response for this long is gone.
const WRITE_STALL: Duration = Duration::from_secs(60);

/// What a connection is to do. Orders only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Serve.
    Serve,
    /// Finish what was begun, then close.
    Drain,
    /// Close now.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A request head (before the first: the connection itself) is on its way.
    Head,
    /// A request is being answered.
    Busy,
    /// Between requests.
    Idle,
}

/// Where one connection stands.
#[derive(Debug)]
pub(super) struct Watch {
    clock: Rc<Clock>,
    phase: Cell<Phase>,
    since: Cell<Instant>,
    stalled: Cell<Option<Instant>>,
    requests: Cell<u32>,
    multiplexed: Cell<bool>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
}

impl Watch {
    fn new(clock: Rc<Clock>) -> Self {
        Self {
            phase: Cell::new(Phase::Head),
            since: Cell::new(clock.now()),
            clock,
            stalled: Cell::new(None),
            requests: Cell::new(0),
            multiplexed: Cell::new(false),
            order: Cell::new(Order::Serve),
            waker: RefCell::new(None),
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.clock.now());
    }

    /// It is HTTP/2: bytes that arrive while it is idle need not be a head (a PING must not prolong it, nor
    /// a late one end it).
    pub(super) fn multiplexed(&self) {
        self.multiplexed.set(true);
        self.enter(Phase::Idle);
    }

    /// Bytes arrived.
    pub(super) fn received(&self) {
        if self.phase.get() == Phase::Idle && !self.multiplexed.get() {
            self.enter(Phase::Head);
        }
    }

    /// Bytes were taken by the client.
    pub(super) fn sent(&self) {
        self.stalled.set(None);
    }

    /// Bytes wait for the client to take them.
    pub(super) fn stalled(&self) {
        if self.stalled.get().is_none() {
            self.stalled.set(Some(self.clock.now()));
        }
    }

    /// A request's head is here; it is being answered until the result is dropped.
    pub(super) fn begin(self: &Rc<Self>) -> Busy {
        self.requests.set(self.requests.get() + 1);
        self.phase.set(Phase::Busy);
        Busy(Rc::clone(self))
    }

    /// The order for the connection; whoever asks is woken when it changes.
    pub(super) fn poll_order(&self, cx: &mut Context<'_>) -> Order {
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        self.order.get()
    }

    fn give(&self, order: Order) {
        if order > self.order.get() {
            self.order.set(order);
            if let Some(waker) = self.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }

    /// What a connection that is over a deadline is to do.
    fn due(&self, limits: &Limits) -> Option<Order> {
        let late = |since, limit| self.clock.is_late(since, limit);
        if self.stalled.get().is_some_and(|since| late(since, WRITE_STALL)) {
            return Some(Order::Close);
        }
        let draining = self.order.get() >= Order::Drain;
        match self.phase.get() {
            Phase::Busy => None,
            Phase::Head => late(self.since.get(), limits.header_timeout).then_some(Order::Close),
            // A drained HTTP/2 connection waits for its client's farewell, but not for ever.
            Phase::Idle if draining => late(self.since.get(), limits.header_timeout).then_some(Order::Close),
            Phase::Idle => late(self.since.get(), limits.keep_alive_timeout).then_some(Order::Drain),
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Busy(Rc<Watch>);

impl Drop for Busy {
    fn drop(&mut self) {
        let requests = self.0.requests.get() - 1;
        self.0.requests.set(requests);
        if requests == 0 {
            self.0.enter(Phase::Idle);
        }
    }
}

/// A worker's open connections.
#[derive(Debug)]
pub(super) struct Connections {
    clock: Rc<Clock>,
    open: RefCell<HashMap<u64, Rc<Watch>>>,
    next: Cell<u64>,
    closed: Notify,
}

impl Connections {
    pub(super) fn new(clock: &Rc<Clock>) -> Rc<Self> {
        Rc::new(Self {
            clock: Rc::clone(clock),
            open: RefCell::default(),
            next: Cell::new(0),
            closed: Notify::new(),
        })
    }

    /// A connection was accepted; it is open until the result is dropped.
    pub(super) fn open(self: &Rc<Self>) -> Open {
        let number = self.next.get();
        self.next.set(number + 1);
        let watch = Rc::new(Watch::new(Rc::clone(&self.clock)));
        self.open.borrow_mut().insert(number, Rc::clone(&watch));
        Open { connections: Rc::clone(self), number, watch }
    }

    /// Orders every connection that is over a deadline to end.
    pub(super) fn sweep(&self, limits: &Limits) {
        for watch in self.open.borrow().values() {
            if let Some(order) = watch.due(limits) {
                if order == Order::Drain {
                    watch.since.set(self.clock.now());
                }
                watch.give(order);
            }
        }
    }

    /// Gives every connection that is open now the same order.
    pub(super) fn give_all(&self, order: Order) {
        for watch in self.open.borrow().values() {
            watch.give(order);
        }
    }

    /// Returns when none is open.
    pub(super) async fn all_closed(&self) {
        while !self.open.borrow().is_empty() {
            self.closed.notified().await;
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Open {
    connections: Rc<Connections>,
    number: u64,
    watch: Rc<Watch>,
}

impl Deref for Open {
    type Target = Rc<Watch>;

    fn deref(&self) -> &Rc<Watch> {
        &self.watch
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.open.borrow_mut().remove(&self.number);
        self.connections.closed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const KEEP_ALIVE: Duration = Duration::from_secs(75);

    /// A connection, and the order it has this long after it was opened.
    struct Case {
        start: Instant,
        connections: Rc<Connections>,
        open: Open,
    }

    impl Case {
        fn new() -> Self {
            let start = Instant::now();
            let connections = Connections::new(&Clock::new(start));
            let open = connections.open();
            Self { start, connections, open }
        }

        fn at(&self, seconds: u64) -> Order {
            let limits = crate::proxy::fixture::limits();
            assert_eq!((limits.header_timeout, limits.keep_alive_timeout), (HEADER, KEEP_ALIVE));
            self.connections.clock.tick(self.start + Duration::from_secs(seconds));
            self.connections.sweep(&limits);
            self.open.order.get()
        }
    }

    #[test]
    fn a_head_must_arrive_in_time_however_slowly_its_bytes_drip() {
        let case = Case::new();
        assert_eq!(case.at(9), Order::Serve);
        case.open.received();
        assert_eq!(case.at(10), Order::Serve);
        assert_eq!(case.at(11), Order::Close);
    }

    #[test]
    fn an_idle_connection_has_the_longer_limit_and_its_next_head_the_shorter() {
        let case = Case::new();
        drop(case.open.begin());
        assert_eq!(case.at(75), Order::Serve);
        case.open.received();
        assert_eq!(case.at(85), Order::Serve);
        assert_eq!(case.at(86), Order::Close);

        let idle = Case::new();
        drop(idle.open.begin());
        assert_eq!(idle.at(76), Order::Drain);
        assert_eq!(idle.at(86), Order::Drain);
        assert_eq!(idle.at(87), Order::Close);
    }

    #[test]
    fn a_connection_with_a_request_has_no_deadline_here() {
        let case = Case::new();
        let (one, two) = (case.open.begin(), case.open.begin());
        drop(one);
        assert_eq!(case.at(1000), Order::Serve);
        drop(two);
        assert_eq!(case.at(1075), Order::Serve);
        assert_eq!(case.at(1076), Order::Drain);
    }

    #[test]
    fn pings_do_not_prolong_an_idle_http2_connection_nor_end_it() {
        let case = Case::new();
        case.open.multiplexed();
        assert_eq!(case.at(60), Order::Serve);
        case.open.received();
        assert_eq!(case.at(75), Order::Serve);
        assert_eq!(case.at(76), Order::Drain);
    }

    #[test]
    fn a_client_that_takes_nothing_is_gone() {
        let case = Case::new();
        let _busy = case.open.begin();
        case.open.stalled();
        assert_eq!(case.at(60), Order::Serve);
        case.open.sent();
        case.open.stalled();
        case.open.stalled();
        assert_eq!(case.at(120), Order::Serve);
        assert_eq!(case.at(121), Order::Close);
    }

    #[test]
    fn orders_only_grow_and_closed_connections_are_forgotten() {
        let case = Case::new();
        case.connections.give_all(Order::Close);
        case.connections.give_all(Order::Drain);
        assert_eq!(case.open.order.get(), Order::Close);
        drop(case.open);
        assert!(case.connections.open.borrow().is_empty());
    }
}
