//! The keys by which a response can be purged, as numbers: its path, the prefixes above it, and its tags. Purges
//! are converted to the same numbers, so that comparing them shows whether a purge covers a response.
//!
//! Things with the same number are not distinguished, and neither are tags that differ only in case. Both make a
//! purge cover more, never less. The numbers do not outlive the process.

use super::tags::{TagForm, encode, forms};
use super::{CdnType, spelling};
use smallvec::SmallVec;

/// A number for something by which responses are purged.
pub type Key = u64;

/// The maximum number of folders of a path. Deeper paths count as covered by every purge.
const DEPTH: usize = 64;

/// The keys of one response.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    list: SmallVec<[Key; 14]>,
    /// Whether some keys are unknown.
    incomplete: bool,
}

impl Keys {
    /// Replaces the keys by those of the canonical path, which are the same for every spelling of the page.
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

    /// Adds a key.
    pub(super) fn add(&mut self, key: Key) {
        self.list.push(key);
    }

    /// The keys of a response about which nothing is known.
    pub fn unknown() -> Self {
        Self { list: SmallVec::new(), incomplete: true }
    }

    /// Marks the list as incomplete.
    pub(super) fn lack_some(&mut self) {
        self.incomplete = true;
    }

    /// Whether a purge with the keys for which `is_purged` holds covers the response.
    pub fn any(&self, mut is_purged: impl FnMut(Key) -> bool) -> bool {
        self.incomplete || self.list.iter().any(|key| is_purged(*key))
    }

    /// Returns all keys, or `None` if some are unknown.
    pub fn all(&self) -> Option<&[Key]> {
        (!self.incomplete).then_some(&self.list)
    }
}

/// The key of the page at `path` (in any spelling, without a query), with any host and query.
pub fn path_key(path: &str) -> Key {
    whole(&spelling::canonical(path), PATH)
}

/// The key of everything below `prefix`, which ends in `/`.
pub fn prefix_key(prefix: &str) -> Key {
    whole(&spelling::canonical(prefix), PREFIX)
}

/// The key of the tag in full as `cdn` gets it. A tag that is encoded already, in whichever form, has its own key.
pub fn tag_key(cdn: CdnType, tag: &str) -> Key {
    tag_bytes_key(encode(cdn, TagForm::Full, tag).as_bytes())
}

/// The keys of the tag in every form that some CDN may have.
pub fn tag_keys(tag: &str) -> impl Iterator<Item = Key> {
    forms(tag).into_iter().map(|form| tag_bytes_key(form.as_bytes()))
}

const PATH: u64 = 0x70;
const PREFIX: u64 = 0x64;

fn whole(text: &str, what: u64) -> Key {
    let mut state = Bytes::default();
    text.bytes().for_each(|byte| state.add(byte));
    state.end(what)
}

/// FNV-1a, whose state after each byte yields a key of the bytes so far.
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

/// The key of a tag in the form that the CDN gets, ignoring case because Cloudflare and CloudFront do. In ASCII, one
/// bit is the case of a letter.
pub(super) fn tag_bytes_key(tag: &[u8]) -> Key {
    const CASE: u64 = 0x2020_2020_2020_2020;
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let add = |hash: u64, word: u64| (hash.rotate_left(5) ^ (word | CASE)).wrapping_mul(MIX);
    let (words, rest) = tag.as_chunks::<8>();
    let hash = words.iter().fold(tag.len() as u64, |hash, word| add(hash, u64::from_le_bytes(*word)));
    mixed(add(hash, rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))))
}

/// Mixes a hash so that every input bit affects every output bit (the finalizer of MurmurHash3).
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
        // Encoding is idempotent, so a purge by the form that the CDN shows names the same tag.
        assert_eq!(
            tag_key(CdnType::Akamai, "a b"),
            tag_key(CdnType::Fastly, &encode(CdnType::Akamai, TagForm::Full, "a b"))
        );
        assert_ne!(tag_key(CdnType::Fastly, "a"), tag_key(CdnType::Fastly, "b"));
    }

    /// Both halves of a key choose its places among the purges, so every bit of the input has to reach both.
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
        // A tag's key depends on each of its bytes and on its length.
        let base = b"0123456789abcdef01234";
        for at in 0..base.len() {
            let mut other = *base;
            other[at] ^= 1;
            assert_ne!(tag_bytes_key(base), tag_bytes_key(&other), "{at}");
        }
        assert_ne!(tag_bytes_key(b"aaaaaaaa"), tag_bytes_key(b"aaaaaaaaaaaaaaaa"));
        assert_ne!(tag_bytes_key(b"ab"), tag_bytes_key(b"ba"));
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
