//! The lines of a head, in requests and in responses.

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
    /// Where it ends, its end not included.
    end: usize,
    /// Where the next one starts.
    next: usize,
    /// What it stands for, if that is remembered.
    field: Option<Rc<FieldLine>>,
}

/// A head has more lines than it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl Lines {
    /// Finds those of the head that `buf` begins with; whether it is complete, which it is with an empty line. Lines end with
    /// CRLF, or with a lone LF as RFC 9112 §2.2 allows.
    ///
    /// # Errors
    /// When there are more than `most` without the first and the empty one.
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

    /// Whether an empty line may be among what came last, where none was before: what trickles in must not be searched
    /// from its start at each byte.
    pub fn may_have_ended(buf: &[u8], searched: usize) -> bool {
        let new = &buf[searched.saturating_sub(2)..];
        new.windows(2).any(|end| end == b"\n\n") || new.windows(3).any(|end| end == b"\n\r\n")
    }

    /// Lines without the first and the empty one.
    pub fn fields(&self) -> usize {
        self.lines.len().saturating_sub(1)
    }

    /// Bytes of the head.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The first line, without its end.
    pub fn first(&self) -> Range<usize> {
        0..self.lines.first().map_or(0, |line| line.end)
    }

    /// What the other lines stand for; of the first one that is malformed its number, from 1.
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

/// `name: value`. The types check every byte of both: a name is a token (so that nothing may stand before the colon, and a
/// folded line is none), a value has no controls.
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
