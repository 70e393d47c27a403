//! A warning that would come with every connection of a crowd: one line in so many seconds, which tells how many there were.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines about the same thing.
const PAUSE: Duration = Duration::from_secs(10);

/// How often something happened that is told from time to time.
#[derive(Debug)]
pub struct Sparse(Mutex<State>);

#[derive(Debug)]
struct State {
    told: Option<Instant>,
    untold: u64,
}

impl Sparse {
    /// Nothing has happened yet.
    pub const fn new() -> Self {
        Self(Mutex::new(State { told: None, untold: 0 }))
    }

    /// It happened at `now`. If it is time for a line: how often it happened since the last one, this time included.
    pub fn note(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold += 1;
        let is_time = state.told.is_none_or(|told| now.saturating_duration_since(told) >= PAUSE);
        is_time.then(|| {
            state.told = Some(now);
            std::mem::take(&mut state.untold)
        })
    }
}

impl Default for Sparse {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_counted_and_few_are_told() {
        let (sparse, start) = (Sparse::new(), Instant::now());
        let told: Vec<_> =
            (0..25).filter_map(|second| sparse.note(start + Duration::from_secs(second))).collect();
        assert_eq!(told, [1, 10, 10]);
        assert_eq!(sparse.note(start + Duration::from_secs(3600)), Some(5));
        // A clock that steps back tells nothing twice.
        assert_eq!(sparse.note(start), None);
    }
}
