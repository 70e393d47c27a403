//! The times of purges, in enough detail to check whether a response may be older than a purge that covers it.
//!
//! The control plane writes the table, and every worker reads it without a lock. For each [`Key`] it holds the
//! latest time up to which responses with that key are old. The key's bits choose its place, and keys that share a
//! place share the later time. So memory is bounded whatever is purged, and a flood makes the guard wider, never
//! narrower.

use super::keys::{Key, Keys};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

/// The number of places in each of two rows. A key has a place in each row, and a response is old only if both rows
/// agree. If 1,000 keys are purged in the seconds that a response takes, one in 270 other keys is taken for purged.
const PLACES: usize = 16_384;
const NEVER: i64 = i64::MIN;

/// The purges of one site. Times are milliseconds since the epoch.
#[derive(Debug)]
pub struct Purged {
    /// The latest time up to which anything is old.
    latest: AtomicI64,
    /// The time up to which everything is old.
    everything: AtomicI64,
    /// The rows, created by the first purge.
    rows: OnceLock<Box<[[AtomicI64; 2]]>>,
}

impl Default for Purged {
    fn default() -> Self {
        Self { latest: AtomicI64::new(NEVER), everything: AtomicI64::new(NEVER), rows: OnceLock::new() }
    }
}

impl Purged {
    /// Adds a purge of these keys. Responses that have one of them and were generated until `until_ms` are old.
    pub fn note(&self, keys: impl IntoIterator<Item = Key>, until_ms: i64) {
        let rows = self.rows.get_or_init(|| {
            let never = || [AtomicI64::new(NEVER), AtomicI64::new(NEVER)];
            std::iter::repeat_with(never).take(PLACES).collect()
        });
        for key in keys {
            let [one, other] = places(key);
            rows[one][0].fetch_max(until_ms, Ordering::Relaxed);
            rows[other][1].fetch_max(until_ms, Ordering::Relaxed);
        }
        // This comes last, so that a thread that sees this value also sees the others.
        self.latest.fetch_max(until_ms, Ordering::Release);
    }

    /// Adds a purge of everything that was generated until `until_ms`.
    pub fn note_everything(&self, until_ms: i64) {
        self.everything.fetch_max(until_ms, Ordering::Relaxed);
        self.latest.fetch_max(until_ms, Ordering::Release);
    }

    /// Whether any purge is late enough to affect a response generated at this time.
    pub fn is_later_than(&self, generated_ms: i64) -> bool {
        self.latest.load(Ordering::Acquire) >= generated_ms
    }

    /// Whether a response with these keys, generated at this time, is old.
    pub fn covers(&self, keys: &Keys, generated_ms: i64) -> bool {
        if !self.is_later_than(generated_ms) {
            return false;
        }
        let is_old = |moment: &AtomicI64| moment.load(Ordering::Relaxed) >= generated_ms;
        let rows = self.rows.get();
        is_old(&self.everything)
            || keys.any(|key| {
                let [one, other] = places(key);
                rows.is_some_and(|rows| is_old(&rows[one][0]) && is_old(&rows[other][1]))
            })
    }
}

/// The place of a key in each row.
fn places(key: Key) -> [usize; 2] {
    [key as usize % PLACES, (key >> 32) as usize % PLACES]
}

/// The purges with which a response is compared.
#[derive(Clone, Copy, Debug)]
pub struct Guard<'a> {
    /// The purges of the site.
    pub purged: &'a Purged,
    /// A time before which the request to the origin certainly did not begin: the arrival of the client's request, in
    /// milliseconds since the epoch.
    pub began_ms: i64,
}

impl Guard<'_> {
    /// The earliest time at which a response that has spent `age` seconds in caches was generated. `Age` is
    /// rounded down.
    pub fn generated_ms(&self, age: Option<u32>) -> i64 {
        age.map_or(self.began_ms, |age| self.began_ms - i64::from(age) * 1_000 - 999)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::CdnType;
    use crate::rewrite::keys::{path_key, prefix_key, tag_key};
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn page(path: &str, tags: &[&str]) -> Keys {
        let mut keys = Keys::default();
        keys.of_page(path);
        tags.iter().for_each(|tag| keys.add(tag_key(CdnType::Fastly, tag)));
        keys
    }

    #[test]
    fn what_is_old() {
        let purged = Purged::default();
        let old = |path: &str, tags: &[&str], generated| purged.covers(&page(path, tags), generated);
        assert!(!old("/a", &[], 0));
        purged.note([path_key("/a"), tag_key(CdnType::Fastly, "t"), prefix_key("/blog/")], 100);
        assert!(old("/a", &[], 100) && !old("/a", &[], 101));
        assert!(old("/x", &["t"], 100) && !old("/x", &["u"], 100));
        assert!(old("/blog/", &[], 9) && old("/blog/2026/x", &[], 9) && !old("/blogs", &[], 9));
        // An earlier purge does not undo a later one.
        purged.note([path_key("/a")], 50);
        assert!(old("/a", &[], 100));
        purged.note_everything(70);
        assert!(old("/other", &[], 70) && !old("/other", &[], 71));
    }

    #[test]
    fn age_counts() {
        let purged = Purged::default();
        let guard = Guard { purged: &purged, began_ms: 100_000 };
        assert_eq!(guard.generated_ms(None), 100_000);
        assert_eq!(guard.generated_ms(Some(0)), 99_001);
        assert_eq!(guard.generated_ms(Some(60)), 39_001);
    }

    #[test]
    fn a_flood_widens() {
        let purged = Purged::default();
        purged.note((0..100_000).map(|n| path_key(&format!("/{n}"))), 1_000);
        assert!((0..100_000).all(|n| purged.covers(&page(&format!("/{n}"), &[]), 1_000)));
        assert!(!purged.covers(&page("/1", &[]), 1_001));
        // After that, most other pages are distinguished again.
        purged.note((0..1_000).map(|n| path_key(&format!("/new/{n}"))), 2_000);
        let mistaken = (0..10_000).filter(|n| purged.covers(&page(&format!("/{n}"), &[]), 1_500)).count();
        assert!(mistaken < 150, "{mistaken}");
    }

    proptest! {
        #[test]
        fn it_never_forgets_a_purge(purges in prop::collection::vec((0u8..50, 0i64..1_000), 0..60)) {
            let purged = Purged::default();
            let mut exact: HashMap<u8, i64> = HashMap::new();
            for (page, until) in purges {
                purged.note([path_key(&format!("/{page}"))], until);
                let known = exact.entry(page).or_insert(until);
                *known = until.max(*known);
            }
            for (number, until) in exact {
                let page = page(&format!("/{number}"), &[]);
                prop_assert!(purged.covers(&page, until));
                prop_assert!(!purged.covers(&page, 1_000));
            }
        }
    }
}
