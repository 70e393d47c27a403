//! The terminal of the live view: its second screen, its size, and its keys.

use crate::terminal::{print_own, rows};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::fmt::Write as _;
use std::io::{Read, stdin};
use tokio::sync::mpsc;

/// The size of a terminal that does not tell its own.
const USUAL_ROWS: usize = 24;

/// Enters the second screen, hides the cursor, and cuts lines that are too long (xterm's private modes).
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
/// Undoes [`ENTER`].
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// The terminal while it shows the live view. Dropping it restores what was there before.
#[derive(Debug)]
pub struct Screen {
    before: Option<Termios>,
}

impl Screen {
    /// Takes the terminal.
    pub fn enter() -> std::io::Result<Self> {
        let before = tcgetattr(stdin()).ok();
        if let Some(before) = &before {
            let mut modes = before.clone();
            // Keys arrive at once and are not shown. Ctrl-C still interrupts; Ctrl-Z would leave this screen behind.
            modes.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
            modes.special_codes[SpecialCodeIndex::VSUSP] = 0;
            tcsetattr(stdin(), OptionalActions::Now, &modes)?;
        }
        let screen = Self { before };
        print_own(ENTER)?;
        Ok(screen)
    }

    /// Draws lines over what was there. Those that do not fit are announced.
    pub fn draw(&self, lines: &[String]) -> std::io::Result<()> {
        print_own(&frame(lines, rows().unwrap_or(USUAL_ROWS)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = print_own(LEAVE);
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// Returns what draws the lines on a terminal with so many rows, without flicker: each line replaces the one that was
/// there.
fn frame(lines: &[String], rows: usize) -> String {
    let mut frame = String::from("\u{1b}[H");
    let fitting = if lines.len() > rows { rows.saturating_sub(1) } else { lines.len() };
    for line in &lines[..fitting] {
        // Writing to a String cannot fail.
        let _ = write!(frame, "{line}\u{1b}[K\r\n");
    }
    if fitting < lines.len() {
        let _ = write!(
            frame,
            "… {} more lines: use a taller window, or --site\u{1b}[K\r\n",
            lines.len() - fitting
        );
    }
    // Without the last line break, the last row would scroll the first one away.
    frame.truncate(frame.len().saturating_sub(if lines.is_empty() { 0 } else { 2 }));
    frame.push_str("\u{1b}[J");
    frame
}

/// Returns the keys that are pressed. Its thread waits for the next one, and ends with the process.
pub fn keys() -> mpsc::Receiver<u8> {
    let (sender, receiver) = mpsc::channel(8);
    std::thread::spawn(move || {
        for key in stdin().lock().bytes().map_while(Result::ok) {
            if sender.blocking_send(key).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_never_has_more_rows_than_the_terminal() {
        for (count, rows) in [(0, 24), (1, 24), (24, 24), (25, 24), (100, 3), (5, 1)] {
            let lines: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            let frame = frame(&lines, rows);
            assert!(frame.matches("\r\n").count() < rows.max(1), "{count} lines on {rows} rows: {frame:?}");
            let is_whole = count <= rows;
            assert_eq!(frame.contains("more lines"), !is_whole, "{count} lines on {rows} rows: {frame:?}");
        }
    }
}
