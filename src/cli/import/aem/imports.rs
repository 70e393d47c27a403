//! The state of reading AEM's file, and the readers of single entries.

use super::entry::Entry;
use super::error::Problem;
use super::output::Variable;
use serde_json::Value;

/// The state of reading AEM's file: the entries not read yet, and the messages so far.
pub(super) struct Imports {
    entries: Vec<Entry>,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<String>,
    pub(super) variables: Vec<Variable>,
}

/// The note on parts of a site's configuration that do not concern its CDN and are not needed here.
const OTHER_PARTS: &str = "not about the CDN, so left out";

impl Imports {
    pub(super) fn new(entries: Vec<Entry>) -> Self {
        Self { entries, problems: Vec::new(), notes: Vec::new(), variables: Vec::new() }
    }

    /// Takes the entry with this key.
    pub(super) fn take(&mut self, key: &[&str]) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    /// Takes every entry whose key starts with this one.
    pub(super) fn take_below(&mut self, key: &[&str]) -> Vec<Entry> {
        let is_below = |entry: &mut Entry| {
            entry.key.len() > key.len() && entry.key.iter().zip(key).all(|(part, wanted)| part == wanted)
        };
        self.entries.extract_if(.., is_below).collect()
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(super) fn wrong(&mut self, entry: &Entry, message: impl Into<String>) {
        self.problems.push(Problem::new(entry.line, entry.name(), message));
    }

    /// Takes a text of `cdn.prod`; `None` if it is absent or empty.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let entry = self.take(&["cdn", "prod", name])?;
        match &entry.value {
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            // A sheet took an id of digits for a number.
            Value::Number(number) if number.is_u64() => Some(number.to_string()),
            _ => {
                self.wrong(&entry, "must be a string");
                None
            }
        }
    }

    /// Takes a text that AEM's schema requires for this type. Without it, AEM itself skips every purge
    /// silently.
    pub(super) fn required(&mut self, name: &str, cdn_type: &str) -> String {
        let wrong_before = self.problems.len();
        let text = self.text(name);
        if text.is_none() && self.problems.len() == wrong_before {
            let message = format!("is required for the type {cdn_type}; without it AEM purges nothing");
            self.problems.push(Problem::new(None, format!("cdn.prod.{name}"), message));
        }
        text.unwrap_or_default()
    }

    /// Takes a secret, which is required, and names an environment variable for it.
    pub(super) fn secret(&mut self, name: &str, cdn_type: &str, variable: &'static str) -> &'static str {
        self.required(name, cdn_type);
        self.variables.push(Variable { name: variable, holds: format!("cdn.prod.{name}") });
        variable
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        let Some(entry) = self.take(&["cdn", "prod", name]) else { return false };
        match &entry.value {
            Value::Bool(flag) => *flag,
            Value::String(text) if text.eq_ignore_ascii_case("true") => true,
            Value::String(text) if text.eq_ignore_ascii_case("false") || text.is_empty() => false,
            _ => {
                self.wrong(&entry, "must be true or false");
                false
            }
        }
    }

    /// Adds notes that name the entries that were not read, without their values.
    pub(super) fn mention_the_rest(&mut self) {
        for entry in self.take_below(&["cdn", "prod"]) {
            self.note(format!("{}: not a property that AEM knows for this type; left out", entry.name()));
        }
        for entry in self.take_below(&["cdn"]) {
            self.note(format!("{}: a host of AEM's own tools, which need no counterpart", entry.name()));
        }
        let mut parts: Vec<_> =
            self.entries.drain(..).filter_map(|entry| entry.key.into_iter().next()).collect();
        parts.sort_unstable();
        parts.dedup();
        if !parts.is_empty() {
            self.note(format!("{}: {OTHER_PARTS}", parts.join(", ")));
        }
    }
}
