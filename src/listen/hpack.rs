//! The part of HPACK (RFC 7541) that is needed to detect a fragment in `:path`. The h2 crate reads paths with the
//! `http` crate, which silently drops a fragment. ("The library" below is the h2 crate.) The remaining path then
//! differs from the one that other systems on the way have seen.

use std::collections::VecDeque;

/// The maximum size in bytes of the client's dynamic table ("table" below), which is the default because we announce
/// no other (RFC 9113 §6.5.2).
const TABLE: usize = 4096;
/// The size of an entry in addition to its bytes (RFC 7541 §4.1).
const OVERHEAD: usize = 32;

/// A reader that follows the header blocks of a connection.
#[derive(Debug)]
pub(super) struct Hpack {
    /// The client's table, newest entry first.
    table: VecDeque<Entry>,
    size: usize,
    /// The maximum size of the table in bytes, which the client may lower.
    most: usize,
    /// Whether a block was malformed. The table is then unknown, but the library ends the connection anyway.
    lost: bool,
}

/// A field in the client's table. Only the sizes and the relevant part of its meaning are kept.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name: usize,
    value: usize,
    field: Field,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Other,
    Path,
    PathWithFragment,
}

impl Hpack {
    pub(super) fn new() -> Self {
        Self { table: VecDeque::new(), size: 0, most: TABLE, lost: false }
    }

    /// Whether a `:path` in this block has a fragment. Every block of the connection must be passed here, in
    /// order.
    pub(super) fn has_fragment(&mut self, block: &[u8]) -> bool {
        if self.lost {
            return false;
        }
        let found = self.read(block);
        self.lost = found.is_none();
        found.unwrap_or(false)
    }

    fn read(&mut self, mut rest: &[u8]) -> Option<bool> {
        let mut found = false;
        while let Some(first) = rest.first() {
            let field = match first {
                0x80.. => {
                    let index = integer(&mut rest, 7)?;
                    self.entry(index)?.field
                }
                0x40.. => {
                    let entry = self.literal(&mut rest, 6, true)?;
                    self.insert(entry);
                    entry.field
                }
                0x20.. => {
                    self.most = integer(&mut rest, 5).filter(|most| *most <= TABLE)?;
                    self.evict(0);
                    Field::Other
                }
                _ => self.literal(&mut rest, 4, false)?.field,
            };
            found |= field == Field::PathWithFragment;
        }
        Some(found)
    }

    fn entry(&self, index: usize) -> Option<Entry> {
        match STATIC_NAMES.get(index.checked_sub(1)?) {
            Some(name) => {
                let field = if matches!(index, 4 | 5) { Field::Path } else { Field::Other };
                Some(Entry { name: usize::from(*name), value: 0, field })
            }
            None => self.table.get(index - STATIC_NAMES.len() - 1).copied(),
        }
    }

    /// Reads a literal field. Its size is computed only if it is `kept`.
    fn literal(&self, rest: &mut &[u8], prefix: u8, kept: bool) -> Option<Entry> {
        let (name, is_path) = match integer(rest, prefix)? {
            0 => {
                let name = Text::take(rest)?;
                (if kept { name.count(|_| {})? } else { 0 }, name.is_path()?)
            }
            index => {
                let entry = self.entry(index)?;
                (entry.name, entry.field != Field::Other)
            }
        };
        let value = Text::take(rest)?;
        if !is_path {
            let value = if kept { value.count(|_| {})? } else { 0 };
            return Some(Entry { name, value, field: Field::Other });
        }
        let mut has_fragment = false;
        let value = value.count(|byte| has_fragment |= byte == b'#')?;
        let field = if has_fragment { Field::PathWithFragment } else { Field::Path };
        Some(Entry { name, value, field })
    }

    fn insert(&mut self, entry: Entry) {
        let size = entry.name + entry.value + OVERHEAD;
        self.evict(size);
        // An entry larger than the table only empties it (RFC 7541 §4.4).
        if size <= self.most {
            self.size += size;
            self.table.push_front(entry);
        }
    }

    /// Evicts entries until `room` bytes fit.
    fn evict(&mut self, room: usize) {
        while self.size + room > self.most {
            let Some(oldest) = self.table.pop_back() else { return };
            self.size -= oldest.name + oldest.value + OVERHEAD;
        }
    }
}

/// Reads an integer (RFC 7541 §5.1).
fn integer(rest: &mut &[u8], prefix: u8) -> Option<usize> {
    let most = (1 << prefix) - 1;
    let (first, mut after) = rest.split_first()?;
    let mut number = usize::from(*first) & most;
    if number == most {
        let mut shift = 0;
        loop {
            let (byte, more) = after.split_first()?;
            after = more;
            number += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 21 {
                return None;
            }
        }
    }
    *rest = after;
    Some(number)
}

/// A string literal (RFC 7541 §5.2).
#[derive(Clone, Copy)]
struct Text<'a> {
    coded: bool,
    bytes: &'a [u8],
}

impl<'a> Text<'a> {
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let coded = rest.first()? & 0x80 != 0;
        let length = integer(rest, 7)?;
        let (bytes, after) = rest.split_at_checked(length)?;
        *rest = after;
        Some(Self { coded, bytes })
    }

    fn is_path(self) -> Option<bool> {
        if !self.coded {
            return Some(self.bytes == b":path");
        }
        // The Huffman code of `:path` has 29 bits.
        if self.bytes.len() != 4 {
            return Some(false);
        }
        let mut expected = b":path".iter();
        let mut same = true;
        self.count(|byte| same &= expected.next() == Some(&byte))?;
        Some(same && expected.next().is_none())
    }

    /// Returns the length of the text in bytes, and passes each byte to `see`.
    fn count(self, mut see: impl FnMut(u8)) -> Option<usize> {
        if !self.coded {
            self.bytes.iter().for_each(|byte| see(*byte));
            return Some(self.bytes.len());
        }
        let (mut bits, mut have, mut count) = (0u64, 0, 0);
        for byte in self.bytes {
            bits = bits << 8 | u64::from(*byte);
            have += 8;
            while let Some((symbol, length)) = symbol(bits, have) {
                see(symbol);
                count += 1;
                have -= length;
                bits &= (1 << have) - 1;
            }
            if have > LONGEST {
                return None;
            }
        }
        Some(count)
    }
}

/// Returns the symbol whose code is at the start of the last `have` bits, and the length of the code. Returns
/// `None` if there are too few bits.
fn symbol(bits: u64, have: u32) -> Option<(u8, u32)> {
    let next = if have < 8 { bits << (8 - have) } else { bits >> (have - 8) };
    let (symbol, length) = CODES.short[(next & 0xff) as usize];
    if length > 0 {
        return (u32::from(length) <= have).then_some((symbol, length.into()));
    }
    (9..=have.min(LONGEST)).find_map(|length| {
        let code = (bits >> (have - length)) as u32;
        let place = code.checked_sub(CODES.first[length as usize])?;
        let known = place < u32::from(CODES.count[length as usize]);
        known.then(|| (CODES.symbols[(u32::from(CODES.start[length as usize]) + place) as usize], length))
    })
}

/// The length of the longest code in bits.
const LONGEST: u32 = 30;

/// The Huffman code. It is canonical: codes of the same length follow each other in the order of their symbols.
struct Codes {
    /// The symbols whose codes have at most 8 bits, with the lengths of the codes. The index is any 8 bits that begin
    /// with the code. A length of 0 means that the code is longer.
    short: [(u8, u8); 256],
    /// By length: the first code, the number of codes, and where their symbols start.
    first: [u32; LONGEST as usize + 1],
    count: [u16; LONGEST as usize + 1],
    start: [u16; LONGEST as usize + 1],
    symbols: [u8; 256],
}

static CODES: Codes = {
    let mut codes =
        Codes { short: [(0, 0); 256], first: [0; 31], count: [0; 31], start: [0; 31], symbols: [0; 256] };
    let (mut length, mut code, mut place) = (1, 0u32, 0);
    while length <= LONGEST as usize {
        code <<= 1;
        codes.first[length] = code;
        codes.start[length] = place as u16;
        let mut symbol = 0;
        while symbol < 256 {
            if CODE_LENGTHS[symbol] as usize == length {
                codes.symbols[place] = symbol as u8;
                codes.count[length] += 1;
                place += 1;
                if length <= 8 {
                    let mut filler = 0;
                    while filler < 1 << (8 - length) {
                        codes.short[((code as usize) << (8 - length)) + filler] =
                            (symbol as u8, length as u8);
                        filler += 1;
                    }
                }
                code += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    codes
};

/// The lengths of the names in the static table (RFC 7541 Appendix A).
const STATIC_NAMES: [u8; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13,
    12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3,
    16,
];

/// The length in bits of each symbol's code (RFC 7541 Appendix B).
const CODE_LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Returns the Huffman code of a text.
    fn coded(text: &[u8]) -> Vec<u8> {
        let (mut bits, mut have, mut bytes) = (0u64, 0u32, vec![]);
        for symbol in text {
            let length = u32::from(CODE_LENGTHS[usize::from(*symbol)]);
            let start = usize::from(CODES.start[length as usize]);
            let place = CODES.symbols[start..].iter().position(|known| known == symbol).unwrap();
            bits = bits << length | u64::from(CODES.first[length as usize] + place as u32);
            have += length;
            while have >= 8 {
                have -= 8;
                bytes.push((bits >> have) as u8);
            }
            bits &= (1 << have) - 1;
        }
        if have > 0 {
            bytes.push((bits << (8 - have) | (0xff >> have)) as u8);
        }
        bytes
    }

    fn integer_to(bytes: &mut Vec<u8>, first: u8, prefix: u8, mut number: usize) {
        let most = (1 << prefix) - 1;
        if number < most {
            return bytes.push(first | number as u8);
        }
        bytes.push(first | most as u8);
        number -= most;
        while number >= 128 {
            bytes.push((number % 128 + 128) as u8);
            number /= 128;
        }
        bytes.push(number as u8);
    }

    fn text_to(bytes: &mut Vec<u8>, text: &[u8], huffman: bool) {
        let coded = if huffman { coded(text) } else { text.to_vec() };
        integer_to(bytes, if huffman { 0x80 } else { 0 }, 7, coded.len());
        bytes.extend(coded);
    }

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    /// The examples are those of RFC 7541 Appendix C.
    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(coded(b"www.example.com"), hex("f1e3 c2e5 f23a 6ba0 ab90 f4ff"));
        assert_eq!(coded(b"custom-value"), hex("25a8 49e9 5bb8 e8b4 bf"));
        for requests in [
            // C.3 and C.4 are the same requests, without and with the Huffman code.
            [
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "8286 84be 5808 6e6f 2d63 6163 6865",
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            ],
            [
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                "8286 84be 5886 a8eb 1064 9cbf",
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ],
        ] {
            let mut hpack = Hpack::new();
            let sizes = requests.map(|block| {
                assert!(!hpack.has_fragment(&hex(block)) && !hpack.lost);
                (hpack.table.len(), hpack.size)
            });
            assert_eq!(sizes, [(1, 57), (2, 110), (3, 164)]);
        }
    }

    #[test]
    fn a_fragment_is_seen_however_it_is_written() {
        let check = |block: &[u8], expected| {
            let mut hpack = Hpack::new();
            assert_eq!((hpack.has_fragment(block), hpack.lost), (expected, false), "{block:x?}");
        };
        let path = |first: &[u8], name: bool, huffman: bool, value: &[u8]| {
            let mut bytes = first.to_vec();
            if name {
                text_to(&mut bytes, b":path", huffman);
            }
            text_to(&mut bytes, value, huffman);
            bytes
        };
        for huffman in [true, false] {
            // The name is given by its index or by its text; the field is indexed, not indexed, or never indexed.
            for (first, name) in
                [(&[0x44][..], false), (&[0x05], false), (&[0x14], false), (&[0x40], true), (&[0], true)]
            {
                check(&path(first, name, huffman, b"/private#.jpg"), true);
                check(&path(first, name, huffman, b"/private"), false);
            }
            // In other fields a `#` has no meaning.
            let mut other = vec![0x40];
            text_to(&mut other, b":patn", huffman);
            text_to(&mut other, b"/private#.jpg", huffman);
            check(&other, false);
        }
        // The table provides the whole field, or only its name.
        let mut hpack = Hpack::new();
        assert!(hpack.has_fragment(&path(&[0x44], false, true, b"/#")));
        assert!(hpack.has_fragment(&[0xbe]));
        assert!(!hpack.has_fragment(&path(&[0x7e], false, false, b"/")));
        assert!(hpack.has_fragment(&[0xbf]));
        assert!(!hpack.has_fragment(&[0xbe]));
        // The field counts until it is evicted.
        assert!(!hpack.has_fragment(&[0x20]) && hpack.table.is_empty());
        assert!(!hpack.has_fragment(&[0xbe]) && hpack.lost);
    }

    #[test]
    fn what_is_malformed_is_the_librarys_to_refuse() {
        for block in ["80", "ff ffff ffff 0f", "44", "44 05 2f", "3f e2 1f", "44 84 ffff ffff", "7f"] {
            let mut hpack = Hpack::new();
            assert!(!hpack.has_fragment(&hex(block)) && hpack.lost, "{block}");
        }
    }

    proptest! {
        #[test]
        fn every_text_is_read_as_it_was_written(text in prop::collection::vec(any::<u8>(), 0..60)) {
            let coded = coded(&text);
            let mut read = vec![];
            let count = Text { coded: true, bytes: &coded }.count(|byte| read.push(byte));
            prop_assert_eq!(count, Some(text.len()));
            prop_assert_eq!(read, text);
        }

        /// Arbitrary blocks cause no panic, and the size of the table always matches its entries and stays within
        /// its limit.
        #[test]
        fn nothing_panics(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let mut hpack = Hpack::new();
            for block in blocks {
                hpack.has_fragment(&block);
                let sum: usize = hpack.table.iter().map(|entry| entry.name + entry.value + OVERHEAD).sum();
                prop_assert_eq!(sum, hpack.size);
                prop_assert!(hpack.size <= hpack.most);
            }
        }
    }
}
