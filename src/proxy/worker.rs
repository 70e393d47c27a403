//! The state of one worker thread. No request takes a lock here. Workers share the routing (immutable; a reload
//! replaces it as a whole) and some atomics: counters, limits, and the state of CDNs and origins.

use super::routing::Routing;
use crate::config::Config;
use crate::guard::in_flight::InFlight;
use crate::guard::{self, Inbox};
use crate::http::h1::pipe::Pipes;
use crate::http::h1::scratch::Scratch;
use crate::http::head::MapCache;
use crate::http::timer::Clock;
use crate::metrics::Metrics;
use crate::metrics::shard::WorkerShard;
use crate::rewrite::Keys;
use crate::upstream::{Client, Descriptors, OriginMonitor, Roots, SetupError, Upstreams};
use crate::view::{OriginsView, PurgeHealthView};
use arc_swap::{ArcSwap, Cache};
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// The state that all workers share. A reload replaces its routing.
#[derive(Debug)]
pub struct Shared {
    routing: Arc<ArcSwap<Routing>>,
    metrics: Arc<Metrics>,
    health: Arc<PurgeHealthView>,
    origins: Arc<OriginsView>,
    roots: Roots,
    upstreams: Upstreams,
    descriptors: Arc<Descriptors>,
}

impl Shared {
    /// Compiles `config` for the request path.
    pub fn new(
        config: &Config,
        metrics: Arc<Metrics>,
        health: Arc<PurgeHealthView>,
    ) -> Result<Arc<Self>, SetupError> {
        Self::with_roots(config, metrics, health, Roots::default())
    }

    /// Does the same as [`Shared::new`], with other roots for https origins than the platform's.
    pub fn with_roots(
        config: &Config,
        metrics: Arc<Metrics>,
        health: Arc<PurgeHealthView>,
        roots: Roots,
    ) -> Result<Arc<Self>, SetupError> {
        let upstreams = Upstreams::default();
        let routing = Routing::compile(config, &metrics, &health, &roots, &upstreams)?;
        let routing = Arc::new(ArcSwap::from_pointee(routing));
        let (origins, descriptors) = (Arc::default(), Arc::default());
        Ok(Arc::new(Self { routing, metrics, health, origins, roots, upstreams, descriptors }))
    }

    /// Returns the state of the origins.
    pub fn origins(&self) -> Arc<OriginsView> {
        Arc::clone(&self.origins)
    }

    /// Returns the limits on the process's file descriptors for connections.
    pub fn descriptors(&self) -> &Descriptors {
        &self.descriptors
    }

    /// Lets `monitor` do the work that is due at `now`.
    pub fn monitor_origins(&self, monitor: &mut OriginMonitor, now: Instant) {
        let routing = self.routing.load();
        let origins = routing.origins();
        monitor.run(origins, &routing.limits, now, (&self.metrics, &self.origins));
    }

    /// Compiles a configuration without applying it.
    pub fn compile(&self, config: &Config) -> Result<Routing, SetupError> {
        Routing::compile(config, &self.metrics, &self.health, &self.roots, &self.upstreams)
    }

    /// Applies a configuration to every request from now on. Requests in progress keep theirs.
    pub fn take_over(&self, routing: Routing) {
        self.routing.store(Arc::new(routing));
    }
}

/// A worker's view of the routing. References are counted without atomics, so that workers do not contend for one
/// counter.
#[derive(Debug)]
pub struct Snapshot {
    routing: Arc<Routing>,
}

impl Snapshot {
    fn of(routing: &Arc<Routing>) -> Rc<Self> {
        Rc::new(Self { routing: Arc::clone(routing) })
    }
}

impl Deref for Snapshot {
    type Target = Routing;

    fn deref(&self) -> &Routing {
        &self.routing
    }
}

/// The newest routing that the worker has seen.
#[derive(Debug)]
struct Newest {
    cache: Cache<Arc<ArcSwap<Routing>>, Arc<Routing>>,
    snapshot: Rc<Snapshot>,
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    index: usize,
    routing: RefCell<Newest>,
    /// The worker's clock.
    pub clock: Rc<Clock>,
    /// The client of the origins.
    pub client: Rc<Client>,
    /// The spare buffers.
    pub scratch: Scratch,
    /// Pipes for large bodies.
    pub pipes: Pipes,
    /// The heads that were converted to maps.
    pub maps: RefCell<MapCache>,
    /// The responses in flight that a CDN may keep.
    pub in_flight: Rc<InFlight>,
    /// The purge keys of a response about which nothing is known.
    pub unknown: Rc<Keys>,
    /// The clock that requests and purges share.
    pub time: guard::Clock,
    inbox: RefCell<Option<Inbox>>,
    metrics: Arc<Metrics>,
    /// The worker's own counters of connections, of requests in flight, of bytes, and of limits that were reached.
    pub counters: Arc<WorkerShard>,
    descriptors: Arc<Descriptors>,
}

impl Worker {
    /// Creates the worker with the number `index`, which starts at 0.
    pub fn new(index: usize, shared: &Shared) -> Rc<Self> {
        let mut cache = Cache::new(Arc::clone(&shared.routing));
        let snapshot = Snapshot::of(cache.load());
        let (clock, scratch) = (Clock::new(Instant::now()), Scratch::default());
        Rc::new(Self {
            index,
            routing: RefCell::new(Newest { cache, snapshot }),
            client: Client::new(index, &clock, &scratch, &shared.metrics, &shared.descriptors),
            clock,
            scratch,
            pipes: Pipes::default(),
            maps: RefCell::default(),
            in_flight: Rc::default(),
            unknown: Rc::new(Keys::unknown()),
            time: shared.health.freshness.clock,
            inbox: RefCell::new(Some(shared.health.freshness.join())),
            metrics: Arc::clone(&shared.metrics),
            counters: shared.metrics.worker(index),
            descriptors: Arc::clone(&shared.descriptors),
        })
    }

    /// Returns the worker's number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the inbox in which purges ask for the responses in flight. Only the first call returns it.
    pub fn take_inbox(&self) -> Option<Inbox> {
        self.inbox.take()
    }

    /// Returns the number of open client connections of all workers.
    pub fn open_connections(&self) -> u64 {
        self.metrics.open_connections()
    }

    /// Returns how many client connections all workers together may have, as limited by file descriptors.
    pub fn client_descriptors(&self) -> u64 {
        self.descriptors.clients()
    }

    /// Whether more requests are in progress than `limit` allows. A worker within its own share, which is half of the
    /// limit divided by the number of workers, does not read the counters of the others, so that each counter stays in
    /// the cache of its worker's processor. Together, the workers may thus exceed the limit by half.
    pub(super) fn is_full(&self, limit: usize) -> bool {
        let (own, limit) = (self.counters.in_flight.get(), limit as u64);
        let share = limit.div_ceil(2 * self.metrics.workers() as u64);
        own > share && self.metrics.requests_in_flight() > limit
    }

    /// Returns the current routing.
    pub fn routing(&self) -> Rc<Snapshot> {
        let Newest { cache, snapshot } = &mut *self.routing.borrow_mut();
        let newest = cache.load();
        if !Arc::ptr_eq(newest, &snapshot.routing) {
            *snapshot = Snapshot::of(newest);
        }
        Rc::clone(snapshot)
    }
}
