//! One exchange, step by step: a visitor sends a request to a CDN, the CDN to the shim, and the shim to the
//! origin, and the response comes back.

use super::cache::{Cache, Copy};
use super::faults::Fault;
use super::fields::{Fields, fields, first};
use super::kernel::Kernel;
use super::laws::{self, Limit};
use super::origin::{AgeForm, PAGES, Repeats, SAMPLES, Sample};
use super::shim::{Answer, Request};
use super::site::{Compiled, MARGIN_MS};
use super::world::{Lawful, World};
use origin_shim::guard::in_flight::{Number, outlet::Outlet};
use std::rc::Rc;

/// How long an edge may read nothing before its connection is closed.
const PATIENCE_MS: i64 = 60_000;

/// The kind of a visitor's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitor {
    Plain,
    Cookie,
    Login,
    French,
    /// A request with the traces of another CDN.
    Worker,
    Ghost,
}

/// The stage up to which an exchange proceeds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Asked,
    Decided,
    Headed,
    Written,
    Left,
}

/// The model's knowledge of a response, wherever the response is.
#[derive(Clone, Debug)]
pub struct Body {
    pub page: usize,
    pub path: String,
    pub query: bool,
    pub sample: &'static Sample,
    version: u32,
    pub generated_ms: i64,
    pub has_unreadable_age: bool,
    /// Whether the shim added tags to it.
    pub is_tagged: bool,
    /// Whether the response that brought or confirmed it was compared with past purges.
    pub is_guarded: bool,
    /// The limit of its lifetime.
    pub limit: Limit,
    /// The lifetime that the cache gave it.
    pub kept_ms: i64,
}

/// The origin's response.
pub struct Said {
    pub status: u16,
    pub fields: Fields,
    /// The fields of the whole response. A 304 does not send them.
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
    /// The stale copy that the CDN revalidates.
    asked_about: Option<Copy<Body>>,
    said: Option<Said>,
    answer: Option<Answer>,
    number: Option<Number>,
    pub outlet: Rc<Outlet>,
    pub kernel: Rc<Kernel>,
    pub stage: Stage,
    pub arrives_ms: i64,
}

impl World {
    /// Sends a visitor's request to a CDN, which answers from its cache or asks the shim.
    pub fn visit(
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
            self.count("served from a cache");
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
                has_unreadable_age: matches!(age, Some((_, AgeForm::Signed))),
                is_tagged: self.compiled.is_on(),
                is_guarded: self.compiled.is_on(),
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
        // Responses in flight without tags are not followed yet (see `purges::planned`).
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

    /// Advances an exchange by one step.
    pub fn advance(&mut self, at: usize) -> Lawful {
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
                // The response reaches the edge within the margin: at once, or as late as possible.
                let late = (self.now_ms / 10 + flight.body.page as i64) % 2 == 0;
                flight.arrives_ms = self.now_ms + if late { MARGIN_MS } else { 0 };
                Ok(())
            }
            Stage::Left => Ok(()),
        };
        self.flights.insert(at, flight);
        result
    }

    /// Chooses the origin's response.
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
        let etag = format!("\"p{}-v{version}-{}\"", body.page, body.sample.status);
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

    /// Sends the rewritten head.
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
        self.count(answer.decision.map_or("nothing changed", |decision| decision.outcome.as_str()));
        if said.status == 304 {
            self.count("confirmed");
        }
        let lawful = laws::browsers(flight, &said, &answer.fields);
        if let Some(response) = answer.response.take() {
            flight.outlet.begin();
            flight.number = Some(self.shim.in_flight.begin(response));
        }
        flight.said = Some(said);
        flight.answer = Some(answer);
        lawful
    }

    /// Delivers the complete response to the CDN.
    pub fn arrive(&mut self, flight: Flight) -> Lawful {
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
            let (was_tagged, is_on) = (known.is_tagged, compiled.is_on());
            known.is_guarded = is_on;
            // A 304 that repeats the tags brings them to a copy that had none.
            let tells_tags = matches!(self.setup.repeats, Repeats::Everything);
            known.is_tagged |= is_on && tells_tags && cache.habits.takes_tags_of_304;
            let is_told = !matches!(self.setup.repeats, Repeats::Nothing);
            let is_retold = !std::ptr::eq(known.sample, body.sample);
            let now = body.limit;
            known.limit = match (was_tagged, is_on) {
                // A prohibition must be obeyed if the 304 repeats it. Otherwise the stored fields stay valid.
                (true, true) if is_retold && is_told && now.forbids() => now,
                // A 304 that confirms the page to other visitors repeats no lifetime.
                (true, true) if is_retold || known.limit.is_somebodys => {
                    known.limit.clone().or_of_untagged(&now)
                }
                (true, true) => now,
                // A page with tags stays as it is if nothing is rewritten.
                (true, false) => known.limit.clone().or_of_untagged(&now),
                // The stored part was never rewritten.
                (false, _) if is_retold => known.limit.clone().or_of_untagged(&now),
                (false, _) => now.of_untagged(known.is_tagged),
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
}

/// Shortens the values, because the tags can fill a header.
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
