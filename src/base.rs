//! Helpers for all parts of the program: errors on one line, times as whole numbers, paths of
//! neighbouring files, and the digest of a secret.

use sha2::{Digest, Sha256};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Formats an error and all its causes, separated by colons.
pub fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| <dyn Error>::source(*cause));
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Returns a duration in milliseconds, or `i64::MAX` if it is longer than that.
pub fn milliseconds(duration: Duration) -> i64 {
    // `as_millis` divides 128-bit numbers, which is too slow here: every request is timed.
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    seconds.saturating_mul(1_000).saturating_add(i64::from(duration.subsec_millis()))
}

/// Returns a duration in microseconds, or `i64::MAX` if it is longer than that.
pub fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Returns a duration of this many microseconds, or zero if the number is negative.
pub fn from_microseconds(microseconds: i64) -> Duration {
    Duration::from_micros(u64::try_from(microseconds).unwrap_or_default())
}

/// Returns the path of a file beside this one: its name with `ending` after it.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The SHA-256 of a secret or a file, for comparing it.
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Error as Innermost;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Outer(&'static str, #[source] Box<dyn Error>);

    #[test]
    fn every_cause_is_told() {
        let innermost: Box<dyn Error> = Box::new(Innermost);
        let text = innermost.to_string();
        assert_eq!(with_causes(&*innermost), text);
        let error = Outer("a", Box::new(Outer("b", innermost)));
        assert_eq!(with_causes(&error), format!("a: b: {text}"));
    }

    #[test]
    fn whole_numbers() {
        assert_eq!(milliseconds(Duration::from_micros(1_999_999)), 1_999);
        assert_eq!(milliseconds(Duration::MAX), i64::MAX);
        assert_eq!(microseconds(Duration::MAX), i64::MAX);
        assert_eq!(from_microseconds(-1), Duration::ZERO);
    }
}
