//! Deadlines and draining of client connections. Each connection records its phase and when that began, and one
//! sweep per worker checks all of them. No connection or request needs a timer.

use crate::config::Limits;
use crate::guard::in_flight::Ticket;
use crate::guard::in_flight::outlet::Outlet;
use crate::http::timer::Clock;
use crate::metrics::shard::{Limit, WorkerShard};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Deref;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a client may continue to send after our last byte. A connection that is closed with unread bytes is
/// reset, and the reset can overtake the response (RFC 9112 §9.6).
const PARTING: Duration = Duration::from_secs(2);

/// An order to a connection. Orders only become stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// Continue to serve.
    Serve,
    /// Finish what was begun, then close.
    Drain,
    /// Close now.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A request head is being received. Before the first one, this includes setting up the connection.
    Head,
    /// A request is being answered.
    Busy,
    /// No request is open.
    Idle,
    /// Everything has been sent, but the client may not have received it yet.
    Parting,
}

/// State shared by a worker's connections.
#[derive(Debug)]
struct Common {
    clock: Rc<Clock>,
    /// Whether every response announces the end of its connection.
    last_requests: Cell<bool>,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Watch {
    common: Rc<Common>,
    /// The number of the connection's listener.
    listener: u64,
    opened: Instant,
    phase: Cell<Phase>,
    /// When the phase began.
    since: Cell<Instant>,
    /// Since when bytes wait for the client to take them.
    stalled: Cell<Option<Instant>>,
    /// The number of requests that are being answered.
    requests: Cell<u32>,
    /// Whether this is HTTP/2, and the client has begun to use it.
    multiplexed: Cell<bool>,
    /// Whether bytes have arrived since the last call of `take_heard`.
    heard: Cell<bool>,
    /// Whether the client may be sending something that nothing will read.
    unread: Cell<bool>,
    /// Whether the response in flight is the last one.
    last_request: Cell<bool>,
    /// HTTP/2 responses that the `h2` crate has completely, but of which it may not have written everything yet.
    unwritten: RefCell<Vec<Ticket>>,
    /// The outlet through which responses leave.
    outlet: Rc<Outlet>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
}

impl Watch {
    fn new(common: Rc<Common>, listener: u64, outlet: Rc<Outlet>) -> Self {
        let now = common.clock.now();
        Self {
            common,
            listener,
            opened: now,
            phase: Cell::new(Phase::Head),
            since: Cell::new(now),
            stalled: Cell::new(None),
            requests: Cell::new(0),
            multiplexed: Cell::new(false),
            heard: Cell::new(false),
            unread: Cell::new(false),
            last_request: Cell::new(false),
            unwritten: RefCell::default(),
            outlet,
            order: Cell::new(Order::Serve),
            waker: RefCell::new(None),
        }
    }

    fn enter(&self, phase: Phase) {
        if self.phase.get() != Phase::Parting {
            self.phase.set(phase);
            self.since.set(self.now());
        }
    }

    /// Returns the outlet through which responses leave.
    pub(super) fn outlet(&self) -> &Rc<Outlet> {
        &self.outlet
    }

    /// Records that everything handed over is written.
    pub(super) fn written(&self) {
        self.unwritten.borrow_mut().clear();
    }

    /// Returns the time of the worker's clock.
    pub(super) fn now(&self) -> Instant {
        self.common.clock.now()
    }

    /// Records that this is HTTP/2 and that the client has begun to use it. From now on, bytes that arrive while the
    /// connection is idle do not begin the phase `Head`. They may be a PING, which must neither restart the keep-alive
    /// timeout nor start the timeout of a head.
    pub(super) fn multiplexed(&self) {
        if !self.multiplexed.replace(true) {
            self.enter(Phase::Idle);
            if self.last_request.get() {
                self.give(Order::Drain);
            }
        }
    }

    /// Records that bytes arrived.
    pub(super) fn received(&self) {
        self.heard.set(true);
        if self.phase.get() == Phase::Idle && !self.multiplexed.get() {
            self.enter(Phase::Head);
        }
    }

    /// Whether bytes have arrived since the last call.
    pub(super) fn take_heard(&self) -> bool {
        self.heard.replace(false)
    }

    /// Whether bytes wait for the client to take them.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.get().is_some()
    }

    /// Records that the client took bytes.
    pub(super) fn sent(&self) {
        self.stalled.set(None);
    }

    /// Records that bytes wait for the client to take them.
    pub(super) fn stalled(&self) {
        if self.stalled.get().is_none() {
            self.stalled.set(Some(self.now()));
        }
    }

    /// Records that a request's head was received. The request is in flight until the result is dropped.
    pub(super) fn begin(self: &Rc<Self>, has_body: bool) -> Busy {
        self.requests.set(self.requests.get() + 1);
        self.unread.set(has_body);
        self.enter(Phase::Busy);
        Busy(Rc::clone(self))
    }

    /// Makes the response in flight the last one of the connection.
    pub(super) fn ends(&self) {
        self.last_request.set(true);
        self.unread.set(true);
    }

    /// Whether the response in flight is to be the last one.
    pub(super) fn is_ending(&self) -> bool {
        self.last_request.get() || self.common.last_requests.get() || self.order.get() >= Order::Drain
    }

    /// Records that our last byte was sent. Returns whether to wait until the client notices.
    pub(super) fn parting(&self) -> bool {
        if self.phase.get() == Phase::Head {
            self.unread.set(true);
        }
        self.enter(Phase::Parting);
        self.unread.get()
    }

    /// Returns the order for the connection; the caller is woken when it changes.
    pub(super) fn poll_order(&self, cx: &mut Context<'_>) -> Order {
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        self.order.get()
    }

    /// Gives the connection an order, unless it has a stronger one.
    pub(super) fn give(&self, order: Order) {
        if order > self.order.get() {
            self.order.set(order);
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Returns the order for a connection that exceeds a deadline, and the limit that it exceeds.
    fn due(&self, limits: &Limits) -> Option<(Order, Option<Limit>)> {
        let late = |since, limit| self.common.clock.is_late(since, limit);
        let is_stalled = self.stalled.get().is_some_and(|since| late(since, limits.write_timeout));
        if is_stalled || self.outlet.is_overdue() {
            return Some((Order::Close, Some(Limit::Write)));
        }
        let draining = self.order.get() >= Order::Drain;
        match self.phase.get() {
            Phase::Busy => None,
            Phase::Head => {
                late(self.since.get(), limits.header_timeout).then_some((Order::Close, Some(Limit::Head)))
            }
            // A drained HTTP/2 connection waits for its client to close it, but not for ever.
            Phase::Idle if draining => {
                late(self.since.get(), limits.header_timeout).then_some((Order::Close, None))
            }
            Phase::Idle => late(self.since.get(), limits.keep_alive_timeout).then_some((Order::Drain, None)),
            Phase::Parting => late(self.since.get(), PARTING).then_some((Order::Close, None)),
        }
    }

    /// Lets the connection end without the loss of a request: HTTP/2 announces the end at once, HTTP/1.1 with its next
    /// response.
    fn retire(&self) {
        if self.multiplexed.get() {
            self.give(Order::Drain);
        } else {
            self.last_request.set(true);
        }
    }

    fn is_old(&self, limits: &Limits) -> bool {
        self.common.clock.is_late(self.opened, limits.connection_max_age)
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

impl Busy {
    /// Records that the response has no more bytes. The ticket ends when the last byte is written.
    pub(super) fn unwritten(&self, ticket: Ticket) {
        self.0.unwritten.borrow_mut().push(ticket);
    }
}

/// A worker's open connections.
#[derive(Debug)]
pub(super) struct Connections {
    common: Rc<Common>,
    open: RefCell<HashMap<u64, Rc<Watch>>>,
    next: Cell<u64>,
    closed: Notify,
}

impl Connections {
    pub(super) fn new(clock: &Rc<Clock>) -> Rc<Self> {
        Rc::new(Self {
            common: Rc::new(Common { clock: Rc::clone(clock), last_requests: Cell::new(false) }),
            open: RefCell::default(),
            next: Cell::new(0),
            closed: Notify::new(),
        })
    }

    /// Registers a connection that this listener accepted. The connection is open until the result is dropped.
    pub(super) fn open(self: &Rc<Self>, listener: u64, outlet: Rc<Outlet>) -> Open {
        let number = self.next.get();
        self.next.set(number + 1);
        let watch = Rc::new(Watch::new(Rc::clone(&self.common), listener, outlet));
        self.open.borrow_mut().insert(number, Rc::clone(&watch));
        Open { connections: Rc::clone(self), number, watch }
    }

    /// Orders every connection that exceeds a deadline to end, one time per tick.
    pub(super) fn sweep(&self, limits: &Limits, counters: &WorkerShard) {
        let now = self.common.clock.now();
        for watch in self.open.borrow().values() {
            if watch.is_old(limits) {
                watch.retire();
            }
            let Some((order, limit)) = watch.due(limits) else { continue };
            if order > watch.order.get()
                && let Some(limit) = limit
            {
                counters.limited(limit);
            }
            if order == Order::Drain {
                watch.since.set(now);
            }
            watch.give(order);
        }
    }

    /// Ends up to `count` idle connections, those idle for longest first. When room is scarce, clients with a
    /// request take precedence over clients that may send one later.
    pub(super) fn shed(&self, count: usize) {
        let open = self.open.borrow();
        let is_idle =
            |watch: &&Rc<Watch>| watch.phase.get() == Phase::Idle && watch.order.get() == Order::Serve;
        let mut idle: Vec<_> = open.values().filter(is_idle).collect();
        idle.sort_by_key(|watch| watch.since.get());
        for watch in idle.into_iter().take(count) {
            watch.since.set(self.common.clock.now());
            watch.give(Order::Drain);
        }
    }

    /// Makes each response from now on the last one of its connection. HTTP/2 announces the end without waiting
    /// for a request (RFC 9113 §6.8).
    pub(super) fn take_last_requests(&self) {
        self.common.last_requests.set(true);
        for watch in self.open.borrow().values().filter(|watch| watch.multiplexed.get()) {
            watch.give(Order::Drain);
        }
    }

    /// Lets every connection of a listener end without the loss of a request.
    pub(super) fn retire_from(&self, listener: u64) {
        for watch in self.open.borrow().values().filter(|watch| watch.listener == listener) {
            watch.retire();
        }
    }

    /// Gives the same order to every open connection.
    pub(super) fn give_all(&self, order: Order) {
        for watch in self.open.borrow().values() {
            watch.give(order);
        }
    }

    /// Returns when no connection is open.
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
    use crate::guard::in_flight::outlet::testing::FakeQueue;

    const HEADER: Duration = Duration::from_secs(10);
    const KEEP_ALIVE: Duration = Duration::from_secs(75);

    /// A connection whose order can be queried at a given time after it was opened.
    struct Case {
        start: Instant,
        connections: Rc<Connections>,
        open: Open,
        counters: WorkerShard,
    }

    impl Case {
        fn new() -> Self {
            let start = Instant::now();
            let connections = Connections::new(&Clock::new(start));
            let open = connections.open(0, Rc::new(FakeQueue::default()).outlet(0));
            Self { start, connections, open, counters: WorkerShard::default() }
        }

        fn at(&self, seconds: u64) -> Order {
            let limits = crate::proxy::fixture::limits();
            assert_eq!((limits.header_timeout, limits.keep_alive_timeout), (HEADER, KEEP_ALIVE));
            self.connections.common.clock.tick(self.start + Duration::from_secs(seconds));
            self.connections.sweep(&limits, &self.counters);
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
        drop(case.open.begin(false));
        assert_eq!(case.at(75), Order::Serve);
        case.open.received();
        assert_eq!(case.at(85), Order::Serve);
        assert_eq!(case.at(86), Order::Close);

        let idle = Case::new();
        drop(idle.open.begin(false));
        assert_eq!(idle.at(76), Order::Drain);
        assert_eq!(idle.at(86), Order::Drain);
        assert_eq!(idle.at(87), Order::Close);
    }

    #[test]
    fn a_connection_with_a_request_has_no_deadline_here() {
        let case = Case::new();
        let (one, two) = (case.open.begin(false), case.open.begin(false));
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
        let _busy = case.open.begin(false);
        case.open.stalled();
        assert_eq!(case.at(60), Order::Serve);
        case.open.sent();
        case.open.stalled();
        case.open.stalled();
        assert_eq!(case.at(120), Order::Serve);
        assert_eq!(case.at(121), Order::Close);
    }

    #[test]
    fn where_room_is_scarce_the_longest_idle_leave_first_and_none_that_is_busy() {
        let start = Instant::now();
        let clock = Clock::new(start);
        let connections = Connections::new(&clock);
        let open = || connections.open(0, Rc::new(FakeQueue::default()).outlet(0));
        let all = [open(), open(), open(), open()];
        // The first is busy, the last has sent nothing yet, and the third has been idle for longest.
        let busy = all[0].begin(false);
        for (index, after) in [(2, 1), (1, 2)] {
            clock.tick(start + Duration::from_secs(after));
            drop(all[index].begin(false));
        }
        let orders = || all.iter().map(|open| open.order.get()).collect::<Vec<_>>();
        connections.shed(1);
        assert_eq!(orders(), [Order::Serve, Order::Serve, Order::Drain, Order::Serve]);
        connections.shed(16);
        assert_eq!(orders(), [Order::Serve, Order::Drain, Order::Drain, Order::Serve]);
        drop(busy);
        connections.shed(16);
        assert_eq!(orders(), [Order::Drain, Order::Drain, Order::Drain, Order::Serve]);
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
