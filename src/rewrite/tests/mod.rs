//! Tests of the rewriting as a whole: tables of inputs and outputs, and laws that hold for any input.

mod browsers;
mod each_cdn;
mod fallback;
mod forbidden;
mod guard;
mod kept;
mod laws;
mod never;
mod not_modified;
mod rows;
mod tag_headers;
mod targeted;

use super::broad::TagPattern;
use super::pattern::PathPattern;
use super::tag_field::{Separator, TagFields};
use super::tags::TagForm;
use super::*;
use crate::http::head::Headers;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use std::time::Duration;

/// A site with the default TTLs and no tags of its own.
pub(super) fn site() -> Policy {
    let minutes = |m: u64| Duration::from_secs(60 * m);
    Policy {
        site: "www".to_owned(),
        profile: Profile::Generic,
        ttls: Ttls {
            edge: minutes(2 * 24 * 60),
            browser: BrowserTtl::Fixed(minutes(2 * 60)),
            fallback: minutes(5),
            not_found: minutes(4),
            guard: Duration::from_secs(1),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
        },
        vary: vec![],
        rules: vec![],
        tags: TagPolicy { path: false, site: false, sections: 0, ..TagPolicy::default() },
        aem: None,
        conditional: Conditional::Strip,
        origins: vec![],
        rewrite_location: false,
    }
}

/// A rule for every path, without any changes.
fn rule() -> Rule {
    Rule {
        path: PathPattern::new("/**").unwrap(),
        edge_ttl: None,
        browser_ttl: None,
        allow_override: false,
        tags: vec![],
    }
}

/// A site whose rule lengthens responses in spite of the origin.
fn overriding_site() -> Policy {
    Policy { rules: vec![Rule { allow_override: true, ..rule() }], ..site() }
}

/// The dialect of `cdn` with its defaults; CloudFront with a tag header.
fn dialect(cdn: CdnType) -> Dialect {
    let tag_header = (cdn == CdnType::Cloudfront).then(|| HeaderName::from_static("x-tags"));
    Dialect::new(cdn, None, tag_header)
}

/// An exchange. The tests vary the origin's part.
#[derive(Clone, Debug)]
struct Exchange {
    method: Method,
    path: String,
    authorization: bool,
    cookie: bool,
    status: u16,
    headers: Headers,
    unhealthy: bool,
}

/// A GET of `/a` with a 200 and these header lines as the response.
fn get(lines: &[&str]) -> Exchange {
    let mut headers = Headers::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        headers.append(
            &name.parse::<HeaderName>().unwrap(),
            &HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    Exchange {
        method: Method::GET,
        path: "/a".to_owned(),
        authorization: false,
        cookie: false,
        status: 200,
        headers,
        unhealthy: false,
    }
}

impl Exchange {
    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    fn path(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    fn unhealthy(self) -> Self {
        Self { unhealthy: true, ..self }
    }

    /// The result of `rewrite`.
    fn rewritten(self, policy: &Policy, dialect: &Dialect) -> (Decision, Headers) {
        self.held_against(&Purged::default(), 0, policy, dialect)
    }

    /// The decision and, if the response may be kept, the facts that purges need.
    fn told(mut self, policy: &Policy, dialect: &Dialect) -> (Decision, Option<Provenance>) {
        self.make(&Purged::default(), 0, policy, dialect)
    }

    /// The result of `rewrite` with these purges and this start of the request.
    fn held_against(
        mut self,
        purged: &Purged,
        began_ms: i64,
        policy: &Policy,
        dialect: &Dialect,
    ) -> (Decision, Headers) {
        let (decision, _) = self.make(purged, began_ms, policy, dialect);
        (decision, self.headers)
    }

    fn make(
        &mut self,
        purged: &Purged,
        began_ms: i64,
        policy: &Policy,
        dialect: &Dialect,
    ) -> (Decision, Option<Provenance>) {
        let request = RequestFacts {
            method: &self.method,
            path: &self.path,
            authorization: self.authorization,
            bound: false,
            cookie: self.cookie,
            asked: Asked { scheme: None, host: "www.example.com", query: None },
        };
        let edge = Edge {
            dialects: std::slice::from_ref(dialect),
            fallback: self.unhealthy.then_some(Reason::PurgingUnhealthy),
            guard: Some(Guard { purged, began_ms }),
        };
        let status = StatusCode::from_u16(self.status).unwrap();
        rewrite(policy, request, edge, status, &mut self.headers)
    }

    /// The outcome, the reason and the headers, as one line for tables.
    fn text(&self, policy: &Policy, dialect: &Dialect) -> String {
        let (decision, headers) = self.clone().rewritten(policy, dialect);
        format!("{} {} | {}", decision.outcome, decision.reason, text(&headers))
    }

    /// Expects this text of each CDN.
    #[track_caller]
    fn check(&self, policy: &Policy, expected: [(CdnType, &str); 5]) {
        for (cdn, expected) in expected {
            assert_eq!(self.text(policy, &dialect(cdn)), expected, "{cdn:?}");
        }
    }

    /// Expects the same text of every CDN.
    #[track_caller]
    fn check_all(&self, policy: &Policy, expected: &str) {
        for cdn in CdnType::ALL {
            assert_eq!(self.text(policy, &dialect(cdn)), expected, "{cdn:?}");
        }
    }
}

/// Header lines in the order of their names.
fn text(headers: &Headers) -> String {
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    lines.join(" | ")
}
