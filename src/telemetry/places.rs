//! Places for audit lines. An action that needs an audit line first gets a place for it, and waits if there is
//! none. So no audit line is ever dropped for lack of room, and only actions with an audit line ever wait.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The time without a free place after which the log is regarded as unread.
const PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    /// The place of the line that is being made on this thread.
    static CURRENT: Cell<Option<Place>> = const { Cell::new(None) };
}

/// The places, as many as lines may wait.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Semaphore>);

/// A place for one audit line, held from before the action that it records until the line has been written.
#[derive(Debug)]
pub struct Place {
    /// The permit; `None` if there is no log.
    _permit: Option<OwnedSemaphorePermit>,
}

/// The log is not read, so an action that needs an audit line is not possible now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads the log, and this must not be done without an audit line")]
pub struct NoPlace;

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Waits for a place, but not forever.
    pub(super) async fn soon(&self) -> Result<Place, NoPlace> {
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.0).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place { _permit: Some(permit) }),
            Ok(Err(_)) | Err(_) => Err(NoPlace),
        }
    }

    /// Returns a place, if there is one now.
    pub(super) fn now(&self) -> Option<Place> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(|permit| Place { _permit: Some(permit) })
    }
}

impl Place {
    /// Returns a place for a process without a log, which is always available.
    pub(super) fn of_no_log() -> Self {
        Self { _permit: None }
    }

    /// Makes the line, which takes the place along. If a filter silences the line, the place is given back.
    pub fn write(self, line: impl FnOnce()) {
        CURRENT.set(Some(self));
        line();
        CURRENT.take();
    }
}

/// Takes the place of the line that is being made on this thread.
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
        // The line holds its place until it has been written.
        let mut held = None;
        first.write(|| held = current());
        assert!(held.is_some() && places.now().is_none());
        let waiting = places.soon();
        drop(held);
        let second = waiting.await.unwrap();
        // A filter silences the line.
        second.write(|| {});
        assert!(current().is_none() && places.now().is_some());
    }
}
