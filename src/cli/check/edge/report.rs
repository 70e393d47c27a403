//! The results of `check --edge`, step by step.

use crate::terminal::clean;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// The steps in order of importance.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Whether every step is proved.
    pub proved: bool,
    url: String,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    state: State,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Failed,
    Unclear,
    Skipped,
}

impl Checked {
    /// Creates a report without steps.
    pub fn new(url: &str) -> Self {
        Self { proved: true, url: url.to_owned(), steps: Vec::new() }
    }

    /// Adds a step that succeeded.
    pub fn ok(&mut self, name: &'static str, text: String) {
        self.add(name, State::Ok, &text, None);
    }

    /// Adds a step that failed.
    pub fn failed(&mut self, name: &'static str, text: String, advice: &str) {
        self.add(name, State::Failed, &text, Some(advice));
    }

    /// Adds a step whose result is unclear.
    pub fn unclear(&mut self, name: &'static str, text: &str, advice: &str) {
        self.add(name, State::Unclear, text, Some(advice));
    }

    /// Adds a step that was not tried.
    pub fn skipped(&mut self, name: &'static str, text: &str) {
        self.add(name, State::Skipped, text, None);
    }

    fn add(&mut self, name: &'static str, state: State, text: &str, advice: Option<&str>) {
        self.proved &= state == State::Ok;
        // Some of this text comes from servers.
        let advice = advice.map(|advice| clean(advice).into_owned());
        self.steps.push(Step { name, state, text: clean(text).into_owned(), advice });
    }
}

impl Display for Checked {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.url)?;
        for step in &self.steps {
            let state = match step.state {
                State::Ok => "ok",
                State::Failed => "FAILED",
                State::Unclear => "unclear",
                State::Skipped => "skipped",
            };
            writeln!(f, "  {:<8} {state:<8} {}", step.name, step.text)?;
            if let Some(advice) = &step.advice {
                writeln!(f, "                    -> {advice}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_in_words() {
        let mut checked = Checked::new("https://www.example.com/");
        checked.ok("reached", "The page came through fastly.".to_owned());
        assert!(checked.proved);
        checked.unclear("opt-in", "Others came.", "Try again.");
        checked.failed("cached", "No copy\u{1b}[2J was served.".to_owned(), "Look.");
        checked.skipped("fresh", "Not tried.");
        assert!(!checked.proved);
        insta::assert_snapshot!(checked.to_string(), @r"
        https://www.example.com/
          reached  ok       The page came through fastly.
          opt-in   unclear  Others came.
                            -> Try again.
          cached   FAILED   No copy\u{1b}[2J was served.
                            -> Look.
          fresh    skipped  Not tried.
        ");
    }
}
