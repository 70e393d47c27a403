//! Shows the figures while the demo runs: on a terminal the last lines are drawn anew, elsewhere they are printed now
//! and then.

use super::error::DemoError;
use super::figures::Figures;
use super::story::say;
use crate::terminal::{is_live, line};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::convert::Infallible;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The time between two drawings on a terminal.
const DRAW_EVERY: Duration = Duration::from_secs(1);

/// The times until the figures are printed elsewhere: soon for the first time, and then rarely.
const FIRST_AFTER: Duration = Duration::from_secs(5);
const PRINT_EVERY: Duration = Duration::from_secs(60);

/// Shows the figures, forever.
pub async fn show(figures: &Mutex<Figures>) -> Result<Infallible, DemoError> {
    let lines = || figures.lock().unwrap_or_else(PoisonError::into_inner).lines();
    if is_live() && std::io::stderr().is_terminal() {
        draw(lines).await
    } else {
        tokio::time::sleep(FIRST_AFTER).await;
        loop {
            say(&format!("\n{}", lines().join("\n")))?;
            tokio::time::sleep(PRINT_EVERY).await;
        }
    }
}

async fn draw(lines: impl Fn() -> Vec<String>) -> Result<Infallible, DemoError> {
    let screen = MultiProgress::new();
    let style =
        ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bars: Vec<ProgressBar> =
        lines().iter().map(|_| screen.add(ProgressBar::new_spinner().with_style(style.clone()))).collect();
    loop {
        for (bar, text) in bars.iter().zip(lines()) {
            bar.set_message(line(&text));
            bar.tick();
        }
        tokio::time::sleep(DRAW_EVERY).await;
    }
}
