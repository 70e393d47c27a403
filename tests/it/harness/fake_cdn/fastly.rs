//! Fastly's API: purging, and what a token may read about itself
//! (<https://www.fastly.com/documentation/reference/api/purging/>, `…/api/auth-tokens/user/`).

use super::bucket::Bucket;
use super::{Answer, Kind, Now, Purged, Vendor, header};
use bytes::Bytes;
use http::Request;
use serde_json::{Map, Value, json};

/// The most keys of one call.
const KEYS: usize = 256;

/// One service, and one token for it.
#[derive(Debug)]
pub struct Fastly {
    /// The service.
    pub service_id: String,
    /// The token.
    pub token: Token,
    /// The answer to every other token.
    pub revoked: bool,
    /// Keys and URLs: 100,000 an hour.
    pub rate: Bucket,
    /// Purge-alls, with every other call that is not a read: 1,000 an hour.
    pub other_rate: Bucket,
    /// Numbers the answers.
    pub serial: u64,
}

/// The properties of a token that `GET /tokens/self` returns.
#[derive(Debug)]
pub struct Token {
    /// Itself.
    pub value: String,
    /// Its name.
    pub name: String,
    /// Separated by spaces.
    pub scope: String,
    /// Empty: all.
    pub services: Vec<String>,
    /// When it ends, RFC 3339.
    pub expires_at: Option<String>,
}

impl Default for Fastly {
    fn default() -> Self {
        Self {
            service_id: "SU1Z0isxPaozGVKXdv0eY".to_owned(),
            token: Token {
                value: "fake-fastly-token".to_owned(),
                name: "deploy".to_owned(),
                scope: "purge_select purge_all".to_owned(),
                services: Vec::new(),
                expires_at: None,
            },
            revoked: false,
            rate: Bucket::full(100_000.0, 100_000.0 / 3600.0),
            other_rate: Bucket::full(1_000.0, 1_000.0 / 3600.0),
            serial: 0,
        }
    }
}

impl Vendor for Fastly {
    fn settings(&self, url: &str) -> String {
        format!(
            "type = \"fastly\"\nservice_id = \"{}\"\nauth_token = \"literal:{}\"\napi_url = \"{url}\"\n",
            self.service_id, self.token.value
        )
    }

    fn answer(&mut self, call: &Request<Bytes>, now: Now) -> Answer {
        self.dispatch(call, now, usize::MAX)
    }

    fn too_many(&mut self) -> Answer {
        Answer::json(429, &json!({ "msg": "Rate limit exceeded" })).with("retry-after", 1)
    }

    /// Half of the keys.
    fn partly(&mut self, call: &Request<Bytes>, now: Now) -> Answer {
        let keys = keys(call).map_or(0, |keys| keys.len());
        match keys {
            0 | 1 => Answer { broken_off: true, ..self.answer(call, now) },
            keys => self.dispatch(call, now, keys / 2),
        }
    }
}

impl Fastly {
    fn dispatch(&mut self, call: &Request<Bytes>, now: Now, most: usize) -> Answer {
        if self.revoked || header(call, "fastly-key") != self.token.value {
            return refused(401, "Provided credentials are missing or invalid");
        }
        let path = call.uri().path();
        let service = format!("/service/{}", self.service_id);
        match (call.method().as_str(), path.strip_prefix(&service)) {
            ("GET", _) if path == "/tokens/self" => self.own_token(),
            ("GET", Some("")) => self.own_service(),
            ("POST", Some("/purge")) => self.purge_keys(call, now, most),
            ("POST", Some("/purge_all")) => self.purge_all(now),
            ("POST" | "GET", None) if path.starts_with("/service/") => {
                refused_because(404, "Record not found", "Cannot find service")
            }
            ("POST", _) if path.starts_with("/purge/") => self.purge_url(call, now),
            _ => refused(404, "Record not found"),
        }
    }

    fn may(&self, scope: &str) -> bool {
        let services = &self.token.services;
        (services.is_empty() || services.contains(&self.service_id))
            && self.token.scope.split(' ').any(|own| own == scope || own == "global")
    }

    fn own_token(&self) -> Answer {
        let token = json!({
            "id": "5Yo3XXnrQpjc20u0ybrf2g",
            "name": self.token.name,
            "user_id": "4y5K5trZocEAQYkesWlk7M",
            "customer_id": "x4xCwxxJxGCx123Rx5xTx",
            "scope": self.token.scope,
            "services": self.token.services,
            "expires_at": self.token.expires_at,
            "created_at": "2026-01-05T12:00:00Z",
            "last_used_at": "2026-11-20T12:00:00Z",
            "ip": "192.0.2.1",
        });
        Answer::json(200, &token)
    }

    fn own_service(&self) -> Answer {
        if !self.may("global:read") {
            return refused(403, "You are not authorized to perform this action");
        }
        Answer::json(
            200,
            &json!({ "id": self.service_id, "name": "www", "customer_id": "x4xCwxxJxGCx123Rx5xTx" }),
        )
    }

    fn purge_keys(&mut self, call: &Request<Bytes>, now: Now, most: usize) -> Answer {
        let Some(keys) = keys(call) else { return refused(400, "Bad request") };
        if keys.is_empty() || keys.len() > KEYS {
            return refused_because(400, "Bad request", "between 1 and 256 surrogate keys");
        }
        if let Some(key) = keys.iter().find(|key| key.len() > 1024) {
            return refused_because(400, "Bad request", &format!("key too long: {}", &key[..20]));
        }
        if !self.may("purge_select") {
            return refused(403, "You are not authorized to perform this action");
        }
        if !self.rate.take(keys.len() as f64, now.instant) {
            return self.over_rate(keys.len(), now);
        }
        let hard = header(call, "fastly-soft-purge") != "1";
        let keys: Vec<String> = keys.into_iter().take(most).collect();
        let ids: Map<String, Value> = keys.iter().map(|key| (key.clone(), self.id().into())).collect();
        let answer = Answer::json(200, &Value::Object(ids));
        self.with_rate(answer, now).purging(Purged::all(Kind::Tag, hard, keys))
    }

    fn purge_url(&mut self, call: &Request<Bytes>, now: Now) -> Answer {
        let target = call.uri().path_and_query().unwrap().as_str();
        let url = target.trim_start_matches("/purge/");
        if !self.may("purge_select") {
            return refused(403, "You are not authorized to perform this action");
        }
        if !self.rate.take(1.0, now.instant) {
            return self.over_rate(1, now);
        }
        let hard = header(call, "fastly-soft-purge") != "1";
        let answer = Answer::json(200, &json!({ "status": "ok", "id": self.id() }));
        self.with_rate(answer, now).purging(Purged::all(Kind::Url, hard, [url]))
    }

    fn purge_all(&mut self, now: Now) -> Answer {
        if !self.may("purge_all") {
            return refused(403, "You are not authorized to perform this action");
        }
        if !self.other_rate.take(1.0, now.instant) {
            return self.over_rate(1, now);
        }
        Answer::json(200, &json!({ "status": "ok" })).purging(Purged::all(Kind::Everything, true, ["*"]))
    }

    fn over_rate(&mut self, wanted: usize, now: Now) -> Answer {
        let wait = self.rate.until(wanted as f64, now.instant).as_secs() + 1;
        let reset = now.unix_ms / 1000 + i64::try_from(wait).unwrap();
        let answer = Answer::json(429, &json!({ "msg": "Rate limit exceeded" }))
            .with("fastly-ratelimit-remaining", 0)
            .with("fastly-ratelimit-reset", reset);
        Answer { over_rate: true, ..answer }
    }

    fn with_rate(&mut self, answer: Answer, now: Now) -> Answer {
        let reset = self.rate.until_full(now.instant).as_secs() as i64 + now.unix_ms / 1000;
        answer
            .with("fastly-ratelimit-remaining", self.rate.level(now.instant) as u64)
            .with("fastly-ratelimit-reset", reset)
    }

    fn id(&mut self) -> String {
        self.serial += 1;
        format!("108-1391560174-{:06}", self.serial)
    }
}

/// The keys of a batch.
fn keys(call: &Request<Bytes>) -> Option<Vec<String>> {
    let body: Value = serde_json::from_slice(call.body()).ok()?;
    serde_json::from_value(body.get("surrogate_keys")?.clone()).ok()
}

fn refused(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "msg": message }))
}

fn refused_because(status: u16, message: &str, detail: &str) -> Answer {
    Answer::json(status, &json!({ "msg": message, "detail": detail }))
}
