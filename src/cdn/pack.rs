//! Grouping of a batch's items into calls that stay within a CDN's limits. A batch within the capabilities
//! becomes one call. This is the safety net below the planner, so that no call is ever refused for its size.

use super::{Capabilities, ItemKind};

/// The items of one call: of one kind and one hardness.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// The kind of the items.
    pub kind: ItemKind,
    /// Whether the items are purged hard.
    pub hard: bool,
    /// The items' names at the CDN, in the order of the batch.
    pub names: Vec<String>,
    /// The bytes that the names add to a body, each with its separator.
    pub bytes: usize,
}

impl Group {
    /// Whether one more name keeps the call within the CDN's limits.
    pub fn has_room(&self, name: &str, limits: &Capabilities) -> bool {
        self.names.len() < limits.items_per_call(self.kind)
            && self.bytes + cost(name) <= limits.bytes_per_call
    }
}

/// The bytes that a name adds to a body as a JSON string with a comma, which is the longest form that a CDN
/// requires.
pub fn cost(name: &str) -> usize {
    let escapes = name.bytes().map(|byte| match byte {
        b'"' | b'\\' => 1,
        0..0x20 => 5,
        _ => 0,
    });
    name.len() + escapes.sum::<usize>() + 3
}

/// Groups named items and keeps their order. A new group begins if `fits` returns false for the last one. A
/// name that fits nowhere gets a group of its own, because the CDN's refusal is more informative than ours
/// could be.
pub fn pack(
    items: impl IntoIterator<Item = (ItemKind, bool, String)>,
    fits: impl Fn(&Group, &str) -> bool,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (kind, hard, name) in items {
        let bytes = cost(&name);
        let last = groups.iter_mut().rev().find(|group| group.kind == kind && group.hard == hard);
        match last {
            Some(group) if fits(group, &name) => {
                group.names.push(name);
                group.bytes += bytes;
            }
            _ => groups.push(Group { kind, hard, names: vec![name], bytes }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use ItemKind::{Tag, Url};
    use proptest::prelude::*;

    #[test]
    fn one_kind_and_hardness_per_group() {
        let items =
            [(Tag, true, "a"), (Url, true, "b"), (Tag, true, "c"), (Tag, false, "d"), (Tag, true, "e")];
        let items = items.map(|(kind, hard, name)| (kind, hard, name.to_owned()));
        let groups = pack(items, |group, _| group.names.len() < 2);
        let shape: Vec<_> = groups.iter().map(|g| (g.kind, g.hard, g.names.join(" "))).collect();
        let expected = [(Tag, true, "a c"), (Url, true, "b"), (Tag, false, "d"), (Tag, true, "e")];
        assert_eq!(shape, expected.map(|(kind, hard, names)| (kind, hard, names.to_owned())));
    }

    proptest! {
        #[test]
        fn the_cost_is_that_of_json(name in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let json = serde_json::to_string(&name).expect("a string is JSON");
            prop_assert!(cost(&name) > json.len());
        }

        #[test]
        fn every_item_once_and_every_group_within_limits(names in prop::collection::vec("[a-z]{1,30}", 0..200)) {
            let items = names.iter().map(|name| (Tag, true, name.clone()));
            let groups = pack(items, |group, name| group.names.len() < 10 && group.bytes + cost(name) <= 100);
            let packed: Vec<String> = groups.iter().flat_map(|group| group.names.clone()).collect();
            prop_assert_eq!(packed, names);
            for group in groups {
                prop_assert!(group.names.len() <= 10 && group.bytes <= 100);
                prop_assert_eq!(group.bytes, group.names.iter().map(|name| cost(name)).sum::<usize>());
            }
        }
    }
}
