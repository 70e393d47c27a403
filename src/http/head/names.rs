//! The names that most heads consist of, found eight bytes at a time. A name that is found needs no check of its
//! characters, and its meaning is known.

use super::Known;
use super::eight::{ONES, before, first_equal};

/// The number of words of a name that is found, and of its bytes.
const WORDS: usize = 4;
const BYTES: usize = 8 * WORDS;

/// The bit in which a letter differs from its other case.
const CASE: u64 = ONES * 0x20;

/// Frequent names that have no meaning to the proxy.
const OTHERS: &[&str] = &[
    "server",
    "link",
    "range",
    "allow",
    "origin",
    "accept",
    "refresh",
    "referer",
    "location",
    "priority",
    "x-cache",
    "if-match",
    "if-range",
    "sec-gpc",
    "alt-svc",
    "x-served-by",
    "retry-after",
    "user-agent",
    "x-timer",
    "report-to",
    "x-powered-by",
    "content-type",
    "accept-ranges",
    "sec-ch-ua",
    "cache-status",
    "content-range",
    "content-language",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-user",
    "sec-fetch-dest",
    "server-timing",
    "x-generator",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "content-encoding",
    "content-location",
    "x-frame-options",
    "x-requested-with",
    "x-xss-protection",
    "referrer-policy",
    "permissions-policy",
    "content-disposition",
    "x-content-type-options",
    "x-amz-cf-id",
    "content-security-policy",
    "strict-transport-security",
    "upgrade-insecure-requests",
    "access-control-allow-origin",
    "access-control-max-age",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "cross-origin-opener-policy",
    "access-control-allow-methods",
    "access-control-allow-headers",
];

/// A name in lower case, and what it means.
#[derive(Clone, Copy)]
struct Name {
    words: [u64; WORDS],
    /// The bits in which letters of the other case differ.
    cases: [u64; WORDS],
    length: u8,
    known: Known,
}

const COUNT: usize = Known::NAMES.len() + OTHERS.len();

static NAMES: [Name; COUNT] = {
    let none = Name { words: [0; WORDS], cases: [0; WORDS], length: 0, known: Known::Other };
    let mut names = [none; COUNT];
    let mut number = 0;
    while number < COUNT {
        let (text, known) = match number < Known::NAMES.len() {
            true => Known::NAMES[number],
            false => (OTHERS[number - Known::NAMES.len()].as_bytes(), Known::Other),
        };
        let words = words(text);
        names[number] = Name { words, cases: cases(&words), length: text.len() as u8, known };
        number += 1;
    }
    names
};

/// The number of slots, a power of two and at least twice that of the names, so that most are found at once.
const SLOTS: usize = 256;
const EMPTY: u8 = u8::MAX;

/// The numbers of the names in the slots that their words choose, or in the next free one.
static SLOT_NAMES: [u8; SLOTS] = {
    assert!(COUNT < EMPTY as usize && 2 * COUNT <= SLOTS);
    let mut slots = [EMPTY; SLOTS];
    let mut number = 0;
    while number < COUNT {
        let Name { words, length, .. } = NAMES[number];
        let mut slot = slot(words[0], words[(length as usize - 1) / 8]);
        while slots[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = number as u8;
        number += 1;
    }
    slots
};

const fn words(text: &[u8]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    let mut at = 0;
    while at < text.len() {
        words[at / 8] |= (text[at] as u64) << (at % 8 * 8);
        at += 1;
    }
    words
}

/// The bits in which the letters among these characters of names differ from their other case. Of all characters of a
/// name in lower case, only letters have both bits of 0x60.
const fn cases(words: &[u64; WORDS]) -> [u64; WORDS] {
    let mut cases = [0; WORDS];
    let mut number = 0;
    while number < WORDS {
        cases[number] = (words[number] & (words[number] << 1) & (ONES * 0x40)) >> 1;
        number += 1;
    }
    cases
}

/// The slot for a name with these words at its start and its end, whose case does not matter.
const fn slot(first: u64, last: u64) -> usize {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = ((first | CASE) ^ (last | CASE).rotate_left(21)).wrapping_mul(MIX);
    (mixed >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

/// If the text begins with one of these names and a colon, brings the name into lower case and returns its length and
/// meaning.
pub(super) fn find(text: &mut [u8]) -> Option<(u16, Known)> {
    if let Some(bytes) = text.first_chunk_mut() {
        return find_in(bytes);
    }
    // The last line of a head may be short.
    let mut bytes = [0; BYTES];
    let (start, _) = bytes.split_at_mut(text.len());
    start.copy_from_slice(text);
    let found = find_in(&mut bytes)?;
    text.copy_from_slice(&bytes[..text.len()]);
    Some(found)
}

fn find_in(bytes: &mut [u8; BYTES]) -> Option<(u16, Known)> {
    let (bytes, _) = bytes.as_chunks_mut::<8>();
    let mut received = [0; WORDS];
    let mut last = 0;
    let length = loop {
        let word = u64::from_le_bytes(*bytes.get(last)?);
        let colons = first_equal(word, b':');
        if colons != 0 {
            // The bits below the first colon, in whole bytes.
            received[last] = word & (((colons & colons.wrapping_neg()) - 1) >> 7);
            break 8 * last + before(colons);
        }
        received[last] = word;
        last += 1;
    };
    let mut slot = slot(received[0], received[length.saturating_sub(1) / 8]);
    let name = loop {
        let name = NAMES.get(usize::from(SLOT_NAMES[slot]))?;
        let is_word = |number: usize| received[number] | name.cases[number] == name.words[number];
        if usize::from(name.length) == length && (0..=last).all(is_word) {
            break name;
        }
        slot = (slot + 1) % SLOTS;
    };
    for (bytes, cases) in bytes.iter_mut().zip(name.cases).take(last + 1) {
        *bytes = (u64::from_le_bytes(*bytes) | cases).to_le_bytes();
    }
    Some((length as u16, name.known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str) -> Option<(u16, Known, String)> {
        let mut text = format!("{text:<60}").into_bytes();
        find(&mut text).map(|(length, known)| {
            (length, known, String::from_utf8_lossy(&text[..usize::from(length) + 1]).into_owned())
        })
    }

    fn all() -> impl Iterator<Item = (&'static str, Known)> {
        let known = Known::NAMES.iter().map(|(name, known)| (std::str::from_utf8(name).unwrap(), *known));
        known.chain(OTHERS.iter().map(|name| (*name, Known::Other)))
    }

    #[test]
    fn every_name_is_found_in_every_case() {
        for (name, known) in all() {
            assert_eq!(Known::of(name), known, "{name}");
            let train: Vec<_> = name.split('-').map(|part| part[..1].to_uppercase() + &part[1..]).collect();
            for spelled in [name.to_owned(), name.to_uppercase(), train.join("-")] {
                let expected = (name.len() as u16, known, format!("{name}:"));
                assert_eq!(found(&format!("{spelled}: x")), Some(expected), "{spelled}");
                assert_eq!(found(&format!("{spelled} : x")), None);
            }
        }
    }

    #[test]
    fn what_only_looks_like_a_name_is_not_found() {
        for text in [
            "content\rlength: 1",
            "x-cach: 1",
            "x-caches: 1",
            "",
            ":",
            "x",
            "Server",
            "cache-contro\u{4c}\u{4c}: 1",
        ] {
            assert_eq!(found(text), None, "{text:?}");
        }
        assert_eq!(find(&mut b"server".to_vec()), None);
    }

    proptest! {
        #[test]
        fn whatever_is_found_is_that_name_in_another_case(
            name in prop::sample::select(all().map(|(name, _)| name).collect::<Vec<_>>()),
            at in any::<prop::sample::Index>(),
            byte: u8,
            rest in 0..40usize,
        ) {
            let mut text = format!("{name}: {:rest$}", "").into_bytes();
            text[at.index(name.len())] = byte;
            let before = text.clone();
            let same = before[..name.len()].eq_ignore_ascii_case(name.as_bytes());
            match find(&mut text) {
                Some((length, known)) => {
                    let length = usize::from(length);
                    prop_assert!(before[..length].eq_ignore_ascii_case(&text[..length]));
                    prop_assert_eq!(Known::of_bytes(&text[..length]), known);
                    prop_assert_eq!(&text[length..], &before[length..]);
                }
                None => {
                    prop_assert!(!same, "{:?}", before);
                    prop_assert_eq!(text, before);
                }
            }
        }
    }
}
