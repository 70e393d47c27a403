//! Conversion of heads to the maps that the `h2` crate takes. Most heads have the same names in the same order as an
//! earlier one. For these, no name is hashed or looked up: a map with the same names (a shape) is copied, and its
//! values are set.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The number of shapes remembered.
const SHAPES: usize = 16;
/// The maximum number of lines of a remembered head. Together with the number of shapes this bounds the memory.
const MAX_LINES: usize = 64;

/// A cache of maps that were made before.
#[derive(Debug, Default)]
pub struct MapCache {
    /// Maps with the names in their order and with empty values, most recently used first.
    shapes: Vec<HeaderMap>,
    /// Fingerprints of heads that came one time. Only heads that come twice are remembered.
    candidates: [u64; SHAPES],
}

impl MapCache {
    /// Returns a map of these lines, each a name in lower case and a function that makes the value.
    pub fn map<'l, V: FnOnce() -> HeaderValue>(
        &mut self,
        lines: impl Iterator<Item = (&'l [u8], V)> + Clone,
    ) -> HeaderMap {
        let names = || lines.clone().map(|(name, _)| name);
        let is_of_these = |shape: &HeaderMap| shape.keys().map(bytes).eq(names());
        let Some(found) = self.shapes.iter().position(is_of_these) else {
            let map = made(lines.clone());
            self.note(&map, names());
            return map;
        };
        self.shapes[..=found].rotate_right(1);
        let mut map = self.shapes[0].clone();
        map.values_mut().zip(lines).for_each(|(place, (_, value))| *place = value());
        map
    }

    /// Takes note of a head that was not remembered. It is remembered if it comes again.
    fn note<'l>(&mut self, map: &HeaderMap, names: impl Iterator<Item = &'l [u8]> + Clone) {
        // Repeated names are stored apart in a map, so such a head has no shape.
        if map.is_empty() || map.len() > MAX_LINES || map.keys_len() < map.len() {
            return;
        }
        let fingerprint = names.clone().fold(1, mixed);
        let candidate = &mut self.candidates[fingerprint as usize % SHAPES];
        if *candidate != fingerprint {
            *candidate = fingerprint;
            return;
        }
        let mut shape = map.clone();
        shape.values_mut().for_each(|value| *value = HeaderValue::from_static(""));
        if shape.keys().map(bytes).eq(names) {
            self.shapes.truncate(SHAPES - 1);
            self.shapes.insert(0, shape);
        }
    }
}

/// The bytes of a name. To compare them costs less than to compare text.
fn bytes(name: &HeaderName) -> &[u8] {
    name.as_str().as_bytes()
}

/// Mixes one more name into a fingerprint. Different names may give the same result.
fn mixed(before: u64, name: &[u8]) -> u64 {
    let ends = [name.first(), name.last()].map(|byte| u64::from(*byte.unwrap_or(&0)));
    let name = (name.len() as u64) << 16 | ends[0] << 8 | ends[1];
    (before ^ name).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

fn made<'l, V: FnOnce() -> HeaderValue>(lines: impl Iterator<Item = (&'l [u8], V)> + Clone) -> HeaderMap {
    // The response may get a `Content-Length` in addition.
    let mut map = HeaderMap::with_capacity(lines.clone().count() + 1);
    for (name, value) in lines {
        if let Ok(name) = HeaderName::from_bytes(name) {
            map.append(name, value());
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines<'f>(
        fields: &'f [(&'f str, &'f str)],
    ) -> impl Iterator<Item = (&'f [u8], impl FnOnce() -> HeaderValue)> + Clone {
        fields.iter().map(|(name, value)| (name.as_bytes(), || HeaderValue::from_str(value).unwrap()))
    }

    #[test]
    fn what_comes_twice_is_remembered() {
        let mut cache = MapCache::default();
        let mut check = |fields: &[(&str, &str)], expected| {
            assert_eq!(cache.map(lines(fields)), made(lines(fields)), "{fields:?}");
            assert_eq!(cache.shapes.len(), expected, "{fields:?}");
        };
        check(&[("etag", "1"), ("x-a", "1")], 0);
        check(&[("etag", "2"), ("x-a", "2")], 1);
        check(&[("etag", "3"), ("x-a", "3")], 1);
        check(&[("x-a", "3"), ("etag", "3")], 1);
        check(&[("x-a", "4"), ("etag", "4")], 2);
        check(&[("etag", "5"), ("x-a", "5")], 2);
        check(&[], 2);
        // A head with a repeated name has no shape, however often it comes.
        for _ in 0..3 {
            check(&[("set-cookie", "a"), ("etag", "1"), ("set-cookie", "b")], 2);
        }
        // The oldest shapes are evicted.
        for name in
            ["a", "b", "c"].map(|start| (0..SHAPES).map(move |n| format!("{start}{n}"))).into_iter().flatten()
        {
            for _ in 0..2 {
                cache.map(lines(&[(&name, "1")]));
            }
        }
        assert_eq!(cache.shapes.len(), SHAPES);
    }

    #[test]
    fn names_that_look_alike_are_told_apart() {
        let (one, other) = ([("x-abc-x", "1")], [("x-xyz-x", "2")]);
        assert_eq!(mixed(1, one[0].0.as_bytes()), mixed(1, other[0].0.as_bytes()));
        let mut cache = MapCache::default();
        for _ in 0..3 {
            for fields in [&one, &one, &other, &other] {
                assert_eq!(cache.map(lines(fields)), made(lines(fields)));
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
                let (map, expected) = (cache.map(lines(&fields)), made(lines(&fields)));
                prop_assert!(map.iter().eq(expected.iter()));
                prop_assert_eq!(map, expected);
            }
        }
    }
}
