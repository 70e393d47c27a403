//! What the forms of AEM's file have in common: keys with values.

use serde_json::Value;

/// One value and its place in the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// The path of the key, such as `["cdn", "prod", "host"]`.
    pub(super) key: Vec<String>,
    pub(super) value: Value,
    /// The line, in files of rows.
    pub(super) line: Option<usize>,
}

impl Entry {
    /// Returns the key as people write it.
    pub(super) fn name(&self) -> String {
        self.key.join(".")
    }
}
