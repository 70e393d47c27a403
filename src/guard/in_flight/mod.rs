//! The responses of one worker that are in flight to a CDN that may keep them. A purge that is accepted
//! meanwhile does not reach a copy that is not stored yet, so it has to be repeated when the response has
//! arrived. Nothing here is locked.
//!
//! A response is in flight until its last byte has left the send queue of its connection and its site's margin
//! has passed. Only the kernel knows when that is, and asking it takes a system call. So it is asked when a
//! purge needs the answer, and otherwise one time for many responses. A response that no purge asks about may
//! stay in the list for long.

pub mod outlet;
mod response;
mod waiting;

use super::{Clock, Found, Question, Report};
use crate::rewrite::CdnTypes;
use outlet::{Left, Outlet};
pub use response::Response;
use slab::Slab;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
pub use waiting::Waiting;

/// The most responses that are tracked one by one. Of any more, only their existence is known, so they concern
/// every purge.
const MOST: usize = 65_536;
/// When this many responses have ended, the kernel is asked about all connections. The next such round takes at
/// least twice as many as were left then.
const CROWD: usize = 8_192;
/// The kernel is asked about a connection when this many responses have ended on it. An answer says only when the last
/// of them left. If it came seldom, the others would count as in flight for longer than they were.
const OFTEN: usize = 16;
/// The least time between two rounds of such questions, in milliseconds.
const SELDOM_MS: i64 = 1_000;
/// The most connections that are no longer served but wait for their clients to take the rest. Any more are
/// aborted.
const LET_GO: usize = 1_024;

/// The register of responses in flight.
#[derive(Debug, Default)]
pub struct InFlight(RefCell<Responses>);

#[derive(Debug, Default)]
struct Responses {
    /// The responses that have not ended.
    open: Slab<Response>,
    /// The connections of the responses that have ended but may not have arrived.
    outlets: Slab<Rc<Outlet>>,
    /// The number of responses that have ended. They are kept with their connections and not with the open ones,
    /// because they are many more: so the open ones always reuse memory that was in use a moment ago.
    ended: usize,
    unknown: Unknown,
    /// The number of responses that were left when all connections were last asked about.
    left: usize,
    /// When connections with many responses were last asked about.
    asked_ms: i64,
    /// The number of connections that are no longer served.
    let_go: usize,
    /// Whether the worker is ending, so that no connection is waited for any more.
    is_over: bool,
}

/// The responses that have not ended and are too many to be tracked.
#[derive(Debug, Default)]
struct Unknown {
    open: usize,
    /// The longest margin of any of them.
    margin_ms: i64,
    /// Whether any of them may have had none of our tags.
    untagged: bool,
    waiting: Waiting,
}

/// A ticket for a response, which is in flight as long as the ticket is kept, and then until the response has
/// arrived.
#[derive(Debug)]
pub struct Ticket {
    register: Rc<InFlight>,
    time: Clock,
    number: Number,
    outlet: Option<Rc<Outlet>>,
}

impl Ticket {
    /// Registers a response that sets out.
    pub fn new(register: &Rc<InFlight>, time: Clock, response: Response) -> Self {
        Self { register: Rc::clone(register), time, number: register.begin(response), outlet: None }
    }

    /// Assigns the response to the connection by which it leaves; none of its bytes may have been written before. The
    /// ticket must be dropped when the kernel has all of them.
    pub fn leaves_by(mut self, outlet: &Rc<Outlet>) -> Self {
        outlet.begin();
        self.outlet = Some(Rc::clone(outlet));
        self
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let outlet = self.outlet.as_ref();
        self.register.end(self.number, outlet, self.time.now_ms());
    }
}

/// The number of a response, or `None` if the response is not tracked.
pub type Number = Option<usize>;

impl InFlight {
    /// Registers a response that sets out. Requests use a [`Ticket`], which ends what it begins.
    pub fn begin(&self, response: Response) -> Number {
        let responses = &mut *self.0.borrow_mut();
        if responses.open.len() + responses.ended >= MOST {
            let unknown = &mut responses.unknown;
            unknown.untagged |= response.untagged;
            unknown.open += 1;
            unknown.margin_ms = unknown.margin_ms.max(response.margin_ms);
            return None;
        }
        Some(responses.open.insert(response))
    }

    /// Records that the response's last byte was given to the kernel, or that the response was aborted. Each
    /// number ends one time.
    pub fn end(&self, number: Number, outlet: Option<&Rc<Outlet>>, now_ms: i64) {
        let responses = &mut *self.0.borrow_mut();
        let mut left = match number {
            Some(number) => Left::Known(responses.open.remove(number)),
            None => responses.unknown.end(),
        };
        // Without a connection, no byte of the response has left.
        let Some(outlet) = outlet else { return left.waiting_mut().tell(now_ms) };
        // Arrived responses are forgotten in the next tick, because a search here would cost every response.
        responses.ended += usize::from(outlet.end(left, now_ms));
        responses.look_after(outlet);
    }

    /// Answers a question: reports which items of the purge concern responses in flight, and later when these
    /// have arrived.
    pub fn answer(&self, question: &Question, now_ms: i64) {
        let responses = &mut *self.0.borrow_mut();
        responses.look(now_ms, |outlet| outlet.look_once(now_ms));
        let mut found: BTreeSet<(usize, u32)> = BTreeSet::new();
        for (_, response) in &mut responses.open {
            if response.is_meant(question) && response.add_to(&mut found, question) {
                response.tell_if_untagged(question);
                response.waiting.add(question.answers.clone());
            }
        }
        let unknown = &mut responses.unknown;
        let mut any = unknown.open > 0;
        if any {
            unknown.waiting.add(question.answers.clone());
        }
        for (_, outlet) in &responses.outlets {
            outlet.await_each(&question.answers, now_ms, |response| match response {
                Some(response) => {
                    let is_found = response.is_meant(question) && response.add_to(&mut found, question);
                    if is_found {
                        response.tell_if_untagged(question);
                    }
                    is_found
                }
                None => {
                    any = true;
                    true
                }
            });
        }
        if any {
            if responses.unknown.untagged {
                drop(question.answers.send(Report::Untagged(CdnTypes::ALL)));
            }
            let jobs = question.jobs.iter().enumerate();
            found.extend(jobs.flat_map(|(job, items)| items.every().map(move |item| (job, item))));
        }
        let found: Found = found.into_iter().collect();
        // The channel is closed if the purge was not accepted after all.
        let _ = question.answers.send(Report::Found(found));
    }

    /// Handles one tick of the worker's clock: asks the kernel about awaited responses, and forgets arrived
    /// ones. Returns how many connections that were no longer served it gave up because their clients took
    /// nothing.
    pub fn tick(&self, now_ms: i64) -> usize {
        let responses = &mut *self.0.borrow_mut();
        let is_crowd = responses.ended >= CROWD.max(2 * responses.left);
        let is_time = responses.asked_ms.saturating_add(SELDOM_MS) <= now_ms;
        let often = if is_time { OFTEN } else { usize::MAX };
        let mut given_up = 0;
        responses.look(now_ms, |outlet| {
            if outlet.wants_look(often) {
                outlet.look(now_ms);
                outlet.close_if_delivered(now_ms);
                given_up += usize::from(outlet.give_up(now_ms));
            } else if is_crowd {
                outlet.look_once(now_ms);
            }
        });
        if is_crowd {
            responses.left = responses.ended;
        }
        if is_time {
            responses.asked_ms = now_ms;
        }
        given_up
    }

    /// Takes over a connection that is no longer served, and closes it when the responses that it tracks are
    /// delivered.
    pub fn let_go(&self, outlet: &Rc<Outlet>, now_ms: i64) {
        let responses = &mut *self.0.borrow_mut();
        let room = responses.let_go < LET_GO && !responses.is_over;
        responses.let_go += usize::from(outlet.let_go(room, now_ms));
        responses.look_after(outlet);
    }

    /// Returns whether there are connections that only wait for their clients to take the rest.
    pub fn is_waiting(&self) -> bool {
        self.0.borrow().let_go > 0
    }

    /// Ends the register with its worker. Responses that have not left their kernel by now are aborted, so that
    /// none is in flight unnoticed.
    pub fn end_all(&self, now_ms: i64) {
        let responses = &mut *self.0.borrow_mut();
        responses.is_over = true;
        responses.look(now_ms, |outlet| {
            if outlet.is_let_go() {
                outlet.close(true, now_ms);
            }
        });
    }
}

impl Responses {
    /// Tracks a connection as long as it has something to track.
    fn look_after(&mut self, outlet: &Rc<Outlet>) {
        if outlet.place().is_none() && !outlet.is_idle() {
            outlet.put(Some(self.outlets.insert(Rc::clone(outlet))));
        }
    }

    /// Applies `look` to each connection, and forgets responses that are found to have arrived.
    fn look(&mut self, now_ms: i64, mut look: impl FnMut(&Outlet)) {
        let (ended, let_go) = (&mut self.ended, &mut self.let_go);
        self.outlets.retain(|_, outlet| {
            let before = outlet.is_let_go();
            look(outlet);
            *let_go -= usize::from(before && !outlet.is_let_go());
            *ended -= outlet.forget(now_ms);
            let stays = !outlet.is_idle();
            if !stays {
                outlet.put(None);
            }
            stays
        });
    }
}

impl Unknown {
    /// Ends one of them.
    fn end(&mut self) -> Left {
        self.open -= 1;
        let waiting = if self.open == 0 { std::mem::take(&mut self.waiting) } else { self.waiting.clone() };
        Left::Unknown { margin_ms: self.margin_ms, waiting }
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::outlet::Sent;
    use super::outlet::testing::FakeQueue;
    use super::*;
    use crate::guard::JobItems;
    use crate::rewrite::Provenance;
    use crate::rewrite::keys::path_key;
    use crate::rewrite::{CdnType, Keys};
    use tokio::sync::mpsc::{self, UnboundedReceiver};

    /// How long a client may take nothing.
    const PATIENCE: i64 = 60_000;

    fn response(path: &str, cdn: CdnType) -> Response {
        let keys = crate::rewrite::keys::testing::of_path(path);
        Response {
            site: 1,
            cdns: [cdn].into_iter().collect(),
            untagged: false,
            margin_ms: 500,
            provenance: Provenance { keys: keys.into(), generated_ms: 100 },
            waiting: Waiting::default(),
        }
    }

    /// A worker with one connection.
    struct Case {
        in_flight: InFlight,
        queue: Rc<FakeQueue>,
        outlet: Rc<Outlet>,
    }

    impl Case {
        fn new() -> Self {
            let (in_flight, queue) = (InFlight::default(), Rc::new(FakeQueue::default()));
            let outlet = queue.outlet(PATIENCE);
            Self { in_flight, queue, outlet }
        }

        fn begin(&self, path: &str, cdn: CdnType) -> Number {
            self.outlet.begin();
            self.in_flight.begin(response(path, cdn))
        }

        /// Ends a response whose 100 bytes are in the kernel's queue.
        fn end(&self, number: Number, now_ms: i64) {
            self.queue.give(100);
            self.in_flight.end(number, Some(&self.outlet), now_ms);
        }

        fn reports(&self, question: (Question, UnboundedReceiver<Report>), now_ms: i64) -> String {
            reports(&self.in_flight, question, now_ms)
        }

        fn ended(&self) -> usize {
            self.in_flight.0.borrow().ended
        }
    }

    /// A purge of `/a` and `/b` at Fastly and of everything at Varnish.
    fn ask(site: u32, until_ms: i64) -> (Question, UnboundedReceiver<Report>) {
        let (answers, reports) = mpsc::unbounded_channel();
        let pages = ["/a", "/b"].map(|path| Some(path_key(path)));
        let jobs = [
            JobItems::new(CdnType::Fastly, pages.into_iter()),
            JobItems::new(CdnType::Varnish, [None].into_iter()),
        ];
        (Question { site, until_ms, jobs: jobs.into(), answers }, reports)
    }

    /// Returns the immediate reports, followed by `end`, or by `more` if more will come.
    fn reports(
        in_flight: &InFlight,
        (question, mut reports): (Question, UnboundedReceiver<Report>),
        now: i64,
    ) -> String {
        in_flight.answer(&question, now);
        drop(question);
        told(&mut reports)
    }

    /// Returns the reports that have come since the last call.
    fn told(reports: &mut UnboundedReceiver<Report>) -> String {
        let mut all = Vec::new();
        while let Ok(report) = reports.try_recv() {
            all.push(format!("{report:?}"));
        }
        all.push(if reports.is_closed() { "end" } else { "more" }.into());
        all.join(" ")
    }

    #[test]
    fn what_a_purge_finds() {
        let case = Case::new();
        assert_eq!(case.reports(ask(1, 200), 200), "Found([]) end");
        let a = case.begin("/a", CdnType::Fastly);
        let _other_cdn = case.begin("/b", CdnType::Akamai);
        assert_eq!(case.reports(ask(1, 200), 200), "Found([(0, 0)]) more");
        assert_eq!(case.reports(ask(2, 200), 200), "Found([]) end");
        // The response was generated after the purge.
        assert_eq!(case.reports(ask(1, 99), 200), "Found([]) end");
        let _any = case.begin("/x", CdnType::Varnish);
        assert_eq!(case.reports(ask(1, 200), 200), "Found([(0, 0), (1, 0)]) more");
        case.end(a, 300);
        case.queue.take_all(60);
        // 850 is 400, less the 60 ms of silence that the kernel reports, plus its tick of 10 ms and the margin
        // of 500 ms.
        assert_eq!(case.reports(ask(1, 200), 400), "Ends(850) Found([(0, 0), (1, 0)]) more");
        assert_eq!(case.reports(ask(1, 200), 851), "Found([(1, 0)]) more");
        assert_eq!(case.ended(), 0);
    }

    #[test]
    fn what_has_none_of_our_tags_concerns_every_item_and_is_told() {
        let case = Case::new();
        let begin = |cdns: CdnTypes| {
            let provenance = Provenance { keys: Keys::unknown().into(), generated_ms: 100 };
            let known = response("/x", CdnType::Fastly);
            case.outlet.begin();
            case.in_flight.begin(Response { cdns, untagged: true, provenance, ..known })
        };
        let fastly: CdnTypes = [CdnType::Fastly].into_iter().collect();
        let a = begin(fastly);
        let told = format!("Untagged({fastly:?}) Found([(0, 0), (0, 1)]) more");
        assert_eq!(case.reports(ask(1, 200), 200), told);
        case.end(a, 300);
        case.queue.take_all(1_700);
        let b = begin(CdnTypes::ALL);
        let told = format!("Untagged({:?}) Found([(0, 0), (0, 1), (1, 0)]) more", CdnTypes::ALL);
        assert_eq!(case.reports(ask(1, 200), 2_000), told);
        case.end(b, 2_100);
    }

    #[test]
    fn whoever_waits_is_told() {
        let case = Case::new();
        let a = case.begin("/a", CdnType::Fastly);
        let (question, mut reports) = ask(1, 200);
        case.in_flight.answer(&question, 200);
        drop(question);
        assert_eq!(told(&mut reports), "Found([(0, 0)]) more");
        case.end(a, 1_000);
        case.in_flight.tick(1_250);
        assert_eq!(told(&mut reports), "more");
        case.queue.take_all(0);
        case.in_flight.tick(1_500);
        assert_eq!(told(&mut reports), "Ends(2000) end");
        // Nothing is kept for longer than needed.
        let asked = case.queue.asked.get();
        case.in_flight.tick(2_001);
        assert_eq!(
            (case.ended(), case.in_flight.0.borrow().outlets.len(), case.queue.asked.get()),
            (0, 0, asked)
        );
    }

    #[test]
    fn what_leaves_at_once_is_not_on_its_way_however_late_the_kernel_is_asked() {
        let case = Case::new();
        case.end(case.begin("/a", CdnType::Fastly), 1_000);
        case.queue.take_all(0);
        for now_ms in (1_250..3_600_000).step_by(250) {
            case.in_flight.tick(now_ms);
        }
        assert_eq!((case.ended(), case.queue.asked.get()), (1, 0));
        case.queue.take_all(3_599_000);
        assert_eq!(case.reports(ask(1, 200), 3_600_000), "Found([]) end");
    }

    #[test]
    fn bytes_of_later_responses_do_not_hold_up_those_of_earlier_ones() {
        let case = Case::new();
        let (a, b) = (case.begin("/a", CdnType::Fastly), case.begin("/b", CdnType::Fastly));
        case.end(a, 1_000);
        case.queue.take_all(0);
        case.end(b, 1_000);
        assert_eq!(case.reports(ask(1, 200), 1_100), "Ends(1600) Found([(0, 0), (0, 1)]) more");
        assert_eq!(case.reports(ask(1, 200), 1_601), "Found([(0, 1)]) more");
    }

    #[test]
    fn the_kernel_is_asked_once_for_many() {
        let case = Case::new();
        let mut now_ms = 0;
        for _ in 0..10_000 {
            now_ms += 5;
            case.end(case.begin("/a", CdnType::Fastly), now_ms);
            case.queue.take_all(0);
            if now_ms % 250 == 0 {
                case.in_flight.tick(now_ms);
            }
        }
        assert!(case.queue.asked.get() <= 50, "{}", case.queue.asked.get());
        // Responses that left before the second in which the kernel was asked are known to have arrived.
        assert!(case.ended() <= 500, "{}", case.ended());

        // Each connection has one response, so only the number of connections triggers a question.
        let crowd = Case::new();
        let each: Vec<_> = (0..2 * CROWD).map(|_| Rc::new(FakeQueue::default())).collect();
        for (number, queue) in each.iter().enumerate() {
            let outlet = queue.outlet(PATIENCE);
            outlet.begin();
            let ticket = crowd.in_flight.begin(response("/a", CdnType::Fastly));
            crowd.in_flight.end(ticket, Some(&outlet), 0);
            if number % 1_000 == 0 {
                crowd.in_flight.tick(number as i64);
            }
        }
        assert!(crowd.ended() <= CROWD + 1_000, "{}", crowd.ended());
        assert!(each.iter().all(|queue| queue.asked.get() <= 1));
    }

    #[test]
    fn an_edge_that_never_reads_is_given_up() {
        let case = Case::new();
        case.end(case.begin("/a", CdnType::Fastly), 1_000);
        // No purge waits, so the connection is not overdue.
        case.in_flight.tick(100_000);
        assert!(!case.outlet.is_overdue());
        let (question, mut reports) = ask(1, 200);
        case.in_flight.answer(&question, 100_000);
        drop(question);
        assert_eq!(case.in_flight.tick(100_250), 0);
        assert!(case.outlet.is_overdue());
        // The overdue connection is then closed by its server.
        case.in_flight.let_go(&case.outlet, 100_300);
        assert_eq!(case.queue.closed.get(), Some(true));
        assert_eq!(told(&mut reports), "Found([(0, 0)]) Ends(100800) end");
    }

    #[test]
    fn an_edge_that_reads_slowly_is_waited_for() {
        let case = Case::new();
        case.end(case.begin("/a", CdnType::Fastly), 1_000);
        let (question, mut reports) = ask(1, 200);
        case.in_flight.answer(&question, 1_000);
        drop(question);
        for step in 1..100 {
            let sent = Sent { acknowledged: step, quiet_ms: 0, over: false };
            case.queue.sent.set(Some(sent));
            case.in_flight.tick(1_000 + 50_000 * step as i64);
        }
        assert!(!case.outlet.is_overdue());
        assert_eq!(told(&mut reports), "Found([(0, 0)]) more");
    }

    #[test]
    fn a_connection_that_is_let_go_delivers_what_counts() {
        let check = |take: bool, now_ms: i64, closed: Option<bool>| {
            let case = Case::new();
            case.end(case.begin("/a", CdnType::Fastly), 1_000);
            case.in_flight.let_go(&case.outlet, 1_100);
            assert!(case.in_flight.is_waiting() && case.queue.finished.get());
            assert_eq!(case.queue.closed.get(), None);
            if take {
                case.queue.take_all(0);
            }
            let given_up = case.in_flight.tick(now_ms);
            assert_eq!((case.queue.closed.get(), given_up), (closed, usize::from(closed == Some(true))));
            assert_eq!(case.in_flight.is_waiting(), closed.is_none());
            let expected = match closed {
                None => "Found([(0, 0)]) more".to_owned(),
                Some(_) => format!("Ends({}) Found([(0, 0)]) end", now_ms + 500),
            };
            assert_eq!(case.reports(ask(1, 200), now_ms + 100), expected);
        };
        check(true, 2_000, Some(false));
        check(false, 2_000, None);
        check(false, 61_100, None);
        check(false, 61_101, Some(true));
    }

    #[test]
    fn a_connection_through_which_nothing_counts_is_closed_unasked() {
        let case = Case::new();
        case.queue.give(100);
        case.in_flight.let_go(&case.outlet, 1_000);
        assert_eq!((case.queue.closed.get(), case.queue.asked.get()), (Some(false), 0));
        let taken = Case::new();
        taken.end(taken.begin("/a", CdnType::Fastly), 1_000);
        taken.queue.take_all(0);
        taken.in_flight.let_go(&taken.outlet, 1_001);
        assert_eq!(taken.queue.closed.get(), Some(false));
        assert!(!taken.in_flight.is_waiting());
    }

    #[test]
    fn a_connection_whose_client_is_gone_is_not_waited_for() {
        let case = Case::new();
        case.end(case.begin("/a", CdnType::Fastly), 1_000);
        case.queue.sent.set(Some(Sent { acknowledged: 10, quiet_ms: 0, over: true }));
        case.in_flight.let_go(&case.outlet, 1_100);
        assert_eq!((case.queue.closed.get(), case.in_flight.is_waiting()), (Some(false), false));
        assert_eq!(case.reports(ask(1, 200), 1_200), "Ends(1600) Found([(0, 0)]) end");
    }

    #[test]
    fn only_so_many_are_waited_for_and_none_when_the_worker_ends() {
        let in_flight = InFlight::default();
        let let_go = |_| {
            let queue = Rc::new(FakeQueue::default());
            let outlet = queue.outlet(PATIENCE);
            outlet.begin();
            queue.give(1);
            in_flight.end(in_flight.begin(response("/a", CdnType::Fastly)), Some(&outlet), 0);
            in_flight.let_go(&outlet, 0);
            queue
        };
        let queues: Vec<_> = (0..=LET_GO).map(let_go).collect();
        let aborted = || queues.iter().filter(|queue| queue.closed.get() == Some(true)).count();
        assert_eq!((aborted(), queues[LET_GO].closed.get()), (1, Some(true)));
        in_flight.end_all(10);
        assert_eq!((aborted(), in_flight.is_waiting()), (LET_GO + 1, false));
        assert_eq!(let_go(0).closed.get(), Some(true));
    }

    #[test]
    fn where_the_kernel_does_not_tell_it_is_in_doubt_for_as_long_as_may_be() {
        let case = Case::new();
        case.queue.sent.set(None);
        case.end(case.begin("/a", CdnType::Fastly), 1_000);
        let (question, mut reports) = ask(1, 200);
        case.in_flight.answer(&question, 2_000);
        drop(question);
        case.in_flight.tick(60_999);
        assert_eq!(told(&mut reports), "Found([(0, 0)]) more");
        case.in_flight.tick(61_100);
        assert_eq!(told(&mut reports), "Ends(61500) end");
        assert!(!case.outlet.is_overdue());
        case.in_flight.let_go(&case.outlet, 61_200);
        assert_eq!(case.queue.closed.get(), Some(false));
    }

    #[test]
    fn what_never_got_to_a_connection_is_not_on_its_way() {
        let in_flight = InFlight::default();
        let number = in_flight.begin(response("/a", CdnType::Fastly));
        let (question, mut reports) = ask(1, 200);
        in_flight.answer(&question, 200);
        drop(question);
        in_flight.end(number, None, 300);
        assert_eq!(told(&mut reports), "Found([(0, 0)]) Ends(300) end");
    }

    #[test]
    fn too_many_count_for_every_purge() {
        let case = Case::new();
        let mut numbers: Vec<_> = (0..=MOST).map(|_| case.begin("/x", CdnType::Fastly)).collect();
        let everything = "Found([(0, 0), (0, 1), (1, 0)])";
        assert_eq!(case.reports(ask(7, 0), 200), format!("{everything} more"));
        let last = numbers.pop().unwrap();
        assert_eq!(last, None);
        case.end(last, 300);
        assert_eq!(case.reports(ask(7, 0), 300), format!("{everything} more"));
        case.queue.take_all(0);
        assert_eq!(case.reports(ask(7, 0), 310), format!("Ends(810) {everything} end"));
        assert_eq!(case.reports(ask(7, 0), 811), "Found([]) end");
        // Arrived responses make room.
        numbers.drain(..).for_each(|number| case.end(number, 900));
        case.queue.take_all(0);
        assert_eq!(case.in_flight.begin(response("/x", CdnType::Fastly)), None);
        case.in_flight.tick(1_000);
        case.in_flight.tick(1_501);
        assert!(case.in_flight.begin(response("/x", CdnType::Fastly)).is_some());
    }

    #[test]
    fn several_that_are_not_known_are_one() {
        let case = Case::new();
        let _known: Vec<_> = (0..MOST).map(|_| case.begin("/x", CdnType::Akamai)).collect();
        let (a, b) = (case.begin("/x", CdnType::Fastly), case.begin("/x", CdnType::Fastly));
        let (question, mut reports) = ask(7, 0);
        case.in_flight.answer(&question, 200);
        drop(question);
        case.end(a, 300);
        case.queue.take_all(0);
        case.end(b, 400);
        assert_eq!(case.ended(), 1);
        case.in_flight.tick(500);
        assert_eq!(told(&mut reports), "Found([(0, 0), (0, 1), (1, 0)]) more");
        case.queue.take_all(0);
        case.in_flight.tick(750);
        assert_eq!(told(&mut reports), "Ends(1250) Ends(1250) end");
    }
}
