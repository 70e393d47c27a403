//! Why a file is not TOML, in the words of somebody who comes from another format.

use std::ops::Range;

/// Explains the parser's message about `span`, which begins in `line`. Of the file's text only names of keys and of
/// tables are repeated, because a value may be a secret.
pub fn explain(message: &str, text: &str, span: Option<Range<usize>>, line: usize) -> String {
    let here = text.lines().nth(line - 1).unwrap_or_default();
    if text.trim_start().starts_with('{') {
        return "the file looks like JSON, but the configuration is TOML: `key = value` in lines, tables as `[server]`"
            .to_owned();
    }
    if is_yaml(here) {
        return format!("{message}; this looks like YAML, but TOML writes `key = value`");
    }
    if message.starts_with("duplicate key") {
        return duplicate(message, text, span, line);
    }
    if here.contains(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
        return format!("{message}; curly quotes are no quotes in TOML: use \"");
    }
    if message.starts_with("string values must be quoted") {
        return "a text must be in quotes, as in key = \"value\"".to_owned();
    }
    message.to_owned()
}

/// Whether a line has a name and a colon, perhaps after a dash.
fn is_yaml(line: &str) -> bool {
    let line = line.trim_start().trim_start_matches("- ");
    let Some((name, rest)) = line.split_once(':') else { return false };
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    is_name && (rest.is_empty() || rest.starts_with(' '))
}

/// Names a key or table that is there twice, and where it was first.
fn duplicate(message: &str, text: &str, span: Option<Range<usize>>, line: usize) -> String {
    let mut before = text.lines().take(line - 1).enumerate();
    let here = text.lines().nth(line - 1).unwrap_or_default().trim();
    if here.starts_with('[') {
        return match before.find(|(_, other)| other.trim() == here) {
            Some((first, _)) => format!("{here} is already in line {}: put all of its keys there", first + 1),
            None => format!("{message}: {here}"),
        };
    }
    match span.and_then(|span| text.get(span)) {
        Some(key) if key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => {
            let is_it = |other: &str| other.split_once('=').is_some_and(|(name, _)| name.trim() == key);
            // The last one before is that of the same table: a table in between would have its own.
            match before.filter(|(_, other)| is_it(other)).last() {
                Some((first, _)) => format!("`{key}` is already set in line {}", first + 1),
                None => format!("{message} `{key}`"),
            }
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config;
    use std::path::Path;

    #[test]
    fn other_formats_are_named() {
        let said = |text: &str| config::parse(text, Path::new("f"), &|_| None).unwrap_err().to_string();
        let check =
            |text: &str, expected: &str| assert!(said(text).contains(expected), "{text}: {}", said(text));
        check("{\"server\": {}}", "looks like JSON");
        check("server:\n  listen: 8080\n", "looks like YAML");
        check("[[sites]]\nname: www\n", "looks like YAML");
        check("[server]\nid = \"a\"\nid = \"b\"\n", "f:3:1: `id` is already set in line 2");
        check("[server]\n[admin]\n[server]\n", "[server] is already in line 1");
        check("[[sites]]\nname = \u{201c}www\u{201d}\n", "curly quotes");
        check("[[sites]]\nname = www\n", "must be in quotes");
    }

    #[test]
    fn a_key_below_a_table_says_where_it_belongs() {
        let text = "[[sites]]\nname = \"www\"\n[sites.opt_in]\ntrust = \"any\"\norigin = \"http://o\"\n";
        let said = config::parse(text, Path::new("f"), &|_| None).unwrap_err().to_string();
        assert!(said.contains("f:5:1: sites[0].opt_in.origin: unknown key here; it belongs to `sites`: move it above the line of `sites.opt_in` (line 3)"), "{said}");
    }
}
