//! Sixteen bytes at a time, with the processor's instructions for that where every processor of its kind has them.

/// The place of the first control among these bytes (a byte below a space, or DEL).
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "callers need no feature that a processor may lack")]
pub(super) fn first_control(bytes: &[u8; 16]) -> Option<usize> {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { first_control_sse2(bytes) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
fn first_control_sse2(bytes: &[u8; 16]) -> Option<usize> {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let [low, high] = halves(bytes).map(u64::cast_signed);
    let bytes = _mm_set_epi64x(high, low);
    let below_space = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    let delete = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    let found = _mm_movemask_epi8(_mm_or_si128(below_space, delete));
    (found != 0).then(|| found.trailing_zeros() as usize)
}

/// The place of the first control among these bytes (a byte below a space, or DEL).
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn first_control(bytes: &[u8; 16]) -> Option<usize> {
    use super::eight::{before, first_below, first_equal};
    let [low, high] = halves(bytes).map(|word| before(first_below(word, b' ') | first_equal(word, 0x7f)));
    let found = if low < 8 { low } else { 8 + high };
    (found < bytes.len()).then_some(found)
}

fn halves(bytes: &[u8; 16]) -> [u64; 2] {
    let (words, _) = bytes.as_chunks::<8>();
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_control_is_that_of_a_loop(
            bytes: [u8; 16],
            near in prop::collection::vec((0..16usize, prop::sample::select(&[0, 9, 0x1f, 0x20, 0x7e, 0x7f, 0x80, 0xff][..])), 0..16),
        ) {
            // Random bytes alone would nearly always have a control among the first ones.
            let mut bytes = bytes.map(|byte| if byte.is_ascii_control() { b'a' } else { byte });
            near.into_iter().for_each(|(at, byte)| bytes[at] = byte);
            prop_assert_eq!(first_control(&bytes), bytes.iter().position(u8::is_ascii_control));
        }
    }
}
