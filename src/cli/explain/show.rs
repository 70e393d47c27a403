//! An explanation for people.

use crate::config::Mode;
use crate::explain::Explanation;
use std::fmt::{self, Display, Formatter};

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} -> {}", self.method, self.url, self.status)?;
        let mode = match self.mode {
            Mode::On => "",
            Mode::Observe => " (observe: nothing of this is applied)",
            Mode::Off => " (off: a plain proxy)",
        };
        writeln!(f, "site     {}{mode}", self.site)?;
        writeln!(f, "opt-in   {}", if self.opted_in { "yes" } else { "no" })?;
        writeln!(f, "cdn      {}", self.cdn.map_or("none", |cdn| cdn.as_str()))?;
        match &self.rule {
            Some(rule) => writeln!(f, "rule     {}: {}", rule.number, rule.path)?,
            None => writeln!(f, "rule     none")?,
        }
        writeln!(f, "outcome  {}: {} ({})", self.outcome, self.why, self.reason)?;
        writeln!(
            f,
            "tags     {}",
            if self.tags.is_empty() { "none".to_owned() } else { self.tags.join(", ") }
        )?;
        writeln!(f, "headers")?;
        self.difference(f)
    }
}

impl Explanation {
    /// Removed, added, and kept headers.
    fn difference(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for line in self.before.iter().filter(|line| !self.after.contains(line)) {
            writeln!(f, "  - {}: {}", line.0, line.1)?;
        }
        for line in self.after.iter().filter(|line| !self.before.contains(line)) {
            writeln!(f, "  + {}: {}", line.0, line.1)?;
        }
        for line in self.after.iter().filter(|line| self.before.contains(line)) {
            writeln!(f, "    {}: {}", line.0, line.1)?;
        }
        Ok(())
    }
}
