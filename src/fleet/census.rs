//! Which members are gone, as another member sees it.

use super::Terms;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A member's row, as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sight {
    /// The member's run.
    pub run: Uuid,
    /// A number that every renewal changes.
    pub beat: i64,
}

/// The rows that one member watches, each with the moment since which it has stayed the same.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// The server and its term of office: a restart or a promotion changes it.
    server: String,
    since_ms: BTreeMap<Sight, i64>,
}

impl Census {
    /// Evaluates a look at all rows, and returns those that are gone. The look was sent at `sent_ms` and answered at
    /// `answered_ms`, by the clock of the member that looks. A row is to be removed only if it is still the same.
    pub fn look(
        &mut self,
        (sent_ms, answered_ms): (i64, i64),
        server: &str,
        rows: &[Sight],
        terms: Terms,
    ) -> Vec<Sight> {
        if self.server != server {
            // Renewals that were answered before may be forgotten here, so the rows may be older than they look.
            self.server = server.to_owned();
            self.since_ms.clear();
        }
        self.since_ms.retain(|seen, _| rows.contains(seen));
        let mut gone = Vec::new();
        for row in rows {
            let since_ms = *self.since_ms.entry(*row).or_insert(answered_ms);
            if sent_ms.saturating_sub(since_ms) >= terms.gone_after_ms() {
                gone.push(*row);
            }
        }
        gone
    }

    /// Returns for how long a row has stayed the same, in milliseconds, if it is watched.
    pub fn age_ms(&self, row: Sight, now_ms: i64) -> Option<i64> {
        self.since_ms.get(&row).map(|since_ms| now_ms.saturating_sub(*since_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { lease_ms: 5_000, margin_ms: 1_500, longest_response_ms: 60_000 };

    fn row(run: u128, beat: i64) -> Sight {
        Sight { run: Uuid::from_u128(run), beat }
    }

    #[test]
    fn a_row_that_stays_the_same_for_long_is_gone() {
        let mut census = Census::default();
        let mut look =
            |sent_ms, answered_ms, rows: &[Sight]| census.look((sent_ms, answered_ms), "1", rows, TERMS);
        assert_eq!(look(0, 1_000, &[row(1, 4), row(2, 4)]), []);
        assert_eq!(look(67_499, 90_000, &[row(1, 4), row(2, 5)]), []);
        assert_eq!(look(67_500, 90_000, &[row(1, 4), row(2, 5)]), [row(1, 4)]);
        assert_eq!(look(156_500, 156_500, &[row(1, 5), row(2, 5)]), [row(2, 5)], "the other came back");
        assert_eq!(look(300_000, 300_000, &[]), []);
        assert_eq!(look(400_000, 400_000, &[row(1, 5)]), [], "it was away in between");
    }

    #[test]
    fn a_new_server_is_watched_anew() {
        let mut census = Census::default();
        let rows = [row(1, 4)];
        assert_eq!(census.look((0, 0), "1", &rows, TERMS), []);
        assert_eq!(census.look((66_000, 66_000), "2", &rows, TERMS), []);
        assert_eq!(census.look((132_499, 132_499), "2", &rows, TERMS), []);
        assert_eq!(census.look((132_500, 132_500), "2", &rows, TERMS), rows);
        assert_eq!(census.age_ms(rows[0], 132_500), Some(66_500));
    }
}
