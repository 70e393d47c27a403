//! A small world: an origin, the shim, CDNs, visitors and purges, in simulated milliseconds. A history is a list of
//! [`Command`]s. After each of them the laws hold ([`super::laws`]).

use super::cache::{Cache, Purge as Call};
use super::exchange::{Body, Flight, Stage, Visitor};
use super::faults::Fault;
use super::laws;
use super::origin::{AgeForm, PAGES, Repeats};
use super::purges::{Purge, Wanted};
use super::shim::Shim;
use super::site::{Choice, Compiled, Kind};
use origin_shim::cdn::ItemKind;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Between two looks at what purges wait for.
const TICK_MS: i64 = 1_000;

/// What does not change in a history.
#[derive(Clone, Debug)]
pub struct Setup {
    pub choice: Choice,
    /// What is said of each page at the start, as numbers of [`SAMPLES`].
    pub samples: [usize; PAGES.len()],
    /// The page that is asked for as often as all of them together; numbers of pages beyond the last mean this one.
    pub favourite: usize,
    pub tag_field: usize,
    pub repeats: Repeats,
    /// Whether CDNs say who they are.
    pub names: bool,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Command {
    Wait(i64),
    Visit {
        cdn: usize,
        page: usize,
        spelling: usize,
        query: bool,
        visitor: Visitor,
        until: Stage,
        /// Seconds for which the origin's own cache had the answer, and how it says so.
        age: Option<(u64, AgeForm)>,
    },
    /// One of the exchanges under way gets one step further.
    Advance(usize),
    /// A page changes, and perhaps what is said of it.
    Edit(usize, Option<usize>),
    /// Only what is said of a page changes.
    Retell(usize, usize),
    Purge {
        wanted: Wanted,
        page: usize,
        number: usize,
        soft: bool,
        /// The first call leaves so much later.
        delay_ms: i64,
    },
    Health(bool),
    Reload(u8),
    /// The CDNs ask about all that they have before they serve it again, as they may at any time.
    Expire,
}

/// The world.
pub struct World {
    pub setup: Setup,
    pub now_ms: i64,
    pub clock: Rc<Cell<i64>>,
    pub compiled: Rc<Compiled>,
    pub kinds: Vec<&'static Kind>,
    pub shim: Shim,
    pub caches: Vec<Cache<Body>>,
    /// Of each page: since when it is so, its version, and what is said of it.
    pub versions: Vec<Vec<(i64, u32, usize)>>,
    pub flights: Vec<Flight>,
    pub purges: Vec<Purge>,
    /// By CDN: whether copies without tags may be there.
    pub untagged: Vec<bool>,
    pub healthy: bool,
    trace: Option<Vec<String>>,
    /// How often what happened.
    pub tally: BTreeMap<&'static str, u32>,
}

/// What a law says when it is broken.
pub type Lawful = Result<(), String>;

impl World {
    pub fn new(mut setup: Setup, fault: Option<Fault>, traced: bool) -> Self {
        setup.choice.fixed_browser = fault == Some(Fault::BrowsersForTwoHours);
        let compiled = Compiled::of(setup.choice);
        compiled.set_healthy(true);
        let kinds = setup.choice.kinds();
        let now_ms = 1_000_000_000_000;
        Self {
            now_ms,
            clock: Rc::new(Cell::new(now_ms)),
            compiled,
            shim: Shim::new(fault),
            caches: kinds.iter().map(|kind| Cache::new(kind.habits)).collect(),
            versions: setup.samples.iter().map(|sample| vec![(0, 0, *sample)]).collect(),
            flights: Vec::new(),
            purges: Vec::new(),
            untagged: vec![setup.choice.mode != 0; kinds.len()],
            healthy: true,
            trace: traced.then(Vec::new),
            tally: BTreeMap::new(),
            kinds,
            setup,
        }
    }

    /// The whole history, to its end: everything arrives, and every purge is done.
    pub fn run(&mut self, commands: &[Command]) -> Lawful {
        for command in commands {
            self.note(|| format!("{command:?}"));
            self.happen(command)?;
            self.settle(false)?;
            laws::hold(self)?;
        }
        self.note(|| "the end".to_owned());
        while let Some(at) = self.flights.iter().position(|flight| flight.stage < Stage::Left) {
            self.advance(at)?;
        }
        for ms in [2_000, 2_000, 12_000] {
            self.pass(ms)?;
        }
        assert!(self.purges.iter().all(|purge| purge.done_ms.is_some()), "a purge waits for ever");
        laws::hold(self)
    }

    /// What happened, line by line.
    pub fn story(&self) -> String {
        self.trace.as_ref().map(|lines| lines.join("\n")).unwrap_or_default()
    }

    pub fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9} {}", self.now_ms % 1_000_000_000, line()));
        }
    }

    fn happen(&mut self, command: &Command) -> Lawful {
        let favourite = self.setup.favourite;
        let page_of = |number: usize| if number < PAGES.len() { number } else { favourite };
        match *command {
            Command::Wait(ms) => return self.pass(ms),
            Command::Visit { cdn, page, spelling, query, visitor, until, age } => {
                return self.visit(
                    (cdn % self.caches.len(), page_of(page), spelling, query),
                    visitor,
                    until,
                    age,
                );
            }
            Command::Advance(number) => {
                let under_way =
                    self.flights.iter().enumerate().filter(|(_, flight)| flight.stage < Stage::Left);
                let at = under_way.map(|(at, _)| at).nth(number);
                return at.map_or(Ok(()), |at| self.advance(at));
            }
            Command::Edit(page, sample) => {
                let versions = &mut self.versions[page_of(page)];
                let (_, version, before) = *versions.last().unwrap();
                versions.push((self.now_ms, version + 1, sample.unwrap_or(before)));
            }
            Command::Retell(page, sample) => {
                let versions = &mut self.versions[page_of(page)];
                let (_, version, _) = *versions.last().unwrap();
                versions.push((self.now_ms, version, sample));
            }
            Command::Purge { wanted, page, number, soft, delay_ms } => {
                let purge =
                    Purge::accepted(self, &self.untagged, (wanted, page_of(page), number), soft, delay_ms);
                match &purge {
                    Some(purge) => self.note(|| format!("  accepted: {purge:?}")),
                    None => self.note(|| "  refused".to_owned()),
                }
                self.count(match &purge {
                    Some(purge) if purge.comes_again() => "purge that comes again",
                    Some(_) => "purge",
                    None => "purge refused",
                });
                self.purges.extend(purge);
            }
            Command::Expire => {
                for copy in self.caches.iter_mut().flat_map(|cache| &mut cache.copies) {
                    copy.fresh_until_ms = copy.fresh_until_ms.min(self.now_ms);
                }
            }
            Command::Health(healthy) => {
                self.healthy = healthy;
                // Whatever configuration a request began with.
                let under_way = self.flights.iter().map(|flight| &flight.compiled);
                under_way.chain([&self.compiled]).for_each(|compiled| compiled.set_healthy(healthy));
            }
            Command::Reload(mode) => {
                // Those under way keep their configuration.
                self.setup.choice.mode = mode;
                self.compiled = Compiled::of(self.setup.choice);
                self.compiled.set_healthy(self.healthy);
                if !self.compiled.is_on() {
                    self.untagged.fill(true);
                }
            }
        }
        Ok(())
    }

    /// Time passes, and what is due happens.
    fn pass(&mut self, ms: i64) -> Lawful {
        let until_ms = self.now_ms + ms;
        loop {
            let arrivals = self.flights.iter().map(|flight| flight.arrives_ms);
            let calls = self.purges.iter().filter_map(|purge| purge.due_ms());
            let waits = self.purges.iter().any(Purge::waits);
            let tick = waits.then_some(self.now_ms + TICK_MS);
            let next_ms =
                arrivals.chain(calls).chain(tick).min().unwrap_or(i64::MAX).clamp(self.now_ms, until_ms);
            let is_over = next_ms == until_ms;
            self.now_ms = next_ms;
            self.clock.set(next_ms);
            self.settle(waits)?;
            if is_over {
                return laws::hold(self);
            }
        }
    }

    /// What is due at this moment.
    fn settle(&mut self, ticks: bool) -> Lawful {
        while let Some(at) = self.flights.iter().position(|flight| flight.arrives_ms <= self.now_ms) {
            let flight = self.flights.remove(at);
            self.arrive(flight)?;
        }
        if ticks {
            self.shim.in_flight.tick(self.now_ms);
            // Whoever takes nothing for too long is cut off.
            self.flights.retain(|flight| {
                if flight.outlet.is_overdue() {
                    flight.kernel.abort();
                }
                !flight.outlet.is_overdue()
            });
        }
        for at in 0..self.purges.len() {
            let purge = &mut self.purges[at];
            let calls = purge.calls(self.now_ms);
            let (is_soft, done) = (purge.soft, purge.done_ms == Some(self.now_ms));
            for (cdn, item) in calls {
                let Some(cdn) = self.kinds.iter().position(|kind| kind.cdn == cdn) else { continue };
                let call = match item.kind {
                    ItemKind::Tag => Call::Tag(&item.value),
                    ItemKind::Url => Call::Url(&item.value),
                    ItemKind::Prefix => Call::Prefix(&item.value),
                    ItemKind::Everything => Call::Everything,
                };
                self.caches[cdn].purge(call, item.hard || !is_soft, self.now_ms);
                self.note(|| format!("  call: {item:?}"));
            }
            if done {
                self.note(|| format!("  purge {at} is done"));
            }
        }
        Ok(())
    }
}
