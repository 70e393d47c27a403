//! Stand-ins for the CDNs' APIs. Each stores objects and purges them, checks its own credentials, signatures, sizes
//! and rates, answers in the wording of its vendor, misbehaves on request, and records every call.
//!
//! ```text
//! let fastly = FakeCdn::start(Fastly::default());
//! Shim::start(Site::www(origin).cdn(&fastly.settings()));
//! fastly.misbehave(Faults { too_many: 0.3, lost_answer: 0.05, ..Faults::seed(1) });
//! ...
//! fastly.purged()                        // every item that took effect, in order
//! fastly.calls()                         // every call, with its answer
//! fastly.change(|fastly| fastly.token.scope = "purge_select".into());
//! ```
//!
//! They are written from the vendors' pages, not from our adapters: nothing here calls the code under test.

pub mod akamai;
pub mod bucket;
pub mod cloudflare;
pub mod cloudfront;
pub mod fastly;
pub mod objects;
pub mod server;
pub mod sigv4;
pub mod varnish;

#[cfg(test)]
mod tests;

pub use akamai::Akamai;
pub use cloudflare::Cloudflare;
pub use cloudfront::Cloudfront;
pub use fastly::Fastly;
pub use varnish::Node;

use bytes::Bytes;
use http::StatusCode;
use objects::{Objects, Stored};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_util::sync::CancellationToken;

/// The API of a vendor.
pub trait Vendor: Send + 'static {
    /// Its lines of a `[[sites.cdns]]` table, with the API at `url`.
    fn settings(&self, url: &str) -> String;

    /// The answer to a call, and what it purged.
    fn answer(&mut self, call: &http::Request<Bytes>, now: Now) -> Answer;

    /// The answer to a call that was one too many, without having looked at it.
    fn too_many(&mut self) -> Answer;

    /// The answer of a part that is down.
    fn unavailable(&mut self) -> Answer {
        Answer::new(503, "<html>Service Unavailable</html>")
    }

    /// What the API does when it does only part of its work; unless it has a way of its own, all of it, in an answer
    /// that breaks off.
    fn partly(&mut self, call: &http::Request<Bytes>, now: Now) -> Answer {
        Answer { broken_off: true, ..self.answer(call, now) }
    }
}

/// When a call came.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For rates.
    pub instant: Instant,
    /// The time of the fake's own clock, in milliseconds since the epoch.
    pub unix_ms: i64,
}

/// An answer before it is sent.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, without `Date` and framing.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: String,
    /// The items that were purged.
    pub purged: Vec<Purged>,
    /// The call was over the vendor's rate: a mistake of whoever made it.
    pub over_rate: bool,
    /// If true, only half of the body is sent, and then the connection ends.
    pub broken_off: bool,
}

impl Answer {
    /// An answer that purged nothing.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        let body = body.into();
        Self { status, headers: Vec::new(), body, purged: Vec::new(), over_rate: false, broken_off: false }
    }

    /// One of JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, body.to_string()).with("content-type", "application/json")
    }

    /// Adds a header.
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// After this took effect.
    pub fn purging(mut self, purged: Vec<Purged>) -> Self {
        self.purged = purged;
        self
    }
}

/// The kinds of items at a CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A URL, or at CloudFront a path; a `*` at its end stands for anything.
    Url,
    /// A tag.
    Tag,
    /// Host and path of everything below.
    Prefix,
    /// All there is.
    Everything,
}

/// An item that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Purged {
    /// The kind of the item.
    pub kind: Kind,
    /// The name in the call, without encodings of the API.
    pub name: String,
    /// Deleted, or marked stale.
    pub hard: bool,
}

impl Purged {
    /// Items of one kind.
    pub fn all<S: Into<String>>(kind: Kind, hard: bool, names: impl IntoIterator<Item = S>) -> Vec<Self> {
        names.into_iter().map(|name| Self { kind, name: name.into(), hard }).collect()
    }
}

/// A call, and what became of it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Since the fake started.
    pub at: Duration,
    /// Method, target, headers and body.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Lower-case names.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
    /// What was answered, whether or not it arrived. None for a connection that was reset before the call was looked
    /// at.
    pub answer: Option<Answer>,
    /// The injected fault.
    pub fault: Option<Fault>,
}

impl Call {
    /// The status of the answer, if it was sent.
    pub fn status(&self) -> Option<u16> {
        let arrived = !matches!(self.fault, Some(Fault::LostAnswer | Fault::Hang));
        self.answer.as_ref().filter(|_| arrived).map(|answer| answer.status)
    }

    /// Whether it was refused because it came too fast by the vendor's own rates, not on purpose.
    pub fn is_over_rate(&self) -> bool {
        self.fault.is_none() && self.answer.as_ref().is_some_and(|answer| answer.over_rate)
    }
}

/// The faults that can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// 429 or what stands for it; nothing took effect.
    TooMany,
    /// 503; nothing took effect.
    Unavailable,
    /// The call took effect, and then the connection ended without an answer.
    LostAnswer,
    /// The call took effect, and no answer ever comes.
    Hang,
    /// The connection was reset; nothing took effect.
    Reset,
    /// Only part of the call took effect: see [`Vendor::partly`].
    Partly,
}

/// The probability of each fault. The sum is at most 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The seed of the random numbers.
    pub seed: u64,
    /// [`Fault::TooMany`]
    pub too_many: f64,
    /// [`Fault::Unavailable`]
    pub unavailable: f64,
    /// [`Fault::LostAnswer`]
    pub lost_answer: f64,
    /// [`Fault::Hang`]
    pub hang: f64,
    /// [`Fault::Reset`]
    pub reset: f64,
    /// [`Fault::Partly`]
    pub partly: f64,
}

impl Faults {
    /// No faults yet, with this seed.
    pub fn seed(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Always this one.
    pub fn always(fault: Fault) -> Self {
        let mut faults = Self::default();
        *faults.of(fault) = 1.0;
        faults
    }

    fn of(&mut self, fault: Fault) -> &mut f64 {
        match fault {
            Fault::TooMany => &mut self.too_many,
            Fault::Unavailable => &mut self.unavailable,
            Fault::LostAnswer => &mut self.lost_answer,
            Fault::Hang => &mut self.hang,
            Fault::Reset => &mut self.reset,
            Fault::Partly => &mut self.partly,
        }
    }

    fn throw(&mut self, dice: &mut fastrand::Rng) -> Option<Fault> {
        let mut thrown = dice.f64();
        let all =
            [Fault::TooMany, Fault::Unavailable, Fault::LostAnswer, Fault::Hang, Fault::Reset, Fault::Partly];
        all.into_iter().find(|fault| {
            thrown -= *self.of(*fault);
            thrown < 0.0
        })
    }
}

/// A running fake.
pub struct FakeCdn<V> {
    /// The address that it listens on.
    pub address: SocketAddr,
    state: Arc<Mutex<State<V>>>,
    stop: CancellationToken,
}

struct State<V> {
    vendor: V,
    faults: Faults,
    dice: fastrand::Rng,
    skew_ms: i64,
    started: Instant,
    objects: Objects,
    log: Vec<Call>,
}

impl<V: Vendor> FakeCdn<V> {
    /// Starts it on a free port of the loopback.
    pub fn start(vendor: V) -> Self {
        let state = State {
            vendor,
            faults: Faults::default(),
            dice: fastrand::Rng::with_seed(0),
            skew_ms: 0,
            started: Instant::now(),
            objects: Objects::default(),
            log: Vec::new(),
        };
        let (state, stop) = (Arc::new(Mutex::new(state)), CancellationToken::new());
        let handler = Arc::clone(&state);
        let address = server::start(stop.clone(), move |call| lock(&handler).handle(call));
        Self { address, state, stop }
    }

    /// The API's base.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its lines of a `[[sites.cdns]]` table.
    pub fn settings(&self) -> String {
        let url = self.url();
        lock(&self.state).vendor.settings(&url)
    }

    /// Changes the vendor: other credentials, rates, limits.
    pub fn change<T>(&self, change: impl FnOnce(&mut V) -> T) -> T {
        change(&mut lock(&self.state).vendor)
    }

    /// From now on this goes wrong.
    pub fn misbehave(&self, faults: Faults) {
        let mut state = lock(&self.state);
        state.dice = fastrand::Rng::with_seed(faults.seed);
        state.faults = faults;
    }

    /// From now on nothing goes wrong on purpose.
    pub fn behave(&self) {
        self.misbehave(Faults::default());
    }

    /// Its clock is ahead of the machine's by this much.
    pub fn skew_clock(&self, milliseconds: i64) {
        lock(&self.state).skew_ms = milliseconds;
    }

    /// When it started: what [`Call::at`] counts from.
    pub fn started(&self) -> Instant {
        lock(&self.state).started
    }

    /// Every call so far, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.state).log.clone()
    }

    /// Every item that took effect so far, oldest first.
    pub fn purged(&self) -> Vec<Purged> {
        let state = lock(&self.state);
        let answers = state.log.iter().filter_map(|call| call.answer.as_ref());
        answers.flat_map(|answer| answer.purged.iter().cloned()).collect()
    }

    /// Forgets every call so far.
    pub fn forget(&self) {
        lock(&self.state).log.clear();
    }

    /// Holds a fresh copy of `url` from now on.
    pub fn put(&self, url: &str, tags: &[&str]) {
        lock(&self.state).objects.put(url, tags);
    }

    /// The state of its copy of `url`.
    pub fn holds(&self, url: &str) -> Stored {
        lock(&self.state).objects.look(url)
    }
}

impl<V> Drop for FakeCdn<V> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A fake that panicked in one call still tells what it has seen.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V: Vendor> State<V> {
    fn handle(&mut self, request: http::Request<Bytes>) -> server::Exchange {
        let instant = Instant::now();
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let now = Now { instant, unix_ms: i64::try_from(unix_ms).unwrap() + self.skew_ms };
        let fault = self.faults.throw(&mut self.dice);
        let answer = match fault {
            Some(Fault::TooMany) => Some(self.vendor.too_many()),
            Some(Fault::Unavailable) => Some(self.vendor.unavailable()),
            Some(Fault::Reset) => None,
            Some(Fault::Partly) => Some(self.vendor.partly(&request, now)),
            Some(Fault::LostAnswer | Fault::Hang) | None => Some(self.vendor.answer(&request, now)),
        };
        for item in answer.iter().flat_map(|answer| &answer.purged) {
            self.objects.purge(item);
        }
        let exchange = server::Exchange { answer: answer.clone(), fault, unix_ms: now.unix_ms };
        let (parts, body) = request.into_parts();
        self.log.push(Call {
            at: instant - self.started,
            method: parts.method.to_string(),
            target: parts.uri.to_string(),
            headers: parts.headers,
            body,
            answer,
            fault,
        });
        exchange
    }
}

/// The `Host` of a call.
fn host(call: &http::Request<Bytes>) -> &str {
    header(call, "host")
}

/// The first line of a header; empty if there is none.
fn header<'a>(call: &'a http::Request<Bytes>, name: &str) -> &'a str {
    call.headers().get(name).map_or("", |value| value.to_str().unwrap_or("not ASCII"))
}

/// A status as the fakes write it.
fn status(answer: &Answer) -> StatusCode {
    StatusCode::from_u16(answer.status).unwrap()
}
