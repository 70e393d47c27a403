//! The items of one call, without duplicates, each with the sends that it serves.

use super::cover::Cover;
use crate::cdn::{Batch, Item, ItemKind};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// An item that a send wants purged.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The item.
    pub item: &'a Item,
    /// The identity of the send: its ID, and when its purge was accepted, because a new store counts IDs from 1 again.
    /// It is the same for every retry of the send, and different for every other send.
    pub identity: (i64, i64),
}

/// A batch, and the sends that its items serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The content of one call.
    pub batch: Batch,
    /// For each item of the batch, the positions of the sends that want it.
    pub wanted_by: Vec<Vec<usize>>,
}

impl Filled {
    /// Builds one call for all of `wanted`, which must fit into it. An item that is wanted several times is included
    /// one time, hard if any send wants it hard. An item that another one covers is left out. `also` becomes part of
    /// the reference: it is a digest of the sends that the call covers without carrying them (`absorbed_digest` of the
    /// claim), or 0 if there are none.
    pub fn of(wanted: &[Wanted<'_>], also: u64) -> Self {
        let mut known: HashMap<(ItemKind, &str), usize> = HashMap::new();
        let mut items: Vec<Item> = Vec::new();
        let mut wanted_by: Vec<Vec<usize>> = Vec::new();
        for (position, Wanted { item, .. }) in wanted.iter().enumerate() {
            let index = *known.entry((item.kind, &item.value)).or_insert_with(|| {
                items.push((*item).clone());
                wanted_by.push(Vec::new());
                items.len() - 1
            });
            items[index].hard |= item.hard;
            wanted_by[index].push(position);
        }
        let cover = Cover::of(&items);
        for index in 0..items.len() {
            if let Some(broader) = cover.broader(&items[index]) {
                let covered = std::mem::take(&mut wanted_by[index]);
                wanted_by[broader].extend(covered);
            }
        }
        let carried = items.iter().zip(wanted_by).filter(|(_, by)| !by.is_empty());
        let (items, wanted_by) = carried.map(|(item, by)| (item.clone(), by)).unzip();
        Self::new(items, wanted_by, wanted, also)
    }

    fn new(items: Vec<Item>, wanted_by: Vec<Vec<usize>>, wanted: &[Wanted<'_>], also: u64) -> Self {
        let identities = wanted_by.iter().flatten().map(|position| wanted[*position].identity);
        let reference = reference(identities.collect(), also);
        Self { batch: Batch { reference, items }, wanted_by }
    }

    /// Returns the positions of the sends that want the first half of the items, and of those that want the second
    /// half, or `None` if there is only one item.
    pub fn halves(&self) -> Option<[Vec<usize>; 2]> {
        let middle = self.wanted_by.len() / 2;
        if middle == 0 {
            return None;
        }
        let (first, second) = self.wanted_by.split_at(middle);
        Some([first.concat(), second.concat()])
    }
}

/// Returns the reference of a call. If CloudFront receives a reference that it has seen before, it returns the earlier
/// invalidation and purges nothing. So a retry of the same sends, whose first call may have succeeded, must have the
/// same reference, and everything else must have another one.
fn reference(mut identities: Vec<(i64, i64)>, also: u64) -> String {
    identities.sort_unstable();
    let mut hasher = Sha256::new();
    for (id, created_ms) in identities {
        hasher.update(id.to_be_bytes());
        hasher.update(created_ms.to_be_bytes());
    }
    if also != 0 {
        hasher.update(also.to_be_bytes());
    }
    hex::encode(&hasher.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn item(kind: ItemKind, value: &str, hard: bool) -> Item {
        Item { kind, value: value.into(), hard }
    }

    fn tag(value: &str) -> Item {
        item(ItemKind::Tag, value, true)
    }

    fn wanted(items: &[Item]) -> Vec<Wanted<'_>> {
        items.iter().zip(0..).map(|(item, id)| Wanted { item, identity: (id, 7) }).collect()
    }

    /// Checks the items of a call: value, hardness, and the positions of the sends that want it.
    #[track_caller]
    fn check(items: &[Item], expected: &[(&str, bool, &[usize])]) {
        let filled = Filled::of(&wanted(items), 0);
        let shown: Vec<_> = filled.batch.items.iter().zip(&filled.wanted_by).collect();
        let shown: Vec<_> =
            shown.iter().map(|(item, by)| (item.value.as_str(), item.hard, by.as_slice())).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_same_item_goes_out_once() {
        check(&[tag("a"), tag("b"), tag("a")], &[("a", true, &[0, 2]), ("b", true, &[1])]);
        check(&[item(ItemKind::Tag, "a", false), tag("a")], &[("a", true, &[0, 1])]);
        check(&[item(ItemKind::Url, "a", true), tag("a")], &[("a", true, &[0]), ("a", true, &[1])]);
    }

    #[test]
    fn what_a_broader_item_covers_stays_at_home() {
        let prefix = |value, hard| item(ItemKind::Prefix, value, hard);
        let url = |value| item(ItemKind::Url, value, true);
        check(
            &[url("https://a/b/c/d"), prefix("a/b/c/", true), prefix("a/b/", true), url("https://a/x")],
            &[("a/b/", true, &[2, 0, 1]), ("https://a/x", true, &[3])],
        );
        check(
            &[url("https://a/b/c"), prefix("a/b/", false)],
            &[("https://a/b/c", true, &[0]), ("a/b/", false, &[1])],
        );
        check(&[url("/a/*"), url("/a/b?*"), url("/b")], &[("/a/*", true, &[0, 1]), ("/b", true, &[2])]);
    }

    #[test]
    fn halves_cover_the_whole() {
        let items = ["a", "b", "c", "b", "d", "e"].map(tag);
        let filled = Filled::of(&wanted(&items), 0);
        assert_eq!(filled.halves(), Some([vec![0, 1, 3], vec![2, 4, 5]]));
        assert_eq!(Filled::of(&wanted(&items[..1]), 0).halves(), None);
    }

    #[test]
    fn the_reference_names_the_sends() {
        let items = ["a", "b"].map(tag);
        let reference = |identities: [(i64, i64); 2], also| {
            let wanted: Vec<_> =
                items.iter().zip(identities).map(|(item, identity)| Wanted { item, identity }).collect();
            Filled::of(&wanted, also).batch.reference
        };
        let first = reference([(1, 7), (2, 7)], 0);
        assert_eq!(first, "2726f54568c6427c6f194b4f90ff22fa");
        assert_eq!(reference([(2, 7), (1, 7)], 0), first);
        // A later purge, a new store that counts from 1 again, and a call that covers more.
        let others =
            [reference([(3, 9), (4, 9)], 0), reference([(1, 9), (2, 9)], 0), reference([(1, 7), (2, 7)], 5)];
        assert!(!others.contains(&first));
    }

    fn any_item() -> impl Strategy<Value = Item> {
        let value = |values: &'static str| values.prop_map(String::from);
        let kinds = prop_oneof![
            (Just(ItemKind::Tag), value("[a-c]")),
            (Just(ItemKind::Url), value("https://a/([bc]/){0,3}")),
            (Just(ItemKind::Url), value("/([bc]/){0,3}\\*?")),
            (Just(ItemKind::Prefix), value("a/([bc]/){0,3}")),
        ];
        (kinds, any::<bool>()).prop_map(|((kind, value), hard)| item(kind, &value, hard))
    }

    proptest! {
        #[test]
        fn everybody_is_served_by_one_item_as_broad_and_as_hard(items in prop::collection::vec(any_item(), 1..60)) {
            let filled = Filled::of(&wanted(&items), 0);
            let mut served: Vec<usize> = filled.wanted_by.concat();
            served.sort_unstable();
            prop_assert_eq!(served, (0..items.len()).collect::<Vec<_>>());
            let carried = &filled.batch.items;
            let distinct: HashSet<_> = carried.iter().map(|item| (item.kind, &item.value)).collect();
            prop_assert_eq!(distinct.len(), carried.len());
            for (carrier, positions) in carried.iter().zip(&filled.wanted_by) {
                prop_assert!(carrier.hard == positions.iter().any(|position| items[*position].hard));
                for position in positions {
                    let item = &items[*position];
                    prop_assert_eq!(Cover::of([carrier]).by(item), Some(0), "{:?} {:?}", carrier, item);
                }
            }
        }
    }
}
