//! What the connections of one worker share, so that an exchange allocates little and parses nothing twice.

use super::{MAX_READ_BYTES, READ_BYTES};
use crate::head::FieldLine;
use bytes::BytesMut;
use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;

/// Small buffers that have grown to more than this are not kept.
const MAX_SMALL_BYTES: usize = 16 * 1024;
/// Header lines remembered by a worker; a power of two.
const LINES: usize = 1024;
/// Longer lines are not remembered. With the number of lines this bounds a worker's memory.
const MAX_LINE_BYTES: usize = 1024;

/// Shared by the connections of one worker. Cloning is cheap and gives the same one.
#[derive(Clone, Debug, Default)]
pub struct Scratch(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    small: RefCell<VecDeque<BytesMut>>,
    large: RefCell<VecDeque<BytesMut>>,
    lines: RefCell<LineCache>,
}

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// Heads, and small bodies.
    Small,
    /// Large bodies.
    Large,
}

impl Size {
    /// Room in a new buffer.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Small => READ_BYTES,
            Self::Large => MAX_READ_BYTES,
        }
    }

    /// Spare ones kept by a worker. A large one is in use only while its connection is being read.
    fn spare(self) -> usize {
        match self {
            Self::Small => 64,
            Self::Large => 8,
        }
    }
}

impl Inner {
    fn spare(&self, size: Size) -> RefMut<'_, VecDeque<BytesMut>> {
        match size {
            Size::Small => self.small.borrow_mut(),
            Size::Large => self.large.borrow_mut(),
        }
    }
}

impl Scratch {
    /// An empty buffer.
    pub(super) fn buffer(&self, size: Size) -> BytesMut {
        let (mut buffers, bytes) = (self.0.spare(size), size.bytes());
        // The one that was used last is still in the processor's cache; the oldest is the one that is most likely free.
        let last = buffers.back_mut().is_some_and(|buffer| buffer.try_reclaim(bytes));
        match if last { buffers.pop_back() } else { buffers.pop_front() } {
            Some(mut buffer) => {
                // Takes its memory back if everything that was sliced off it is gone, else allocates.
                buffer.reserve(bytes);
                buffer
            }
            None => BytesMut::with_capacity(bytes),
        }
    }

    /// Takes a buffer back whose slices may still be in use.
    pub(super) fn keep(&self, mut buffer: BytesMut, size: Size) {
        let mut buffers = self.0.spare(size);
        // A large one may have no capacity before its slices are gone.
        let is_good = size == Size::Large || (1..=MAX_SMALL_BYTES).contains(&buffer.capacity());
        if is_good && buffers.len() < size.spare() {
            buffer.clear();
            buffers.push_back(buffer);
        }
    }

    /// Runs with the remembered lines.
    pub(super) fn with_lines<T>(&self, run: impl FnOnce(&mut LineCache) -> T) -> T {
        run(&mut self.0.lines.borrow_mut())
    }
}

/// Field lines that came before. Origins repeat most of theirs in every response; finding one here is cheaper than
/// checking its name and value.
#[derive(Debug, Default)]
pub struct LineCache(Vec<Slot>);

#[derive(Clone, Debug, Default)]
struct Slot {
    /// Of the line that asked for this slot last. Only a line that comes twice is remembered, so that what changes with
    /// every response costs no copy.
    candidate: u64,
    line: Box<[u8]>,
    field: Option<Rc<FieldLine>>,
}

impl LineCache {
    /// The field that exactly these bytes stand for: remembered, or made by `parse`.
    pub fn field(&mut self, line: &[u8], parse: impl FnOnce() -> Option<FieldLine>) -> Option<Rc<FieldLine>> {
        let Some(fingerprint) = fingerprint(line) else { return parse().map(Rc::new) };
        if self.0.is_empty() {
            self.0.resize(LINES, Slot::default());
        }
        let slot = &mut self.0[fingerprint as usize % LINES];
        if *slot.line == *line {
            return slot.field.clone();
        }
        let field = parse();
        if slot.candidate == fingerprint
            && let Some(field) = &field
        {
            // A copy, since the value is a slice of a read buffer, which it would keep alive.
            slot.field = Some(Rc::new(field.kept()));
            slot.line = line.into();
        }
        slot.candidate = fingerprint;
        field.map(Rc::new)
    }
}

/// Tells lines apart well enough to choose a slot; `None` for lines that are not remembered. Never 0.
fn fingerprint(line: &[u8]) -> Option<u64> {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    if line.len() > MAX_LINE_BYTES {
        return None;
    }
    let (first, last) = (line.first_chunk::<8>()?, line.last_chunk::<8>()?);
    let word = u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(23) ^ line.len() as u64;
    Some((word.wrapping_mul(MIX) >> 32) | 1 << 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Option<FieldLine> {
        let (name, value) = line.split_once(": ")?;
        Some(FieldLine::new(name.parse().ok()?, value.parse().ok()?))
    }

    /// How often `line` is parsed when it comes so many times.
    fn parses(cache: &mut LineCache, line: &str, times: usize) -> usize {
        let mut count = 0;
        for _ in 0..times {
            let field = cache.field(line.as_bytes(), || {
                count += 1;
                parsed(line)
            });
            assert_eq!(field.as_deref(), parsed(line).as_ref(), "{line}");
        }
        count
    }

    #[test]
    fn a_line_is_remembered_when_it_came_twice() {
        let mut cache = LineCache::default();
        assert_eq!(parses(&mut cache, "server: nginx", 5), 2);
        assert_eq!(parses(&mut cache, "server: nginx", 5), 0);
        assert_eq!(parses(&mut cache, "x-custom: value", 5), 2);
        assert_eq!(parses(&mut cache, "server: nginx", 5), 0);
    }

    #[test]
    fn lines_are_never_taken_for_each_other() {
        let mut cache = LineCache::default();
        for round in 0..3 {
            for number in 0..5_000 {
                // Alike in length, start, middle and end.
                parses(
                    &mut cache,
                    &format!("x-name-{number:04}: the same middle {round} and the same end"),
                    1,
                );
                parses(&mut cache, &format!("x-name: a{number:04} the same middle and the same end"), 2);
            }
        }
    }

    #[test]
    fn what_is_odd_is_parsed_each_time() {
        let mut cache = LineCache::default();
        assert_eq!(parses(&mut cache, "a: b", 3), 3);
        assert_eq!(parses(&mut cache, "no colon in here", 3), 3);
        assert_eq!(parses(&mut cache, &format!("a: {}", "b".repeat(2000)), 3), 3);
        assert_eq!(cache.field(b"", || None), None);
    }

    #[test]
    fn buffers_come_back_when_nothing_uses_them() {
        let scratch = Scratch::default();
        let mut buffer = scratch.buffer(Size::Small);
        buffer.extend_from_slice(b"head and body");
        let memory = buffer.as_ptr();
        let slice = buffer.split_to(4).freeze();
        scratch.keep(buffer, Size::Small);

        let other = scratch.buffer(Size::Small);
        assert_eq!(&slice[..], b"head");
        assert!(other.is_empty() && other.capacity() >= 8192 && other.as_ptr() != memory);
        scratch.keep(other, Size::Small);

        let mut buffer = scratch.buffer(Size::Small);
        let memory = buffer.as_ptr();
        buffer.extend_from_slice(b"head");
        drop(buffer.split().freeze());
        scratch.keep(buffer, Size::Small);
        assert_eq!(scratch.buffer(Size::Small).as_ptr(), memory);
    }

    #[test]
    fn spare_memory_is_bounded() {
        let scratch = Scratch::default();
        for _ in 0..100 {
            for size in [Size::Small, Size::Large] {
                scratch.keep(BytesMut::with_capacity(size.bytes()), size);
            }
            scratch.keep(BytesMut::new(), Size::Small);
            scratch.keep(BytesMut::with_capacity(64 * 1024), Size::Small);
        }
        assert!(scratch.0.small.borrow().iter().all(|buffer| buffer.capacity() <= MAX_SMALL_BYTES));
        assert_eq!(scratch.0.small.borrow().len(), Size::Small.spare());
        assert_eq!(scratch.0.large.borrow().len(), Size::Large.spare());
    }
}
