//! Eight bytes at a time, as one number whose lowest byte is the first. A result has the highest bit of each byte for
//! which the answer is yes, and no other bits.

/// The number 1 in each byte.
pub(super) const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte.
pub(super) const HIGH: u64 = 0x8080_8080_8080_8080;

/// Which bytes are this one. Only the first of the result is exact; later ones may be mistaken.
pub(super) fn first_equal(word: u64, byte: u8) -> u64 {
    let differ = word ^ (ONES * u64::from(byte));
    differ.wrapping_sub(ONES) & !differ & HIGH
}

/// Which bytes are less than this one, which is at most 128. Only the first of the result is exact.
#[cfg(any(test, not(target_arch = "x86_64")))]
pub(super) fn first_below(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(byte)) & !word & HIGH
}

/// Which bytes are ASCII and from `low` to `high`, which is less than 127. All of the result is exact.
pub(super) fn between(word: u64, low: u8, high: u8) -> u64 {
    let ascii = word | HIGH;
    let at_least = ascii - ONES * u64::from(low);
    let above = ascii - ONES * u64::from(high + 1);
    at_least & !above & !word & HIGH
}

/// The number of bytes before the first one of a result; 8 if there is none.
pub(super) fn before(result: u64) -> usize {
    result.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first(bytes: [u8; 8], is: impl Fn(u8) -> bool) -> usize {
        bytes.iter().position(|byte| is(*byte)).unwrap_or(8)
    }

    proptest! {
        #[test]
        fn each_answer_is_that_of_a_loop(bytes: [u8; 8], near in 0..9usize, byte: u8, low in 0..127u8, high in 0..127u8) {
            let mut bytes = bytes;
            // Bytes that are next to each other and to the limits are the difficult ones.
            bytes[..near.min(8)].iter_mut().for_each(|other| *other = byte.wrapping_add(*other % 3).wrapping_sub(1));
            let word = u64::from_le_bytes(bytes);
            prop_assert_eq!(before(first_equal(word, byte)), first(bytes, |other| other == byte));
            let limit = byte.min(128);
            prop_assert_eq!(before(first_below(word, limit)), first(bytes, |other| other < limit));
            let within = between(word, low, high).to_le_bytes();
            for (result, byte) in within.into_iter().zip(bytes) {
                prop_assert_eq!(result, if (low..=high).contains(&byte) { 0x80 } else { 0 });
            }
        }
    }
}
