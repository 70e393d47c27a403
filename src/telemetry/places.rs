//! Places for audit lines: whoever is about to do something that needs one gets a place first, and waits where there is none.
//! So no audit line is ever dropped, and none waits but who causes one.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where there is no place within this, the log is not read.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    /// Of the line that is being made on this thread.
    static CURRENT: Cell<Option<Place>> = const { Cell::new(None) };
}

/// As many as lines may wait.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Semaphore>);

/// A place for one audit line, from before what it tells of was done until it has been written.
#[derive(Debug)]
pub struct Place {
    /// None: there is no log.
    _permit: Option<OwnedSemaphorePermit>,
}

/// The log is not read: what needs an audit line cannot be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads the log, and this must not be done without an audit line")]
pub struct NoPlace;

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Waits for a place, but not for ever.
    pub(super) async fn soon(&self) -> Result<Place, NoPlace> {
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place { _permit: Some(permit) }),
            Ok(Err(_)) | Err(_) => Err(NoPlace),
        }
    }

    /// A place, if there is one now.
    pub(super) fn now(&self) -> Option<Place> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(|permit| Place { _permit: Some(permit) })
    }
}

impl Place {
    /// Where there is no log, there is room.
    pub(super) fn of_no_log() -> Self {
        Self { _permit: None }
    }

    /// Makes the line, which takes the place along; one that a filter silences gives it back.
    pub fn write(self, line: impl FnOnce()) {
        CURRENT.set(Some(self));
        line();
        CURRENT.take();
    }
}

/// The place of the line that is being made on this thread.
pub(super) fn current() -> Option<Place> {
    CURRENT.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_and_then_gives_up() {
        let places = Places::new(1);
        let first = places.soon().await.unwrap();
        assert!(places.now().is_none());
        assert_eq!(places.soon().await.unwrap_err(), NoPlace);
        // The line holds it until it has been written.
        let mut held = None;
        first.write(|| held = current());
        assert!(held.is_some() && places.now().is_none());
        let waiting = places.soon();
        drop(held);
        let second = waiting.await.unwrap();
        // Silenced.
        second.write(|| {});
        assert!(current().is_none() && places.now().is_some());
    }
}
