//! A property test of the register over arbitrary histories: a response is in flight until its last byte has
//! left the send queue of its connection and the margin has passed. The kernel acknowledges any number of bytes
//! at any time, purges ask at any time, and connections end.

use super::outlet::Sent;
use super::outlet::testing::FakeQueue;
use super::*;
use crate::guard::JobItems;
use crate::rewrite::CdnType;
use crate::rewrite::Provenance;
use crate::rewrite::keys::{path_key, testing};
use proptest::prelude::*;
use tokio::sync::mpsc::{self, UnboundedReceiver};

const MARGIN: i64 = 500;
const PATIENCE: i64 = 20_000;
/// The tick of the worker's clock.
const TICK: i64 = 250;
/// The tick of the kernel's clock: a time that the kernel reports may be wrong by as much.
const KERNEL_TICK: i64 = 10;

#[derive(Clone, Debug)]
enum Event {
    /// Time passes.
    Pass(i64),
    /// A response sets out on this connection.
    Begin(usize),
    /// One of the responses under way is written, with this number of bytes.
    End(usize, u64),
    /// The client's kernel takes this percentage of the bytes that were sent and not yet taken.
    Take(usize, u64),
    /// The client sends something: its kernel is heard but takes nothing.
    Hear(usize),
    /// The connection is no longer served.
    LetGo(usize),
    /// A purge asks.
    Ask,
}

fn event() -> impl Strategy<Value = Event> {
    let connection = 0..3usize;
    prop_oneof![
        4 => prop_oneof![1..20i64, 1..1_500i64, Just(9_000)].prop_map(Event::Pass),
        4 => connection.clone().prop_map(Event::Begin),
        4 => (0..8usize, 1..1_000u64).prop_map(|(number, bytes)| Event::End(number, bytes)),
        3 => (connection.clone(), prop_oneof![Just(100), 0..100u64])
            .prop_map(|(connection, part)| Event::Take(connection, part)),
        1 => connection.clone().prop_map(Event::Hear),
        1 => connection.prop_map(Event::LetGo),
        2 => Just(Event::Ask),
    ]
}

/// The true state of a connection.
struct Connection {
    queue: Rc<FakeQueue>,
    outlet: Rc<Outlet>,
    taken: u64,
    heard_ms: i64,
    let_go: bool,
}

/// The true state of a response.
struct Real {
    connection: usize,
    number: Number,
    /// The position of the response's last byte.
    at: Option<u64>,
    left_ms: Option<i64>,
}

/// A purge, and the responses that it must not forget.
struct Purge {
    reports: UnboundedReceiver<Report>,
    /// The numbers of the awaited responses.
    awaits: Vec<usize>,
    told_ms: i64,
    found: bool,
    is_over: bool,
}

struct World {
    now_ms: i64,
    in_flight: InFlight,
    connections: Vec<Connection>,
    all: Vec<Real>,
    purges: Vec<Purge>,
}

impl World {
    fn new() -> Self {
        let connection = |_| {
            let queue = Rc::new(FakeQueue::default());
            Connection { outlet: queue.outlet(PATIENCE), queue, taken: 0, heard_ms: 0, let_go: false }
        };
        Self {
            now_ms: 1_000_003,
            in_flight: InFlight::default(),
            connections: (0..3).map(connection).collect(),
            all: Vec::new(),
            purges: Vec::new(),
        }
    }

    /// Sets the kernels' answers to the truth, as exactly as kernels can know it.
    fn tell(&self) {
        for connection in &self.connections {
            let quiet_ms = (self.now_ms / KERNEL_TICK - connection.heard_ms / KERNEL_TICK) * KERNEL_TICK;
            connection.queue.sent.set(Some(Sent { acknowledged: connection.taken, quiet_ms, over: false }));
        }
    }

    /// Marks the responses that have left by now. Aborted ones never arrive, so they are marked as well.
    fn note(&mut self) {
        for real in self.all.iter_mut().filter(|real| real.left_ms.is_none()) {
            let connection = &self.connections[real.connection];
            let aborted = connection.queue.closed.get() == Some(true);
            if real.at.is_some_and(|at| at <= connection.taken || aborted) {
                real.left_ms = Some(self.now_ms);
            }
        }
    }

    fn happen(&mut self, event: &Event) {
        self.tell();
        match *event {
            Event::Pass(ms) => {
                let until_ms = self.now_ms + ms;
                while self.now_ms < until_ms {
                    self.now_ms = (self.now_ms / TICK * TICK + TICK).min(until_ms);
                    self.tell();
                    if self.now_ms % TICK == 0 {
                        self.in_flight.tick(self.now_ms);
                        self.note();
                        self.check();
                    }
                }
            }
            Event::Begin(connection) => {
                let Connection { outlet, let_go, .. } = &self.connections[connection];
                if *let_go {
                    return;
                }
                outlet.begin();
                let provenance = Provenance { keys: testing::of_path("/a").into(), generated_ms: 0 };
                let (cdns, waiting) = ([CdnType::Fastly].into_iter().collect(), Waiting::default());
                let response =
                    Response { site: 1, cdns, untagged: false, margin_ms: MARGIN, provenance, waiting };
                let number = self.in_flight.begin(response);
                self.all.push(Real { connection, number, at: None, left_ms: None });
            }
            Event::End(number, bytes) => {
                let mut under_way = self.all.iter_mut().filter(|real| real.at.is_none());
                let Some(real) = under_way.nth(number) else { return };
                let connection = &self.connections[real.connection];
                if connection.queue.closed.get().is_none() && !connection.let_go {
                    connection.queue.give(bytes);
                }
                real.at = Some(connection.queue.given.get());
                let (number, outlet) = (real.number, Rc::clone(&connection.outlet));
                self.note();
                self.in_flight.end(number, Some(&outlet), self.now_ms);
            }
            Event::Take(connection, part) => {
                let connection = &mut self.connections[connection];
                if connection.queue.closed.get() != Some(true) {
                    let left = connection.queue.given.get() - connection.taken;
                    let taken = (left * part).div_ceil(100);
                    connection.taken += taken;
                    if taken > 0 {
                        connection.heard_ms = self.now_ms;
                    }
                }
            }
            Event::Hear(connection) => self.connections[connection].heard_ms = self.now_ms,
            Event::LetGo(connection) => {
                let connection = &mut self.connections[connection];
                if !connection.let_go {
                    connection.let_go = true;
                    self.in_flight.let_go(&connection.outlet, self.now_ms);
                }
            }
            Event::Ask => self.ask(),
        }
        self.note();
        self.check();
    }

    fn ask(&mut self) {
        let (answers, reports) = mpsc::unbounded_channel();
        let jobs = [JobItems::new(CdnType::Fastly, [Some(path_key("/a"))].into_iter())];
        let question = Question { site: 1, until_ms: 1, jobs: jobs.into(), answers };
        self.in_flight.answer(&question, self.now_ms);
        drop(question);
        let on_its_way = |real: &Real| real.left_ms.is_none_or(|left_ms| left_ms + MARGIN >= self.now_ms);
        let numbers = self.all.iter().enumerate().filter(|(_, real)| on_its_way(real));
        let awaits: Vec<_> = numbers.map(|(number, _)| number).collect();
        let may_count = |real: &Real| {
            let heard_ms = self.connections[real.connection].heard_ms;
            real.left_ms.is_none_or(|left_ms| left_ms.max(heard_ms) + MARGIN + 2 * KERNEL_TICK >= self.now_ms)
        };
        let needless = !self.all.iter().any(may_count);
        let purge = Purge { reports, awaits, told_ms: i64::MIN, found: false, is_over: false };
        self.purges.push(purge);
        self.check();
        let found = self.purges.last().unwrap().found;
        assert!(!(found && needless), "everything had arrived, and nothing was heard since");
    }

    /// Checks that no purge ends before all awaited responses have left, and that none reports an arrival too
    /// early.
    fn check(&mut self) {
        for purge in self.purges.iter_mut().filter(|purge| !purge.is_over) {
            while let Ok(report) = purge.reports.try_recv() {
                match report {
                    Report::Found(found) => purge.found = !found.is_empty(),
                    Report::Untagged(cdns) => unreachable!("all of them have tags: {cdns:?}"),
                    Report::Ends(at_ms) => purge.told_ms = purge.told_ms.max(at_ms),
                }
            }
            purge.is_over = purge.reports.is_closed();
            assert!(purge.found || purge.awaits.is_empty(), "something on its way was not found");
            if !purge.is_over {
                continue;
            }
            for real in purge.awaits.iter().map(|number| &self.all[*number]) {
                let left_ms =
                    real.left_ms.expect("the purge is over, and the response is still in the queue");
                assert!(purge.told_ms >= left_ms + MARGIN, "told {}, left {left_ms}", purge.told_ms);
                let late_ms = self.now_ms + MARGIN + KERNEL_TICK;
                assert!(purge.told_ms <= late_ms, "told {} at {}", purge.told_ms, self.now_ms);
            }
        }
    }

    /// Writes and takes everything, and lets the clock tick.
    fn end(&mut self) {
        while self.all.iter().any(|real| real.at.is_none()) {
            self.happen(&Event::End(0, 1));
        }
        (0..3).for_each(|connection| self.happen(&Event::Take(connection, 100)));
        self.happen(&Event::Pass(2 * TICK));
        assert!(self.purges.iter().all(|purge| purge.is_over), "a purge waits for ever");
        self.happen(&Event::Pass(MARGIN + 2 * KERNEL_TICK));
        self.happen(&Event::Ask);
        assert_eq!(self.in_flight.0.borrow().ended, 0);
        self.happen(&Event::Pass(TICK));
        assert_eq!(self.in_flight.0.borrow().outlets.len(), 0);
        assert!(!self.in_flight.is_waiting());
        // Connections that waited for their clients are closed.
        assert!(
            self.connections
                .iter()
                .all(|connection| !connection.let_go || connection.queue.closed.get().is_some())
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn nothing_counts_as_arrived_before_it_has(events in proptest::collection::vec(event(), 1..60)) {
        let mut world = World::new();
        events.iter().for_each(|event| world.happen(event));
        world.end();
    }
}
