//! The client of the origins that each worker has: its connections, its buffers, its clock and its share of the
//! descriptors. Nothing here is locked.

use super::descriptors::{Counted, Descriptors};
use super::pool::Pool;
use crate::http::h1::scratch::Scratch;
use crate::http::timer::Clock;
use crate::metrics::Metrics;
use crate::metrics::shard::WorkerShard;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// The maximum number of idle connections that one tick closes for the benefit of other workers.
const AT_ONCE: u64 = 16;

/// The client of all origins, one per worker.
#[derive(Debug)]
pub struct Client {
    pub(super) clock: Rc<Clock>,
    pub(super) pool: Pool,
    pub(super) scratch: Scratch,
    metrics: Arc<Metrics>,
    counters: Arc<WorkerShard>,
    descriptors: Arc<Descriptors>,
    /// The number of requests for descriptors, of all workers, at the last tick of this one.
    noticed: Cell<u64>,
}

impl Client {
    /// Creates the client of the worker with this number.
    pub fn new(
        worker: usize,
        clock: &Rc<Clock>,
        scratch: &Scratch,
        metrics: &Arc<Metrics>,
        descriptors: &Arc<Descriptors>,
    ) -> Rc<Self> {
        Rc::new(Self {
            clock: Rc::clone(clock),
            pool: Pool::new(clock),
            scratch: scratch.clone(),
            metrics: Arc::clone(metrics),
            counters: metrics.worker(worker),
            descriptors: Arc::clone(descriptors),
            noticed: Cell::default(),
        })
    }

    /// Returns a descriptor for one more connection if all workers together have one left. Otherwise first closes
    /// an idle connection of this worker.
    pub(super) fn descriptor(&self) -> Option<Counted> {
        let has_room = || self.metrics.origin_connections() < self.descriptors.origins();
        if !has_room() {
            self.pool.close_oldest();
        }
        has_room().then(|| Counted::one_more(&self.counters))
    }

    /// Requests that the other workers close an idle connection at their next tick.
    pub(super) fn want_descriptor(&self) {
        self.descriptors.want();
    }

    /// Closes connections that have been idle for `max_idle`. Also closes one idle connection for each request for a
    /// descriptor since the last tick, at most `AT_ONCE`. Must be called at each tick.
    pub fn sweep(&self, max_idle: Duration) {
        self.pool.sweep(max_idle);
        let wanted = self.descriptors.wanted();
        let waiting = wanted.wrapping_sub(self.noticed.replace(wanted));
        for _ in 0..waiting.min(AT_ONCE) {
            self.pool.close_oldest();
        }
    }
}
