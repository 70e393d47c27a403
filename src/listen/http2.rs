//! The streams of an HTTP/2 connection: each runs on the worker's own thread, and ends when its client takes nothing
//! more of it. The connection cannot tell: a client that opens no window for one stream goes on with others.

use super::tracked::Taken;
use crate::metrics::shard::{Limit, WorkerShard};
use crate::proxy::Worker;
use crate::proxy::clock::{Clock, Patience};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

/// Runs streams.
#[derive(Clone)]
pub(super) struct Streams {
    limit: Duration,
    clock: Rc<Clock>,
    counters: Arc<WorkerShard>,
    /// hyper calls its service for a stream, and then at once its executor with the stream's future.
    next: Rc<RefCell<Option<Rc<Taken>>>>,
}

impl Streams {
    /// Streams whose client must take something within `limit`.
    pub(super) fn new(limit: Duration, worker: &Worker) -> Self {
        let (clock, counters) = (Rc::clone(&worker.clock), Arc::clone(&worker.counters));
        Self { limit, clock, counters, next: Rc::default() }
    }

    /// The next future to be executed is the stream of a request whose response is tracked by the result.
    pub(super) fn begin(&self) -> Rc<Taken> {
        let taken = Rc::<Taken>::default();
        self.next.replace(Some(Rc::clone(&taken)));
        taken
    }
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        // Boxed at once: a task moves what it is made of several times, and this is large.
        let stream = Box::pin(future);
        match self.next.take() {
            Some(taken) => {
                let patience = Patience::new(&self.clock, self.limit);
                tokio::task::spawn_local(run(stream, taken, patience, Arc::clone(&self.counters)));
            }
            None => {
                tokio::task::spawn_local(async move { drop(stream.await) });
            }
        }
    }
}

/// Runs a stream to its end, or until its client has taken nothing for too long: dropping it then resets it.
async fn run<T>(
    mut stream: Pin<Box<impl Future<Output = T>>>,
    taken: Rc<Taken>,
    mut patience: Patience,
    counters: Arc<WorkerShard>,
) {
    let mut seen = 0;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !taken.offered.get() || seen != taken.parts.get() {
            seen = taken.parts.get();
            patience.rewarded();
        }
        if !taken.offered.get() {
            return Poll::Pending;
        }
        ready!(patience.poll_lost(cx));
        counters.limited(Limit::Write);
        Poll::Ready(())
    })
    .await;
}
