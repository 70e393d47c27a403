//! A warning that every connection of a crowd would cause, limited to one line per interval, with the number of
//! occurrences.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest pause between two lines about the same thing.
const PAUSE: Duration = Duration::from_secs(10);

/// A counter of events that is logged from time to time.
#[derive(Debug)]
pub struct Sparse(Mutex<State>);

#[derive(Debug)]
struct State {
    told: Option<Instant>,
    untold: u64,
}

impl Sparse {
    /// Returns a counter of an event that has not happened yet.
    pub const fn new() -> Self {
        Self(Mutex::new(State { told: None, untold: 0 }))
    }

    /// Counts an event at `now`. If it is time for a line, returns the number of events since the last line,
    /// including this one.
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
        // If the clock steps back, nothing is logged twice.
        assert_eq!(sparse.note(start), None);
    }
}
