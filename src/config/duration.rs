//! Durations as the file writes them: a whole number and one unit.

use std::time::Duration;

/// The units, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses `500ms`, `90s`, `5m`, `2h` or `2d`.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let &(_, factor) =
        UNITS.iter().find(|(name, _)| *name == unit && digits > 0).ok_or(DurationError::Form)?;
    let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
    let milliseconds = number.checked_mul(factor).ok_or(DurationError::TooLong)?;
    Ok(Duration::from_millis(milliseconds))
}

/// Returns the shortest text that [`parse`] reads back as `duration`, in whole milliseconds.
pub fn print(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    UNITS
        .iter()
        .find(|(_, factor)| milliseconds.is_multiple_of(*factor))
        .map(|(unit, factor)| format!("{}{unit}", milliseconds / factor))
        .unwrap_or_default()
}

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text is not a whole number and one unit.
    #[error("must be a whole number and one unit, such as 500ms, 90s, 5m, 2h or 2d")]
    Form,
    /// The duration has more milliseconds than fit in 64 bits.
    #[error("is too long")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Result<u64, DurationError>) {
        assert_eq!(parse(text), expected.map(Duration::from_millis), "{text:?}");
    }

    #[test]
    fn reads_one_number_and_one_unit() {
        check("500ms", Ok(500));
        check("90s", Ok(90_000));
        check("5m", Ok(300_000));
        check("2h", Ok(7_200_000));
        check("2d", Ok(172_800_000));
        check("0s", Ok(0));
        check("007s", Ok(7_000));
        for wrong in
            ["", "5", "s", "ms", "1h30m", "1.5h", "5 m", " 5m", "5m ", "-5s", "+5s", "5M", "1w", "٣s", "5ms5"]
        {
            check(wrong, Err(DurationError::Form));
        }
        check("18446744073709551616ms", Err(DurationError::TooLong));
        check("18446744073709551615s", Err(DurationError::TooLong));
    }

    #[test]
    fn prints_the_shortest_text() {
        for text in ["0s", "1ms", "1500ms", "90s", "5m", "2h", "2d", "25h"] {
            assert_eq!(print(parse(text).unwrap()), text);
        }
        assert_eq!(print(Duration::from_secs(172_800)), "2d");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(milliseconds: u64) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&print(duration)), Ok(duration));
        }

        #[test]
        fn what_is_read_prints_the_same_duration(number in 0u64..1_000_000, unit in 0usize..5) {
            let duration = parse(&format!("{number}{}", UNITS[unit].0)).unwrap();
            prop_assert_eq!(parse(&print(duration)), Ok(duration));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }
    }
}
