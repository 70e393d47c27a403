//! A small world: an origin, the shim, CDNs, visitors and purges, in simulated milliseconds. A history is a
//! list of [`Command`]s. The laws ([`super::laws`]) hold after each of them.

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

/// The interval at which the shim checks what purges wait for.
const TICK_MS: i64 = 1_000;

/// The part of a history that does not change.
#[derive(Clone, Debug)]
pub struct Setup {
    pub choice: Choice,
    /// The initial response of each page, as an index into [`SAMPLES`].
    pub samples: [usize; PAGES.len()],
    /// The page that is requested as often as all others together. Page numbers beyond the last stand for this
    /// one.
    pub favourite: usize,
    pub tag_field: usize,
    pub repeats: Repeats,
    /// Whether the CDNs name their type in `X-BYO-CDN-Type`.
    pub names: bool,
}

/// An event of a history.
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
        /// How many seconds the origin's own cache has had the response, and the form in which it reports them.
        age: Option<(u64, AgeForm)>,
    },
    /// Advances one of the exchanges under way by one step.
    Advance(usize),
    /// Changes a page, and perhaps its response fields.
    Edit(usize, Option<usize>),
    /// Changes only the response fields of a page.
    Retell(usize, usize),
    Purge {
        wanted: Wanted,
        page: usize,
        number: usize,
        soft: bool,
        /// The delay of the first call.
        delay_ms: i64,
    },
    Health(bool),
    Reload(u8),
    /// Makes the CDNs revalidate all their copies before they serve them again, as they may do at any time.
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
    /// The states of each page: the start of each, the version, and the response fields.
    pub versions: Vec<Vec<(i64, u32, usize)>>,
    pub flights: Vec<Flight>,
    pub purges: Vec<Purge>,
    /// Whether copies without tags may exist, by CDN.
    pub untagged: Vec<bool>,
    pub healthy: bool,
    trace: Option<Vec<String>>,
    /// The number of occurrences of each event.
    pub tally: BTreeMap<&'static str, u32>,
}

/// The result of a check. The error describes the law that was broken.
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

    /// Runs the whole history to its end, when everything has arrived and every purge is done.
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

    /// Returns what happened, line by line.
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
                // The change applies to every configuration that a request began with.
                let under_way = self.flights.iter().map(|flight| &flight.compiled);
                under_way.chain([&self.compiled]).for_each(|compiled| compiled.set_healthy(healthy));
            }
            Command::Reload(mode) => {
                // Exchanges under way keep their configuration.
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

    /// Lets time pass and does everything that becomes due.
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

    /// Does everything that is due at this moment.
    fn settle(&mut self, ticks: bool) -> Lawful {
        while let Some(at) = self.flights.iter().position(|flight| flight.arrives_ms <= self.now_ms) {
            let flight = self.flights.remove(at);
            self.arrive(flight)?;
        }
        if ticks {
            self.shim.in_flight.tick(self.now_ms);
            // An edge that reads nothing for too long is cut off.
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
