//! What is printed, made fit for a terminal. Much of it is foreign: items that somebody purged, what a CDN or an origin said, rows
//! of an imported file. A control character there could rewrite what stands above, and an invisible one could make a text look
//! like another (<https://www.unicode.org/reports/tr36/>, <https://trojansource.codes>). All of the command line's output
//! leaves through here.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};

/// Prints text for people. A reader that has seen enough (`| head`) is no failure.
pub fn print(text: &str) -> std::io::Result<()> {
    write(&clean(text))
}

/// Prints JSON.
pub fn print_json(text: &str) -> std::io::Result<()> {
    write(&json(text))
}

/// Prints what is of this program alone, byte for byte: a completion script, a schema.
pub fn print_own(text: &str) -> std::io::Result<()> {
    write(text)
}

/// Prints text for people to stderr. Where nobody can be told, there is nobody to tell that.
pub fn print_aside(text: &str) {
    let _ = std::io::stderr().lock().write_all(clean(text).as_bytes());
}

fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Text of several lines. What a terminal would obey or not show stands there as `\u{202e}`.
pub fn clean(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |char| !matches!(char, '\n' | '\t') && is_unseen(char),
        |text, char| {
            let _ = write!(text, "\\u{{{:x}}}", u32::from(char));
        },
    )
}

/// Text within a line: a line break there would look like the next line.
pub fn line(text: &str) -> String {
    let spaced = text.replace(['\n', '\r', '\t'], " ");
    clean(&spaced).into_owned()
}

/// JSON with the same characters escaped as JSON does it, so that its meaning stays: outside of its strings it has none of them but
/// white space (RFC 8259, 2 and 7).
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

/// Writing to a String cannot fail, as everywhere here.
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

/// Whether a terminal obeys it or shows nothing: control characters (C0, DEL and C1), format characters (the category Cf: the
/// directions of text, joiners, what has no width, tags), separators of lines and paragraphs, fillers that look like a space, and
/// what selects a variant of the character before.
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

    /// Mostly of what is to be found; `any` alone would seldom meet it.
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
            // What is clean stays as it is, so that cleaning twice does no harm.
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
