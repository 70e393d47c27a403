//! How many calls a purge takes, for a plan that is shown before it is carried out.

use super::fill::{Filling, Fit, Room, scheduling_kind};
use crate::cdn::{Capabilities, Item, ItemKind};
use crate::rewrite::CdnType;

const KINDS: [ItemKind; 4] = [ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything];

/// Returns the number of calls that carry these items if nothing else is due. Other purges may share the calls, and
/// the account's rate may split them, so the real number can differ.
pub fn calls_of(cdn: CdnType, can: &Capabilities, items: &[Item]) -> usize {
    let alone = |kind: ItemKind| kind == ItemKind::Everything || !can.mixed_kinds;
    let groups: Vec<(bool, Option<ItemKind>)> = [true, false]
        .into_iter()
        .flat_map(|hard| {
            let kinds = KINDS.into_iter().filter(move |kind| alone(*kind)).map(Some);
            kinds.chain(can.mixed_kinds.then_some(None)).map(move |kind| (hard, kind))
        })
        .collect();
    let calls = groups.into_iter().map(|(hard, kind)| {
        let of_group = items.iter().filter(|item| item.hard == hard).filter_map(|item| {
            let scheduled = scheduling_kind(cdn, item);
            let belongs = kind.map_or(!alone(scheduled), |kind| kind == scheduled);
            belongs.then_some((scheduled, item))
        });
        fill(can, of_group)
    });
    calls.sum()
}

/// Fills one call after the other.
fn fill<'i>(can: &Capabilities, items: impl Iterator<Item = (ItemKind, &'i Item)>) -> usize {
    let most = KINDS.map(|kind| can.items_per_call(kind).max(1));
    let total = most.into_iter().max().unwrap_or(1);
    let empty = || Filling::new(Room { items: most, total, bytes: can.bytes_per_call }, [0; 4]);
    let (mut calls, mut filling) = (0, empty());
    for (kind, item) in items {
        if calls == 0 {
            calls = 1;
        }
        if filling.add(kind, item) == Fit::Full {
            calls += 1;
            filling = empty();
            // An empty call takes any item.
            let _ = filling.add(kind, item);
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::testing::{capabilities, cdn};
    use CdnType::{Cloudfront, Fastly};
    use ItemKind::{Everything, Tag, Url};

    #[track_caller]
    fn check(cdn_type: CdnType, items: &[(ItemKind, &str, bool, usize)], expected: usize) {
        let items: Vec<Item> = items
            .iter()
            .flat_map(|&(kind, end, hard, count)| {
                (0..count).map(move |index| Item { kind, value: format!("/{index}{end}"), hard })
            })
            .collect();
        assert_eq!(calls_of(cdn_type, &capabilities(&cdn(cdn_type)), &items), expected);
    }

    #[test]
    fn calls_are_full_and_of_one_kind_unless_kinds_mix() {
        check(Fastly, &[], 0);
        check(Fastly, &[(Tag, "", true, 256)], 1);
        check(Fastly, &[(Tag, "", true, 257)], 2);
        check(Fastly, &[(Tag, "", true, 3), (Tag, "", false, 3), (Url, "", true, 2)], 4);
        check(Cloudfront, &[(Url, "", true, 100), (Tag, "", true, 7), (Url, "*", true, 15)], 1);
        check(Cloudfront, &[(Url, "*", true, 16)], 2);
        check(Cloudfront, &[(Url, "", true, 3_001)], 2);
        check(Cloudfront, &[(Everything, "", true, 1)], 1);
    }
}
