//! Output made safe for a terminal. Much of it is foreign: items that somebody purged, texts of CDNs and
//! origins, rows of an imported file. A control character there could rewrite the lines above, and an invisible
//! one could make a text look like another (<https://www.unicode.org/reports/tr36/>,
//! <https://trojansource.codes>). All output of the command line passes through this module.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal, Write as _};

/// Prints text for people. A reader that stops early (`| head`) is no failure.
pub fn print(text: &str) -> std::io::Result<()> {
    write(&clean(text))
}

/// Prints JSON.
pub fn print_json(text: &str) -> std::io::Result<()> {
    write(&json(text))
}

/// Prints this program's own text byte for byte: a completion script, a schema.
pub fn print_own(text: &str) -> std::io::Result<()> {
    write(text)
}

/// Prints text for people to stderr. Errors are ignored, because there is no other place to report them.
pub fn print_aside(text: &str) {
    let _ = std::io::stderr().lock().write_all(clean(text).as_bytes());
}

/// Whether the output is read by a person at a terminal.
pub fn is_live() -> bool {
    std::io::stdout().is_terminal()
}

/// Returns the number of rows of the terminal, if it tells it.
pub fn rows() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_row)).filter(|rows| *rows > 0)
}

fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Escapes text of several lines. Characters that a terminal would obey or not show are written as `\u{202e}`.
pub fn clean(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |char| !matches!(char, '\n' | '\t') && is_unseen(char),
        |text, char| {
            let _ = write!(text, "\\u{{{:x}}}", u32::from(char));
        },
    )
}

/// Escapes text within a line, where a line break would make the rest look like the next line.
pub fn line(text: &str) -> String {
    let spaced = text.replace(['\n', '\r', '\t'], " ");
    clean(&spaced).into_owned()
}

/// Escapes the same characters in JSON as JSON does, so that its meaning is unchanged: outside of its strings
/// JSON contains none of them except white space (RFC 8259, 2 and 7).
pub fn json(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |char| !matches!(char, '\n' | '\t' | '\r') && is_unseen(char),
        |text, char| {
            for unit in char.encode_utf16(&mut [0; 2]) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        },
    )
}

/// Escapes characters. Writing to a String cannot fail, here and everywhere in this file.
fn escaped(
    text: &str,
    is_escaped: impl Fn(char) -> bool,
    escape: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_escaped(char) { escape(&mut safe, char) } else { safe.push(char) }
    }
    safe.into()
}

/// Whether a terminal obeys the character or shows nothing: control characters (C0, DEL and C1), format
/// characters (the category Cf: text directions, joiners, zero-width characters, tags), separators of lines and
/// paragraphs, fillers that look like a space, and selectors of a variant of the character before.
fn is_unseen(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}'
            | '\u{34f}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn what_fools_a_terminal_is_shown() {
        let check = |text: &str, expected: &str| assert_eq!(line(text), expected);
        check("/a\u{1b}[2J", r"/a\u{1b}[2J");
        check("/a\u{9b}2J\u{7f}\u{0}", r"/a\u{9b}2J\u{7f}\u{0}");
        check("/moc.live\u{202e}evil.com", r"/moc.live\u{202e}evil.com");
        check("pay\u{200b}pal\u{feff}\u{e0041}", r"pay\u{200b}pal\u{feff}\u{e0041}");
        check("a\nb\tc\rd", "a b c d");
        check("a\u{2028}b\u{85}c", r"a\u{2028}b\u{85}c");
        check("Grüße 漢字 עברית 🦀 e\u{301}", "Grüße 漢字 עברית 🦀 e\u{301}");
        assert_eq!(clean("one\n\ttwo\r\n"), "one\n\ttwo\\u{d}\n");
        assert_eq!(
            json("{\"a\": \"\u{9b}2J\u{202e}\u{e0041}\"}\n"),
            r#"{"a": "\u009b2J\u202e\udb40\udc41"}"#.to_owned() + "\n"
        );
    }

    /// Generates texts that consist mostly of such characters; `any` alone would rarely produce one.
    fn texts() -> impl Strategy<Value = String> {
        let hostile = prop::sample::select(vec![
            '\u{0}',
            '\u{1b}',
            '\r',
            '\n',
            '\t',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{9d}',
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{202a}',
            '\u{202e}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{fe0f}',
            '\u{fffb}',
            '\u{e0001}',
            '\u{e007f}',
            '\\',
            '"',
        ]);
        prop::collection::vec(prop_oneof![hostile, any::<char>()], 0..40).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn nothing_printed_is_obeyed_or_unseen(text in texts()) {
            let is_left = |text: &str| text.chars().any(|char| is_unseen(char) && !matches!(char, '\n' | '\t'));
            prop_assert!(!is_left(&clean(&text)));
            prop_assert!(!line(&text).chars().any(is_unseen));
            // Clean text is unchanged, so cleaning it again does no harm.
            let once = clean(&text);
            prop_assert_eq!(clean(&once), once.clone());
        }

        #[test]
        fn json_means_the_same_and_shows_it(text in texts(), key in texts()) {
            let value = serde_json::json!({ key: [text.clone(), { "deep": text }] });
            for written in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let printed = json(&written);
                prop_assert!(!printed.chars().any(|char| is_unseen(char) && char != '\n'));
                prop_assert_eq!(&serde_json::from_str::<Value>(&printed).unwrap(), &value);
            }
        }
    }
}
