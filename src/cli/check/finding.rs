//! A finding of `check`: how bad it is, where, what, and what to do about it.

use crate::config::Problem;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

/// How bad a finding is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The thing will not work.
    Error,
    /// The thing may work, and deserves a second look.
    Warning,
    /// Good to know; needs no action.
    Note,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    file: PathBuf,
    line: usize,
    column: usize,
    key: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    /// A finding at the place of `problem`, which says what was found.
    pub fn new(level: Level, problem: Problem, advice: Option<&str>) -> Self {
        let Problem { file, line, column, key, message } = problem;
        Self { level, file, line, column, key, message, advice: advice.map(str::to_owned) }
    }

    /// Sorts by level, then by place.
    pub fn sort(findings: &mut [Self]) {
        findings.sort_by_key(|finding| (finding.level, finding.line, finding.column));
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "ERROR",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        write!(f, "{level:<9} {}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        writeln!(f, "{}", self.message)?;
        self.advice.iter().try_for_each(|advice| writeln!(f, "          -> {advice}"))
    }
}
