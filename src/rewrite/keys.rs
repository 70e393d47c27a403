//! What a response can be purged by, as numbers: its path, the prefixes that it is below, its tags. Purges are turned into
//! the same numbers, so that "is this response covered by that purge" is a comparison.
//!
//! Two things that share a number are taken for each other, and so are tags that differ in their case only. Either makes
//! a purge cover more, never less. Numbers live no longer than the process.

use super::tags::encode;
use super::{CdnType, spelling};
use smallvec::SmallVec;

/// One thing by which responses are purged.
pub type Key = u64;

/// Folders deep that a path is looked at. Whatever is deeper counts as covered by every purge.
const DEPTH: usize = 64;

/// The keys of one response.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    list: SmallVec<[Key; 14]>,
    /// Not all are known.
    incomplete: bool,
}

impl Keys {
    /// Those of the canonical path; nothing that was in here stays. However the page is spelt, they are the same.
    pub(super) fn of_page(&mut self, path: &str) {
        self.list.clear();
        self.incomplete = false;
        let bytes = path.as_bytes();
        let mut state = Bytes::default();
        for (at, &byte) in bytes.iter().enumerate() {
            state.add(byte);
            if byte == b'/' && at > 0 {
                if self.list.len() == DEPTH {
                    self.incomplete = true;
                    break;
                }
                self.list.push(state.end(PREFIX));
            }
        }
        if !self.incomplete {
            self.list.push(state.end(PATH));
        }
    }

    /// One more, of a tag as the CDN gets it.
    pub(super) fn add_tag(&mut self, tag: &[u8]) {
        self.list.push(of_tag(tag));
    }

    /// Of a response of which nothing is known.
    pub fn unknown() -> Self {
        Self { list: SmallVec::new(), incomplete: true }
    }

    /// There are more, which are not known.
    pub(super) fn lack_some(&mut self) {
        self.incomplete = true;
    }

    /// Bytes of memory that they take.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + if self.list.spilled() { size_of::<Key>() * self.list.capacity() } else { 0 }
    }

    /// Whether a purge with the keys for which `is_purged` holds covers the response.
    pub fn any(&self, mut is_purged: impl FnMut(Key) -> bool) -> bool {
        self.incomplete || self.list.iter().any(|key| is_purged(*key))
    }

    /// All that are known; none if that is not all.
    pub fn all(&self) -> Option<&[Key]> {
        (!self.incomplete).then_some(&self.list)
    }
}

/// The page at `path` (in whatever spelling, without a query), whatever its host and query.
pub fn path_key(path: &str) -> Key {
    whole(&spelling::canonical(path), PATH)
}

/// Everything below `prefix`, which ends in `/`.
pub fn prefix_key(prefix: &str) -> Key {
    whole(&spelling::canonical(prefix), PREFIX)
}

/// The tag in the form that `cdn` gets.
pub fn tag_key(cdn: CdnType, tag: &str) -> Key {
    of_tag(encode(cdn, tag).as_bytes())
}

const PATH: u64 = 0x70;
const PREFIX: u64 = 0x64;

fn whole(text: &str, what: u64) -> Key {
    let mut state = Bytes::default();
    text.bytes().for_each(|byte| state.add(byte));
    state.end(what)
}

/// FNV-1a, whose state after each byte is good for a key of what came so far.
struct Bytes(u64);

impl Default for Bytes {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Bytes {
    fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }

    fn end(&self, what: u64) -> Key {
        mixed(self.0 ^ what)
    }
}

/// Whatever the case: Cloudflare and CloudFront do not tell it apart. In ASCII one bit is the case of a letter.
fn of_tag(tag: &[u8]) -> Key {
    const CASE: u64 = 0x2020_2020_2020_2020;
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let add = |hash: u64, word: u64| (hash.rotate_left(5) ^ (word | CASE)).wrapping_mul(MIX);
    let (words, rest) = tag.as_chunks::<8>();
    let hash = words.iter().fold(tag.len() as u64, |hash, word| add(hash, u64::from_le_bytes(*word)));
    mixed(add(hash, rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))))
}

/// Every bit of the input changes every bit of the output (the finalizer of MurmurHash3).
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Keys, spelling};

    /// The keys of a page without tags.
    pub(crate) fn of_path(path: &str) -> Keys {
        let mut keys = Keys::default();
        keys.of_page(&spelling::canonical(path));
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Vec<Key> {
        let mut keys = Keys::default();
        keys.of_page(&spelling::canonical(path));
        keys.all().map(<[_]>::to_vec).unwrap_or_default()
    }

    #[test]
    fn a_path_is_below_each_of_its_folders() {
        let check = |path: &str, prefixes: &[&str]| {
            let expected: Vec<_> = prefixes.iter().map(|prefix| prefix_key(prefix)).collect();
            assert_eq!(of(path), [expected, vec![path_key(path)]].concat(), "{path}");
        };
        check("/", &[]);
        check("/a", &[]);
        check("/a/", &["/a/"]);
        check("/a/b/c.html", &["/a/", "/a/b/"]);
    }

    #[test]
    fn keys_are_of_normal_forms() {
        assert_eq!(path_key("/a//%62/../%62"), path_key("/a/b"));
        assert_eq!(prefix_key("/%61//"), prefix_key("/a/"));
        assert_eq!(path_key("/foo%281%29"), path_key("/foo(1)"));
        assert_eq!(of("/a%3A/b%40"), of("/a:/b@"));
        assert_ne!(path_key("/A"), path_key("/a"));
        assert_ne!(path_key("/a/"), prefix_key("/a/"));
        assert_eq!(tag_key(CdnType::Cloudflare, "Product-42"), tag_key(CdnType::Fastly, "product-42"));
        // Encoding twice is encoding once: whoever purges by the form that the CDN shows means the same tag.
        assert_eq!(
            tag_key(CdnType::Akamai, "a b"),
            tag_key(CdnType::Fastly, &encode(CdnType::Akamai, "a b"))
        );
        assert_ne!(tag_key(CdnType::Fastly, "a"), tag_key(CdnType::Fastly, "b"));
    }

    /// Both halves of a key choose its places among what was purged, so every bit of what it is made of has to reach both.
    #[test]
    fn keys_are_spread() {
        let mut seen = std::collections::HashSet::new();
        for number in 0..4_096_u32 {
            let path = format!("/{number:03x}");
            let tag = |text: &str| tag_key(CdnType::Fastly, text);
            for key in [path_key(&path), prefix_key(&format!("{path}/")), tag(&path), tag(&path.repeat(4))] {
                assert!(seen.insert(key), "{path}");
            }
        }
        for half in [0, 32] {
            let mut places = [0_u32; 64];
            seen.iter().for_each(|key| places[(key >> half) as usize % places.len()] += 1);
            let (fewest, most) = (places.iter().min().unwrap(), places.iter().max().unwrap());
            assert!(*fewest > 180 && *most < 340, "{places:?}");
        }
        // A tag is told by each of its bytes, and by its length.
        let base = b"0123456789abcdef01234";
        for at in 0..base.len() {
            let mut other = *base;
            other[at] ^= 1;
            assert_ne!(of_tag(base), of_tag(&other), "{at}");
        }
        assert_ne!(of_tag(b"aaaaaaaa"), of_tag(b"aaaaaaaaaaaaaaaa"));
        assert_ne!(of_tag(b"ab"), of_tag(b"ba"));
    }

    #[test]
    fn what_is_not_known_is_covered() {
        assert!(Keys::unknown().any(|_| false) && Keys::unknown().all().is_none());
        let deep = "/x".repeat(200);
        let mut keys = Keys::default();
        keys.of_page(&deep);
        assert!(keys.any(|_| false));
        keys.of_page("/a");
        assert!(!keys.any(|_| false));
        keys.lack_some();
        assert!(keys.any(|_| false) && keys.all().is_none());
    }
}
