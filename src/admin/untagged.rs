//! Copies without our tags, over restarts. The store keeps until when there may be any, and returns it at the next
//! start. The stored time is ahead of the actual one, so that a crash loses only what came in the moment before.

use crate::guard::{Copies, Freshness};
use crate::rewrite::CdnType;
use crate::store::{Store, StoreError, UntaggedCopies};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// The pause between two checks for changes.
const LOOK: Duration = Duration::from_secs(1);
/// How far a newly stored time is ahead of the actual one, and how far it must stay ahead at least, in
/// milliseconds.
const AHEAD_MS: [i64; 2] = [120_000, 60_000];

/// Stores the times of copies without our tags, and restores them.
pub struct Untagged {
    freshness: Arc<Freshness>,
    /// The content of the store, by the clock of this process.
    told: HashMap<(String, CdnType), Copies>,
    /// Whether the times of former runs have been restored.
    recalled: bool,
    failing: bool,
}

impl Untagged {
    /// Returns a keeper for the sites of `freshness`.
    pub fn new(freshness: Arc<Freshness>) -> Self {
        Self { freshness, told: HashMap::new(), recalled: false, failing: false }
    }

    /// Restores what former runs sent. Until then, every CDN is treated as one that may hold copies without tags.
    pub async fn recall(&mut self, store: &dyn Store) {
        self.recall_at(store, self.freshness.clock.now_ms()).await;
    }

    /// Does the same at `now_ms`.
    pub(super) async fn recall_at(&mut self, store: &dyn Store, now_ms: i64) {
        let known = store.untagged().await;
        self.recalled = known.is_ok();
        self.freshness.set_untold(!self.recalled);
        for copies in self.judge(known).unwrap_or_default() {
            let until_ms = copies.until_ms.saturating_sub(self.ahead_of_us_ms());
            // No copy was made in the future, but the clock may have been set back since.
            let latest_ms = now_ms.saturating_add(copies.longest_ms).saturating_add(AHEAD_MS[0]);
            let known = Copies { until_ms: until_ms.min(latest_ms), longest_ms: copies.longest_ms };
            self.freshness.site(&copies.site).untagged.recall(copies.cdn_type, known);
            self.told.insert((copies.site, copies.cdn_type), Copies { until_ms, ..known });
        }
    }

    /// Stores whatever is new, forever.
    pub async fn keep(&mut self, store: &dyn Store) {
        loop {
            if !self.recalled {
                self.recall(store).await;
            }
            self.tell(store).await;
            sleep(LOOK).await;
        }
    }

    /// Stores what is new.
    pub async fn tell(&mut self, store: &dyn Store) {
        let (mut news, mut gone) = (Vec::new(), Vec::new());
        for (site, of_site) in self.freshness.sites() {
            for cdn in CdnType::ALL {
                let Some(now) = of_site.untagged.copies(cdn) else { continue };
                let key = (site.clone(), cdn);
                let told = self.told.get(&key).copied();
                let ahead = |ms| now.until_ms.saturating_add(ms);
                let then = Copies { until_ms: ahead(AHEAD_MS[0]), ..now };
                match told {
                    Some(told) if ahead(AHEAD_MS[0]) < told.until_ms => gone.push((key, then)),
                    Some(told)
                        if ahead(AHEAD_MS[1]) <= told.until_ms && now.longest_ms <= told.longest_ms => {}
                    _ => news.push((key, then)),
                }
            }
        }
        if !news.is_empty() {
            let noted = store.note_untagged(self.rows(&news)).await;
            self.has_told(noted, news);
        }
        if !gone.is_empty() {
            let forgotten = store.forget_untagged(self.rows(&gone)).await;
            self.has_told(forgotten, gone);
        }
    }

    fn rows(&self, told: &[((String, CdnType), Copies)]) -> Vec<UntaggedCopies> {
        let ahead_ms = self.ahead_of_us_ms();
        let row = |((site, cdn_type), copies): &((String, CdnType), Copies)| UntaggedCopies {
            site: site.clone(),
            cdn_type: *cdn_type,
            // Copies that are gone have no meaningful time (theirs is `i64::MIN`), so the epoch stands for it.
            until_ms: copies.until_ms.saturating_add(ahead_ms).max(0),
            longest_ms: copies.longest_ms,
        };
        told.iter().map(row).collect()
    }

    fn has_told(&mut self, answer: Result<(), StoreError>, told: Vec<((String, CdnType), Copies)>) {
        if self.judge(answer).is_some() {
            self.told.extend(told);
        }
    }

    /// Returns how far the steady clock, which the store uses, is ahead of the clock of responses. They differ if
    /// the machine was suspended.
    fn ahead_of_us_ms(&self) -> i64 {
        self.freshness.clock.steady_ms().saturating_sub(self.freshness.clock.now_ms())
    }

    /// Returns the store's answer. Of consecutive failures, only the first is logged.
    fn judge<T>(&mut self, answer: Result<T, StoreError>) -> Option<T> {
        if let Err(error) = &answer
            && !self.failing
        {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "cannot store the times of copies without tags: a restart may lose them; trying again every second"
            );
        }
        self.failing = answer.is_err();
        answer.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::fake::FakeStore;
    use crate::config::Mode;
    use crate::guard::WithoutTags;
    use crate::http::head::Headers;
    use crate::rewrite::Lifetime;
    use crate::store::SqliteStore;
    use http::{HeaderValue, StatusCode, header};
    use std::sync::atomic::Ordering;

    fn note(freshness: &Freshness, cdn: CdnType, cache_control: &'static str) {
        let headers = Headers::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static(cache_control))]);
        let lifetime = Lifetime::of(StatusCode::OK, &headers, |_| false, 0);
        freshness.site("www").untagged.note(cdn, lifetime, freshness.clock.now_ms());
    }

    fn until_ms(freshness: &Freshness, cdn: CdnType) -> Option<i64> {
        freshness.site("www").untagged.until_ms(cdn, freshness.clock.now_ms())
    }

    #[tokio::test]
    async fn the_next_run_knows_no_less() {
        let store = SqliteStore::in_memory().unwrap();
        let first = Arc::new(Freshness::default());
        let mut keeper = Untagged::new(first.clone());
        keeper.recall(&store).await;
        keeper.tell(&store).await;
        assert_eq!(store.commits(), 0, "there is nothing to tell");
        note(&first, CdnType::Varnish, "max-age=600");
        keeper.tell(&store).await;
        keeper.tell(&store).await;
        assert_eq!(store.commits(), 1, "it is told once");
        let told_ms = until_ms(&first, CdnType::Varnish).unwrap();

        let second = Arc::new(Freshness::default());
        Untagged::new(second.clone()).recall(&store).await;
        let known_ms = until_ms(&second, CdnType::Varnish).unwrap();
        assert!((told_ms..told_ms + AHEAD_MS[0] + 10_000).contains(&known_ms), "{told_ms} {known_ms}");
        assert_eq!(until_ms(&second, CdnType::Fastly), None);
        assert!(matches!(
            second.without_tags("www", Mode::On, CdnType::Varnish),
            Some(WithoutTags::Until(_))
        ));

        // Only the copies that were purged are forgotten.
        first.site("www").untagged.mark(CdnType::Varnish);
        first.site("www").untagged.forget_older(CdnType::Varnish);
        keeper.tell(&store).await;
        assert_eq!(store.untagged().await.unwrap()[0].until_ms, 0);
        let third = Arc::new(Freshness::default());
        Untagged::new(third.clone()).recall(&store).await;
        assert_eq!(until_ms(&third, CdnType::Varnish), None);

        // A longer lifetime is stored, too, even if it does not end later.
        note(&first, CdnType::Varnish, "max-age=601");
        keeper.tell(&store).await;
        assert_eq!(store.untagged().await.unwrap()[0].longest_ms, 601_000);
    }

    #[tokio::test]
    async fn what_the_store_does_not_tell_is_in_doubt() {
        let store = FakeStore::default();
        let freshness = Arc::new(Freshness::default());
        let mut keeper = Untagged::new(freshness.clone());
        let why = || freshness.without_tags("www", Mode::On, CdnType::Varnish);
        store.broken.store(true, Ordering::Relaxed);
        keeper.recall(&store).await;
        assert_eq!(why(), Some(WithoutTags::Untold));
        note(&freshness, CdnType::Varnish, "max-age=600");
        keeper.tell(&store).await;
        assert!(store.untagged.lock().unwrap().is_empty());

        store.broken.store(false, Ordering::Relaxed);
        keeper.recall(&store).await;
        assert!(matches!(why(), Some(WithoutTags::Until(_))));
        keeper.tell(&store).await;
        assert_eq!(store.untagged.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_clock_that_was_wrong_is_not_believed_for_ever() {
        let store = SqliteStore::in_memory().unwrap();
        let year_3000 = 32_503_680_000_000;
        let row = UntaggedCopies {
            site: "www".into(),
            cdn_type: CdnType::Varnish,
            until_ms: year_3000,
            longest_ms: 600_000,
        };
        store.note_untagged(vec![row]).await.unwrap();
        let freshness = Arc::new(Freshness::default());
        let mut keeper = Untagged::new(freshness.clone());
        keeper.recall(&store).await;
        let until_ms = until_ms(&freshness, CdnType::Varnish).unwrap();
        assert!(until_ms <= freshness.clock.now_ms() + 600_000 + AHEAD_MS[0]);
    }
}
