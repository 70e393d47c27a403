//! The purges that origins ask for in their responses, on their way from the proxy to the store. What the responses
//! of a site ask for while its last purge is being committed becomes one purge, so a flood becomes a few purges.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// The most items of a purge, and (`MOST_BYTES`) their most bytes. Whatever exceeds them becomes a purge of
/// everything, since nothing may be lost and memory is bounded.
const MOST_ITEMS: usize = 10_000;
const MOST_BYTES: usize = 1 << 20;

/// The pause between two looks at the queues at the end of the program.
const LOOK: Duration = Duration::from_millis(10);

/// The items of one or of several responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedItems {
    /// Tags to purge.
    pub tags: BTreeSet<String>,
    /// Paths to purge.
    pub paths: BTreeSet<String>,
    /// Whether to purge everything instead, because there were too many items.
    pub everything: bool,
    /// The bytes of all items.
    bytes: usize,
}

impl AskedItems {
    /// Whether nothing is to be purged.
    pub fn is_empty(&self) -> bool {
        !self.everything && self.tags.is_empty() && self.paths.is_empty()
    }

    /// Adds a tag.
    pub fn add_tag(&mut self, tag: &str) {
        self.add(|items| &mut items.tags, tag);
    }

    /// Adds a path.
    pub fn add_path(&mut self, path: &str) {
        self.add(|items| &mut items.paths, path);
    }

    /// Adds the items of `other`.
    pub fn add_all(&mut self, other: &Self) {
        if other.everything {
            self.widen();
        }
        other.tags.iter().for_each(|tag| self.add_tag(tag));
        other.paths.iter().for_each(|path| self.add_path(path));
    }

    fn add(&mut self, of: impl Fn(&mut Self) -> &mut BTreeSet<String>, item: &str) {
        if self.everything || !of(self).insert(item.to_owned()) {
            return;
        }
        self.bytes += item.len();
        if self.bytes > MOST_BYTES || self.tags.len() + self.paths.len() > MOST_ITEMS {
            self.widen();
        }
    }

    fn widen(&mut self) {
        *self = Self { everything: true, ..Self::default() };
    }
}

/// The queues of all sites. They survive configuration reloads.
#[derive(Debug)]
pub struct HeaderPurges {
    queues: Mutex<HashMap<String, Arc<PurgeQueue>>>,
    began: mpsc::UnboundedSender<Arc<PurgeQueue>>,
    // Each queue is in it at most one time.
    beginning: Mutex<Option<mpsc::UnboundedReceiver<Arc<PurgeQueue>>>>,
}

impl Default for HeaderPurges {
    fn default() -> Self {
        let (began, beginning) = mpsc::unbounded_channel();
        Self { queues: Mutex::default(), began, beginning: Mutex::new(Some(beginning)) }
    }
}

impl HeaderPurges {
    /// Returns the queue of a site, which is made on first use. The request path must not call this; keep the returned
    /// handle.
    pub fn queue(&self, site: &str) -> Arc<PurgeQueue> {
        let new = || Arc::new(PurgeQueue::new(site, self.began.clone()));
        locked(&self.queues).entry(site.to_owned()).or_insert_with(new).clone()
    }

    /// Returns the receiver of queues that are no longer empty. Only the first call returns it.
    pub fn take_receiver(&self) -> Option<mpsc::UnboundedReceiver<Arc<PurgeQueue>>> {
        locked(&self.beginning).take()
    }

    /// Waits until all queues are empty.
    pub async fn emptied(&self) {
        while !self.pending().is_empty() {
            sleep(LOOK).await;
        }
    }

    /// Returns the names of the sites whose queues are not empty.
    pub fn pending(&self) -> Vec<String> {
        let queues = locked(&self.queues);
        let mut pending: Vec<_> = queues.values().filter(|queue| queue.is_pending()).collect();
        pending.sort_by(|a, b| a.site.cmp(&b.site));
        pending.into_iter().map(|queue| queue.site.clone()).collect()
    }
}

/// What the responses of one site asked to purge and is not committed yet.
#[derive(Debug)]
pub struct PurgeQueue {
    /// The site's name.
    pub site: String,
    waiting: Mutex<Waiting>,
    /// The number of the last purge that was committed.
    committed: watch::Sender<u64>,
    began: mpsc::UnboundedSender<Arc<PurgeQueue>>,
}

#[derive(Debug, Default)]
struct Waiting {
    items: AskedItems,
    /// The number of the purge that `items` will become.
    number: u64,
    /// Whether someone empties the queue.
    is_served: bool,
}

impl PurgeQueue {
    fn new(site: &str, began: mpsc::UnboundedSender<Arc<Self>>) -> Self {
        let waiting = Mutex::new(Waiting { number: 1, ..Waiting::default() });
        Self { site: site.to_owned(), waiting, committed: watch::Sender::new(0), began }
    }

    /// Asks for a purge of these items, and returns the number of the purge. Never waits for more than another call of
    /// this.
    pub fn ask(self: &Arc<Self>, items: &AskedItems) -> u64 {
        let mut waiting = locked(&self.waiting);
        waiting.items.add_all(items);
        if !waiting.is_served {
            // Without a receiver the program ends.
            waiting.is_served = self.began.send(Arc::clone(self)).is_ok();
        }
        waiting.number
    }

    /// Waits until the purge of this number is committed.
    pub async fn committed(&self, number: u64) {
        // The sender lives as long as the queue.
        let _ = self.committed.subscribe().wait_for(|committed| *committed >= number).await;
    }

    /// Takes the items of the next purge, and its number. If there are none, the queue is no longer served.
    pub fn take(&self) -> Option<(u64, AskedItems)> {
        let mut waiting = locked(&self.waiting);
        if waiting.items.is_empty() {
            waiting.is_served = false;
            return None;
        }
        waiting.number += 1;
        Some((waiting.number - 1, std::mem::take(&mut waiting.items)))
    }

    /// Adds to `items` what was asked for in the meantime. Returns the number of the last purge that `items`
    /// comprises.
    pub fn take_more(&self, items: &mut AskedItems) -> u64 {
        let mut waiting = locked(&self.waiting);
        items.add_all(&std::mem::take(&mut waiting.items));
        waiting.number += 1;
        waiting.number - 1
    }

    /// Records that all purges up to this number are committed.
    pub fn commit(&self, number: u64) {
        self.committed.send_replace(number);
    }

    fn is_pending(&self) -> bool {
        locked(&self.waiting).is_served
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tags(names: &[&str]) -> AskedItems {
        let mut items = AskedItems::default();
        names.iter().for_each(|name| items.add_tag(name));
        items
    }

    #[tokio::test]
    async fn what_is_asked_during_a_commit_becomes_one_purge() {
        let all = HeaderPurges::default();
        let mut receiver = all.take_receiver().unwrap();
        assert!(all.take_receiver().is_none());
        let queue = all.queue("www");
        assert_eq!(queue.ask(&tags(&["a"])), 1);
        assert_eq!(queue.ask(&tags(&["b"])), 1);
        assert_eq!(all.pending(), ["www"]);
        let served = receiver.recv().await.unwrap();
        assert!(receiver.try_recv().is_err(), "a queue is served by one");
        assert_eq!(served.take(), Some((1, tags(&["a", "b"]))));
        for name in ["c", "d", "c"] {
            assert_eq!(queue.ask(&tags(&[name])), 2);
        }
        served.commit(1);
        queue.committed(1).await;
        assert_eq!(served.take(), Some((2, tags(&["c", "d"]))));
        assert_eq!(queue.ask(&tags(&["e"])), 3);
        let mut again = tags(&["c", "d"]);
        assert_eq!(served.take_more(&mut again), 3);
        assert_eq!(again, tags(&["c", "d", "e"]));
        served.commit(3);
        queue.committed(2).await;
        assert_eq!(served.take(), None);
        assert!(all.pending().is_empty());
        // The next one is announced again.
        assert_eq!(queue.ask(&tags(&["f"])), 4);
        assert_eq!(receiver.recv().await.unwrap().take(), Some((4, tags(&["f"]))));
    }

    #[test]
    fn a_flood_is_widened() {
        let mut items = AskedItems::default();
        (0..=MOST_ITEMS).for_each(|number| items.add_path(&format!("/{number}")));
        assert!(items.everything && items.paths.is_empty());
        items.add_tag("a");
        assert!(items.tags.is_empty());
        let mut items = tags(&["a"]);
        items.add_path(&format!("/{}", "x".repeat(MOST_BYTES)));
        assert!(items.everything);
        let mut other = tags(&["a"]);
        other.add_all(&items);
        assert_eq!(other, items);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_in_a_union(
            all in prop::collection::vec(("[a-c]{1,2}", prop::bool::ANY), 0..12),
            at in 0..12_usize,
        ) {
            let of = |some: &[(String, bool)]| {
                let mut items = AskedItems::default();
                for (item, is_tag) in some {
                    if *is_tag { items.add_tag(item) } else { items.add_path(item) }
                }
                items
            };
            let (first, second) = all.split_at(at.min(all.len()));
            let mut union = of(first);
            union.add_all(&of(second));
            prop_assert_eq!(&union.tags, &of(&all).tags);
            prop_assert_eq!(&union.paths, &of(&all).paths);
        }
    }
}
