//! A small world: an origin, the shim, CDNs, visitors and purges, in simulated milliseconds. A history is a list of [`Command`]s;
//! after each of them the laws hold ([`super::laws`]).

use super::cache::{Cache, Copy, Purge as Call};
use super::faults::Fault;
use super::fields::{Fields, fields, first};
use super::kernel::Kernel;
use super::laws::{self, Limit};
use super::origin::{AgeForm, PAGES, Repeats, SAMPLES, Sample};
use super::purges::{Purge, Wanted};
use super::shim::{Answer, Request, Shim};
use super::site::{Choice, Compiled, Kind, MARGIN_MS};
use origin_shim::cdn::ItemKind;
use origin_shim::proxy::in_flight::{Number, outlet::Outlet};
use std::cell::Cell;
use std::rc::Rc;

/// For how long a client may take nothing.
const PATIENCE_MS: i64 = 60_000;
/// Between two looks at what purges wait for.
const TICK_MS: i64 = 1_000;

/// What does not change in a history.
#[derive(Clone, Debug)]
pub struct Setup {
    pub choice: Choice,
    /// What is said of each page at the start, as numbers of [`SAMPLES`].
    pub samples: [usize; PAGES.len()],
    pub tag_field: usize,
    pub repeats: Repeats,
    /// Whether CDNs say who they are.
    pub names: bool,
}

/// How a visitor asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitor {
    Plain,
    Cookie,
    Login,
    French,
    /// With the traces of another CDN.
    Worker,
    Ghost,
}

/// Until where an exchange goes on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Asked,
    Decided,
    Headed,
    Written,
    Left,
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

/// What is known of a response, wherever it is.
#[derive(Clone, Debug)]
pub struct Body {
    pub page: usize,
    pub path: String,
    pub query: bool,
    pub sample: &'static Sample,
    version: u32,
    pub generated_ms: i64,
    /// Whether the shim put tags on it.
    pub is_tagged: bool,
    /// How long it may be kept.
    pub limit: Limit,
    /// For how long it was kept.
    pub kept_ms: i64,
}

/// What the origin said.
pub struct Said {
    pub status: u16,
    pub fields: Fields,
    /// The same as a whole response; of a 304 it is not sent.
    pub whole: Fields,
    pub age: Option<(u64, AgeForm)>,
}

/// An exchange under way.
pub struct Flight {
    pub cdn: usize,
    pub compiled: Rc<Compiled>,
    pub visitor: Fields,
    pub request: Request,
    pub age: Option<(u64, AgeForm)>,
    pub body: Body,
    /// The stale copy that is asked about.
    asked_about: Option<Copy<Body>>,
    said: Option<Said>,
    answer: Option<Answer>,
    number: Option<Number>,
    outlet: Rc<Outlet>,
    kernel: Rc<Kernel>,
    stage: Stage,
    arrives_ms: i64,
}

/// The world.
pub struct World {
    pub setup: Setup,
    pub now_ms: i64,
    clock: Rc<Cell<i64>>,
    pub compiled: Rc<Compiled>,
    pub kinds: Vec<&'static Kind>,
    pub shim: Shim,
    pub caches: Vec<Cache<Body>>,
    /// Of each page: since when it is so, its version, and what is said of it.
    versions: Vec<Vec<(i64, u32, usize)>>,
    flights: Vec<Flight>,
    pub purges: Vec<Purge>,
    /// By CDN: whether copies without tags may be there.
    untagged: Vec<bool>,
    pub healthy: bool,
    trace: Option<Vec<String>>,
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
            kinds,
            setup,
        }
    }

    /// The whole history, to its end: everything arrives, and every purge is done.
    pub fn run(&mut self, commands: &[Command]) -> Lawful {
        for command in commands {
            self.note(|| format!("{command:?}"));
            self.happen(command)?;
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

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9} {}", self.now_ms % 1_000_000_000, line()));
        }
    }

    fn happen(&mut self, command: &Command) -> Lawful {
        match *command {
            Command::Wait(ms) => return self.pass(ms),
            Command::Visit { cdn, page, spelling, query, visitor, until, age } => {
                return self.visit((cdn % self.caches.len(), page, spelling, query), visitor, until, age);
            }
            Command::Advance(number) => {
                let under_way =
                    self.flights.iter().enumerate().filter(|(_, flight)| flight.stage < Stage::Left);
                let at = under_way.map(|(at, _)| at).nth(number);
                return at.map_or(Ok(()), |at| self.advance(at));
            }
            Command::Edit(page, sample) => {
                let (_, version, before) = *self.versions[page].last().unwrap();
                self.versions[page].push((self.now_ms, version + 1, sample.unwrap_or(before)));
            }
            Command::Purge { wanted, page, number, soft, delay_ms } => {
                let purge = Purge::accepted(self, &self.untagged, (wanted, page, number), soft, delay_ms);
                match &purge {
                    Some(purge) => self.note(|| format!("  accepted: {purge:?}")),
                    None => self.note(|| "  refused".to_owned()),
                }
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

    /// A visitor asks a CDN, which answers from its cache or asks the shim.
    fn visit(
        &mut self,
        (cdn, page, spelling, query): (usize, usize, usize, bool),
        visitor: Visitor,
        until: Stage,
        age: Option<(u64, AgeForm)>,
    ) -> Lawful {
        let spellings = PAGES[page].spellings;
        let path = spellings[spelling % spellings.len()].to_owned();
        let target = if query { format!("{path}?q=1") } else { path.clone() };
        let visitor = visitor.fields();
        let kind = self.kinds[cdn];
        let found = self.caches[cdn].find(&target, &visitor);
        if found.is_some_and(|copy| copy.is_fresh(self.now_ms)) {
            self.note(|| format!("  {} has {target}", kind.habits.name));
            return Ok(());
        }
        let conditions = found.map(Cache::conditions).unwrap_or_default();
        let asked_about = found.cloned();
        let forged = |name: &str| matches!(name, "via" | "cdn-loop" | "cf-worker");
        let mut sent: Fields =
            visitor.iter().filter(|(name, _)| !(kind.drops_traces && forged(name))).cloned().collect();
        sent.extend(fields(kind.traces));
        sent.extend(conditions);
        sent.push(("x-push-invalidation".into(), "enabled".into()));
        if self.setup.names || kind.drops_traces {
            sent.push(("x-byo-cdn-type".into(), kind.cdn.as_str().into()));
        }
        let kernel = Rc::new(Kernel::new(&self.clock, self.shim.fault == Some(Fault::WrittenIsArrived)));
        let sample = &SAMPLES[self.versions[page].last().unwrap().2];
        self.flights.push(Flight {
            cdn,
            compiled: Rc::clone(&self.compiled),
            visitor,
            request: Request {
                path: path.clone(),
                query: query.then(|| "q=1".to_owned()),
                fields: sent,
                began_ms: self.now_ms,
            },
            age,
            body: Body {
                page,
                path,
                query,
                sample,
                version: 0,
                generated_ms: self.now_ms,
                is_tagged: self.compiled.is_on(),
                limit: Limit::default(),
                kept_ms: 0,
            },
            asked_about,
            said: None,
            answer: None,
            number: None,
            outlet: Outlet::new(Rc::clone(&kernel) as Rc<_>, PATIENCE_MS),
            kernel,
            stage: Stage::Asked,
            arrives_ms: i64::MAX,
        });
        // What is on its way without tags nobody keeps in view yet (see `purges::planned`).
        let until = if self.compiled.is_on() { until } else { Stage::Left };
        let at = self.flights.len() - 1;
        while self.flights[at].stage < until {
            self.advance(at)?;
        }
        if !self.compiled.is_on() {
            let flight = self.flights.remove(at);
            return self.arrive(flight);
        }
        Ok(())
    }

    /// One step further.
    fn advance(&mut self, at: usize) -> Lawful {
        let mut flight = self.flights.remove(at);
        let result = match flight.stage {
            Stage::Asked => {
                self.decide(&mut flight);
                flight.stage = Stage::Decided;
                Ok(())
            }
            Stage::Decided => {
                flight.stage = Stage::Headed;
                self.rewrite(&mut flight)
            }
            Stage::Headed => {
                flight.stage = Stage::Written;
                flight.kernel.give(100);
                if let Some(number) = flight.number.take() {
                    self.shim.in_flight.end(number, Some(&flight.outlet), self.now_ms);
                }
                Ok(())
            }
            Stage::Written => {
                flight.stage = Stage::Left;
                flight.kernel.take_all();
                // The edge has it within the margin: at once, or as late as it may be.
                let late = (self.now_ms / 10 + flight.body.page as i64) % 2 == 0;
                flight.arrives_ms = self.now_ms + if late { MARGIN_MS } else { 0 };
                Ok(())
            }
            Stage::Left => Ok(()),
        };
        self.flights.insert(at, flight);
        result
    }

    /// The origin decides what it answers.
    fn decide(&self, flight: &mut Flight) {
        let seconds = flight.age.map_or(0, |(seconds, _)| seconds);
        let body = &mut flight.body;
        body.generated_ms = self.now_ms - seconds as i64 * 1_000;
        let known = self.versions[body.page].iter().rev().find(|(since, ..)| *since <= body.generated_ms);
        let (_, version, sample) = *known.unwrap_or(&self.versions[body.page][0]);
        (body.version, body.sample) = (version, &SAMPLES[sample]);
        let target =
            flight.request.query.as_ref().map_or_else(|| body.path.clone(), |q| format!("{}?{q}", body.path));
        let mut whole = body.sample.fields(body.page, &target, self.setup.tag_field);
        let etag = format!("\"p{}-v{version}-s{sample}\"", body.page);
        if matches!(body.sample.status, 200 | 404) {
            whole.push(("etag".into(), etag.clone()));
        }
        let withholds = self.shim.withholds_conditions(&flight.compiled, &flight.request);
        let asked = first(&flight.request.fields, "if-none-match").filter(|_| !withholds);
        let confirms = body.sample.status == 200 && asked == Some(etag.as_str());
        let mut said = whole.clone();
        if confirms {
            said.retain(|(name, _)| match self.setup.repeats {
                Repeats::Nothing => name == "etag",
                Repeats::Lifetimes => name == "etag" || Sample::is_of_lifetime(name),
                Repeats::Everything => true,
            });
        }
        if let Some((seconds, form)) = flight.age {
            let age = match form {
                AgeForm::List => format!("{seconds}, 0"),
                AgeForm::Signed => format!("+{seconds}"),
                AgeForm::Plain | AgeForm::Nominated => seconds.to_string(),
            };
            for fields in [&mut said, &mut whole] {
                fields.push(("age".into(), age.clone()));
                if matches!(form, AgeForm::Nominated) {
                    fields.push(("connection".into(), "age".into()));
                }
            }
        }
        let status = if confirms { 304 } else { body.sample.status };
        flight.said = Some(Said { status, fields: said, whole, age: flight.age });
    }

    /// The head goes out.
    fn rewrite(&mut self, flight: &mut Flight) -> Lawful {
        let said = flight.said.take().unwrap();
        let mut answer = self.shim.answer(&flight.compiled, &flight.request, said.status, &said.fields);
        flight.body.limit = laws::limit(self, flight, &said);
        self.note(|| {
            format!(
                "  {} {:?} -> {:?} {:?}",
                said.status,
                brief(&said.fields),
                answer.decision,
                brief(&answer.fields)
            )
        });
        let lawful = laws::browsers(flight, &said, &answer.fields);
        if let Some(response) = answer.response.take() {
            flight.outlet.begin();
            flight.number = Some(self.shim.in_flight.begin(response));
        }
        flight.said = Some(said);
        flight.answer = Some(answer);
        lawful
    }

    /// The CDN has all of it.
    fn arrive(&mut self, flight: Flight) -> Lawful {
        let Flight { cdn, visitor, request, mut body, asked_about, said, answer, compiled, .. } = flight;
        let (said, answer) = (said.unwrap(), answer.unwrap());
        if !compiled.is_on() {
            self.untagged[cdn] = true;
        }
        let target =
            request.query.as_ref().map_or_else(|| request.path.clone(), |q| format!("{}?{q}", request.path));
        let (now_ms, cache) = (self.now_ms, &mut self.caches[cdn]);
        let (kept, before_ms) = if let Some(mut copy) = asked_about.filter(|_| said.status == 304) {
            let known = &mut copy.body;
            let before_ms = known.kept_ms;
            known.generated_ms = known.generated_ms.max(body.generated_ms);
            known.limit = match (known.is_tagged, compiled.is_on()) {
                (true, true) => body.limit,
                // A page that has its tags goes on as it is where nothing is changed.
                (true, false) => known.limit.clone().or_of_untagged(&body.limit),
                (false, _) => body.limit.of_untagged(),
            };
            (cache.confirm(copy, &visitor, &answer.fields, now_ms), Some(before_ms))
        } else {
            body.kept_ms = 0;
            (cache.take((&target, &visitor), (said.status, answer.fields), now_ms, body), None)
        };
        let Some(copy) = kept else { return Ok(()) };
        copy.body.kept_ms = copy.fresh_until_ms - now_ms;
        let (name, kept_ms) = (self.kinds[cdn].habits.name, copy.body.kept_ms);
        let lawful = laws::kept(&copy.body, before_ms, name);
        self.note(|| format!("  {name} keeps {target} for {kept_ms} ms"));
        lawful
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

/// Without the tags that fill a header.
fn brief(fields: &Fields) -> Vec<String> {
    fields.iter().map(|(name, value)| format!("{name}: {}", &value[..value.len().min(90)])).collect()
}

impl Visitor {
    fn fields(self) -> Fields {
        fields(match self {
            Self::Plain => &[],
            Self::Cookie => &[("cookie", "session=1")],
            Self::Login => &[("authorization", "Basic eA==")],
            Self::French => &[("accept-language", "fr")],
            Self::Worker => &[("cf-worker", "x")],
            Self::Ghost => &[("via", "1.1 akamai")],
        })
    }
}
