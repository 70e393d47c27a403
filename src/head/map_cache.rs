//! Heads as the maps that the `h2` crate takes. Most have the names of one before in the same order: then no name is hashed,
//! and none looked for.

use super::FieldLine;
use http::{HeaderMap, HeaderValue};

/// Shapes remembered; a power of two.
const SHAPES: usize = 32;
/// Longer heads are not remembered. With the number of shapes this bounds the memory.
const MAX_LINES: usize = 64;

/// Maps that were made before.
#[derive(Debug, Default)]
pub struct MapCache {
    shapes: Vec<Shape>,
}

/// The names of a head in their order.
#[derive(Clone, Debug, Default)]
struct Shape {
    /// Of the head that asked for this place last. Only what comes twice is remembered.
    candidate: u64,
    /// The names without values.
    names: Option<HeaderMap>,
}

impl MapCache {
    /// A map of these lines, with room for one more.
    pub fn map<'l>(&mut self, lines: impl Iterator<Item = &'l FieldLine> + Clone) -> HeaderMap {
        if self.shapes.is_empty() {
            self.shapes.resize(SHAPES, Shape::default());
        }
        let candidate = lines.clone().fold(1, mixed);
        let shape = &mut self.shapes[candidate as usize % SHAPES];
        let is_same = shape.candidate == candidate;
        if is_same && let Some(map) = shape.names.as_ref().and_then(|names| filled(names, lines.clone())) {
            return map;
        }
        let map = made(lines);
        // A name that is there more than once has a place of its own in a map, which another head need not have.
        let is_plain = map.len() == map.keys_len() && map.len() <= MAX_LINES;
        let names = (is_same && is_plain).then(|| emptied(&map));
        *shape = Shape { candidate, names };
        map
    }
}

/// Takes one more name into account. It need not tell all of them apart.
fn mixed(before: u64, line: &FieldLine) -> u64 {
    let name = line.name().as_str().as_bytes();
    let ends = [name.first(), name.last()].map(|byte| u64::from(*byte.unwrap_or(&0)));
    let name = (line.known() as u64) << 32 | (name.len() as u64) << 16 | ends[0] << 8 | ends[1];
    (before ^ name).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// The map with these names and the lines' values, if the lines' names are these.
fn filled<'l>(names: &HeaderMap, mut lines: impl Iterator<Item = &'l FieldLine>) -> Option<HeaderMap> {
    let mut map = names.clone();
    for (name, value) in &mut map {
        let line = lines.next().filter(|line| line.name() == name)?;
        *value = line.value().clone();
    }
    lines.next().is_none().then_some(map)
}

fn emptied(map: &HeaderMap) -> HeaderMap {
    let mut names = map.clone();
    names.values_mut().for_each(|value| *value = HeaderValue::from_static(""));
    names
}

fn made<'l>(lines: impl Iterator<Item = &'l FieldLine> + Clone) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(lines.clone().count() + 1);
    for line in lines {
        map.append(line.name(), line.value().clone());
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use proptest::prelude::*;

    fn lines(fields: &[(&str, &str)]) -> Vec<FieldLine> {
        let line = |(name, value): &(&str, &str)| {
            FieldLine::new(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        fields.iter().map(line).collect()
    }

    fn remembered(cache: &MapCache) -> usize {
        cache.shapes.iter().filter(|shape| shape.names.is_some()).count()
    }

    #[test]
    fn what_comes_twice_is_remembered() {
        let mut cache = MapCache::default();
        let mut check = |fields: &[(&str, &str)], expected| {
            let lines = lines(fields);
            assert_eq!(cache.map(lines.iter()), made(lines.iter()), "{fields:?}");
            assert_eq!(remembered(&cache), expected, "{fields:?}");
        };
        check(&[("etag", "1"), ("x-a", "1")], 0);
        check(&[("etag", "2"), ("x-a", "2")], 1);
        check(&[("etag", "3"), ("x-a", "3")], 1);
        check(&[("x-a", "3"), ("etag", "3")], 1);
        check(&[], 1);
        // Twice the same name is no shape, however often it comes.
        for _ in 0..3 {
            check(&[("set-cookie", "a"), ("etag", "1"), ("set-cookie", "b")], 1);
        }
    }

    #[test]
    fn names_that_look_alike_are_told_apart() {
        let (one, other) = (lines(&[("x-abc-x", "1")]), lines(&[("x-xyz-x", "2")]));
        assert_eq!(mixed(1, &one[0]), mixed(1, &other[0]));
        let mut cache = MapCache::default();
        for _ in 0..3 {
            for lines in [&one, &one, &other, &other] {
                assert_eq!(cache.map(lines.iter()), made(lines.iter()));
            }
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_what_came_before(
            heads in prop::collection::vec(prop::collection::vec(("[ab]{1,2}|etag|age", "[xy]?"), 0..4), 1..60),
        ) {
            let mut cache = MapCache::default();
            for head in &heads {
                let fields: Vec<_> = head.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let lines = lines(&fields);
                let (map, expected) = (cache.map(lines.iter()), made(lines.iter()));
                prop_assert!(map.iter().eq(expected.iter()));
                prop_assert_eq!(map, expected);
            }
        }
    }
}
