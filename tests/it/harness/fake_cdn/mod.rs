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
//! The fakes are written from the vendors' pages, not from our adapters. Nothing here calls the code under test.

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

/// The behaviour of a vendor's API.
pub trait Vendor: Send + 'static {
    /// Returns the lines of a `[[sites.cdns]]` table, with the API at `url`.
    fn settings(&self, url: &str) -> String;

    /// Returns the response to a call, with the items that it purged.
    fn answer(&mut self, call: &http::Request<Bytes>, now: Now) -> Answer;

    /// Returns the response to a call that exceeds the rate. The call itself is not read.
    fn too_many(&mut self) -> Answer;

    /// Returns the response of an unavailable part of the service.
    fn unavailable(&mut self) -> Answer {
        Answer::new(503, "<html>Service Unavailable</html>")
    }

    /// Does only part of the work of a call. A vendor without a way of its own does all of it, and the response breaks
    /// off.
    fn partly(&mut self, call: &http::Request<Bytes>, now: Now) -> Answer {
        Answer { broken_off: true, ..self.answer(call, now) }
    }
}

/// The time at which a call came.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The monotonic time, for rates.
    pub instant: Instant,
    /// The time on the fake's own clock, in milliseconds since the epoch.
    pub unix_ms: i64,
}

/// A response before it is sent.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, without `Date` and framing.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
    /// The items that took effect.
    pub purged: Vec<Purged>,
    /// Whether the call exceeded the vendor's rate, which is a mistake of the caller.
    pub over_rate: bool,
    /// Whether only half of the body is sent before the connection ends.
    pub broken_off: bool,
}

impl Answer {
    /// Creates a response that purged nothing.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        let body = body.into();
        Self { status, headers: Vec::new(), body, purged: Vec::new(), over_rate: false, broken_off: false }
    }

    /// Creates a response with a JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, body.to_string()).with("content-type", "application/json")
    }

    /// Adds a header.
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Adds the items that took effect.
    pub fn purging(mut self, purged: Vec<Purged>) -> Self {
        self.purged = purged;
        self
    }
}

/// The kind of an item at a CDN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A URL, or at CloudFront a path. A `*` at its end stands for anything.
    Url,
    /// A tag.
    Tag,
    /// Host and path of everything below.
    Prefix,
    /// All objects.
    Everything,
}

/// An item that took effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Purged {
    /// The kind of the item.
    pub kind: Kind,
    /// The name in the call, without encodings of the API.
    pub name: String,
    /// Whether the copies were deleted. Otherwise they were marked stale.
    pub hard: bool,
}

impl Purged {
    /// Creates items of one kind.
    pub fn all<S: Into<String>>(kind: Kind, hard: bool, names: impl IntoIterator<Item = S>) -> Vec<Self> {
        names.into_iter().map(|name| Self { kind, name: name.into(), hard }).collect()
    }
}

/// A call and its outcome.
#[derive(Clone, Debug)]
pub struct Call {
    /// The time since the fake started.
    pub at: Duration,
    /// The method.
    pub method: String,
    /// The path and query.
    pub target: String,
    /// The headers, with lower-case names.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The response, whether or not it arrived. `None` if the connection was reset before the call was read.
    pub answer: Option<Answer>,
    /// The deliberate fault.
    pub fault: Option<Fault>,
}

impl Call {
    /// Returns the status of the response, if it was sent.
    pub fn status(&self) -> Option<u16> {
        let arrived = !matches!(self.fault, Some(Fault::LostAnswer | Fault::Hang));
        self.answer.as_ref().filter(|_| arrived).map(|answer| answer.status)
    }

    /// Whether the call was refused because it exceeded the vendor's own rates. Deliberate faults do not count.
    pub fn is_over_rate(&self) -> bool {
        self.fault.is_none() && self.answer.as_ref().is_some_and(|answer| answer.over_rate)
    }
}

/// The faults that can happen on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The response is 429 or the vendor's equivalent. Nothing took effect.
    TooMany,
    /// The response is 503. Nothing took effect.
    Unavailable,
    /// The call took effect, and then the connection ended without a response.
    LostAnswer,
    /// The call took effect, and no response ever comes.
    Hang,
    /// The connection was reset. Nothing took effect.
    Reset,
    /// Only part of the call succeeded: see [`Vendor::partly`].
    Partly,
}

/// The probability of each fault, from 0 to 1. The sum is at most 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The seed of the random numbers.
    pub seed: u64,
    /// The probability of [`Fault::TooMany`].
    pub too_many: f64,
    /// The probability of [`Fault::Unavailable`].
    pub unavailable: f64,
    /// The probability of [`Fault::LostAnswer`].
    pub lost_answer: f64,
    /// The probability of [`Fault::Hang`].
    pub hang: f64,
    /// The probability of [`Fault::Reset`].
    pub reset: f64,
    /// The probability of [`Fault::Partly`].
    pub partly: f64,
}

impl Faults {
    /// Returns no faults, with this seed for those that are added.
    pub fn seed(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Returns a certain fault on every call.
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
    /// The address on which the fake listens.
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
    /// Starts the fake on a free port of the loopback interface.
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

    /// Returns the base URL of the API.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the lines of a `[[sites.cdns]]` table.
    pub fn settings(&self) -> String {
        let url = self.url();
        lock(&self.state).vendor.settings(&url)
    }

    /// Changes the vendor: other credentials, rates, limits.
    pub fn change<T>(&self, change: impl FnOnce(&mut V) -> T) -> T {
        change(&mut lock(&self.state).vendor)
    }

    /// Makes these faults happen from now on.
    pub fn misbehave(&self, faults: Faults) {
        let mut state = lock(&self.state);
        state.dice = fastrand::Rng::with_seed(faults.seed);
        state.faults = faults;
    }

    /// Ends all deliberate faults.
    pub fn behave(&self) {
        self.misbehave(Faults::default());
    }

    /// Sets the fake's clock ahead of the machine's by this much.
    pub fn skew_clock(&self, milliseconds: i64) {
        lock(&self.state).skew_ms = milliseconds;
    }

    /// Returns the time at which the fake started, from which [`Call::at`] counts.
    pub fn started(&self) -> Instant {
        lock(&self.state).started
    }

    /// Returns every call so far, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.state).log.clone()
    }

    /// Returns every item that took effect so far, oldest first.
    pub fn purged(&self) -> Vec<Purged> {
        let state = lock(&self.state);
        let answers = state.log.iter().filter_map(|call| call.answer.as_ref());
        answers.flat_map(|answer| answer.purged.iter().cloned()).collect()
    }

    /// Forgets every call so far.
    pub fn forget(&self) {
        lock(&self.state).log.clear();
    }

    /// Stores a fresh copy of `url`.
    pub fn put(&self, url: &str, tags: &[&str]) {
        lock(&self.state).objects.put(url, tags);
    }

    /// Returns the state of the copy of `url`.
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
    // A fake that panicked in one call still reports what it has recorded.
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

/// Returns the `Host` of a call.
fn host(call: &http::Request<Bytes>) -> &str {
    header(call, "host")
}

/// Returns the first line of a header, or an empty text if there is none.
fn header<'a>(call: &'a http::Request<Bytes>, name: &str) -> &'a str {
    call.headers().get(name).map_or("", |value| value.to_str().unwrap_or("not ASCII"))
}

/// Converts a status as the fakes write it.
fn status(answer: &Answer) -> StatusCode {
    StatusCode::from_u16(answer.status).unwrap()
}
