//! A CDN's answer, and the features that all CDNs' answers share.

use super::Verdict;
use bytes::Bytes;
use http::StatusCode;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

/// The longest wait that is respected. No CDN blocks an account for longer; a larger value is a mistake, and
/// waiting for it would lose the purge.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A CDN's answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: StatusCode,
    /// The HTTP header fields.
    pub headers: http::HeaderMap,
    /// The body, cut off after 64 KiB.
    pub body: Bytes,
}

impl Reply {
    /// Returns the CDN's time when it answered, in milliseconds since the epoch, exact to a second. Signatures
    /// must allow for its difference from our own clock.
    pub fn date_ms(&self) -> Option<i64> {
        let date = httpdate::parse_http_date(self.header("date")?).ok()?;
        i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
    }

    /// Returns `Retry-After` (RFC 9110, 10.2.3), in seconds or as a date by the CDN's own clock; at most an
    /// hour.
    pub fn retry_after(&self) -> Option<Duration> {
        let value = self.header("retry-after")?;
        let wait = match value.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
            Err(_) => {
                let until = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
                self.until(until.as_secs())?
            }
        };
        Some(wait.min(LONGEST_WAIT))
    }

    /// Returns the time until `epoch_seconds` by the CDN's own clock; at most an hour.
    pub(super) fn until(&self, epoch_seconds: u64) -> Option<Duration> {
        let now = u64::try_from(self.date_ms()? / 1000).ok()?;
        Some(Duration::from_secs(epoch_seconds.saturating_sub(now)).min(LONGEST_WAIT))
    }

    /// Returns a header field as text; the first one if there are several.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// Returns a header field as a number.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.header(name)?.parse().ok()
    }

    /// Returns a header field as a time span in seconds, which may have a fraction; at most an hour.
    pub(super) fn seconds(&self, name: &str) -> Option<Duration> {
        let wait = Duration::try_from_secs_f64(self.number(name)?).ok()?;
        Some(wait.min(LONGEST_WAIT))
    }

    /// Parses the body as JSON.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Returns the body as text.
    pub(super) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Returns the verdict that follows from the status alone, for answers without further information. A 200
    /// is not an acceptance: anything that answers in a CDN's place (a captive portal, a proxy, an origin past
    /// a cache) has purged nothing. In doubt the call is sent again, because that is harmless.
    pub(super) fn verdict_of_status(&self) -> Verdict {
        match self.status.as_u16() {
            200..300 => Verdict::Unproven,
            401 | 403 => Verdict::BadCredentials,
            407 | 408 | 425 | 429 => Verdict::Later(self.retry_after()),
            // The call is too large, or the CDN rejects one of its items.
            400 | 413 | 414 | 422 | 431 => Verdict::Split,
            402..500 => Verdict::Refused,
            _ => Verdict::Later(self.retry_after()),
        }
    }
}

/// The information in an answer about the rate that an account has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateHint {
    /// The unit that is counted.
    pub counted: Counted,
    /// The number that is left now.
    pub remaining: u64,
    /// The time after which the full rate is available again.
    pub refreshed_after: Option<Duration>,
}

/// The unit of a CDN's rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Calls.
    Calls,
    /// Items of the kind that the call carried.
    Items,
}

#[cfg(test)]
mod tests {
    use super::super::tests::reply;
    use super::*;

    #[test]
    fn retry_after_in_seconds_or_as_a_date() {
        let check = |headers: &[(&str, &str)], expected: Option<u64>| {
            let wait = reply(429, headers, "").retry_after();
            assert_eq!(wait, expected.map(Duration::from_secs), "{headers:?}");
        };
        check(&[("retry-after", "30")], Some(30));
        check(&[("retry-after", " 0 ")], Some(0));
        check(&[("retry-after", "999999999")], Some(3600));
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "NaN")], None);
        check(&[("retry-after", "soon")], None);
        check(&[], None);
        let date = ("date", "Mon, 23 Nov 2026 12:00:00 GMT");
        check(&[date, ("retry-after", "Mon, 23 Nov 2026 12:01:30 GMT")], Some(90));
        check(&[date, ("retry-after", "Mon, 23 Nov 2026 11:00:00 GMT")], Some(0));
        check(&[("retry-after", "Mon, 23 Nov 2026 12:01:30 GMT")], None);
    }

    #[test]
    fn the_clock_of_the_cdn() {
        let dated = reply(200, &[("date", "Mon, 23 Nov 2026 12:00:00 GMT")], "");
        assert_eq!(dated.date_ms(), Some(1_795_435_200_000));
        assert_eq!(reply(200, &[("date", "yesterday")], "").date_ms(), None);
    }

    #[test]
    fn verdicts_by_status_alone() {
        let check = |status: u16, expected: Verdict| {
            assert_eq!(reply(status, &[], "").verdict_of_status(), expected, "{status}");
        };
        for status in [400, 413, 414, 422, 431] {
            check(status, Verdict::Split);
        }
        for status in [401, 403] {
            check(status, Verdict::BadCredentials);
        }
        for status in [402, 404, 405, 409, 410, 411, 415, 451, 499] {
            check(status, Verdict::Refused);
        }
        for status in [200, 201, 204, 299] {
            check(status, Verdict::Unproven);
        }
        for status in [302, 407, 408, 425, 429, 500, 502, 503, 504, 507, 520, 599] {
            check(status, Verdict::Later(None));
        }
        assert_eq!(
            reply(503, &[("retry-after", "7")], "").verdict_of_status(),
            Verdict::Later(Some(Duration::from_secs(7)))
        );
    }
}
