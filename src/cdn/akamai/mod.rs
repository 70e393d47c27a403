//! Akamai Fast Purge, CCU v3 (<https://techdocs.akamai.com/purge-cache/reference/api>).
//!
//! A call is all or nothing: one object that Akamai rejects fails the whole call. Akamai calls marking stale
//! "invalidating". There is no purge-all; purges by CP code replace it.

use super::pack::{Group, pack};
use super::row::{Mark, PrefixNames, ResponseTraces, Row};
use super::{
    Adapter, Batch, Capabilities, Classified, Configured, Counted, ItemKind, Known, RateHint, Rates, Reply,
    RequestError, SignContext, Verdict, message, names, rate,
};
use crate::config::cdns::NO_CP_CODES;
use crate::config::secret::Secret;
use crate::config::{self, AkamaiNetwork, Cdn};
use crate::rewrite::CdnType;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

mod credentials;
pub mod edgegrid;

#[cfg(test)]
mod tests;

/// The maximum size of a body, which includes the frame `{"objects":[]}` that every body has.
const BODY_BYTES: usize = 50_000;

pub(super) static ROW: Row = Row {
    page: |target| target,
    prefixes: PrefixNames::AsPages,
    responses: ResponseTraces {
        marks: &[
            Mark::Field("akamai-grn"),
            Mark::Begins("server", "akamaighost"),
            Mark::Contains("x-cache", "akamai"),
        ],
        precedence: 3,
        asked_by: Some(("pragma", "akamai-x-cache-on")),
        ids: None,
        not_kept: None,
    },
    price: None,
};

const CAPABILITIES: Capabilities = Capabilities {
    tags: true,
    prefixes: false,
    soft: true,
    soft_everything: true,
    soft_prefixes: false,
    any_query: false,
    schemes: &["https"],
    // These are the sizes of the account's token buckets; a larger call could never be admitted.
    urls_per_call: 10_000,
    tags_per_call: 5_000,
    prefixes_per_call: 0,
    bytes_per_call: BODY_BYTES - r#"{"objects":[]}"#.len(),
    mixed_kinds: false,
    stable_reference: false,
};

/// The wait after a 429 that Akamai's documentation recommends.
const WAIT_AFTER_429: Duration = Duration::from_secs(5);

/// The adapter of one Fast Purge client.
#[derive(Debug)]
pub struct Akamai {
    api_url: String,
    client_token: Secret,
    client_secret: Secret,
    access_token: Secret,
    network: AkamaiNetwork,
    cp_codes: Vec<u64>,
}

impl Akamai {
    /// Creates the adapter of a client, with the API at `api_url`.
    pub fn new(
        api_url: &str,
        client_token: &Secret,
        client_secret: &Secret,
        access_token: &Secret,
        network: AkamaiNetwork,
        cp_codes: Vec<u64>,
    ) -> Self {
        Self {
            api_url: api_url.to_owned(),
            client_token: client_token.clone(),
            client_secret: client_secret.clone(),
            access_token: access_token.clone(),
            network,
            cp_codes,
        }
    }

    /// Returns a signed call; `nonce` is valid for one request.
    fn call(
        &self,
        method: Method,
        path: &str,
        body: String,
        sign: &SignContext,
        nonce: &str,
    ) -> Result<Request<Bytes>, RequestError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.api_url))
            .header(ACCEPT, "application/json")
            .body(Bytes::from(body))?;
        let signer = edgegrid::Signer {
            client_token: self.client_token.expose(),
            client_secret: self.client_secret.expose(),
            access_token: self.access_token.expose(),
            max_body: edgegrid::MAX_BODY,
            headers_to_sign: &[],
        };
        let authorization = signer.authorization(&request, &sign.utc(edgegrid::TIMESTAMP)?, nonce);
        let mut authorization = HeaderValue::try_from(authorization).map_err(http::Error::from)?;
        authorization.set_sensitive(true);
        if !request.body().is_empty() {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        request.headers_mut().insert(AUTHORIZATION, authorization);
        Ok(request)
    }

    fn purge(&self, group: &Group, sign: &SignContext, nonce: &str) -> Result<Request<Bytes>, RequestError> {
        let (kind, objects) = match group.kind {
            ItemKind::Url => ("url", json!(group.names)),
            ItemKind::Tag => ("tag", json!(group.names)),
            ItemKind::Everything if self.cp_codes.is_empty() => return Err(RequestError::Lacks(NO_CP_CODES)),
            ItemKind::Everything => ("cpcode", json!(self.cp_codes)),
            ItemKind::Prefix => return Err(self.lacks(group.kind)),
        };
        let action = if group.hard { "delete" } else { "invalidate" };
        let network = word(self.network);
        let path = format!("/ccu/v3/{action}/{kind}/{network}");
        self.call(Method::POST, &path, json!({ "objects": objects }).to_string(), sign, nonce)
    }

    fn lacks(&self, kind: ItemKind) -> RequestError {
        RequestError::Kind { cdn: self.cdn_type(), kind }
    }
}

impl Configured for config::cdns::Akamai {
    fn adapter(&self, _cdn: &Cdn) -> Arc<dyn Known> {
        Arc::new(Akamai::new(
            &self.api_url,
            &self.client_token,
            &self.client_secret,
            &self.access_token,
            self.network,
            self.cp_codes.clone(),
        ))
    }

    fn capabilities(&self, _cdn: &Cdn) -> Capabilities {
        CAPABILITIES
    }

    /// The rates are published at <https://techdocs.akamai.com/purge-cache/reference/rate-limiting>.
    fn published(&self) -> Rates {
        // A purge of everything takes one token for each CP code.
        let codes = self.cp_codes.len().max(1) as f64;
        Rates {
            limits: vec![
                rate::calls("calls", rate::ALL, 50.0, 100.0),
                rate::items("urls", rate::URLS, 200.0, 10_000.0),
                rate::items("tags", rate::TAGS, 500.0 / 60.0, 5_000.0),
                rate::items("cp-codes", rate::EVERYTHING, 30.0 / 60.0 / codes, 300.0 / codes),
            ],
            ceilings: Vec::new(),
        }
    }

    /// A property has no id here; its parts are the hosts that it serves on a network.
    fn parts(&self, cdn: &Cdn) -> BTreeSet<String> {
        let network = word(self.network);
        cdn.hosts.iter().map(|host| format!("{network}/{host}")).collect()
    }
}

/// Returns the network's name in the API.
fn word(network: AkamaiNetwork) -> &'static str {
    match network {
        AkamaiNetwork::Production => "production",
        AkamaiNetwork::Staging => "staging",
    }
}

impl Adapter for Akamai {
    fn cdn_type(&self) -> CdnType {
        CdnType::Akamai
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn requests(&self, batch: &Batch, sign: &SignContext) -> Result<Vec<Request<Bytes>>, RequestError> {
        let mut named = Vec::with_capacity(batch.items.len());
        for item in &batch.items {
            let name = match item.kind {
                ItemKind::Url => names::url(&item.value)?.into(),
                ItemKind::Tag => names::tag(&item.value)?.to_owned(),
                ItemKind::Everything => item.value.clone(),
                ItemKind::Prefix => return Err(self.lacks(item.kind)),
            };
            named.push((item.kind, item.hard, name));
        }
        let groups = pack(named, |group, name| group.has_room(name, &CAPABILITIES));
        let signed = groups.iter().enumerate().map(|(number, group)| match number {
            0 => self.purge(group, sign, &sign.nonce),
            _ => self.purge(group, sign, &format!("{}-{number}", sign.nonce)),
        });
        signed.collect()
    }

    fn classify(&self, reply: &Reply) -> Classified {
        let problem = Problem::of(reply);
        let secrets = [self.client_token.expose(), self.client_secret.expose(), self.access_token.expose()];
        let request_id =
            [&problem.purge_id, &problem.support_id, &problem.request_id].into_iter().flatten().next();
        let words = [problem.title.as_str(), problem.detail.as_str()].join(" ");
        let verdict = problem.verdict(reply);
        if verdict == Verdict::Unproven {
            return message::unproven(reply, "httpStatus 201 and a purgeId", &secrets);
        }
        message::classified(verdict, request_id.map(String::as_str), &words, reply, &secrets)
    }

    fn rate_hints(&self, reply: &Reply) -> Vec<RateHint> {
        let hint = |counted, remaining, refresh| {
            let remaining: f64 = reply.number(remaining)?;
            Some(RateHint {
                counted,
                remaining: remaining.max(0.0) as u64,
                refreshed_after: reply.seconds(refresh),
            })
        };
        let calls = hint(Counted::Calls, "x-ratelimit-remaining", "x-ratelimit-seconds-to-refresh-limit");
        let items = hint(
            Counted::Items,
            "x-ratelimit-remaining-objects",
            "x-ratelimit-seconds-to-refresh-limit-objects",
        );
        calls.into_iter().chain(items).collect()
    }

    /// Asks for the remaining tag rate, which proves the signature and the grant for this API.
    fn check_requests(&self, sign: &SignContext) -> Result<Vec<Request<Bytes>>, RequestError> {
        let path = "/ccu/v3/rate-limit-status/tag";
        Ok(vec![self.call(Method::POST, path, String::new(), sign, &sign.nonce)?])
    }

    fn classify_check(&self, replies: &[Reply]) -> Classified {
        let [reply] = replies else { return message::unanswered() };
        let mut classified = self.classify(reply);
        // The result is in the answer's header fields.
        let is_told = !self.rate_hints(reply).is_empty() || Problem::of(reply).http_status == Some(201);
        if reply.status.is_success() && is_told {
            classified.verdict = Verdict::Done;
        }
        classified
    }
}

/// An answer of Fast Purge itself (`httpStatus`, `supportId`), or of the gateway in front of it (`type`,
/// `requestId`).
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Problem {
    title: String,
    detail: String,
    #[serde(rename = "type")]
    kind: String,
    http_status: Option<u16>,
    purge_id: Option<String>,
    support_id: Option<String>,
    request_id: Option<String>,
    rate_limit: Option<f64>,
    rate_limit_remaining: Option<f64>,
    rate_limit_current_request_size: Option<f64>,
}

impl Problem {
    /// Parses an answer; the result is empty if the answer does not have this form.
    fn of(reply: &Reply) -> Self {
        reply.json().unwrap_or_default()
    }

    fn verdict(&self, reply: &Reply) -> Verdict {
        let is_of_fast_purge = self.http_status.is_some();
        match reply.status.as_u16() {
            200 | 201 if self.http_status == Some(201) && self.has_purge_id() => Verdict::Done,
            400 | 401 if self.says("timestamp") => Verdict::Resign,
            400 if is_of_fast_purge => Verdict::Split,
            400 if self.kind.contains("pep-authn") => Verdict::BadCredentials,
            // Every other 400 may come from the firewall's rate control.
            400 => Verdict::Later(reply.retry_after()),
            // The title names the kind of an object that does not belong to the account: "unauthorized arl",
            // "unauthorized cpcode".
            403 if is_of_fast_purge && self.title.to_ascii_lowercase().starts_with("unauthorized") => {
                Verdict::Split
            }
            429 => self.after_too_many(reply),
            _ => reply.verdict_of_status(),
        }
    }

    fn has_purge_id(&self) -> bool {
        self.purge_id.as_ref().is_some_and(|id| !id.is_empty())
    }

    fn says(&self, word: &str) -> bool {
        [&self.title, &self.detail].into_iter().any(|text| text.to_ascii_lowercase().contains(word))
    }

    /// Returns the verdict on a 429: the account has no calls or no objects left. A call with more objects than
    /// the bucket holds is never admitted.
    fn after_too_many(&self, reply: &Reply) -> Verdict {
        let size = self.rate_limit_current_request_size.unwrap_or_default();
        if self.rate_limit.is_some_and(|limit| size > limit) {
            return Verdict::Split;
        }
        let is_about_objects = !self.title.to_ascii_lowercase().starts_with("rate limit");
        let per_second: Option<f64> = match is_about_objects {
            true => reply.number("x-ratelimit-limit-per-second-objects"),
            false => None,
        };
        let missing = size - self.rate_limit_remaining.unwrap_or(size);
        let refilled = per_second.and_then(|rate| Duration::try_from_secs_f64(missing / rate).ok());
        Verdict::Later(Some(WAIT_AFTER_429.max(refilled.unwrap_or_default()).min(Duration::from_secs(3600))))
    }
}
