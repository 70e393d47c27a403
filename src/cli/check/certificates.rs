//! The expiry of the certificates that a configuration names.

use crate::config::Expiry;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;

/// A file of certificates.
#[derive(Debug, Serialize)]
pub struct File {
    /// The key of the configuration that names the file.
    key: String,
    file: PathBuf,
    /// The time of expiry, RFC 3339.
    expires_at: String,
    expired: bool,
}

/// Returns the state of each file at `now_s`.
pub fn files(expiries: &[Expiry], now_s: i64) -> Vec<File> {
    let file = |expiry: &Expiry| File {
        key: expiry.named.key.clone(),
        file: expiry.path.clone(),
        expires_at: jiff::Timestamp::from_second(expiry.ends_s).map(|at| at.to_string()).unwrap_or_default(),
        expired: expiry.is_over(now_s),
    };
    expiries.iter().map(file).collect()
}

/// Describes the same for people, one line each; empty if there are none.
pub fn describe(expiries: &[Expiry], now_s: i64) -> String {
    let mut text = String::new();
    for expiry in expiries {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "expiry    {}: {}", expiry.path.display(), expiry.says(now_s));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}
