//! The responses of one worker that are on their way to a CDN which may keep them: a purge that is accepted meanwhile does
//! not reach what is not stored yet, so it has to come again when they have arrived. Nothing here is locked.

use super::worker::Worker;
use crate::rewrite::{CdnType, Provenance};
use crate::view::{Found, Question, Report};
use slab::Slab;
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use tokio::sync::mpsc::UnboundedSender;

/// Responses that are known one by one. Of more it is only known that there are some, which then count for every purge.
const MOST: usize = 65_536;

/// Who is told when a response ends.
type Waiting = Vec<UnboundedSender<Report>>;

/// What is on its way.
#[derive(Debug, Default)]
pub struct InFlight(RefCell<Responses>);

#[derive(Debug, Default)]
struct Responses {
    /// Those that have not ended.
    open: Slab<Response>,
    /// Those that have, but may not have arrived; forgotten in this order. Beside the open ones, since they are many more: the
    /// memory of those is then always that which was just in use.
    ended: VecDeque<Response>,
    unknown: Unknown,
}

/// One response.
#[derive(Debug)]
pub struct Response {
    /// The number of its site.
    pub site: u32,
    /// Which CDN gets it; none: it may be any.
    pub cdn: Option<CdnType>,
    /// It has none of our tags.
    pub untagged: bool,
    /// For how long after its end its last bytes are on the way, in milliseconds.
    pub margin_ms: i64,
    /// What it can be purged by, and when it was generated.
    pub provenance: Provenance,
    /// By when it has arrived; none while it has not ended.
    pub arrived_ms: Option<i64>,
    /// Who waits for that.
    pub waiting: Waiting,
}

#[derive(Debug, Default)]
struct Unknown {
    /// That have not ended.
    open: usize,
    /// The longest margin among them.
    margin_ms: i64,
    /// Some may have none of our tags.
    untagged: bool,
    arrived_ms: i64,
    waiting: Waiting,
}

/// A response of a worker that is on its way as long as this is kept.
#[derive(Debug)]
pub struct Ticket {
    worker: Rc<Worker>,
    number: Number,
}

impl Ticket {
    /// A response sets out.
    pub(super) fn new(worker: &Rc<Worker>, response: Response, now_ms: i64) -> Self {
        Self { worker: Rc::clone(worker), number: worker.in_flight.begin(response, now_ms) }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.worker.in_flight.end(self.number, self.worker.time.now_ms());
    }
}

/// The number of a response; none where it is one of those that are not known.
type Number = Option<usize>;

impl InFlight {
    /// A response sets out.
    fn begin(&self, response: Response, now_ms: i64) -> Number {
        let responses = &mut *self.0.borrow_mut();
        if responses.is_full() {
            responses.forget(now_ms);
        }
        if responses.is_full() {
            let unknown = &mut responses.unknown;
            unknown.untagged = unknown.untagged && !unknown.is_over(now_ms) || response.untagged;
            unknown.open += 1;
            unknown.margin_ms = unknown.margin_ms.max(response.margin_ms);
            return None;
        }
        Some(responses.open.insert(response))
    }

    /// Its last byte was written, or it was broken off.
    fn end(&self, number: Number, now_ms: i64) {
        let responses = &mut *self.0.borrow_mut();
        let Some(number) = number else { return responses.unknown.end(now_ms) };
        responses.forget(now_ms);
        let mut response = responses.open.remove(number);
        let arrived_ms = now_ms + response.margin_ms;
        response.arrived_ms = Some(arrived_ms);
        tell(&mut response.waiting, arrived_ms);
        responses.ended.push_back(response);
    }

    /// Answers a question: which items of the purge concern what is on its way; and tells when that will have arrived.
    pub fn answer(&self, question: &Question, now_ms: i64) {
        let responses = &mut *self.0.borrow_mut();
        let mut found: BTreeSet<(usize, u32)> = BTreeSet::new();
        let open = responses.open.iter_mut().map(|(_, response)| response);
        for response in open.chain(&mut responses.ended) {
            if response.is_meant(question, now_ms) && response.add_to(&mut found, question) {
                if response.untagged {
                    drop(question.answers.send(Report::Untagged(response.cdn)));
                }
                match response.arrived_ms {
                    Some(arrived_ms) => drop(question.answers.send(Report::Ends(arrived_ms))),
                    None => response.waiting.push(question.answers.clone()),
                }
            }
        }
        let unknown = &mut responses.unknown;
        if !unknown.is_over(now_ms) {
            if unknown.untagged {
                drop(question.answers.send(Report::Untagged(None)));
            }
            let jobs = question.jobs.iter().enumerate();
            found.extend(jobs.flat_map(|(job, items)| items.every().map(move |item| (job, item))));
            match unknown.open {
                0 => drop(question.answers.send(Report::Ends(unknown.arrived_ms))),
                _ => unknown.waiting.push(question.answers.clone()),
            }
        }
        let found: Found = found.into_iter().collect();
        // Nobody listens any more where the purge was not accepted after all.
        let _ = question.answers.send(Report::Found(found));
    }
}

impl Responses {
    fn is_full(&self) -> bool {
        self.open.len() + self.ended.len() >= MOST
    }

    /// Forgets what has arrived. The margins of sites differ, so some of it is forgotten a little later.
    fn forget(&mut self, now_ms: i64) {
        while self.ended.front().is_some_and(|response| response.has_arrived(now_ms)) {
            self.ended.pop_front();
        }
    }
}

impl Response {
    fn is_meant(&self, question: &Question, now_ms: i64) -> bool {
        self.site == question.site
            && self.provenance.generated_ms <= question.until_ms
            && !self.has_arrived(now_ms)
    }

    fn has_arrived(&self, now_ms: i64) -> bool {
        self.arrived_ms.is_some_and(|arrived_ms| arrived_ms < now_ms)
    }

    /// Adds the items that concern it; whether there are any.
    fn add_to(&self, found: &mut BTreeSet<(usize, u32)>, question: &Question) -> bool {
        let mut any = false;
        let jobs = question.jobs.iter().enumerate();
        for (job, items) in jobs.filter(|(_, items)| items.concerns(self.cdn)) {
            for item in items.matching(self.provenance.keys.all()) {
                any = true;
                found.insert((job, item));
            }
        }
        any
    }
}

impl Unknown {
    /// Whether all of them have arrived.
    fn is_over(&self, now_ms: i64) -> bool {
        self.open == 0 && self.arrived_ms <= now_ms
    }

    fn end(&mut self, now_ms: i64) {
        self.open -= 1;
        self.arrived_ms = self.arrived_ms.max(now_ms + self.margin_ms);
        if self.open == 0 {
            tell(&mut self.waiting, self.arrived_ms);
        }
    }
}

fn tell(waiting: &mut Waiting, arrived_ms: i64) {
    for answers in waiting.drain(..) {
        let _ = answers.send(Report::Ends(arrived_ms));
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::Keys;
    use crate::rewrite::keys::path_key;
    use crate::view::JobItems;
    use tokio::sync::mpsc::{self, UnboundedReceiver};

    fn response(path: &str, cdn: CdnType) -> Response {
        let keys = crate::rewrite::keys::testing::of_path(path);
        Response {
            site: 1,
            cdn: Some(cdn),
            untagged: false,
            margin_ms: 500,
            provenance: Provenance { keys: keys.into(), generated_ms: 100 },
            arrived_ms: None,
            waiting: Vec::new(),
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

    /// What is reported at once; the last word tells whether more will come.
    fn reports(
        in_flight: &InFlight,
        (question, mut reports): (Question, UnboundedReceiver<Report>),
        now: i64,
    ) -> String {
        in_flight.answer(&question, now);
        drop(question);
        let mut all = Vec::new();
        while let Ok(report) = reports.try_recv() {
            all.push(format!("{report:?}"));
        }
        all.push(if reports.is_closed() { "end" } else { "more" }.into());
        all.join(" ")
    }

    #[test]
    fn what_a_purge_finds() {
        let in_flight = InFlight::default();
        assert_eq!(reports(&in_flight, ask(1, 200), 200), "Found([]) end");
        let a = in_flight.begin(response("/a", CdnType::Fastly), 100);
        let _other_cdn = in_flight.begin(response("/b", CdnType::Akamai), 100);
        assert_eq!(reports(&in_flight, ask(1, 200), 200), "Found([(0, 0)]) more");
        assert_eq!(reports(&in_flight, ask(2, 200), 200), "Found([]) end");
        // Made after the purge.
        assert_eq!(reports(&in_flight, ask(1, 99), 200), "Found([]) end");
        let _any = in_flight.begin(response("/x", CdnType::Varnish), 100);
        assert_eq!(reports(&in_flight, ask(1, 200), 200), "Found([(0, 0), (1, 0)]) more");
        in_flight.end(a, 300);
        assert_eq!(reports(&in_flight, ask(1, 200), 400), "Ends(800) Found([(0, 0), (1, 0)]) more");
        assert_eq!(reports(&in_flight, ask(1, 200), 801), "Found([(1, 0)]) more");
    }

    #[test]
    fn what_has_none_of_our_tags_concerns_every_item_and_is_told() {
        let in_flight = InFlight::default();
        let untagged = |cdn| {
            let provenance = Provenance { keys: Keys::unknown().into(), generated_ms: 100 };
            Response { cdn, untagged: true, provenance, ..response("/x", CdnType::Fastly) }
        };
        let a = in_flight.begin(untagged(Some(CdnType::Fastly)), 100);
        let told = "Untagged(Some(Fastly)) Found([(0, 0), (0, 1)]) more";
        assert_eq!(reports(&in_flight, ask(1, 200), 200), told);
        in_flight.end(a, 300);
        let b = in_flight.begin(untagged(None), 900);
        let told = "Untagged(None) Found([(0, 0), (0, 1), (1, 0)]) more";
        assert_eq!(reports(&in_flight, ask(1, 200), 900), told);
        in_flight.end(b, 1_000);
    }

    #[test]
    fn whoever_waits_is_told() {
        let in_flight = InFlight::default();
        let a = in_flight.begin(response("/a", CdnType::Fastly), 100);
        let (question, mut reports) = ask(1, 200);
        in_flight.answer(&question, 200);
        drop(question);
        assert_eq!(reports.try_recv().ok(), Some(Report::Found(vec![(0, 0)])));
        in_flight.end(a, 1_000);
        assert_eq!(reports.try_recv().ok(), Some(Report::Ends(1_500)));
        assert!(reports.is_closed());
        // Nothing is kept for longer than it is needed.
        let b = in_flight.begin(response("/b", CdnType::Fastly), 1_501);
        in_flight.end(b, 1_600);
        assert_eq!((in_flight.0.borrow().open.len(), in_flight.0.borrow().ended.len()), (0, 1));
    }

    #[test]
    fn too_many_count_for_every_purge() {
        let in_flight = InFlight::default();
        let mut tickets: Vec<_> =
            (0..=MOST).map(|_| in_flight.begin(response("/x", CdnType::Fastly), 100)).collect();
        let everything = "Found([(0, 0), (0, 1), (1, 0)])";
        assert_eq!(reports(&in_flight, ask(7, 0), 200), format!("{everything} more"));
        let last = tickets.pop().unwrap();
        in_flight.end(last, 300);
        assert_eq!(reports(&in_flight, ask(7, 0), 300), format!("Ends(800) {everything} end"));
        assert_eq!(reports(&in_flight, ask(7, 0), 801), "Found([]) end");
        // What has arrived makes room, also for who comes next.
        tickets.drain(..).for_each(|ticket| in_flight.end(ticket, 900));
        assert_eq!(in_flight.begin(response("/x", CdnType::Fastly), 1_400), None);
        assert!(in_flight.begin(response("/x", CdnType::Fastly), 1_401).is_some());
    }
}
