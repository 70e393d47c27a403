//! Field lines that come again and again, so that they are neither checked nor copied each time.

use super::FieldLine;
use std::rc::Rc;

/// Lines remembered; a power of two.
const LINES: usize = 1024;
/// Longer lines are not remembered. With the number of lines this bounds the memory.
const MAX_LINE_BYTES: usize = 1024;

/// Field lines that came before. Origins repeat most of theirs in every response, in the same order; finding one here is
/// cheaper than checking its name and value, and finding it where it is expected is cheaper still than finding its end.
#[derive(Debug, Default)]
pub struct LineCache {
    /// The lines; after them those where a head begins, which stand for none.
    slots: Vec<Slot>,
    /// Of the line before the next one.
    last: usize,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// Of the line that asked for this slot last. Only a line that comes twice is remembered, so that what changes with
    /// every response costs no copy.
    candidate: u64,
    /// With its CRLF.
    line: Box<[u8]>,
    field: Option<Rc<FieldLine>>,
    /// Of the line that came next.
    next: u32,
}

/// Whose lines begin.
#[derive(Clone, Copy, Debug)]
pub enum Beginning {
    /// Those of a request.
    Request,
    /// Those of a response.
    Response,
}

impl LineCache {
    /// A head begins.
    pub fn begin(&mut self, beginning: Beginning) {
        self.grow();
        self.last = LINES + beginning as usize;
    }

    fn grow(&mut self) {
        if self.slots.is_empty() {
            self.slots.resize(LINES + 2, Slot::default());
        }
    }

    /// The line that `rest` begins with, and how long it is with its CRLF, if it is the one that came after the last one
    /// before.
    pub fn expected(&mut self, rest: &[u8]) -> Option<(Rc<FieldLine>, usize)> {
        let next = self.slots.get(self.last)?.next as usize;
        let slot = &self.slots[next];
        let field = slot.field.as_ref()?;
        if !rest.starts_with(&slot.line) {
            return None;
        }
        self.last = next;
        Some((Rc::clone(field), slot.line.len()))
    }

    /// What exactly these bytes, a line without its end, stand for, if that is remembered.
    pub fn find(&mut self, line: &[u8]) -> Option<Rc<FieldLine>> {
        let place = fingerprint(line)? as usize % LINES;
        self.grow();
        self.slots[self.last].next = place as u32;
        self.last = place;
        let slot = &self.slots[place];
        slot.field.clone().filter(|_| slot.line.strip_suffix(b"\r\n") == Some(line))
    }

    /// What these bytes stand for was not remembered; it will be if they come again.
    pub fn learn(&mut self, line: &[u8], field: FieldLine) -> Rc<FieldLine> {
        let Some(fingerprint) = fingerprint(line) else { return Rc::new(field) };
        self.grow();
        let slot = &mut self.slots[fingerprint as usize % LINES];
        if slot.candidate == fingerprint {
            // A copy, since the value may be a slice of a read buffer, which it would keep alive.
            slot.field = Some(Rc::new(field.kept()));
            slot.line = [line, b"\r\n"].concat().into();
        }
        slot.candidate = fingerprint;
        Rc::new(field)
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
            let found = cache.find(line.as_bytes()).or_else(|| {
                count += 1;
                parsed(line).map(|field| cache.learn(line.as_bytes(), field))
            });
            assert_eq!(found.as_deref(), parsed(line).as_ref(), "{line}");
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
        assert_eq!(cache.find(b""), None);
    }

    /// The lines of a head, of which some are where they are expected: what was found, and how many of them without a search.
    fn read(cache: &mut LineCache, lines: &[&str]) -> usize {
        cache.begin(Beginning::Response);
        let mut expected = 0;
        for line in lines {
            let rest = format!("{line}\r\nmore: 1\r\n");
            let found = match cache.expected(rest.as_bytes()) {
                Some((found, length)) => {
                    assert_eq!(length, line.len() + 2);
                    expected += 1;
                    found
                }
                None => match cache.find(line.as_bytes()) {
                    Some(found) => found,
                    None => cache.learn(line.as_bytes(), parsed(line).unwrap()),
                },
            };
            assert_eq!(*found, parsed(line).unwrap(), "{line}");
        }
        expected
    }

    #[test]
    fn what_comes_in_the_same_order_is_expected() {
        let mut cache = LineCache::default();
        assert_eq!(cache.expected(b"server: nginx\r\n"), None);
        let lines = ["server: nginx", "date: today", "vary: cookie", "etag: \"1\""];
        assert_eq!([1, 2, 3, 4].map(|_| read(&mut cache, &lines)), [0, 0, 4, 4]);
        // One that is another one each time; what follows it is found, and then expected again.
        assert_eq!(read(&mut cache, &["server: nginx", "date: tomorrow", "vary: cookie", "etag: \"1\""]), 2);
        // A longer line that begins alike is another one.
        assert_eq!(read(&mut cache, &["server: nginx/1", "date: today"]), 0);
    }
}
