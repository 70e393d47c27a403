//! Follows the header blocks of an HTTP/2 client, and finds requests that must be refused for something that the `h2`
//! crate ("the library" below) does not expose: a `:path` with a fragment is malformed (RFC 9113 §8.3.1).

use super::hpack::Hpack;
use std::cell::RefCell;
use std::rc::Rc;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// The streams whose requests are malformed.
#[derive(Clone, Debug, Default)]
pub(super) struct Malformed(Rc<RefCell<Vec<u32>>>);

impl Malformed {
    /// Whether the request of this stream is malformed. Must be called one time for each request that the library
    /// accepts, in the order of the streams.
    pub(super) fn take(&self, stream: u32) -> bool {
        let mut streams = self.0.borrow_mut();
        let found = streams.contains(&stream);
        // Earlier streams that are still here will not be taken, because the library has refused them for another
        // reason.
        streams.retain(|other| *other > stream);
        found
    }
}

/// The header blocks of a connection.
#[derive(Debug)]
pub(super) struct HeaderBlocks {
    hpack: Hpack,
    malformed: Malformed,
    /// The maximum size of a block in bytes; the library accepts no more either.
    most: usize,
    /// The current frame: its kind, its flags and its stream.
    frame: (u8, u8, u32),
    /// The received part of the current frame, if the frame arrives in several reads.
    part: Vec<u8>,
    /// The received frames of a block that consists of several.
    block: Vec<u8>,
}

impl HeaderBlocks {
    /// Creates the reader for a new connection, whose blocks have at most `most` bytes.
    pub(super) fn new(malformed: Malformed, most: usize) -> Self {
        let (part, block) = (Vec::new(), Vec::new());
        Self { hpack: Hpack::new(), malformed, most, frame: (0, 0, 0), part, block }
    }

    /// Begins a frame. Returns whether it belongs to a header block, so that its bytes must be passed here.
    pub(super) fn begin(&mut self, kind: u8, flags: u8, stream: u32) -> bool {
        self.frame = (kind, flags, stream);
        matches!(kind, HEADERS | CONTINUATION)
    }

    /// Passes bytes of the frame; `is_last` marks the end of the frame. Returns false if the block is too long.
    pub(super) fn passes(&mut self, bytes: &[u8], is_last: bool) -> bool {
        if !is_last || !self.part.is_empty() {
            if self.part.len() + self.block.len() + bytes.len() > self.most {
                return false;
            }
            self.part.extend_from_slice(bytes);
        }
        if is_last {
            let part = std::mem::take(&mut self.part);
            self.ends(if part.is_empty() { bytes } else { &part });
        }
        true
    }

    fn ends(&mut self, payload: &[u8]) {
        let (kind, flags, stream) = self.frame;
        let fragment = if kind == HEADERS { without_frame_fields(payload, flags) } else { payload };
        if flags & END_HEADERS == 0 {
            return self.block.extend_from_slice(fragment);
        }
        let block = std::mem::take(&mut self.block);
        let has_fragment = match block.is_empty() {
            true => self.hpack.has_fragment(fragment),
            false => self.hpack.has_fragment(&[&block, fragment].concat()),
        };
        if has_fragment {
            self.malformed.0.borrow_mut().push(stream);
        }
    }
}

/// Returns the part of a HEADERS frame that belongs to the block (RFC 9113 §6.2). The library refuses malformed
/// frames.
fn without_frame_fields(payload: &[u8], flags: u8) -> &[u8] {
    let (padding, rest) = match payload.split_first() {
        Some((padding, rest)) if flags & PADDED != 0 => (usize::from(*padding), rest),
        _ => (0, payload),
    };
    let rest = if flags & PRIORITY == 0 { rest } else { rest.get(5..).unwrap_or_default() };
    rest.get(..rest.len().saturating_sub(padding)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITH: &[u8] = b"\x04\x02/#";
    const WITHOUT: &[u8] = b"\x04\x02/x";

    /// Passes frames of these kinds, flags, streams and payloads. Returns the streams that are malformed.
    fn malformed(frames: &[(u8, u8, u32, &[u8])], cut: usize) -> Vec<u32> {
        let malformed = Malformed::default();
        let mut blocks = HeaderBlocks::new(malformed.clone(), 100);
        for (kind, flags, stream, payload) in frames {
            if blocks.begin(*kind, *flags, *stream) {
                let (start, end) = payload.split_at(cut.min(payload.len()));
                assert!(start.is_empty() || blocks.passes(start, end.is_empty()));
                assert!(start.len() == payload.len() && !start.is_empty() || blocks.passes(end, true));
            }
        }
        let mut streams: Vec<_> = frames.iter().map(|frame| frame.2).collect();
        streams.dedup();
        streams.into_iter().filter(|stream| malformed.take(*stream)).collect()
    }

    #[test]
    fn blocks_are_put_together() {
        for cut in 0..12 {
            let check = |frames: &[(u8, u8, u32, &[u8])], expected: &[u32]| {
                assert_eq!(malformed(frames, cut), expected, "{frames:x?} {cut}");
            };
            check(&[(1, 4, 1, WITH), (1, 4, 3, WITHOUT), (1, 4, 5, WITH)], &[1, 5]);
            check(&[(1, 0, 1, &WITH[..2]), (9, 0, 1, b""), (9, 4, 1, &WITH[2..]), (1, 4, 3, WITHOUT)], &[1]);
            check(&[(1, 0x2c, 1, &[b"\x02\0\0\0\0\0", WITH, b"##"].concat())], &[1]);
            check(&[(1, 0x2c, 1, &[b"\x02\0\0\0\0\0", WITHOUT, b"##"].concat())], &[]);
            check(&[(1, 4, 1, b""), (0, 0, 1, WITH), (1, 0xc, 1, b"\xff#")], &[]);
        }
    }

    #[test]
    fn a_block_is_bounded() {
        let mut blocks = HeaderBlocks::new(Malformed::default(), 100);
        assert!(blocks.begin(1, 0, 1) && blocks.passes(&[0; 60], true));
        assert!(blocks.begin(9, 0, 1) && blocks.passes(&[0; 30], false));
        assert!(!blocks.passes(&[0; 30], false));
    }

    #[test]
    fn each_stream_is_asked_for_once() {
        let malformed = Malformed(Rc::new(RefCell::new(vec![1, 5, 7])));
        assert!(!malformed.take(3));
        assert_eq!(*malformed.0.borrow(), [5, 7]);
        assert!(malformed.take(5));
        assert!(!malformed.take(5) && malformed.take(7));
    }
}
