//! Filling calls: as many items in each as the CDN takes, every item in exactly one.

use crate::cdn::{Batch, Capabilities, Item, ItemKind};
use crate::rewrite::CdnType;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Wildcards of a CloudFront distribution that may be under way at once.
const CLOUDFRONT_WILDCARDS: usize = 15;

/// What a send wants purged.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The item.
    pub item: &'a Item,
    /// The same for every retry of the send, and for no other send ever: its id, and when its purge was accepted (a new
    /// store counts ids anew).
    pub identity: (i64, i64),
}

/// A batch, and who wants its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// What one call carries.
    pub batch: Batch,
    /// For each item of the batch, the positions of those that want it.
    pub wanted_by: Vec<Vec<usize>>,
}

/// Fills calls within the CDN's limits, in the order in which items are wanted; the same item goes out once. An item that is
/// too long for any call gets one to itself: the CDN's refusal says more than ours could.
pub fn batches(cdn: CdnType, limits: &Capabilities, wanted: &[Wanted<'_>]) -> Vec<Filled> {
    let mut by_item: HashMap<&Item, usize> = HashMap::new();
    let mut items: Vec<(&Item, Vec<usize>)> = Vec::new();
    for (position, Wanted { item, .. }) in wanted.iter().enumerate() {
        let index = *by_item.entry(*item).or_insert_with(|| {
            items.push((item, Vec::new()));
            items.len() - 1
        });
        items[index].1.push(position);
    }

    let mut calls: Vec<Call> = Vec::new();
    // Calls that may have room, by what may share them.
    let mut open: HashMap<(Option<ItemKind>, bool), Vec<usize>> = HashMap::new();
    for (item, positions) in items {
        let alone = item.kind == ItemKind::Everything || !limits.mixed_kinds;
        let open = open.entry((alone.then_some(item.kind), item.hard)).or_default();
        let index = match open.iter().copied().find(|call| calls[*call].has_room(item, cdn, limits)) {
            Some(index) => index,
            None => {
                calls.push(Call::default());
                open.push(calls.len() - 1);
                calls.len() - 1
            }
        };
        calls[index].push(item, positions);
        if calls[index].items.len() >= most(limits, item.kind) {
            open.retain(|call| *call != index);
        }
    }
    calls.into_iter().map(|call| Filled::new(call.items, call.wanted_by, wanted)).collect()
}

impl Filled {
    fn new(items: Vec<Item>, wanted_by: Vec<Vec<usize>>, wanted: &[Wanted<'_>]) -> Self {
        let identities = wanted_by.iter().flatten().map(|position| wanted[*position].identity);
        let reference = reference(identities.collect());
        Self { batch: Batch { reference, items }, wanted_by }
    }

    /// Two batches of half the items each, with references of their own; none if there is only one item.
    pub fn halves(&self, wanted: &[Wanted<'_>]) -> Option<[Self; 2]> {
        let middle = self.batch.items.len() / 2;
        if middle == 0 {
            return None;
        }
        let (items, rest) = self.batch.items.split_at(middle);
        let (wanted_by, rest_by) = self.wanted_by.split_at(middle);
        Some([
            Self::new(items.to_vec(), wanted_by.to_vec(), wanted),
            Self::new(rest.to_vec(), rest_by.to_vec(), wanted),
        ])
    }
}

/// A call while it is filled.
#[derive(Default)]
struct Call {
    items: Vec<Item>,
    wanted_by: Vec<Vec<usize>>,
    /// Of each kind, in the order of their declaration.
    kinds: [usize; 4],
    bytes: usize,
    wildcards: usize,
}

impl Call {
    fn push(&mut self, item: &Item, positions: Vec<usize>) {
        self.kinds[item.kind as usize] += 1;
        self.bytes += cost(&item.value);
        self.wildcards += usize::from(is_wildcard(item));
        self.items.push(item.clone());
        self.wanted_by.push(positions);
    }

    fn has_room(&self, item: &Item, cdn: CdnType, limits: &Capabilities) -> bool {
        let wildcards = self.wildcards + usize::from(is_wildcard(item));
        self.kinds[item.kind as usize] < per_call(limits, item.kind)
            && self.items.len() < most(limits, item.kind)
            && self.bytes + cost(&item.value) <= limits.bytes_per_call
            && (cdn != CdnType::Cloudfront || wildcards <= CLOUDFRONT_WILDCARDS)
    }
}

/// Items of one kind in a call.
fn per_call(limits: &Capabilities, kind: ItemKind) -> usize {
    let limit = match kind {
        ItemKind::Url => limits.urls_per_call,
        ItemKind::Tag => limits.tags_per_call,
        ItemKind::Prefix => limits.prefixes_per_call,
        ItemKind::Everything => 1,
    };
    limit.max(1)
}

/// Items of every kind in a call with one of this kind.
fn most(limits: &Capabilities, kind: ItemKind) -> usize {
    if !limits.mixed_kinds || kind == ItemKind::Everything {
        return per_call(limits, kind);
    }
    let kinds = [ItemKind::Url, ItemKind::Tag, ItemKind::Prefix];
    kinds.map(|kind| per_call(limits, kind)).into_iter().max().unwrap_or(1)
}

/// What a name adds to a body: as a JSON string with a comma.
fn cost(name: &str) -> usize {
    let escapes = name.bytes().map(|byte| match byte {
        b'"' | b'\\' => 1,
        0..0x20 => 5,
        _ => 0,
    });
    name.len() + escapes.sum::<usize>() + 3
}

/// Whether CloudFront counts it as a wildcard.
fn is_wildcard(item: &Item) -> bool {
    item.kind == ItemKind::Prefix || item.kind == ItemKind::Url && item.value.ends_with('*')
}

/// CloudFront answers a reference that it knows with the earlier invalidation and purges nothing. So it must be the same
/// for a retry of the same sends, whose first call may have got through, and another for everything else.
fn reference(mut identities: Vec<(i64, i64)>) -> String {
    identities.sort_unstable();
    let mut hasher = Sha256::new();
    for (id, created_ms) in identities {
        hasher.update(id.to_be_bytes());
        hasher.update(created_ms.to_be_bytes());
    }
    hex::encode(&hasher.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::super::testing::{capabilities, cdn};
    use super::*;
    use CdnType::{Akamai, Cloudflare, Cloudfront, Fastly, Varnish};
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashSet};

    fn item(kind: ItemKind, value: impl Into<String>, hard: bool) -> Item {
        Item { kind, value: value.into(), hard }
    }

    fn filled(cdn_type: CdnType, items: &[Item]) -> Vec<Filled> {
        let wanted: Vec<_> =
            items.iter().zip(0..).map(|(item, id)| Wanted { item, identity: (id, 7) }).collect();
        batches(cdn_type, &capabilities(&cdn(cdn_type)), &wanted)
    }

    /// How many items each call carries.
    #[track_caller]
    fn check(cdn_type: CdnType, items: &[Item], expected: &[usize]) {
        let sizes: Vec<_> = filled(cdn_type, items).iter().map(|filled| filled.batch.items.len()).collect();
        assert_eq!(sizes, expected, "{cdn_type:?}");
    }

    fn tags(count: usize) -> Vec<Item> {
        (0..count).map(|n| item(ItemKind::Tag, format!("tag-{n:05}"), true)).collect()
    }

    fn urls(count: usize) -> Vec<Item> {
        (0..count).map(|n| item(ItemKind::Url, format!("/{n:05}"), true)).collect()
    }

    #[test]
    fn calls_are_full() {
        check(Fastly, &tags(600), &[256, 256, 88]);
        check(Fastly, &urls(3), &[1, 1, 1]);
        check(Cloudflare, &tags(250), &[100, 100, 50]);
        check(Cloudfront, &tags(3_001), &[3_000, 1]);
        // 12 bytes each in at most 49,986 and in at most 6,900.
        check(Akamai, &tags(5_000), &[4_165, 835]);
        check(Varnish, &tags(1_000), &[575, 425]);
        check(Fastly, &[], &[]);
    }

    #[test]
    fn kinds_and_hardness_do_not_mix() {
        let items = [
            item(ItemKind::Tag, "a", true),
            item(ItemKind::Url, "https://a/", true),
            item(ItemKind::Tag, "a", false),
            item(ItemKind::Everything, "*", true),
            item(ItemKind::Tag, "b", true),
        ];
        check(Akamai, &items, &[2, 1, 1, 1]);
        // Except at CloudFront.
        check(Cloudfront, &items, &[3, 1, 1]);
    }

    #[test]
    fn cloudfront_counts_wildcards() {
        let pages = (0..20).flat_map(|n| {
            [item(ItemKind::Url, format!("/{n}"), true), item(ItemKind::Url, format!("/{n}?*"), true)]
        });
        check(Cloudfront, &pages.collect::<Vec<_>>(), &[35, 5]);
        let prefixes: Vec<_> = (0..16).map(|n| item(ItemKind::Url, format!("/{n}/*"), true)).collect();
        check(Cloudfront, &prefixes, &[15, 1]);
    }

    #[test]
    fn the_same_item_goes_out_once() {
        let items = [tags(2), tags(3)].concat();
        let calls = filled(Fastly, &items);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].batch.items, tags(3));
        assert_eq!(calls[0].wanted_by, [vec![0, 2], vec![1, 3], vec![4]]);
    }

    #[test]
    fn an_item_that_is_too_long_goes_alone() {
        let mut items = tags(2);
        items.insert(1, item(ItemKind::Tag, "x".repeat(60_000), true));
        check(Akamai, &items, &[2, 1]);
    }

    #[test]
    fn halves_cover_the_whole() {
        let items = tags(5);
        let wanted: Vec<_> =
            items.iter().zip(0..).map(|(item, id)| Wanted { item, identity: (id, 7) }).collect();
        let whole = &batches(Fastly, &capabilities(&cdn(Fastly)), &wanted)[0];
        let [left, right] = whole.halves(&wanted).unwrap();
        assert_eq!([left.batch.items.clone(), right.batch.items.clone()].concat(), items);
        assert_eq!([left.wanted_by.clone(), right.wanted_by.clone()].concat(), whole.wanted_by);
        let references: HashSet<_> =
            [whole, &left, &right].map(|filled| filled.batch.reference.clone()).into();
        assert_eq!(references.len(), 3);
        let [one, _] = left.halves(&wanted).unwrap();
        assert_eq!(one.halves(&wanted), None);
    }

    #[test]
    fn the_reference_names_the_sends() {
        let items = tags(2);
        let reference = |identities: [(i64, i64); 2]| {
            let wanted: Vec<_> =
                items.iter().zip(identities).map(|(item, identity)| Wanted { item, identity }).collect();
            batches(Cloudfront, &capabilities(&cdn(Cloudfront)), &wanted)[0].batch.reference.clone()
        };
        let first = reference([(1, 7), (2, 7)]);
        assert_eq!(first, "2726f54568c6427c6f194b4f90ff22fa");
        assert_eq!(reference([(2, 7), (1, 7)]), first);
        // A later purge, and a new store that counts from 1 again.
        assert_ne!(reference([(3, 9), (4, 9)]), first);
        assert_ne!(reference([(1, 9), (2, 9)]), first);
    }

    fn any_item() -> impl Strategy<Value = Item> {
        const KINDS: [ItemKind; 4] = [ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything];
        let value = prop_oneof!["[a-d]", "/[a-z]{1,3}\\*", "[a-z\"]{1,60}"];
        (prop::sample::select(&KINDS), value, any::<bool>())
            .prop_map(|(kind, value, hard)| item(kind, value, hard))
    }

    proptest! {
        #[test]
        fn every_item_in_one_call_and_every_call_within_limits(
            items in prop::collection::vec(any_item(), 0..100),
            cdn_type in prop::sample::select(&[Fastly, Akamai, Cloudflare, Cloudfront, Varnish]),
        ) {
            let limits = capabilities(&cdn(cdn_type));
            let calls = filled(cdn_type, &items);
            let mut wanted_by: Vec<usize> = calls.iter().flat_map(|call| call.wanted_by.concat()).collect();
            wanted_by.sort_unstable();
            prop_assert_eq!(wanted_by, (0..items.len()).collect::<Vec<_>>());
            let mut seen = HashSet::new();
            for Filled { batch, wanted_by } in &calls {
                prop_assert_eq!(batch.items.len(), wanted_by.len());
                prop_assert!(!batch.items.is_empty());
                for (carried, positions) in batch.items.iter().zip(wanted_by) {
                    prop_assert!(seen.insert(carried));
                    prop_assert!(!positions.is_empty() && positions.iter().all(|position| items[*position] == *carried));
                    let of_kind = batch.items.iter().filter(|other| other.kind == carried.kind).count();
                    prop_assert!(of_kind <= per_call(&limits, carried.kind));
                    prop_assert_eq!(carried.hard, batch.items[0].hard);
                }
                let kinds: BTreeSet<_> = batch.items.iter().map(|item| item.kind).collect();
                prop_assert!(kinds.len() == 1 || limits.mixed_kinds && !kinds.contains(&ItemKind::Everything));
                let bytes: usize = batch.items.iter().map(|item| cost(&item.value)).sum();
                prop_assert!(batch.items.len() == 1 || bytes <= limits.bytes_per_call);
                let wildcards = batch.items.iter().filter(|item| is_wildcard(item)).count();
                prop_assert!(cdn_type != Cloudfront || wildcards <= CLOUDFRONT_WILDCARDS);
            }
        }

        #[test]
        fn the_cost_is_that_of_json(name in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            prop_assert!(cost(&name) > serde_json::to_string(&name).unwrap().len());
        }
    }
}
