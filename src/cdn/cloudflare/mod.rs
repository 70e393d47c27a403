//! Cloudflare (<https://developers.cloudflare.com/api/resources/cache/methods/purge/>).
//!
//! URLs, tags and prefixes can be purged on every plan since 2025-04-01, and marked stale (`invalidate_cache`)
//! since 2026-09-28. A 200 may carry `success: false`.

use super::pack::{Group, pack};
use super::row::{Mark, NotKept, PrefixNames, ResponseTraces, Row};
use super::{
    Adapter, Batch, Capabilities, Classified, Configured, Counted, ItemKind, Known, Limit, RateHint, Rates,
    Reply, RequestError, SignContext, Verdict, message, names, rate,
};
use crate::config::secret::Secret;
use crate::config::{self, Cdn, CloudflarePlan};
use crate::rewrite::CdnType;
use crate::rewrite::spelling::with_upper_hex;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

mod credentials;

#[cfg(test)]
mod tests;

/// Codes for an invalid token, or one that lacks a permission.
const BAD_CREDENTIALS: [i64; 8] = [1000, 6003, 6111, 9106, 9107, 9109, 10000, 10001];
/// Codes about one item of a call: a tag is too long, or has illegal characters.
const BAD_ITEM: [i64; 2] = [1100, 1315];
/// Codes about the whole call: its shape, the zone's plan, the zone's id.
const BAD_CALL: [i64; 6] = [1012, 1013, 1014, 1107, 7000, 7003];

/// The prefix of users' tokens. Only these can be verified by themselves; accounts' tokens require the
/// account's id, and older tokens have no distinguishing prefix
/// (<https://developers.cloudflare.com/fundamentals/api/get-started/token-formats/>).
const USER_TOKEN: &str = "cfut_";

pub(super) static ROW: Row = Row {
    page: |target| target,
    // "Ensure that percent-encoded characters use upper case": the keys of URLs that Cloudflare has normalised
    // do, too (developers.cloudflare.com/cache/how-to/purge-cache/purge_by_prefix, /rules/normalization).
    prefixes: PrefixNames::UpperHex,
    responses: ResponseTraces {
        marks: &[Mark::Field("cf-ray")],
        precedence: 0,
        asked_by: None,
        ids: None,
        not_kept: Some(NotKept {
            field: "cf-cache-status",
            value: "dynamic",
            advice: "Cloudflare does not keep HTML by itself: add a Cache Rule that makes the page eligible for \
                     cache, with the edge TTL “Use cache-control header if present”.",
        }),
    },
    price: None,
};

/// The adapter of one zone.
#[derive(Debug)]
pub struct Cloudflare {
    zone_id: String,
    api_token: Secret,
    capabilities: Capabilities,
    api_url: String,
}

impl Cloudflare {
    /// Creates the adapter of a zone, with the API at `api_url`. With `enterprise_only`, tags and prefixes are
    /// used on the Enterprise plan only.
    pub fn new(
        zone_id: &str,
        api_token: &Secret,
        plan: CloudflarePlan,
        enterprise_only: bool,
        api_url: &str,
    ) -> Self {
        Self {
            zone_id: zone_id.to_owned(),
            api_token: api_token.clone(),
            capabilities: capabilities(plan, enterprise_only),
            api_url: api_url.to_owned(),
        }
    }

    fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Request<Bytes>, RequestError> {
        // The scheme is spelt `Bearer`, because lower case has been seen to fail.
        let mut token = HeaderValue::try_from(format!("Bearer {}", self.api_token.expose()))
            .map_err(http::Error::from)?;
        token.set_sensitive(true);
        let mut call = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.api_url))
            .header(AUTHORIZATION, token)
            .header(ACCEPT, "application/json");
        if body.is_some() {
            call = call.header(CONTENT_TYPE, "application/json");
        }
        Ok(call.body(body.map(|body| body.to_string().into()).unwrap_or_default())?)
    }

    fn purge(&self, kind: ItemKind, hard: bool, names: &[String]) -> Result<Request<Bytes>, RequestError> {
        let body = match kind {
            ItemKind::Url => json!({ "files": names }),
            ItemKind::Tag => json!({ "tags": names }),
            ItemKind::Prefix => json!({ "prefixes": names }),
            ItemKind::Everything => json!({ "purge_everything": true }),
        };
        let action = if hard { "purge_cache" } else { "invalidate_cache" };
        self.call(Method::POST, &format!("/zones/{}/{action}", self.zone_id), Some(body))
    }

    fn classified(&self, verdict: Verdict, envelope: &Envelope, reply: &Reply) -> Classified {
        let id = envelope.result.as_ref().and_then(|result| result.get("id")?.as_str());
        message::classified(
            verdict,
            reply.header("cf-ray").or(id),
            &envelope.words(),
            reply,
            &[self.api_token.expose()],
        )
    }
}

fn capabilities(plan: CloudflarePlan, enterprise_only: bool) -> Capabilities {
    let is_enterprise = plan == CloudflarePlan::Enterprise;
    let surgical = is_enterprise || !enterprise_only;
    Capabilities {
        tags: surgical,
        prefixes: surgical,
        soft: true,
        soft_everything: true,
        soft_prefixes: true,
        any_query: false,
        // Copies differ by the scheme of their URL.
        schemes: &["https", "http"],
        urls_per_call: if is_enterprise { 500 } else { 100 },
        tags_per_call: 100,
        prefixes_per_call: 100,
        // No limit is published; 100 tags of 1,024 bytes fit.
        bytes_per_call: 1_000_000,
        mixed_kinds: false,
        stable_reference: false,
    }
}

impl Configured for config::cdns::Cloudflare {
    fn adapter(&self, _cdn: &Cdn) -> Arc<dyn Known> {
        let Self { zone_id, api_token, plan, enterprise_only, api_url } = self;
        Arc::new(Cloudflare::new(zone_id, api_token, *plan, *enterprise_only, api_url))
    }

    fn capabilities(&self, _cdn: &Cdn) -> Capabilities {
        capabilities(self.plan, self.enterprise_only)
    }

    /// The rates are published at <https://developers.cloudflare.com/cache/how-to/purge-cache/>; URLs have a
    /// limit of their own.
    fn published(&self) -> Rates {
        let (per_second, burst, urls) = match self.plan {
            CloudflarePlan::Free => (5.0 / 60.0, 25.0, 800.0),
            CloudflarePlan::Pro => (5.0, 25.0, 1_500.0),
            CloudflarePlan::Business => (10.0, 50.0, 1_500.0),
            CloudflarePlan::Enterprise => (50.0, 500.0, 3_000.0),
        };
        Rates {
            limits: vec![
                Limit { windowed: true, ..rate::calls("calls", rate::ALL_BUT_URLS, per_second, burst) },
                rate::items("urls", rate::URLS, urls, urls),
            ],
            ceilings: Vec::new(),
        }
    }
}

impl Adapter for Cloudflare {
    fn cdn_type(&self) -> CdnType {
        CdnType::Cloudflare
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn requests(&self, batch: &Batch, _sign: &SignContext) -> Result<Vec<Request<Bytes>>, RequestError> {
        let mut named = Vec::with_capacity(batch.items.len());
        for item in &batch.items {
            let name = match item.kind {
                ItemKind::Url => names::url(&item.value)?.into(),
                ItemKind::Tag => names::tag(&item.value)?.to_owned(),
                ItemKind::Prefix => {
                    let (host, path) = names::prefix(&item.value)?;
                    // The documentation requires: "Ensure that percent-encoded characters use upper case".
                    host + &with_upper_hex(&path)
                }
                ItemKind::Everything => item.value.clone(),
            };
            named.push((item.kind, item.hard, name));
        }
        let groups = pack(named, |group, name| group.has_room(name, &self.capabilities));
        groups.iter().map(|Group { kind, hard, names, .. }| self.purge(*kind, *hard, names)).collect()
    }

    fn classify(&self, reply: &Reply) -> Classified {
        let envelope = Envelope::of(reply);
        let verdict = envelope.verdict(reply);
        if verdict == Verdict::Unproven {
            return message::unproven(reply, "`success: true`", &[self.api_token.expose()]);
        }
        self.classified(verdict, &envelope, reply)
    }

    /// `Ratelimit: "default";r=50;t=30` means that 50 calls remain, and that all are available again after 30
    /// seconds.
    fn rate_hints(&self, reply: &Reply) -> Vec<RateHint> {
        let policies = reply.header("ratelimit").into_iter().flat_map(|value| value.split(','));
        policies
            .filter_map(|policy| {
                let parameter = |name: &str| {
                    let mut parameters =
                        policy.split(';').filter_map(|parameter| parameter.trim().split_once('='));
                    parameters.find(|(key, _)| *key == name)?.1.parse::<u64>().ok()
                };
                Some(RateHint {
                    counted: Counted::Calls,
                    remaining: parameter("r")?,
                    refreshed_after: parameter("t").map(Duration::from_secs),
                })
            })
            .collect()
    }

    /// Returns the verification of a user's token. The only call by which any other token can prove itself is a
    /// purge, here of a tag that no response carries.
    fn check_requests(&self, sign: &SignContext) -> Result<Vec<Request<Bytes>>, RequestError> {
        let request = match self.api_token.expose().starts_with(USER_TOKEN) {
            true => self.call(Method::GET, "/user/tokens/verify", None)?,
            false => self.purge(ItemKind::Tag, false, &[format!("origin-shim-check-{}", sign.nonce)])?,
        };
        Ok(vec![request])
    }

    fn classify_check(&self, replies: &[Reply]) -> Classified {
        let [reply] = replies else { return message::unanswered() };
        let envelope = Envelope::of(reply);
        let status = envelope.result.as_ref().and_then(|result| result.get("status")?.as_str());
        match (envelope.verdict(reply), status) {
            (Verdict::Done, Some(status)) if status != "active" => {
                let mut classified = self.classified(Verdict::BadCredentials, &envelope, reply);
                classified.message =
                    message::scrub(&format!("the token is {status}"), &[self.api_token.expose()]);
                classified
            }
            (verdict, _) => self.classified(verdict, &envelope, reply),
        }
    }
}

/// The form of every answer.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Envelope {
    success: bool,
    errors: Vec<Problem>,
    result: Option<Value>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Problem {
    code: i64,
    message: String,
    error_chain: Vec<Problem>,
}

impl Envelope {
    /// Parses an answer; the result is empty if the answer does not have this form.
    fn of(reply: &Reply) -> Self {
        reply.json().unwrap_or_default()
    }

    fn verdict(&self, reply: &Reply) -> Verdict {
        match reply.status.as_u16() {
            200..300 if self.success => Verdict::Done,
            429 | 500.. => reply.verdict_of_status(),
            _ if self.has(&BAD_CREDENTIALS) => Verdict::BadCredentials,
            _ if self.has(&BAD_CALL) => Verdict::Refused,
            200..300 if self.has(&BAD_ITEM) => Verdict::Split,
            // A 200 with `success: false` and reasons is Cloudflare's own refusal.
            200..300 if !self.errors.is_empty() => Verdict::Later(reply.retry_after()),
            _ => reply.verdict_of_status(),
        }
    }

    fn has(&self, codes: &[i64]) -> bool {
        let chained = self.errors.iter().flat_map(|problem| &problem.error_chain);
        self.errors.iter().chain(chained).any(|problem| codes.contains(&problem.code))
    }

    fn words(&self) -> String {
        let chained = |problem: &Problem| {
            let chain = problem.error_chain.iter().map(Problem::words);
            std::iter::once(problem.words()).chain(chain).collect::<Vec<_>>().join(": ")
        };
        self.errors.iter().map(chained).collect::<Vec<_>>().join("; ")
    }
}

impl Problem {
    fn words(&self) -> String {
        format!("{} {}", self.code, self.message)
    }
}
