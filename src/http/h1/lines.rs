//! The lines of a head, in requests and responses.

use crate::http::head::{Headers, read};
use bytes::BytesMut;
use smallvec::SmallVec;
use std::ops::Range;

/// The lines of a complete head.
#[derive(Debug, Default)]
pub struct Lines {
    lines: SmallVec<[Line; 40]>,
    length: usize,
}

/// The place of a line.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// The end of the line's text, before its line ending.
    end: usize,
    /// The start of the next line.
    next: usize,
}

/// A head has more lines than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Lines {
    /// Finds the lines of the head at the start of `buf`. Returns whether the head is complete, that is, whether
    /// it ends with an empty line. Lines end with CRLF, or with a lone LF as RFC 9112 §2.2 allows.
    ///
    /// # Errors
    /// Returns an error if there are more than `most` lines, not counting the first and the empty one.
    pub fn find(&mut self, buf: &[u8], most: usize) -> Result<bool, TooMany> {
        self.lines.clear();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', buf) {
            let (next, text) = (end + 1, &buf[start..end]);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            if text.is_empty() {
                self.length = next;
                return Ok(true);
            }
            self.lines.push(Line { end: start + text.len(), next });
            if self.lines.len() > most + 1 {
                return Err(TooMany);
            }
            start = next;
        }
        Ok(false)
    }

    /// Whether the bytes after `searched` may complete an empty line, if there was none before. A head that
    /// trickles in must not be searched from its start at each byte.
    pub fn may_have_ended(buf: &[u8], searched: usize) -> bool {
        let new = &buf[searched.saturating_sub(2)..];
        new.windows(2).any(|end| end == b"\n\n") || new.windows(3).any(|end| end == b"\n\r\n")
    }

    /// The number of bytes of the head.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The range of the first line, without its line ending.
    pub fn first(&self) -> Range<usize> {
        0..self.lines.first().map_or(0, |line| line.end)
    }

    /// Reads every line after the first, with room for `spare` more.
    ///
    /// # Errors
    /// Returns the number of a malformed line, counted from 1.
    pub fn fields(&self, block: BytesMut, spare: usize) -> Result<Headers, usize> {
        let fields = self.lines.get(1..).unwrap_or_default();
        let before = self.lines.iter().map(|line| line.next);
        read::fields(block, fields.iter().zip(before).map(|(line, start)| start..line.end), spare)
    }
}
