//! Reading of field lines from the text of a head, strictly (RFC 9110 §5, RFC 9112 §5).

use super::line::{COLON, END};
use super::{Headers, Known};
use bytes::BytesMut;
use std::ops::Range;

/// The longest name, as in the `http` crate.
const MAX_NAME: usize = u16::MAX as usize;

/// Reads the lines at these places of `text`, which are without their ends. Returns the number of the first malformed
/// line, counted from 1, if there is one.
///
/// A name is a token, so blanks before the colon and folded lines are refused. A value has no controls except tabs.
pub fn fields(
    mut text: BytesMut,
    places: impl ExactSizeIterator<Item = Range<usize>>,
    spare: usize,
) -> Result<Headers, usize> {
    let mut headers = Headers::with_capacity(places.len() + spare);
    for (number, place) in places.enumerate() {
        // The text belongs to this head alone, so the names are brought into lower case where they are.
        let Parts { name, value, known } = Parts::read(&mut text, place).ok_or(number + 1)?;
        let is_of_the_usual_form = value.start == name.end + COLON.len()
            && text[name.end + 1] == b' '
            && text[value.end..].starts_with(END);
        match is_of_the_usual_form {
            true => headers.push_received(
                known,
                (name.end - name.start) as u16,
                name.start..value.end + END.len(),
            ),
            false => headers.push_parts(known, &text[name], &text[value]),
        }
    }
    Ok(headers.of(text.freeze()))
}

/// The parts of a line.
struct Parts {
    name: Range<usize>,
    value: Range<usize>,
    known: Known,
}

impl Parts {
    fn read(text: &mut [u8], line: Range<usize>) -> Option<Self> {
        let mut length = 0;
        let bytes = &mut text[line.clone()];
        for byte in bytes.iter_mut() {
            let lower = LOWER[usize::from(*byte)];
            if lower == 0 {
                break;
            }
            *byte = lower;
            length += 1;
        }
        if bytes.get(length) != Some(&b':') || length == 0 || length > MAX_NAME {
            return None;
        }
        let (mut start, mut end) = (length + 1, bytes.len());
        while start < end && is_blank(bytes[start]) {
            start += 1;
        }
        while start < end && is_blank(bytes[end - 1]) {
            end -= 1;
        }
        if !is_value(&bytes[start..end]) {
            return None;
        }
        let known = Known::of_bytes(&bytes[..length]);
        Some(Self {
            name: line.start..line.start + length,
            value: line.start + start..line.start + end,
            known,
        })
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Whether a value has no controls except tabs.
fn is_value(value: &[u8]) -> bool {
    let is_legal = |byte: &u8| *byte >= b' ' && *byte != 0x7f || *byte == b'\t';
    let (words, rest) = value.as_chunks::<8>();
    // Nearly all values have no tab, so eight bytes are checked at a time.
    words.iter().all(|word| !may_have_control(u64::from_le_bytes(*word)) || word.iter().all(is_legal))
        && rest.iter().all(is_legal)
}

/// Whether one of eight bytes is below a space or is DEL. It is never overlooked; a byte above 127 may be mistaken.
fn may_have_control(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let below_space = word.wrapping_sub(ONES * 0x20);
    let below_del = (word ^ ONES * 0x7f).wrapping_sub(ONES);
    (below_space | below_del) & HIGH != 0
}

/// The lower case of the characters of a token (RFC 9110 §5.6.2), and 0 for all others.
static LOWER: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let b = byte as u8;
        let is_token = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
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
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    /// Reads the lines of a text, each ended by LF and perhaps CR.
    fn read(text: &[u8]) -> Result<Headers, usize> {
        let mut start = 0;
        let places: Vec<_> = text
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| {
                let place = start..start + line.trim_ascii_end().len().max(content(line));
                start += line.len();
                place
            })
            .collect();
        fields(BytesMut::from(text), places.into_iter(), 0)
    }

    /// The length of a line without its end.
    fn content(line: &[u8]) -> usize {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line).len()
    }

    /// Parses a line by the types of the `http` crate.
    fn slow(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
        let line = &line[..content(line)];
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let blank = |byte: &u8| is_blank(*byte);
        let value = &line[colon + 1..];
        let start = value.iter().take_while(|byte| blank(byte)).count();
        let end = value.len() - value[start..].iter().rev().take_while(|byte| blank(byte)).count();
        Some((name, HeaderValue::from_bytes(&value[start..end]).ok()?))
    }

    #[test]
    fn every_form_of_a_line_becomes_the_usual_one() {
        let headers = read(b"Vary: a\r\nAge:1\r\nHost:  x\t \r\nX_y: z\nempty:\r\nblank: \r\n").unwrap();
        let lines: Vec<_> =
            headers.lines().map(|line| String::from_utf8_lossy(line.text()).into_owned()).collect();
        assert_eq!(
            lines,
            ["vary: a\r\n", "age: 1\r\n", "host: x\r\n", "x_y: z\r\n", "empty: \r\n", "blank: \r\n"]
        );
        let known: Vec<_> = headers.lines().map(super::super::Line::known).collect();
        let other = Known::Other;
        assert_eq!(known, [Known::Vary, Known::Age, Known::Host, Known::Underscored, other, other]);
    }

    #[test]
    fn malformed_lines_are_named() {
        for line in [
            "a",
            "",
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
            assert_eq!(read(format!("x: 1\r\n{line}\r\n").as_bytes()), Err(2), "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn lines_are_read_as_the_types_of_the_http_crate_read_them(
            lines in prop::collection::vec(
                (
                    prop_oneof!["[A-Za-z_-]{1,20}", "vary|Age|X-Forwarded-[A-Z]{2}", "[ -~]{0,9}", "[\\x00-\\xff]{0,4}"],
                    prop_oneof![Just(":"), Just(": "), Just(":\t "), Just("")],
                    prop_oneof!["[ -~]{0,40}", "[\\x00-\\x7f]{0,20}", "[a-z\u{e9}\t]{0,20}"],
                    prop_oneof![Just("\r\n"), Just("\n"), Just(" \r\n")],
                ),
                0..8,
            ),
        ) {
            let lines: Vec<String> = lines
                .into_iter()
                .map(|(name, colon, value, end)| format!("{name}{colon}{value}").replace('\n', "") + end)
                .collect();
            let read = read(lines.concat().as_bytes());
            let slow: Vec<_> = lines.iter().map(|line| slow(line.as_bytes())).collect();
            match slow.iter().position(Option::is_none) {
                Some(number) => prop_assert_eq!(read, Err(number + 1)),
                None => {
                    let expected = Headers::from_iter(slow.into_iter().flatten());
                    prop_assert_eq!(read, Ok(expected));
                }
            }
        }
    }
}
