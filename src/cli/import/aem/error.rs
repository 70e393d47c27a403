//! Errors in a file of AEM. No value is shown, because it may be a secret.

use std::fmt;

/// The error of a file that cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} cannot be imported{}", as_lines(.file, .problems))]
pub struct ImportError {
    /// The file's name.
    pub file: String,
    /// All problems that were found.
    pub problems: Vec<Problem>,
}

/// One problem in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, counted from 1, if it is known.
    pub line: Option<usize>,
    /// The key, such as `cdn.prod.authToken`; empty if the file cannot be read at all.
    pub key: String,
    /// The error, and the allowed values.
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
