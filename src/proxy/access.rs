//! The access log: one line per request, written after the last byte of its response. The log is off by default
//! and then costs one comparison per request.

use crate::config::{Access, Log};
use crate::http::head::{RequestHead, Value};
use crate::rewrite::Decision;
use crate::telemetry;
use http::{HeaderValue, Method, Uri, header};
use std::net::IpAddr;
use std::time::Duration;

/// The rule for which requests are logged.
#[derive(Clone, Copy, Debug)]
pub struct AccessLog {
    access: Access,
    sample: f64,
}

impl AccessLog {
    /// Creates the log that the configuration describes.
    pub fn new(log: &Log) -> Self {
        Self { access: log.access, sample: log.access_sample }
    }

    /// Records what the line will show of a request that has not ended yet, or `None` if nothing is logged.
    pub(super) fn note(self, peer: IpAddr, request: &RequestHead) -> Option<Box<Noted>> {
        if self.access == Access::Off {
            return None;
        }
        Some(Box::new(Noted {
            peer,
            method: request.method.clone(),
            host: request.headers.get(&header::HOST).map(Value::to_owned),
            uri: request.uri.clone(),
        }))
    }

    /// Whether a request is logged: errors always, others by chance (`random` is from 0 to 1).
    fn takes(self, status: u16, random: impl FnOnce() -> f64) -> bool {
        status >= 500 || (self.access == Access::All && random() < self.sample)
    }

    /// Writes the line of a request that has ended.
    pub(super) fn write(self, noted: &Noted, ended: &Ended<'_>) {
        let Ended { request_id, site, status, decision, took } = *ended;
        if !self.takes(status, fastrand::f64) {
            return;
        }
        let authority = noted.uri.authority().map(|authority| authority.as_str());
        let host = noted.host.as_ref().and_then(|host| host.to_str().ok()).or(authority);
        tracing::info!(
            target: "access",
            request_id,
            site,
            peer = %noted.peer,
            method = noted.method.as_str(),
            host = host.unwrap_or_default(),
            path = telemetry::without_query(&noted.uri),
            status,
            decision = decision.outcome.as_str(),
            reason = decision.reason.as_str(),
            milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        );
    }
}

/// The facts about a request that are known at its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended<'a> {
    pub(super) request_id: &'a str,
    /// The name of its site, or empty if the request belongs to no site.
    pub(super) site: &'a str,
    pub(super) status: u16,
    pub(super) decision: Decision,
    pub(super) took: Duration,
}

/// A request as its line shows it. The query is removed when the line is written.
#[derive(Debug)]
pub struct Noted {
    peer: IpAddr,
    method: Method,
    host: Option<HeaderValue>,
    uri: Uri,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fixture;
    use http::Version;

    #[test]
    fn errors_always_others_by_chance() {
        let check = |access, sample, status, random, expected| {
            let log = AccessLog { access, sample };
            assert_eq!(log.takes(status, || random), expected, "{access:?} {sample} {status} {random}");
        };
        check(Access::Errors, 1.0, 200, 0.0, false);
        check(Access::Errors, 1.0, 404, 0.0, false);
        check(Access::Errors, 0.0, 500, 0.9, true);
        check(Access::All, 1.0, 200, 0.999, true);
        check(Access::All, 0.1, 200, 0.05, true);
        check(Access::All, 0.1, 200, 0.1, false);
        check(Access::All, 0.0, 200, 0.0, false);
        check(Access::All, 0.0, 502, 0.5, true);
    }

    #[test]
    fn nothing_is_noted_while_it_is_off() {
        let noted = |access| {
            let request = fixture::request(Version::HTTP_11, "GET", "/a?b", &[]);
            AccessLog { access, sample: 1.0 }.note(IpAddr::from([127, 0, 0, 1]), &request).is_some()
        };
        assert!(!noted(Access::Off));
        assert!(noted(Access::Errors) && noted(Access::All));
    }
}
