//! Filling one call with as many items as the CDN accepts and its account's rate allows, without duplicates.

use crate::cdn::{Item, ItemKind};
use crate::rewrite::CdnType;
use std::collections::HashSet;

/// The room in one call: what may be added to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Distinct items of each scheduling kind, in the order of [`ItemKind`]'s declaration.
    pub items: [usize; 4],
    /// Distinct items of all kinds.
    pub total: usize,
    /// Bytes, as counted by [`cost`].
    pub bytes: usize,
}

/// A call that is being filled.
#[derive(Debug)]
pub struct Filling {
    room: Room,
    held_back: [usize; 4],
    carried: HashSet<Item>,
}

/// The result of adding an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The call now carries the item.
    Carried,
    /// The call carried the item already.
    Known,
    /// The call has no room for the item.
    Full,
}

impl Filling {
    /// Creates an empty call, in which this much room of each kind is held back until it is released.
    pub fn new(room: Room, held_back: [usize; 4]) -> Self {
        Self { room, held_back, carried: HashSet::new() }
    }

    /// Makes the room that was held back available.
    pub fn release(&mut self) {
        self.held_back = [0; 4];
    }

    /// Adds an item if there is room. An item that is too long for any call gets a call to itself, because the CDN's
    /// refusal explains more than an error of the shim could.
    pub fn add(&mut self, kind: ItemKind, item: &Item) -> Fit {
        if self.carried.contains(item) {
            return Fit::Known;
        }
        let bytes = cost(&item.value);
        let fits = bytes <= self.room.bytes || self.carried.is_empty();
        let index = kind as usize;
        let has_room =
            self.room.items[index] > self.held_back[index] && self.room.total > self.held_back.iter().sum();
        if !has_room || !fits {
            return Fit::Full;
        }
        self.room.items[index] -= 1;
        self.room.total -= 1;
        self.room.bytes = self.room.bytes.saturating_sub(bytes);
        self.carried.insert(item.clone());
        Fit::Carried
    }
}

/// Returns the kind as which an item is scheduled. CDNs whose purges name paths have a separate limit for wildcards,
/// so wildcards are scheduled as prefixes, whatever their kind.
pub fn scheduling_kind(cdn: CdnType, item: &Item) -> ItemKind {
    let is_wildcard = item.kind == ItemKind::Url && item.value.ends_with('*');
    if cdn.facts().purging.paths && is_wildcard { ItemKind::Prefix } else { item.kind }
}

/// Returns the bytes that a name adds to a body, as a JSON string with a comma.
pub fn cost(name: &str) -> usize {
    let escapes = name.bytes().map(|byte| match byte {
        b'"' | b'\\' => 1,
        0..0x20 => 5,
        _ => 0,
    });
    name.len() + escapes.sum::<usize>() + 3
}

#[cfg(test)]
mod tests {
    use super::*;
    use Fit::{Carried, Full, Known};
    use proptest::prelude::*;

    fn item(kind: ItemKind, value: &str) -> Item {
        Item { kind, value: value.into(), hard: true }
    }

    #[test]
    fn as_much_as_there_is_room_for() {
        let room = Room { items: [2, 1, 0, 0], total: 3, bytes: 1_000 };
        let mut filling = Filling::new(room, [0; 4]);
        let mut check =
            |kind, value, expected| assert_eq!(filling.add(kind, &item(kind, value)), expected, "{value}");
        let (url, tag, prefix) = (ItemKind::Url, ItemKind::Tag, ItemKind::Prefix);
        check(prefix, "a/", Full);
        check(url, "/a", Carried);
        check(url, "/a", Known);
        check(tag, "a", Carried);
        check(tag, "b", Full);
        check(url, "/b", Carried);
        check(url, "/c", Full);
        check(url, "/b", Known);
    }

    #[test]
    fn room_is_held_back() {
        let mut filling = Filling::new(Room { items: [3; 4], total: 3, bytes: 1_000 }, [2, 0, 0, 0]);
        let mut add = |value| filling.add(ItemKind::Url, &item(ItemKind::Url, value));
        assert_eq!([add("a"), add("b")], [Carried, Full]);
        filling.release();
        let mut add = |value| filling.add(ItemKind::Url, &item(ItemKind::Url, value));
        assert_eq!([add("b"), add("c"), add("d")], [Carried, Carried, Full]);
    }

    #[test]
    fn bytes_and_the_whole_are_limited_too() {
        let fill = |room: Room, values: &[&str]| {
            let mut filling = Filling::new(room, [0; 4]);
            values
                .iter()
                .map(|value| filling.add(ItemKind::Tag, &item(ItemKind::Tag, value)))
                .collect::<Vec<_>>()
        };
        let room = |total, bytes| Room { items: [9; 4], total, bytes };
        assert_eq!(fill(room(2, 100), &["a", "b", "c"]), [Carried, Carried, Full]);
        assert_eq!(fill(room(9, 10), &["aaaa", "bb", "c"]), [Carried, Full, Full]);
        // The last item may fill the call to the last byte.
        assert_eq!(fill(room(9, 2 * cost("a")), &["a", "b", "c"]), [Carried, Carried, Full]);
        // The item is too long for any call.
        assert_eq!(fill(room(9, 10), &["aaaaaaaaaaaaaa", "b"]), [Carried, Full]);
        assert_eq!(fill(room(9, 10), &["a", "aaaaaaaaaaaaaa"]), [Carried, Full]);
    }

    #[test]
    fn wildcards_of_cloudfront_are_scheduled_as_prefixes() {
        let check =
            |cdn, value, expected| assert_eq!(scheduling_kind(cdn, &item(ItemKind::Url, value)), expected);
        check(CdnType::Cloudfront, "/a/*", ItemKind::Prefix);
        check(CdnType::Cloudfront, "/a", ItemKind::Url);
        check(CdnType::Fastly, "https://a/*", ItemKind::Url);
    }

    proptest! {
        #[test]
        fn the_cost_is_that_of_json(name in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            prop_assert!(cost(&name) > serde_json::to_string(&name).unwrap().len());
        }
    }
}
