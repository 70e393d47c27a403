//! What `check --edge` found, step by step.

use crate::terminal::clean;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// The steps in the order in which they matter.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Every step is proved.
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
    /// Nothing is found yet.
    pub fn new(url: &str) -> Self {
        Self { proved: true, url: url.to_owned(), steps: Vec::new() }
    }

    /// It is as it should be.
    pub fn ok(&mut self, name: &'static str, text: String) {
        self.add(name, State::Ok, &text, None);
    }

    /// It is not.
    pub fn failed(&mut self, name: &'static str, text: String, advice: &str) {
        self.add(name, State::Failed, &text, Some(advice));
    }

    /// It cannot be told.
    pub fn unclear(&mut self, name: &'static str, text: &str, advice: &str) {
        self.add(name, State::Unclear, text, Some(advice));
    }

    /// It was not tried.
    pub fn skipped(&mut self, name: &'static str, text: &str) {
        self.add(name, State::Skipped, text, None);
    }

    fn add(&mut self, name: &'static str, state: State, text: &str, advice: Option<&str>) {
        self.proved &= state == State::Ok;
        // Servers wrote some of this.
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
