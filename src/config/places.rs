//! Where the keys of a file are, for findings about it that are made after it was read.

use super::error::Problem;
use super::locate::Locator;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The place of every key and list element of a file.
#[derive(Clone, Debug, Default)]
pub struct Places {
    file: PathBuf,
    /// Line and column by path, such as `sites[0].origin`.
    known: HashMap<String, (usize, usize)>,
}

impl Places {
    pub(super) fn of(file: &Path, locator: &Locator<'_>) -> Self {
        Self { file: file.to_owned(), known: locator.all() }
    }

    /// Returns a problem with the value at `key`. If the file leaves it to a default, the place is that of the table.
    /// Where a list may be a single value, the index of its element may be given all the same.
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        let key = match key.rfind('[') {
            Some(end) if key.ends_with(']') && self.known.contains_key(&key[..end]) => {
                match self.known.get(key) {
                    Some(_) => key,
                    None => &key[..end],
                }
            }
            _ => key,
        };
        let mut part = key;
        let (line, column) = loop {
            match (self.known.get(part), part.rfind(['.', '['])) {
                (Some(place), _) => break *place,
                (None, Some(end)) => part = &part[..end],
                (None, None) => break (1, 1),
            }
        };
        Problem { file: self.file.clone(), line, column, key: key.to_owned(), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use crate::config;
    use std::path::Path;

    #[test]
    fn a_place_is_that_of_the_key_or_of_its_table() {
        let text = "[[sites]]\nname = \"www\"\nhosts = [\"a\", \"b\"]\norigin = \"http://o\"\n";
        let loaded = config::parse(text, Path::new("shim.toml"), &|_| None).unwrap();
        let place = |key: &str| loaded.places.problem(key, "x").to_string();
        assert_eq!(place("sites[0].hosts[1]"), "shim.toml:3:15: sites[0].hosts[1]: x");
        assert_eq!(place("sites[0].origin[0]"), "shim.toml:4:10: sites[0].origin: x");
        assert_eq!(place("sites[0].cache.edge_ttl"), "shim.toml:1:1: sites[0].cache.edge_ttl: x");
        assert_eq!(place("admin.listen"), "shim.toml:1:1: admin.listen: x");
    }
}
