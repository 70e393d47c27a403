//! A cache of repeated field lines, so that they are neither checked nor copied each time.

use super::FieldLine;
use std::rc::Rc;

/// The number of lines remembered, a power of two.
const LINES: usize = 1024;
/// The maximum length of a remembered line. Together with the number of lines this bounds the memory.
const MAX_LINE_BYTES: usize = 1024;

/// A cache of field lines. Origins repeat most of their lines in every response, in the same order. Finding a line
/// here is cheaper than checking its name and value. Finding it in the expected place is even cheaper than finding
/// its end.
#[derive(Debug, Default)]
pub struct LineCache {
    /// The lines, followed by the places where heads begin, which hold no line.
    slots: Vec<Slot>,
    /// The slot of the previous line.
    last: usize,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// The fingerprint of the line that asked for this slot last. A line is remembered only when it comes twice,
    /// so that lines that change with every response are not copied.
    candidate: u64,
    /// The line with its CRLF.
    line: Box<[u8]>,
    field: Option<Rc<FieldLine>>,
    /// The slot of the line that came next.
    next: u32,
}

/// The kind of head that begins.
#[derive(Clone, Copy, Debug)]
pub enum Beginning {
    /// The head of a request.
    Request,
    /// The head of a response.
    Response,
}

impl LineCache {
    /// Begins a head.
    pub fn begin(&mut self, beginning: Beginning) {
        self.grow();
        self.last = LINES + beginning as usize;
    }

    fn grow(&mut self) {
        if self.slots.is_empty() {
            self.slots.resize(LINES + 2, Slot::default());
        }
    }

    /// Returns the line at the start of `rest`, and its length with CRLF, if it is the one that followed the
    /// previous line last time.
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

    /// Returns the parsed form of exactly these bytes (a line without its line ending), if it is remembered.
    pub fn find(&mut self, line: &[u8]) -> Option<Rc<FieldLine>> {
        let place = fingerprint(line)? as usize % LINES;
        self.grow();
        self.slots[self.last].next = place as u32;
        self.last = place;
        let slot = &self.slots[place];
        slot.field.clone().filter(|_| slot.line.strip_suffix(b"\r\n") == Some(line))
    }

    /// Takes the parsed form of a line that was not remembered. It is remembered if the line comes again.
    pub fn learn(&mut self, line: &[u8], field: FieldLine) -> Rc<FieldLine> {
        let Some(fingerprint) = fingerprint(line) else { return Rc::new(field) };
        self.grow();
        let slot = &mut self.slots[fingerprint as usize % LINES];
        if slot.candidate == fingerprint {
            // This is a copy because the value may be a slice of a read buffer, which it would keep alive.
            slot.field = Some(Rc::new(field.kept()));
            slot.line = [line, b"\r\n"].concat().into();
        }
        slot.candidate = fingerprint;
        Rc::new(field)
    }
}

/// Returns a fingerprint that is good enough to choose a slot, and never 0. Returns `None` for lines that are not
/// remembered.
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

    /// Returns how often `line` is parsed if it comes this many times.
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
                // The lines agree in length, start, middle and end.
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

    /// Reads the lines of a head, checks what is found, and returns how many were in the expected place and needed
    /// no search.
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
        // One line changes each time. The line after it is found by a search, and is expected again from then on.
        assert_eq!(read(&mut cache, &["server: nginx", "date: tomorrow", "vary: cookie", "etag: \"1\""]), 2);
        // A longer line with the same beginning is a different line.
        assert_eq!(read(&mut cache, &["server: nginx/1", "date: today"]), 0);
    }
}
