//! The digests that this thread made last. A page that is fetched once is fetched again soon: by the other edges of its
//! CDN, and by all of them after a purge.

use super::Hex;
use std::cell::RefCell;

/// A power of two.
const SLOTS: usize = 256;
/// Longer ones are not remembered. With the number of slots this bounds the memory of a thread.
const MAX_BYTES: usize = 512;

thread_local! {
    static RECENT: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Default)]
struct Slot {
    /// Of the page that asked for this slot last. Only one that comes twice is remembered: what is asked for once costs
    /// no copy.
    candidate: u64,
    /// The site, a zero byte, the path.
    page: Box<[u8]>,
    digest: Hex,
}

/// [`digest_of`](super::digest_of), remembered.
pub(super) fn digest_of(site: &str, path: &str) -> Hex {
    if site.len() + path.len() >= MAX_BYTES {
        return super::digest_of(site, path);
    }
    RECENT.with_borrow_mut(|slots| {
        if slots.is_empty() {
            slots.resize(SLOTS, Slot::default());
        }
        let hash = hash(hash(0, site.as_bytes()), path.as_bytes());
        let slot = &mut slots[hash as usize % SLOTS];
        if slot.is(site, path) {
            return slot.digest;
        }
        let digest = super::digest_of(site, path);
        if slot.candidate == hash {
            slot.page = [site.as_bytes(), b"\0", path.as_bytes()].concat().into();
            slot.digest = digest;
        }
        slot.candidate = hash;
        digest
    })
}

impl Slot {
    fn is(&self, site: &str, path: &str) -> bool {
        let rest = self.page.strip_prefix(site.as_bytes()).and_then(|rest| rest.strip_prefix(b"\0"));
        rest.is_some_and(|rest| rest == path.as_bytes())
    }
}

/// Tells pages apart well enough to choose a slot.
fn hash(start: u64, text: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(MIX);
    let (words, rest) = text.as_chunks::<8>();
    let hash =
        words.iter().fold(start ^ text.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    // The better mixed half chooses the slot.
    mix(hash, rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))).rotate_left(32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pages_are_never_taken_for_each_other() {
        for _ in 0..3 {
            for number in 0..5_000 {
                let path = format!("/blog/{number:04}/the-same-end.html");
                for _ in 0..2 {
                    assert_eq!(digest_of("www", &path), super::super::digest_of("www", &path));
                }
            }
        }
        let digest = digest_of("www", "/a");
        assert_ne!(digest_of("ww", "w/a"), digest);
        assert_eq!(digest_of("www", "/a"), digest);
        assert_eq!(digest_of("www", "/a"), digest);
    }

    #[test]
    fn long_paths_are_not_kept() {
        let path = "/x".repeat(400);
        for _ in 0..3 {
            assert_eq!(digest_of("www", &path), super::super::digest_of("www", &path));
        }
        RECENT.with_borrow(|slots| assert!(slots.iter().all(|slot| slot.page.len() <= MAX_BYTES)));
    }

    proptest! {
        #[test]
        fn it_is_the_same_digest(site in "[a-c]{1,2}", path in "/[ab/]{0,3}") {
            prop_assert_eq!(digest_of(&site, &path), super::super::digest_of(&site, &path));
        }
    }
}
