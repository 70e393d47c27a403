//! Fastly (<https://www.fastly.com/documentation/reference/api/purging/>).
//!
//! One call carries up to 256 tags, or one URL. URLs, too, are purged through the API instead of by `PURGE` at
//! the edge, which needs no authentication unless the service's VCL requires it.

use super::pack::{Group, pack};
use super::row::{Mark, PrefixNames, ResponseTraces, Row};
use super::{
    Adapter, Batch, Capabilities, Classified, Configured, Counted, ItemKind, Known, Limit, RateHint, Rates,
    Reply, RequestError, SignContext, Verdict, message, names, rate,
};
use crate::config::secret::Secret;
use crate::config::{self, Cdn};
use crate::rewrite::CdnType;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

mod credentials;

#[cfg(test)]
mod tests;

pub(super) static ROW: Row = Row {
    page: |target| target,
    prefixes: PrefixNames::AsPages,
    responses: ResponseTraces {
        marks: &[Mark::Field("x-fastly-request-id"), Mark::Begins("x-served-by", "cache-")],
        precedence: 2,
        asked_by: None,
        ids: None,
        not_kept: None,
    },
    price: None,
};

const CAPABILITIES: Capabilities = Capabilities {
    tags: true,
    prefixes: false,
    soft: true,
    // `purge_all` is always hard.
    soft_everything: false,
    soft_prefixes: false,
    any_query: false,
    schemes: &["https"],
    urls_per_call: 1,
    tags_per_call: 256,
    prefixes_per_call: 0,
    // No limit is published. The answer has an id for every tag, and at most 64 KiB of it are read.
    bytes_per_call: 48_000,
    mixed_kinds: false,
    stable_reference: false,
};

/// The adapter of one Fastly service.
#[derive(Debug)]
pub struct Fastly {
    service_id: String,
    auth_token: Secret,
    api_url: String,
}

impl Fastly {
    /// Creates the adapter of a service, with the API at `api_url`.
    pub fn new(service_id: &str, auth_token: &Secret, api_url: &str) -> Self {
        Self {
            service_id: service_id.to_owned(),
            auth_token: auth_token.clone(),
            api_url: api_url.to_owned(),
        }
    }

    fn call(&self, method: Method, path: &str) -> Result<http::request::Builder, RequestError> {
        let mut token = HeaderValue::try_from(self.auth_token.expose()).map_err(http::Error::from)?;
        token.set_sensitive(true);
        Ok(Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.api_url))
            .header("fastly-key", token)
            .header(ACCEPT, "application/json"))
    }

    fn purge(&self, group: &Group) -> Result<Request<Bytes>, RequestError> {
        let service = &self.service_id;
        let (path, body) = match group.kind {
            ItemKind::Url => (format!("/purge/{}", group.names.concat()), Bytes::new()),
            ItemKind::Tag => (
                format!("/service/{service}/purge"),
                json!({ "surrogate_keys": group.names }).to_string().into(),
            ),
            ItemKind::Everything => (format!("/service/{service}/purge_all"), Bytes::new()),
            ItemKind::Prefix => return Err(self.lacks(group.kind)),
        };
        let mut call = self.call(Method::POST, &path)?;
        if !body.is_empty() {
            call = call.header(CONTENT_TYPE, "application/json");
        }
        if !group.hard && group.kind != ItemKind::Everything {
            call = call.header("fastly-soft-purge", "1");
        }
        Ok(call.body(body)?)
    }

    fn lacks(&self, kind: ItemKind) -> RequestError {
        RequestError::Kind { cdn: self.cdn_type(), kind }
    }

    fn classified(
        &self,
        verdict: Verdict,
        request_id: Option<&str>,
        words: &str,
        reply: &Reply,
    ) -> Classified {
        message::classified(verdict, request_id, words, reply, &[self.auth_token.expose()])
    }

    fn unproven(&self, reply: &Reply, missing: &str) -> Classified {
        message::unproven(reply, missing, &[self.auth_token.expose()])
    }

    /// Returns the verdict on the token's own statement of its rights.
    fn judge_token(&self, token: &Token, reply: &Reply) -> Classified {
        let (verdict, words) = match (token.may("purge_select"), token.covers(&self.service_id)) {
            (true, true) => (Verdict::Done, format!("the token's scope is `{}`", token.scope)),
            (false, _) => (
                Verdict::BadCredentials,
                format!("the token's scope is `{}`; it needs `purge_select` or `global`", token.scope),
            ),
            (true, false) => (
                Verdict::BadCredentials,
                format!("the token is limited to other services than {}", self.service_id),
            ),
        };
        self.classified(verdict, None, &words, reply)
    }
}

impl Configured for config::cdns::Fastly {
    fn adapter(&self, _cdn: &Cdn) -> Arc<dyn Known> {
        Arc::new(Fastly::new(&self.service_id, &self.auth_token, &self.api_url))
    }

    fn capabilities(&self, _cdn: &Cdn) -> Capabilities {
        CAPABILITIES
    }

    /// Fastly allows 100,000 keys and URLs an hour per customer. `purge_all` counts towards the API's 1,000
    /// calls an hour (<https://www.fastly.com/documentation/reference/api/#rate-limiting>).
    fn published(&self) -> Rates {
        let purge_all = rate::calls("purge-all", rate::EVERYTHING, 1_000.0 / 3_600.0, 1_000.0);
        Rates {
            limits: vec![
                rate::items("keys", rate::URLS_AND_TAGS, 100_000.0 / 3_600.0, 100_000.0),
                Limit { windowed: true, ..purge_all },
            ],
            ceilings: Vec::new(),
        }
    }
}

impl Adapter for Fastly {
    fn cdn_type(&self) -> CdnType {
        CdnType::Fastly
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    fn requests(&self, batch: &Batch, _sign: &SignContext) -> Result<Vec<Request<Bytes>>, RequestError> {
        let mut named = Vec::with_capacity(batch.items.len());
        for item in &batch.items {
            let name = match item.kind {
                ItemKind::Url => {
                    let url = names::url(&item.value)?;
                    format!("{}{}", names::authority(&url), names::target(&url))
                }
                ItemKind::Tag => names::tag(&item.value)?.to_owned(),
                ItemKind::Everything => item.value.clone(),
                ItemKind::Prefix => return Err(self.lacks(item.kind)),
            };
            named.push((item.kind, item.hard, name));
        }
        let groups = pack(named, |group, name| group.has_room(name, &CAPABILITIES));
        groups.iter().map(|group| self.purge(group)).collect()
    }

    fn classify(&self, reply: &Reply) -> Classified {
        let body: Option<Map<String, Value>> = reply.json();
        let text = |key: &str| body.as_ref().and_then(|body| body.get(key)?.as_str()).unwrap_or_default();
        if reply.status.is_success() {
            // The answer to one purge has an `id`, and that to a batch has one for each tag. The answer to
            // `purge_all` has only `ok`.
            let any = body.iter().flat_map(Map::values).find_map(id_in);
            let id = Some(text("id")).filter(|id| !id.is_empty()).or(any);
            return match id.is_some() || text("status") == "ok" {
                true => self.classified(Verdict::Done, id, "", reply),
                false => self.unproven(reply, "an id"),
            };
        }
        let verdict = match reply.status {
            StatusCode::TOO_MANY_REQUESTS => Verdict::Later(reset_after(reply).max(reply.retry_after())),
            _ => reply.verdict_of_status(),
        };
        let words = [text("msg"), text("detail"), text("details")].join(" ");
        self.classified(verdict, reply.header("x-request-id"), &words, reply)
    }

    /// For a known batch, a 403 on tags concerns everything that matters. But a token may lack `purge_all`
    /// alone, and a URL may belong to a service that the token does not cover. A tag without an id was not
    /// purged.
    fn judge(&self, batch: &Batch, reply: &Reply) -> Classified {
        let mut classified = self.classify(reply);
        let only_tags = batch.items.iter().all(|item| item.kind == ItemKind::Tag);
        match classified.verdict {
            Verdict::BadCredentials if reply.status == StatusCode::FORBIDDEN && !only_tags => {
                classified.verdict = Verdict::Refused;
            }
            Verdict::Split if batch.items.len() < 2 => classified.verdict = Verdict::Refused,
            Verdict::Done => match unproved(batch, reply) {
                missing if missing.is_empty() => {}
                missing if missing.len() == batch.items.len() => {
                    let what = if only_tags { "an id for each tag" } else { "status `ok` and an id" };
                    return self.unproven(reply, what);
                }
                missing => {
                    let names = missing.iter().map(|item| batch.items[*item].value.as_str());
                    let names = names.take(NAMED).collect::<Vec<_>>().join(", ");
                    let words = format!("no id for {} of {}: {names}", missing.len(), batch.items.len());
                    let id = classified.request_id.as_deref();
                    return self.classified(Verdict::Partial(missing), id, &words, reply);
                }
            },
            _ => {}
        }
        classified
    }

    fn rate_hints(&self, reply: &Reply) -> Vec<RateHint> {
        let remaining = reply.number("fastly-ratelimit-remaining");
        let hint = remaining.map(|remaining| RateHint {
            counted: Counted::Calls,
            remaining,
            refreshed_after: reset_after(reply),
        });
        hint.into_iter().collect()
    }

    fn check_requests(&self, _sign: &SignContext) -> Result<Vec<Request<Bytes>>, RequestError> {
        Ok(vec![self.call(Method::GET, "/tokens/self")?.body(Bytes::new())?])
    }

    fn classify_check(&self, replies: &[Reply]) -> Classified {
        let [reply] = replies else { return message::unanswered() };
        match reply.json::<Token>() {
            Some(token) if reply.status == StatusCode::OK => self.judge_token(&token, reply),
            // The token is known but may not read itself, or the answer is not Fastly's.
            _ if reply.status.is_success() => self.classified(Verdict::Later(None), None, "", reply),
            _ => self.classify(reply),
        }
    }
}

/// The answer to `GET /tokens/self`.
#[derive(serde::Deserialize)]
struct Token {
    /// The scopes, separated by spaces.
    scope: String,
    /// The services; none means all.
    #[serde(default)]
    services: Vec<String>,
    name: Option<String>,
    user_id: Option<String>,
    customer_id: Option<String>,
    expires_at: Option<String>,
}

impl Token {
    fn may(&self, scope: &str) -> bool {
        self.scope.split_whitespace().any(|own| own == scope || own == "global")
    }

    fn covers(&self, service: &str) -> bool {
        self.services.is_empty() || self.services.iter().any(|own| own == service)
    }
}

/// Returns the time until `Fastly-RateLimit-Reset`, which is a time in seconds since the epoch.
fn reset_after(reply: &Reply) -> Option<Duration> {
    reply.until(reply.number("fastly-ratelimit-reset")?)
}

/// The number of tags without an id that a message names.
const NAMED: usize = 10;

/// Returns the positions of the items of a batch whose purge an answer does not prove. A batch of tags is
/// answered by an id for each, a URL by `ok` and an id, and `purge_all` by `ok`
/// (<https://www.fastly.com/documentation/reference/api/purging/>).
fn unproved(batch: &Batch, reply: &Reply) -> Vec<usize> {
    let answer: Map<String, Value> = reply.json().unwrap_or_default();
    let is_ok = answer.get("status").is_some_and(|status| status == "ok");
    let has_id = |name: &str| answer.get(name).and_then(id_in).is_some();
    let is_proved = |kind: ItemKind, name: &str| match kind {
        ItemKind::Tag => has_id(name),
        ItemKind::Everything => is_ok,
        ItemKind::Url | ItemKind::Prefix => is_ok && has_id("id"),
    };
    let items = batch.items.iter().enumerate();
    items.filter(|(_, item)| !is_proved(item.kind, &item.value)).map(|(position, _)| position).collect()
}

/// Returns the id of a purge; `ok` is a status and no id.
fn id_in(value: &Value) -> Option<&str> {
    value.as_str().filter(|id| !id.is_empty() && *id != "ok")
}
