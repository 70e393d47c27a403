//! The stamp of a response: the time of its fetch, and the instance that fetched it. It shows whether a copy is
//! older than a purge.

use http::{HeaderName, HeaderValue};

/// The name of the header.
pub const STAMP: HeaderName = HeaderName::from_static("x-origin-shim-stamp");

/// Writes a stamp like `1795432954007-3f2a9c1d`: milliseconds since the epoch, and a random number that an
/// instance draws at its start.
pub fn write(fetched_ms: i64, instance: u32) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{fetched_ms}-{instance:08x}")).ok()
}

/// Returns the time at which the response was fetched, in milliseconds since the epoch.
pub fn read(value: &HeaderValue) -> Option<i64> {
    let (fetched_ms, instance) = value.to_str().ok()?.split_once('-')?;
    u32::from_str_radix(instance, 16).ok()?;
    fetched_ms.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let value = write(1_795_432_954_007, 0x3f2a).unwrap();
        assert_eq!(value, "1795432954007-00003f2a");
        assert_eq!(read(&value), Some(1_795_432_954_007));
    }

    #[test]
    fn what_is_no_stamp() {
        for text in ["", "1795432954007", "x-1", "1-x", "-1-1"] {
            assert_eq!(read(&HeaderValue::from_static(text)), None, "{text}");
        }
    }
}
