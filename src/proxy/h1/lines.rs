//! The lines of a head, in requests and in responses.

use crate::head::FieldLine;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::ops::Range;

/// Where the lines of a complete head end.
#[derive(Debug)]
pub struct Lines {
    /// Where each one's LF is, the empty line's included.
    ends: SmallVec<[u32; 48]>,
}

/// A head has more lines than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Lines {
    /// Those of the head that `buf` begins with, `None` while there is no empty line. Lines end with CRLF, or with a lone LF
    /// as RFC 9112 §2.2 allows.
    ///
    /// # Errors
    /// When there are more than `most` without the first and the empty one.
    pub fn of(buf: &[u8], most: usize) -> Result<Option<Self>, TooMany> {
        let mut lines = Self { ends: SmallVec::new() };
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', buf) {
            lines.ends.push(u32::try_from(end).map_err(|_| TooMany)?);
            let is_last = matches!(buf[start..end], [] | [b'\r']);
            if lines.ends.len() > most + 1 + usize::from(is_last) {
                return Err(TooMany);
            }
            if is_last {
                return Ok(Some(lines));
            }
            start = end + 1;
        }
        Ok(None)
    }

    /// Whether an empty line may be among what came last, where none was before: what trickles in must not be searched
    /// from its start at each byte.
    pub fn may_have_ended(buf: &[u8], searched: usize) -> bool {
        let new = &buf[searched.saturating_sub(2)..];
        new.windows(2).any(|end| end == b"\n\n") || new.windows(3).any(|end| end == b"\n\r\n")
    }

    /// Lines without the first and the empty one.
    pub fn fields(&self) -> usize {
        self.ends.len().saturating_sub(2)
    }

    /// Bytes of the head.
    pub fn length(&self) -> usize {
        self.ends.last().map_or(0, |end| *end as usize + 1)
    }

    /// Each line without its end; the empty line is left out.
    pub fn ranges(&self, block: &[u8]) -> impl ExactSizeIterator<Item = Range<usize>> {
        let mut start = 0;
        self.ends[..self.ends.len().saturating_sub(1)].iter().map(move |end| {
            let lf = *end as usize;
            let line = start..if block[start..lf].ends_with(b"\r") { lf - 1 } else { lf };
            start = lf + 1;
            line
        })
    }
}

/// `name: value`. The types check every byte of both: a name is a token (so that nothing may stand before the colon, and a
/// folded line is none), a value has no controls.
pub fn field(block: &Bytes, line: Range<usize>) -> Option<FieldLine> {
    let bytes = &block[line.clone()];
    let colon = memchr::memchr(b':', bytes)?;
    let name = HeaderName::from_bytes(&bytes[..colon]).ok()?;
    let mut value = line.start + colon + 1..line.end;
    while !value.is_empty() && is_blank(block[value.start]) {
        value.start += 1;
    }
    while !value.is_empty() && is_blank(block[value.end - 1]) {
        value.end -= 1;
    }
    Some(FieldLine::new(name, HeaderValue::from_maybe_shared(block.slice(value)).ok()?))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}
