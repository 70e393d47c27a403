//! The client that requests purges and records their results. It keeps the first of the two logs.

use crate::harness::http::Request;
use crate::harness::shim::{Shim, TOKEN};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A requested purge of one tag that no other purge names.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The tag.
    pub tag: String,
    /// The time of the request.
    pub at: Instant,
    /// The status of the answer, or `None` if no answer came.
    pub status: Option<u16>,
}

impl Asked {
    /// Whether the purge was accepted.
    pub fn is_accepted(&self) -> bool {
        self.status == Some(202)
    }
}

/// A client that requests purges.
#[derive(Clone)]
pub struct Client {
    admin: SocketAddr,
    log: Arc<Mutex<Vec<Asked>>>,
}

/// The number of callers at the same time.
const CALLERS: u32 = 4;

impl Client {
    /// Returns a client of this shim, which also works after a restart.
    pub fn of(shim: &Shim) -> Self {
        Self::at(shim.admin)
    }

    /// Returns a client of the shim with this admin API.
    pub fn at(admin: SocketAddr) -> Self {
        Self { admin, log: Arc::default() }
    }

    /// Requests the purge of one more tag. Returns the status of the answer, if there is one.
    pub fn purge(&self) -> Option<u16> {
        let index = {
            let mut log = self.log();
            let tag = format!("tag-{:06}", log.len());
            log.push(Asked { tag, at: Instant::now(), status: None });
            log.len() - 1
        };
        let body = format!("{{\"tags\":[\"{}\"]}}", self.log()[index].tag);
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let request = Request { body: body.as_bytes(), ..Request::get("/v1/sites/www/purges") };
        let status = request.method("POST").headers(&headers).try_send(self.admin).ok().map(|got| got.status);
        self.log()[index].status = status;
        status
    }

    /// Requests this number of purges, one after the other.
    pub fn purges(&self, count: usize) -> Vec<Option<u16>> {
        (0..count).map(|_| self.purge()).collect()
    }

    /// Requests `per_second` purges a second for as long as `work` takes.
    pub fn keep_asking<T>(&self, per_second: u32, work: impl FnOnce() -> T) -> T {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            // There are several callers, so that a slow answer does not delay the load.
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        self.purge();
                        thread::sleep(Duration::from_secs(1) * CALLERS / per_second);
                    }
                });
            }
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            stop.store(true, Ordering::Relaxed);
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Returns all purges requested so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.log().clone()
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Vec<Asked>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
