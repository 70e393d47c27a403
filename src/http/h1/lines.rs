//! The lines of a head, in requests and responses.

use crate::http::head::{Beginning, FieldLine, LineCache};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::ops::Range;
use std::rc::Rc;

/// The lines of a complete head.
#[derive(Debug, Default)]
pub struct Lines {
    lines: SmallVec<[Line; 40]>,
    length: usize,
}

#[derive(Debug)]
struct Line {
    /// The end of the line's text, before its line ending.
    end: usize,
    /// The start of the next line.
    next: usize,
    /// The parsed line, if it is remembered.
    field: Option<Rc<FieldLine>>,
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
    pub fn find(
        &mut self,
        buf: &[u8],
        most: usize,
        (beginning, cache): (Beginning, &mut LineCache),
    ) -> Result<bool, TooMany> {
        cache.begin(beginning);
        self.lines.clear();
        let mut start = 0;
        loop {
            let rest = &buf[start..];
            if start > 0
                && let Some((field, length)) = cache.expected(rest)
            {
                let next = start + length;
                self.lines.push(Line { end: next - 2, next, field: Some(field) });
                start = next;
            } else {
                let Some(length) = memchr::memchr(b'\n', rest) else { return Ok(false) };
                let next = start + length + 1;
                let line = &rest[..length];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if line.is_empty() {
                    self.length = next;
                    return Ok(true);
                }
                let field = if start > 0 { cache.find(line) } else { None };
                self.lines.push(Line { end: start + line.len(), next, field });
                start = next;
            }
            if self.lines.len() > most + 1 {
                return Err(TooMany);
            }
        }
    }

    /// Whether the bytes after `searched` may complete an empty line, if there was none before. A head that
    /// trickles in must not be searched from its start at each byte.
    pub fn may_have_ended(buf: &[u8], searched: usize) -> bool {
        let new = &buf[searched.saturating_sub(2)..];
        new.windows(2).any(|end| end == b"\n\n") || new.windows(3).any(|end| end == b"\n\r\n")
    }

    /// The number of lines, not counting the first and the empty one.
    pub fn fields(&self) -> usize {
        self.lines.len().saturating_sub(1)
    }

    /// The number of bytes of the head.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The range of the first line, without its line ending.
    pub fn first(&self) -> Range<usize> {
        0..self.lines.first().map_or(0, |line| line.end)
    }

    /// Returns the parsed form of every line after the first, or the number of a malformed line, counted from 1.
    pub fn read(
        &mut self,
        block: &Bytes,
        cache: &mut LineCache,
    ) -> impl Iterator<Item = Result<Rc<FieldLine>, usize>> {
        let mut start = 0;
        self.lines.iter_mut().enumerate().filter_map(move |(number, line)| {
            let place = std::mem::replace(&mut start, line.next)..line.end;
            if number == 0 {
                return None;
            }
            if let Some(field) = line.field.take() {
                return Some(Ok(field));
            }
            let field = field(block, place.clone()).ok_or(number);
            Some(field.map(|field| cache.learn(&block[place], field)))
        })
    }
}

/// Parses `name: value`. The types check every byte of both. A name is a token, so blanks before the colon and
/// folded lines are refused. A value contains no controls.
fn field(block: &Bytes, line: Range<usize>) -> Option<FieldLine> {
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
