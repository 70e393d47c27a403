//! Reading of a head in HTTP/1.1: where it begins and ends, and its field lines in one pass, strictly (RFC 9110 §5,
//! RFC 9112 §5).
//!
//! Most bytes are looked at several at a time: in a name, whether they are letters, digits or dashes; in a value,
//! whether there is a control among them, which is how its line ends, too.

use super::eight::{HIGH, ONES, before, between};
use super::line::END;
use super::sixteen::first_control;
use super::{Headers, Known, names};
use std::ops::Range;

/// The longest name, as in the `http` crate.
const MAX_NAME: usize = u16::MAX as usize;
/// The number of lines for which a list has room from the start.
const USUAL_LINES: usize = 24;

/// Returns the place of the first line without its end, and the place after that, or `None` if the line is incomplete.
/// It ends with CRLF, or with a lone LF as RFC 9112 §2.2 allows.
pub fn first_line(text: &[u8]) -> Option<(Range<usize>, usize)> {
    let end = memchr::memchr(b'\n', text)?;
    let line = &text[..end];
    Some((0..line.strip_suffix(b"\r").unwrap_or(line).len(), end + 1))
}

/// Whether the bytes after `searched` may complete an empty line, if there was none before. A head that trickles in
/// must not be read from its start at each byte.
pub fn may_have_ended(text: &[u8], searched: usize) -> bool {
    let new = &text[searched.saturating_sub(2)..];
    new.windows(2).any(|end| end == b"\n\n") || new.windows(3).any(|end| end == b"\n\r\n")
}

/// The reason why the lines of a head are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There are more lines than allowed.
    TooMany,
    /// The line of this number, counted from 1, is malformed.
    Malformed(usize),
}

/// Reads the lines of `text` from `start` to the empty line, and returns them and the place after it, or `None` if the
/// text ends before it. [`Headers::with_text`] must be given the text then. Lines end with CRLF, or with a lone LF as
/// RFC 9112 §2.2 allows.
///
/// A name is a token, so blanks before the colon and folded lines are refused. A value has no controls except tabs.
/// The text belongs to this head alone, so names are brought into lower case where they are.
///
/// # Errors
/// Returns an error if there are more than `most` lines, or if one is malformed. The latter is said of a complete head
/// only, so that it does not matter where the parts of a head are divided.
pub fn fields(text: &mut [u8], start: usize, most: usize) -> Result<Option<(Headers, usize)>, Refused> {
    match read_fields(text, start, most) {
        Err(Refused::Malformed(_)) if !may_have_ended(text, 0) => Ok(None),
        read => read,
    }
}

fn read_fields(text: &mut [u8], start: usize, most: usize) -> Result<Option<(Headers, usize)>, Refused> {
    let mut headers = Headers::with_capacity(USUAL_LINES);
    let mut start = start;
    loop {
        match line_end(text, start) {
            Some(Ok(next)) => return Ok(Some((headers, next))),
            Some(Err(NotYet)) => return Ok(None),
            None => {}
        }
        let number = headers.len() + 1;
        let (name_end, known) = match names::find(&mut text[start..]) {
            Some((length, known)) => (start + usize::from(length), known),
            None => {
                let end = token(text, start);
                let Some(colon) = text.get(end) else { return Ok(None) };
                if *colon != b':' || end == start || end - start > MAX_NAME {
                    return Err(Refused::Malformed(number));
                }
                (end, Known::of_bytes(&text[start..end]))
            }
        };
        let end = control(text, name_end + 1);
        let next = match line_end(text, end) {
            Some(Ok(next)) => next,
            Some(Err(NotYet)) => return Ok(None),
            None => return Err(Refused::Malformed(number)),
        };
        if number > most {
            return Err(Refused::TooMany);
        }
        let (name, value) = (&text[start..name_end], &text[name_end + 1..end]);
        match is_written_so(value) && next - end == END.len() {
            true => headers.push_received(known, name.len() as u16, start..next),
            false => headers.push_parts(known, name, trimmed(value)),
        }
        start = next;
    }
}

/// The text ends within an end of a line.
struct NotYet;

/// If a line ends at this place, returns the place after its end.
fn line_end(text: &[u8], place: usize) -> Option<Result<usize, NotYet>> {
    match text.get(place..).unwrap_or_default() {
        [b'\n', ..] => Some(Ok(place + 1)),
        [b'\r', b'\n', ..] => Some(Ok(place + 2)),
        [] | [b'\r'] => Some(Err(NotYet)),
        _ => None,
    }
}

/// Whether the text between a colon and the end of its line is a blank and a value without blanks around it, as in a
/// line that is [written](super::Line).
fn is_written_so(text: &[u8]) -> bool {
    match text {
        [b' ', value @ ..] => {
            !value.first().copied().is_some_and(is_blank) && !value.last().copied().is_some_and(is_blank)
        }
        _ => false,
    }
}

/// Returns the value without blanks around it.
fn trimmed(value: &[u8]) -> &[u8] {
    let start = value.iter().take_while(|byte| is_blank(**byte)).count();
    let end = value.iter().rposition(|byte| !is_blank(*byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Brings the token at `start` into lower case, and returns the place after it.
fn token(text: &mut [u8], start: usize) -> usize {
    let mut place = start;
    while let Some(bytes) = text[place..].first_chunk_mut::<8>() {
        let word = u64::from_le_bytes(*bytes);
        let letters = between(word | (ONES * 0x20), b'a', b'z') & !word;
        let usual = letters | between(word, b'0', b'9') | between(word, b'-', b'-');
        let count = before(!usual & HIGH);
        let counted = 1_u64.checked_shl(8 * count as u32).unwrap_or_default().wrapping_sub(1);
        // The bit that makes a letter lower case is two below the highest one.
        *bytes = (word | letters >> 2 & counted).to_le_bytes();
        place += count;
        if count < 8 {
            break;
        }
    }
    // What is left is the end of the text or a character that few names have.
    while let Some(byte) = text.get_mut(place)
        && let lower @ 1.. = LOWER[usize::from(*byte)]
    {
        *byte = lower;
        place += 1;
    }
    place
}

/// Returns the place of the first control that is not a tab, from `start` on, or the end of the text.
fn control(text: &[u8], start: usize) -> usize {
    let mut place = start;
    while let Some(bytes) = text[place..].first_chunk() {
        match first_control(bytes) {
            None => place += bytes.len(),
            Some(found) if bytes[found] == b'\t' => place += found + 1,
            Some(found) => return place + found,
        }
    }
    let rest = text[place..].iter().position(|byte| byte.is_ascii_control() && *byte != b'\t');
    rest.map_or(text.len(), |found| place + found)
}

/// The lower case of the characters of a token (RFC 9110 §5.6.2), and 0 for all others.
static LOWER: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let b = byte as u8;
        let is_token = b.is_ascii_alphanumeric()
            || matches!(b, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+')
            || matches!(b, b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        if is_token {
            table[byte] = b.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::Line;
    use bytes::Bytes;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    /// Reads the lines of a text with this number of bytes before them.
    fn read(before: usize, text: &[u8]) -> Result<Option<(Headers, usize)>, Refused> {
        let mut text = [&vec![b'x'; before], text].concat();
        let read = fields(&mut text, before, 100)?;
        Ok(read.map(|(headers, end)| (headers.with_text(Bytes::from(text)), end)))
    }

    /// Parses a line without its end by the types of the `http` crate.
    fn slow(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = &line[colon + 1..];
        let start = value.iter().take_while(|byte| is_blank(**byte)).count();
        let end = value.len() - value[start..].iter().rev().take_while(|byte| is_blank(**byte)).count();
        Some((name, HeaderValue::from_bytes(&value[start..end]).ok()?))
    }

    #[test]
    fn every_form_of_a_line_becomes_the_usual_one() {
        let text = b"Vary: a\r\nAge:1\r\nHost:  x\t \r\nX_Y: z\nempty:\r\nblank: \r\nTab: a\tb\r\n\r\nrest";
        let (headers, end) = read(3, text).unwrap().unwrap();
        let lines: Vec<_> =
            headers.lines().map(|line| String::from_utf8_lossy(line.text()).into_owned()).collect();
        assert_eq!(
            lines.concat(),
            "vary: a\r\nage: 1\r\nhost: x\r\nx_y: z\r\nempty: \r\nblank: \r\ntab: a\tb\r\n"
        );
        let known: Vec<_> = headers.lines().map(Line::known).collect();
        let other = Known::Other;
        assert_eq!(known, [Known::Vary, Known::Age, Known::Host, Known::Underscored, other, other, other]);
        assert_eq!(&text[end - 3..], b"rest");
    }

    #[test]
    fn malformed_lines_are_named() {
        for line in [
            "a",
            ": 1",
            " a: 1",
            "a : 1",
            "a\tb: 1",
            "a: \0",
            "a: 1\r1",
            "a: \u{7f}",
            "\u{e9}: 1",
            "a: 12345678\u{1}",
        ] {
            let text = format!("x: 1\r\n{line}\r\n\r\n");
            assert_eq!(read(0, text.as_bytes()), Err(Refused::Malformed(2)), "{line:?}");
        }
    }

    #[test]
    fn lines_are_counted() {
        let text = |lines: usize| ["a: 1\r\n".repeat(lines), "\r\n".to_owned()].concat().into_bytes();
        assert_eq!(fields(&mut text(3), 0, 3).unwrap().unwrap().0.len(), 3);
        assert_eq!(fields(&mut text(4), 0, 3), Err(Refused::TooMany));
        assert_eq!(fields(&mut text(0), 0, 0).unwrap().unwrap().1, 2);
    }

    proptest! {
        /// The model is the types of the `http` crate, one line after the other.
        #[test]
        fn lines_are_read_as_a_slow_model_reads_them(
            lines in prop::collection::vec(
                (
                    prop_oneof!["[A-Za-z_0-9-]{1,20}", "vary|Age|X-Forwarded-[A-Z]{2}", "[ -~]{0,9}", "[\\x00-\\xff]{0,4}"],
                    prop_oneof![Just(":"), Just(": "), Just(":\t "), Just("")],
                    prop_oneof!["[ -~]{0,40}", "[\\x00-\\x7f]{0,20}", "[a-z\u{e9}\t]{0,20}"],
                    prop_oneof![8 => Just("\r\n"), 1 => Just("\n"), 1 => Just(" \r\n")],
                ),
                0..8,
            ),
            before in 0..9usize,
        ) {
            let lines: Vec<(String, &str)> = lines
                .into_iter()
                .map(|(name, colon, value, end)| (format!("{name}{colon}{value}").replace(['\n', '\r'], ""), end))
                .filter(|(line, _)| !line.is_empty())
                .collect();
            let text: String = lines.iter().flat_map(|(line, end)| [line, *end]).collect();
            let read = read(before, format!("{text}\r\n").as_bytes());
            let slow: Vec<_> =
                lines.iter().map(|(line, end)| slow(format!("{line}{}", end.trim_end_matches(['\r', '\n'])).as_bytes())).collect();
            match slow.iter().position(Option::is_none) {
                Some(number) => prop_assert_eq!(read, Err(Refused::Malformed(number + 1))),
                None => {
                    let expected = Headers::from_iter(slow.into_iter().flatten());
                    prop_assert_eq!(read, Ok(Some((expected, before + text.len() + 2))));
                }
            }
        }

        /// Text that is cut off is not refused unless the rest would be.
        #[test]
        fn a_part_waits_for_the_rest(cut in 0..60usize) {
            let whole = b"Host: a.test\r\nAccept: */*\r\nX-Long-Name: some value\r\n\r\n";
            let part = &whole[..cut.min(whole.len() - 1)];
            prop_assert_eq!(read(0, part), Ok(None));
        }
    }
}
