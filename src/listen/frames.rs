//! Counts the frames of an HTTP/2 client as they pass. The h2 crate bounds streams, headers and early resets.
//! However, it answers any number of PING and SETTINGS frames, and lets requests be begun and cancelled without a
//! rate limit (CVE-2019-9512, CVE-2019-9515, CVE-2023-44487).

use super::header_blocks::{HeaderBlocks, Malformed};
use std::time::Instant;

/// The burst of charged frames. Frames are charged if they cause work and request nothing.
const BURST: u32 = 1000;
/// The charged frames allowed per second after the burst. This is twice what a client needs that cancels every
/// stream of a full connection once a second.
const PER_SECOND: u32 = 200;
/// The bytes sent to a client that allow it one more frame. A client that measures its bandwidth sends PINGs while
/// it downloads.
const BYTES_PER_FRAME: u32 = 16 * 1024;

const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const HEADER: usize = 9;
const END_STREAM: u8 = 0x1;
/// The maximum frame size in bytes, because we allow no larger frames.
const FRAME: usize = 16 * 1024;

/// The frames that a client may still send before it is treated as a flood.
#[derive(Debug)]
pub struct Allowance {
    frames: Frames,
    left: u32,
    since: Instant,
    /// Bytes sent to the client that have not yet paid for a frame.
    sent: u32,
}

impl Allowance {
    /// Creates the allowance of a connection whose client preface is yet to come.
    pub fn new(now: Instant) -> Self {
        Self::noting(now, Malformed::default(), FRAME)
    }

    /// Creates an allowance that also notes malformed requests. `header_bytes` is the size limit of a request
    /// head.
    pub(super) fn noting(now: Instant, malformed: Malformed, header_bytes: usize) -> Self {
        // The `h2` crate limits the number of frames of a header block. No block within that limit has more bytes than
        // this.
        let most = header_bytes + header_bytes / 4 + 8 * FRAME;
        let frames = Frames::new(HeaderBlocks::new(malformed, most));
        Self { frames, left: BURST, since: now, sent: 0 }
    }

    /// Counts the charged frames in the received bytes. Returns false if they exceed the allowance, or if a header
    /// block is too long.
    pub fn received(&mut self, bytes: &[u8], now: Instant) -> bool {
        let Some(charged) = self.frames.read(bytes) else { return false };
        if charged == 0 {
            return true;
        }
        let seconds = now.saturating_duration_since(self.since).as_secs();
        if seconds > 0 {
            self.since = now;
            let more = PER_SECOND.saturating_mul(u32::try_from(seconds).unwrap_or(u32::MAX));
            self.left = self.left.saturating_add(more).min(BURST);
        }
        match self.left.checked_sub(charged) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Records that bytes were sent to the client.
    pub fn sent(&mut self, bytes: usize) {
        let sent = self.sent.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.left = self.left.saturating_add(sent / BYTES_PER_FRAME).min(BURST);
        self.sent = sent % BYTES_PER_FRAME;
    }

    /// Whether the client has sent its preface and a frame, and so uses HTTP/2.
    pub fn has_begun(&self) -> bool {
        self.frames.begun
    }
}

/// The position within the client's frames.
#[derive(Debug)]
struct Frames {
    /// Bytes up to the next frame header.
    skip: usize,
    header: [u8; HEADER],
    have: usize,
    begun: bool,
    /// Whether the skipped bytes belong to a header block.
    of_block: bool,
    blocks: HeaderBlocks,
}

impl Frames {
    fn new(blocks: HeaderBlocks) -> Self {
        Self { skip: PREFACE, header: [0; HEADER], have: 0, begun: false, of_block: false, blocks }
    }

    /// Follows these bytes and returns the number of charged frames among them. Returns `None` if a header block
    /// is too long.
    fn read(&mut self, mut bytes: &[u8]) -> Option<u32> {
        let mut charged = 0;
        loop {
            let (skipped, rest) = bytes.split_at(self.skip.min(bytes.len()));
            self.skip -= skipped.len();
            bytes = rest;
            if self.of_block {
                let is_last = self.skip == 0;
                if !self.blocks.passes(skipped, is_last) {
                    return None;
                }
                self.of_block = !is_last;
            }
            let taken = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < HEADER {
                return Some(charged);
            }
            self.have = 0;
            self.begun = true;
            let [a, b, c, kind, flags, stream @ ..] = self.header;
            self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            charged += u32::from(is_charged(kind, flags, self.skip));
            self.of_block = self.blocks.begin(kind, flags, u32::from_be_bytes(stream) & 0x7fff_ffff);
        }
    }
}

/// Frames are not charged if they request something (HEADERS, CONTINUATION), bring something (DATA), or make room
/// for it (WINDOW_UPDATE: some clients send one for each part of a response).
fn is_charged(kind: u8, flags: u8, length: usize) -> bool {
    match kind {
        0 => length == 0 && flags & END_STREAM == 0,
        1 | 8 | 9 => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn follower() -> Frames {
        Frames::new(HeaderBlocks::new(Malformed::default(), 1000))
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u32;
        let mut bytes = length.to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags, 0, 0, 0, 1]);
        bytes.extend(payload);
        bytes
    }

    const START: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    #[test]
    fn what_is_charged_for() {
        let check = |frames: &[Vec<u8>], charged: u32| {
            let bytes = [START, &frames.concat()].concat();
            assert_eq!(follower().read(&bytes), Some(charged));
        };
        check(&[], 0);
        check(&[frame(4, 0, b""), frame(6, 0, &[0; 8])], 2);
        check(&[frame(3, 0, &[0; 4]), frame(2, 0, &[0; 5]), frame(0x99, 0, &[0; 300])], 3);
        check(&[frame(1, 4, &[6; 20]), frame(9, 4, &[6; 20]), frame(8, 0, &[0; 4])], 0);
        check(&[frame(0, 0, b"data"), frame(0, 1, b"")], 0);
        check(&[frame(0, 0, b""), frame(0, 8, b"")], 2);
    }

    #[test]
    fn it_has_begun_with_the_first_frame() {
        let mut allowance = Allowance::new(Instant::now());
        assert!(allowance.received(START, Instant::now()));
        assert!(!allowance.has_begun());
        assert!(allowance.received(&frame(4, 0, b""), Instant::now()));
        assert!(allowance.has_begun());
    }

    #[test]
    fn the_allowance_grows_with_time_and_with_bytes_sent() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let ping = frame(6, 0, &[0; 8]);
        assert!(allowance.received(START, start));
        let mut pings = |n: u32, seconds, sent| {
            allowance.sent(sent);
            allowance.received(&ping.repeat(n as usize), at(seconds))
        };
        assert!(pings(BURST, 0, 0));
        assert!(!pings(1, 0, 0));
        assert!(pings(PER_SECOND, 1, 0));
        assert!(!pings(1, 1, 0));
        assert!(pings(1, 1, BYTES_PER_FRAME as usize));
        assert!(!pings(1, 1, BYTES_PER_FRAME as usize - 1));
        // The allowance never exceeds the burst, however long the client was quiet and however much was sent.
        assert!(!pings(BURST + 1, 1_000_000, usize::MAX));
        assert!(pings(BURST, 1_000_000, 0));
    }

    proptest::proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            frames in proptest::collection::vec((0u8..12, 0u8..10, 0usize..40), 0..30),
            cuts in proptest::collection::vec(1usize..30, 1..60),
        ) {
            let frames = frames.iter().map(|(kind, flags, length)| frame(*kind, *flags, &vec![7; *length]));
            let bytes = [START.to_vec(), frames.collect::<Vec<_>>().concat()].concat();
            let whole = follower().read(&bytes);
            let (mut parts, mut rest, mut charged) = (follower(), bytes.as_slice(), 0);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, left) = rest.split_at((*cut).min(rest.len()));
                charged += parts.read(part).unwrap();
                rest = left;
            }
            proptest::prop_assert_eq!(Some(charged), whole);
        }
    }
}
