//! The jobs of a CDN that wait for verification.

use crate::store::EndedJob;
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// The maximum number of waiting jobs. More are skipped, because verification is a sample.
pub(super) const MOST: usize = 1_000;

/// Jobs that ended and are to be verified.
#[derive(Default)]
pub(super) struct Unverified {
    jobs: Mutex<Vec<EndedJob>>,
    pub(super) added: Notify,
}

impl Unverified {
    pub(super) fn add(&self, job: EndedJob) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = jobs.iter().any(|known| known.purge == job.purge);
        if jobs.len() < MOST && !is_known {
            jobs.push(job);
            self.added.notify_one();
        }
    }

    pub(super) fn take(&self) -> Vec<EndedJob> {
        std::mem::take(&mut self.jobs.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
