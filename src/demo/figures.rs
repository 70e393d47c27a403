//! What the demo has measured: the same visits with and without the shim.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One of the two edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In front of the shim.
    With,
    /// In front of the origin itself.
    Without,
}

/// All that was measured since the start.
#[derive(Debug, Default)]
pub struct Figures {
    publishes: u64,
    with: Seen,
    without: Seen,
}

/// What happened at one of the edges.
#[derive(Debug, Default)]
struct Seen {
    visits: u64,
    /// Visits that saw a page that had been replaced.
    outdated: u64,
    /// The longest time for which such a page had been replaced.
    oldest: Duration,
    /// The requests that the origin got.
    requests: Arc<AtomicU64>,
}

impl Figures {
    /// Returns the counter of the requests that one side makes to the origin.
    pub fn requests(&self, side: Side) -> Arc<AtomicU64> {
        match side {
            Side::With => self.with.requests.clone(),
            Side::Without => self.without.requests.clone(),
        }
    }

    /// Counts a visit, which saw a page that was replaced that long ago.
    pub fn visited(&mut self, side: Side, outdated: Option<Duration>) {
        let seen = match side {
            Side::With => &mut self.with,
            Side::Without => &mut self.without,
        };
        seen.visits += 1;
        seen.outdated += u64::from(outdated.is_some());
        seen.oldest = seen.oldest.max(outdated.unwrap_or_default());
    }

    /// Counts a publish.
    pub fn published(&mut self) {
        self.publishes += 1;
    }

    /// Returns the figures as lines of text.
    pub fn lines(&self) -> Vec<String> {
        let row = |name: &str, seen: &Seen| {
            let requests = seen.requests.load(Ordering::Relaxed);
            let oldest = match seen.outdated {
                0 => "none was old".to_owned(),
                outdated => format!("{outdated} saw an old page, by up to {}", duration(seen.oldest)),
            };
            format!("  {name:<18}{:>7} visits {requests:>7} requests to the origin   {oldest}", seen.visits)
        };
        let mut lines = vec![row("with the shim", &self.with), row("without the shim", &self.without)];
        let saved = {
            let with = self.with.requests.load(Ordering::Relaxed);
            let without = self.without.requests.load(Ordering::Relaxed);
            match without.checked_sub(with).filter(|_| without > 0) {
                Some(saved) => format!("{saved} requests saved ({} %)", saved * 100 / without),
                None => "no requests saved yet: caches are filling".to_owned(),
            }
        };
        lines.push(format!("  {:<18}{:>7} pages published, {saved}", "", self.publishes));
        lines
    }
}

fn duration(duration: Duration) -> String {
    match duration.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        millis => format!("{}.{} s", millis / 1000, millis / 100 % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_compare_both_sides() {
        let mut figures = Figures::default();
        assert_eq!(
            figures.lines(),
            [
                "  with the shim           0 visits       0 requests to the origin   none was old",
                "  without the shim        0 visits       0 requests to the origin   none was old",
                "                          0 pages published, no requests saved yet: caches are filling",
            ]
        );
        figures.requests(Side::With).fetch_add(30, Ordering::Relaxed);
        figures.requests(Side::Without).fetch_add(120, Ordering::Relaxed);
        for _ in 0..4 {
            figures.published();
        }
        for outdated in [None, None, Some(Duration::from_millis(7))] {
            figures.visited(Side::With, outdated);
        }
        for outdated in [Some(Duration::from_millis(12_345)), None, Some(Duration::from_secs(2))] {
            figures.visited(Side::Without, outdated);
        }
        assert_eq!(
            figures.lines(),
            [
                "  with the shim           3 visits      30 requests to the origin   1 saw an old page, by up to 7 ms",
                "  without the shim        3 visits     120 requests to the origin   2 saw an old page, by up to 12.3 s",
                "                          4 pages published, 90 requests saved (75 %)",
            ]
        );
    }
}
