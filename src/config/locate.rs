//! The position of each key in the file, so that every problem names its line and column.

use std::collections::HashMap;
use std::fmt;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// The path of a value: `sites[0].cdns[1].auth_token`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl KeyPath {
    /// Returns the path of `name` in this table.
    pub fn key(&self, name: &str) -> Self {
        self.then(Step::Key(name.to_owned()))
    }

    /// Returns the path of the element `index` in this list.
    pub fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    /// Returns the path without its indices: `sites.cdns.auth_token`.
    pub fn without_indices(&self) -> String {
        let keys = self.0.iter().filter_map(|step| match step {
            Step::Key(name) => Some(name.as_str()),
            Step::Index(_) => None,
        });
        keys.collect::<Vec<_>>().join(".")
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(name) if position == 0 => f.write_str(name)?,
                Step::Key(name) => write!(f, ".{name}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The text and the parsed tree of a file, which has the position of every key and value.
pub struct Locator<'t> {
    lines: Lines<'t>,
    root: &'t Spanned<DeTable<'t>>,
}

impl<'t> Locator<'t> {
    /// Creates a locator. `root` must be the tree of `text`.
    pub fn new(text: &'t str, root: &'t Spanned<DeTable<'t>>) -> Self {
        Self { lines: Lines::of(text), root }
    }

    /// Returns the line and column, both from 1, of the value at `path`. If it is absent, returns those of the deepest
    /// part of the path that is present.
    pub fn position(&self, path: &KeyPath) -> (usize, usize) {
        self.lines.line_and_column(self.spans(path).1)
    }

    /// Returns the line and column of the path's last key, in the same way.
    pub fn key_position(&self, path: &KeyPath) -> (usize, usize) {
        self.lines.line_and_column(self.spans(path).0)
    }

    /// Returns where the last key and the value at `path` start.
    fn spans(&self, path: &KeyPath) -> (usize, usize) {
        let mut table = Some(self.root.get_ref());
        let mut array = None;
        let mut spans = (0, 0);
        for step in &path.0 {
            let found = match step {
                Step::Key(name) => table
                    .and_then(|table| table.get_key_value(name.as_str()))
                    .map(|(key, value)| (key.span().start, value)),
                Step::Index(index) => array
                    .and_then(|array: &DeArray<'_>| array.get(*index))
                    .map(|value| (value.span().start, value)),
            };
            let Some((key, value)) = found else { break };
            spans = (key, value.span().start);
            table = value.get_ref().as_table();
            array = value.get_ref().as_array();
        }
        spans
    }

    /// Returns the line and column of every value by its path.
    pub fn all(&self) -> HashMap<String, (usize, usize)> {
        let mut all = HashMap::new();
        self.collect(self.root.get_ref(), &KeyPath::default(), &mut all);
        all
    }

    fn collect(&self, table: &DeTable<'_>, path: &KeyPath, all: &mut HashMap<String, (usize, usize)>) {
        for (name, value) in table {
            self.collect_value(value, &path.key(name.get_ref()), all);
        }
    }

    fn collect_value(
        &self,
        value: &Spanned<DeValue<'_>>,
        path: &KeyPath,
        all: &mut HashMap<String, (usize, usize)>,
    ) {
        all.insert(path.to_string(), self.lines.line_and_column(value.span().start));
        match value.get_ref() {
            DeValue::Table(table) => self.collect(table, path, all),
            DeValue::Array(array) => array
                .iter()
                .enumerate()
                .for_each(|(index, value)| self.collect_value(value, &path.index(index), all)),
            _ => {}
        }
    }

    /// Returns the innermost value that covers the byte at `offset`.
    pub fn value_at(&self, offset: usize) -> Option<Found<'t>> {
        find_in_table(self.root.get_ref(), &KeyPath::default(), offset)
    }
}

/// A value that was found by its position.
pub struct Found<'t> {
    /// Path of the value.
    pub path: KeyPath,
    /// The value.
    pub value: &'t DeValue<'t>,
}

// Searches a table. Its own span covers only its header, so the children are searched regardless of the span.
fn find_in_table<'t>(table: &'t DeTable<'t>, path: &KeyPath, offset: usize) -> Option<Found<'t>> {
    table.iter().find_map(|(name, value)| find_in_value(value, path.key(name.get_ref()), offset))
}

fn find_in_value<'t>(value: &'t Spanned<DeValue<'t>>, path: KeyPath, offset: usize) -> Option<Found<'t>> {
    let inside = match value.get_ref() {
        DeValue::Table(table) => find_in_table(table, &path, offset),
        DeValue::Array(array) => array
            .iter()
            .enumerate()
            .find_map(|(index, value)| find_in_value(value, path.index(index), offset)),
        _ => None,
    };
    inside.or_else(|| value.span().contains(&offset).then_some(Found { path, value: value.get_ref() }))
}

/// Describes the type of a value in words.
pub fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A text with the positions at which its lines start. They are found in one pass: counting lines again for each of
/// many problems would take time quadratic in the text.
pub struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    /// Splits `text` into lines.
    pub fn of(text: &'t str) -> Self {
        let after = text.match_indices('\n').map(|(newline, _)| newline + 1);
        Self { text, starts: std::iter::once(0).chain(after).collect() }
    }

    /// Returns the line and column of a byte, both from 1. The column counts characters.
    pub fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let end = self.text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|start| *start <= end);
        let start = self.starts[line - 1];
        (line, self.text[start..end].chars().count() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"[server]
listen = ["a", "ü", 3]
[[sites]]
name = "x"
[sites.opt_in]
trust = "any"
[[sites.cdns]]
type = "f"
[[sites.cdns]]
  type = "g"
"#;

    fn path(text: &str) -> KeyPath {
        text.split('.').fold(KeyPath::default(), |path, part| match part.parse() {
            Ok(index) => path.index(index),
            Err(_) => path.key(part),
        })
    }

    #[test]
    fn finds_values_and_falls_back_to_their_table() {
        let root = DeTable::parse(TEXT).unwrap();
        let locator = Locator::new(TEXT, &root);
        let check = |place: &str, expected: (usize, usize)| {
            assert_eq!(locator.position(&path(place)), expected, "{place}")
        };
        check("server.listen", (2, 10));
        check("server.listen.1", (2, 16));
        check("server.listen.2", (2, 21));
        check("server.listen.9", (2, 10));
        check("sites.0.name", (4, 8));
        check("sites.0.origin", (3, 1));
        check("sites.0.opt_in.trust", (6, 9));
        check("sites.0.opt_in.secret", (5, 1));
        check("sites.0.cdns.1.type", (10, 10));
        check("sites.0.cdns.1.service_id", (9, 1));
        check("sites.7", (3, 1));
        check("admin.listen", (1, 1));
    }

    #[test]
    fn names_the_value_at_a_place() {
        let root = DeTable::parse(TEXT).unwrap();
        let locator = Locator::new(TEXT, &root);
        let check = |needle: &str, expected: &str| {
            let found = locator.value_at(TEXT.find(needle).unwrap()).unwrap();
            assert_eq!(format!("{}: {}", found.path, kind(found.value)), expected);
        };
        check("3]", "server.listen[2]: a whole number");
        check("[\"a", "server.listen: a list");
        check("\"g\"", "sites[0].cdns[1].type: a string");
        check("[sites.opt_in]", "sites[0].opt_in: a table");
    }

    #[test]
    fn counts_lines_and_characters() {
        let check = |text, offset, place| {
            assert_eq!(Lines::of(text).line_and_column(offset), place, "{text:?} {offset}")
        };
        check("", 0, (1, 1));
        check("aü\nb", 3, (1, 3));
        check("aü\nb", 2, (1, 2));
        check("a\nb", 1, (1, 2));
        check("a\nb", 2, (2, 1));
        check("a\n", 2, (2, 1));
        check("a", 99, (1, 2));
    }

    #[test]
    fn prints_paths() {
        let path = KeyPath::default().key("sites").index(0).key("cdns").index(1).key("auth_token");
        assert_eq!(path.to_string(), "sites[0].cdns[1].auth_token");
        assert_eq!(path.without_indices(), "sites.cdns.auth_token");
    }
}
