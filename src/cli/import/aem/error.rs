//! What is wrong with a file of AEM. No value is shown: it may be a secret.

use std::fmt;

/// A file that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} cannot be imported{}", as_lines(.file, .problems))]
pub struct ImportError {
    /// Its name.
    pub file: String,
    /// Everything that was found.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1, where it is known.
    pub line: Option<usize>,
    /// Such as `cdn.prod.authToken`; empty where the file cannot be read at all.
    pub key: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Problem {
    pub(super) fn new(line: Option<usize>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { line, key: key.into(), message: message.into() }
    }
}

fn as_lines(file: &str, problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {file}{problem}")).collect()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}
