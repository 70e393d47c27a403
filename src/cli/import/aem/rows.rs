//! Keys and values as rows, as in `.helix/config`: CSV or TSV with or without a row of column names, or lines
//! of `key: value`.

use super::entry::Entry;
use super::error::Problem;
use serde_json::Value;

/// Reads rows; empty ones and comments (`#`) are skipped.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, Problem> {
    let lines: Vec<_> = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_end()))
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .collect();
    let form = Form::of(lines.iter().map(|(_, line)| *line));
    let mut entries = Vec::new();
    for (position, (number, line)) in lines.iter().enumerate() {
        let (key, value) =
            form.split(line).ok_or_else(|| Problem::new(Some(*number), "", form.expected()))?;
        if position == 0 && key.trim().eq_ignore_ascii_case("key") {
            continue;
        }
        push(&key, Value::String(value.trim().to_owned()), Some(*number), &mut entries)?;
    }
    Ok(entries)
}

/// Adds a row. A repeated key of a CDN is an error, because the later one would hide the first. Other keys of
/// the sheet are not checked.
pub(super) fn push(
    key: &str,
    value: Value,
    line: Option<usize>,
    entries: &mut Vec<Entry>,
) -> Result<(), Problem> {
    let key = key.trim();
    let path: Vec<String> = key.split('.').map(str::to_owned).collect();
    if path[0] == "cdn" && entries.iter().any(|entry| entry.key == path) {
        return Err(Problem::new(line, key, "appears twice"));
    }
    entries.push(Entry { key: path, value, line });
    Ok(())
}

/// The format of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Tabs,
    Commas,
    /// `key: value` or `key = value`.
    Pairs,
}

impl Form {
    fn of<'l>(mut lines: impl Iterator<Item = &'l str> + Clone) -> Self {
        if lines.clone().any(|line| line.contains('\t')) {
            Self::Tabs
        } else if lines.all(|line| pair(line).is_some()) {
            Self::Pairs
        } else {
            Self::Commas
        }
    }

    fn split(self, line: &str) -> Option<(String, String)> {
        match self {
            Self::Tabs => cells(line, '\t'),
            Self::Commas => cells(line, ','),
            Self::Pairs => pair(line).map(|(key, value)| (key.to_owned(), unquoted(value).to_owned())),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Tabs => "must be a key, a tab and a value",
            Self::Commas => "must be a key, a comma and a value; or write `key: value` in every line",
            Self::Pairs => "must be `key: value`",
        }
    }
}

/// Splits a line into a key of letters, digits and dots, `:` or `=`, and a value.
fn pair(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-'))?;
    let (key, rest) = line.split_at(end);
    let value = rest.trim_start().strip_prefix([':', '='])?;
    (!key.is_empty()).then_some((key, value))
}

fn unquoted(value: &str) -> &str {
    let value = value.trim();
    ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(value)
}

/// Returns the first two cells of a row (RFC 4180, within one line); a missing value is empty.
fn cells(line: &str, separator: char) -> Option<(String, String)> {
    let mut cells = Vec::new();
    let mut rest = Some(line);
    while let Some(text) = rest {
        let (cell, after) = match text.trim_start_matches(' ').strip_prefix('"') {
            Some(quoted) => {
                let (cell, after) = quoted_cell(quoted)?;
                let after = after.trim_start_matches(' ');
                (cell, if after.is_empty() { None } else { Some(after.strip_prefix(separator)?) })
            }
            None => match text.split_once(separator) {
                Some((cell, after)) => (cell.to_owned(), Some(after)),
                None => (text.to_owned(), None),
            },
        };
        cells.push(cell);
        rest = after;
    }
    let mut cells = cells.into_iter();
    let key = cells.next().filter(|key| !key.trim().is_empty())?;
    Some((key, cells.next()?))
}

/// Returns the text up to the closing quote; a quote within the cell is doubled.
fn quoted_cell(text: &str) -> Option<(String, &str)> {
    let mut cell = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        cell.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                cell.push('"');
                rest = more;
            }
            None => return Some((cell, after)),
        }
    }
}
