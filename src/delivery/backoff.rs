//! The delay before a retry.

use std::time::Duration;

/// The longest delay after a failure, unless the CDN asks for a longer one.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// Returns the delay after this many consecutive failures (from 1). Its maximum starts at 1 s and doubles up to 60
/// s. `random` (from 0 to 1) spreads the delay over the whole range, so that callers that failed together do not
/// retry together.
pub fn backoff(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let most = Duration::from_secs(1 << doublings).min(LONGEST_BACKOFF);
    most.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_minute() {
        let check = |failures, random, millis| {
            assert_eq!(backoff(failures, random), Duration::from_millis(millis), "{failures} {random}");
        };
        check(1, 1.0, 1_000);
        check(2, 1.0, 2_000);
        check(3, 0.5, 2_000);
        check(6, 1.0, 32_000);
        check(7, 1.0, 60_000);
        check(u32::MAX, 1.0, 60_000);
        check(u32::MAX, 0.25, 15_000);
        check(1, 0.0, 0);
        check(0, 1.0, 1_000);
    }
}
