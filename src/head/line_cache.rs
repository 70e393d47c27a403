//! Field lines that come again and again, so that they are neither checked nor copied each time.

use super::FieldLine;
use std::rc::Rc;

/// Lines remembered; a power of two.
const LINES: usize = 1024;
/// Longer lines are not remembered. With the number of lines this bounds the memory.
const MAX_LINE_BYTES: usize = 1024;

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
}
