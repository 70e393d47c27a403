//! Akamai Fast Purge, CCU v3, behind EdgeGrid
//! (<https://techdocs.akamai.com/purge-cache/reference/api>, `…/rate-limit-response-examples`).

use super::bucket::Bucket;
use super::{Answer, Kind, Now, Purged, Vendor, header, host};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashSet;

/// The largest body.
const BODY_BYTES: usize = 50_000;
/// The greatest difference between the clock and the time of a signature.
const WINDOW_MS: i64 = 30_000;

/// One API client, and the account's rates.
#[derive(Debug)]
pub struct Akamai {
    /// EdgeGrid.
    pub client_token: String,
    /// EdgeGrid.
    pub client_secret: String,
    /// EdgeGrid.
    pub access_token: String,
    /// The client is not active.
    pub revoked: bool,
    /// Whether the client may use Fast Purge at all.
    pub granted: bool,
    /// Objects that are not ours: a call with one of them is refused as a whole.
    pub poison: HashSet<String>,
    /// The CP codes that `everything` needs.
    pub cp_codes: Vec<u64>,
    /// Calls.
    pub calls: Bucket,
    /// URLs.
    pub urls: Bucket,
    /// Tags.
    pub tags: Bucket,
    /// CP codes.
    pub codes: Bucket,
    /// The nonces of all signatures so far.
    pub nonces: HashSet<String>,
    /// Numbers the answers.
    pub serial: u64,
}

impl Default for Akamai {
    fn default() -> Self {
        Self {
            client_token: "akab-fake-client-token".to_owned(),
            client_secret: "fake-akamai-client-secret".to_owned(),
            access_token: "akab-fake-access-token".to_owned(),
            revoked: false,
            granted: true,
            poison: HashSet::new(),
            cp_codes: vec![12345],
            calls: Bucket::full(100.0, 50.0),
            urls: Bucket::full(10_000.0, 200.0),
            tags: Bucket::full(5_000.0, 500.0 / 60.0),
            codes: Bucket::full(300.0, 0.5),
            nonces: HashSet::new(),
            serial: 0,
        }
    }
}

impl Vendor for Akamai {
    fn settings(&self, url: &str) -> String {
        format!(
            "type = \"akamai\"\nendpoint = \"fake.luna.akamaiapis.net\"\nclient_token = \"literal:{}\"\n\
             client_secret = \"literal:{}\"\naccess_token = \"literal:{}\"\ncp_codes = {:?}\napi_url = \"{url}\"\n",
            self.client_token, self.client_secret, self.access_token, self.cp_codes
        )
    }

    fn answer(&mut self, call: &Request<Bytes>, now: Now) -> Answer {
        if let Err(denied) = self.authenticate(call, now.unix_ms) {
            return denied;
        }
        let path = call.uri().path();
        if path == "/-/client-api/active-grants/implicit" {
            return self.grants();
        }
        let Some(path) = path.strip_prefix("/ccu/v3/") else {
            return gateway(404, "pep-authz/not-found", "Not Found", "no such API");
        };
        if !self.granted {
            let detail = "The client does not have the grant needed for the request";
            return gateway(403, "pep-authz/deny", "Forbidden", detail);
        }
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["rate-limit-status", kind] => self.rate_limit_status(kind, now),
            [action @ ("delete" | "invalidate"), kind, "production" | "staging"] => {
                self.purge(call, action == "delete", kind, now)
            }
            _ => self.problem(404, "Not Found", path),
        }
    }

    fn too_many(&mut self) -> Answer {
        self.over_rate("Rate Limit exceeded", 100, 1, 0)
    }
}

impl Akamai {
    fn authenticate(&mut self, call: &Request<Bytes>, now_ms: i64) -> Result<(), Answer> {
        let malformed =
            || gateway(400, "pep-authn/request-error", "Bad request", "Invalid authorization header");
        let denied = |detail| gateway(401, "pep-authn/deny", "Not authorized", detail);
        let authorization = header(call, "authorization");
        let (unsigned, signature) = authorization.split_once("signature=").ok_or_else(malformed)?;
        let fields = unsigned.strip_prefix("EG1-HMAC-SHA256 ").ok_or_else(malformed)?;
        let field = |name: &str| {
            let mut pairs = fields.split(';').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value).ok_or_else(malformed)
        };
        if self.revoked || field("client_token")? != self.client_token {
            return Err(denied("Inactive client token"));
        }
        if field("access_token")? != self.access_token {
            return Err(denied("Unknown access token"));
        }
        let timestamp = field("timestamp")?;
        let signed_ms = jiff::fmt::strtime::parse("%Y%m%dT%H:%M:%S%z", timestamp)
            .and_then(|time| time.to_timestamp())
            .map_err(|_| malformed())?
            .as_millisecond();
        if (signed_ms - now_ms).abs() > WINDOW_MS {
            return Err(gateway(400, "pep-authn/request-error", "Bad request", "Invalid timestamp"));
        }
        let content_hash = match call.method().as_str() {
            "POST" if !call.body().is_empty() => {
                STANDARD.encode(Sha256::digest(&call.body()[..call.body().len().min(131_072)]))
            }
            _ => String::new(),
        };
        let target = call.uri().path_and_query().unwrap().as_str();
        let data =
            [call.method().as_str(), "http", host(call), target, "", &content_hash, unsigned].join("\t");
        let key = hmac(self.client_secret.as_bytes(), timestamp);
        if hmac(key.as_bytes(), &data) != signature {
            return Err(denied("The signature does not match"));
        }
        if !self.nonces.insert(field("nonce")?.to_owned()) {
            return Err(gateway(400, "pep-authn/request-error", "Bad request", "Duplicate nonce"));
        }
        Ok(())
    }

    fn grants(&self) -> Answer {
        let scope = |api: &str| format!("https://luna.akamaiapis.net/-/scope/{api}/-/READ-WRITE");
        let apis: &[&str] = if self.granted { &["ccu", "papi"] } else { &["papi"] };
        let scope = apis.iter().map(|api| scope(api)).collect::<Vec<_>>().join(" ");
        let grants = json!({
            "name": "origin-shim purging", "scope": scope,
            "created": "2026-01-05T12:00:00Z", "createdBy": "ops",
            "activated": "2026-01-05T12:00:00Z", "activatedBy": "ops",
        });
        Answer::json(200, &grants)
    }

    fn rate_limit_status(&mut self, kind: &str, now: Now) -> Answer {
        if self.bucket(kind).is_none() {
            return self.problem(404, "Not Found", kind);
        }
        let answer =
            json!({ "httpStatus": 201, "detail": "Request accepted", "supportId": self.support_id() });
        self.with_rate(Answer::json(201, &answer), kind, now)
    }

    fn purge(&mut self, call: &Request<Bytes>, hard: bool, kind: &str, now: Now) -> Answer {
        if call.body().len() > BODY_BYTES {
            return self.problem(413, "Request Entity Too Large", "the maximum is 50000 bytes");
        }
        let body: Value = serde_json::from_slice(call.body()).unwrap_or_default();
        let Some(objects) =
            body.get("objects").and_then(Value::as_array).filter(|objects| !objects.is_empty())
        else {
            return self.problem(400, "bad request", "objects must be a list");
        };
        let (of_kind, fits): (_, fn(&Value) -> bool) = match kind {
            "url" => (Kind::Url, |object| object.as_str().is_some_and(is_url)),
            "tag" => (Kind::Tag, |object| object.as_str().is_some_and(is_tag)),
            "cpcode" => (Kind::Everything, Value::is_u64),
            _ => return self.problem(404, "Not Found", kind),
        };
        let name = |object: &Value| object.as_str().map_or(object.to_string(), str::to_owned);
        if let Some(bad) = objects.iter().find(|object| !fits(object)) {
            return self.problem(400, "bad object", &name(bad));
        }
        if let Some(poison) = objects.iter().map(name).find(|object| self.poison.contains(object)) {
            return self.problem(403, "unauthorized arl", &poison);
        }
        let count = objects.len() as f64;
        if self.calls.level(now.instant) < 1.0 {
            let answer = self.over_rate("Rate Limit exceeded", 100, 1, 0);
            return Answer { over_rate: true, ..self.with_rate(answer, kind, now) };
        }
        let bucket = self.bucket(kind).unwrap();
        if !bucket.take(count, now.instant) {
            let (size, left) = (bucket.size() as u64, bucket.level(now.instant) as u64);
            let title = format!("{} Rate Limit exceeded", kind.to_ascii_uppercase());
            let answer = self.over_rate(&title, size, objects.len(), left);
            return Answer { over_rate: true, ..self.with_rate(answer, kind, now) };
        }
        self.calls.take(1.0, now.instant);
        let purged = Purged::all(of_kind, hard, objects.iter().map(name));
        let support_id = self.support_id();
        let answer = json!({
            "httpStatus": 201, "detail": "Request accepted", "estimatedSeconds": 5,
            "purgeId": format!("e535071c-26b2-11e7-94d7-{:012}", self.serial), "supportId": support_id,
        });
        self.with_rate(Answer::json(201, &answer), kind, now).purging(purged)
    }

    fn bucket(&mut self, kind: &str) -> Option<&mut Bucket> {
        match kind {
            "url" => Some(&mut self.urls),
            "tag" => Some(&mut self.tags),
            "cpcode" => Some(&mut self.codes),
            _ => None,
        }
    }

    fn with_rate(&mut self, answer: Answer, kind: &str, now: Now) -> Answer {
        let mut answer = answer
            .with("x-ratelimit-limit", self.calls.size())
            .with("x-ratelimit-limit-per-second", format!("{:.2}", self.calls.per_second()))
            .with("x-ratelimit-remaining", self.calls.level(now.instant) as u64);
        if let Some(bucket) = self.bucket(kind) {
            answer = answer
                .with("x-ratelimit-limit-objects", bucket.size())
                .with("x-ratelimit-limit-per-second-objects", format!("{:.2}", bucket.per_second()))
                .with("x-ratelimit-remaining-objects", bucket.level(now.instant) as u64);
            let refresh = bucket.until_full(now.instant).as_secs_f64();
            answer = answer.with("x-ratelimit-seconds-to-refresh-limit-objects", format!("{refresh:.2}"));
        }
        answer
    }

    fn over_rate(&mut self, title: &str, limit: u64, size: usize, remaining: u64) -> Answer {
        let answer = json!({
            "supportId": self.support_id(), "title": title, "httpStatus": 429,
            "describedBy": "https://developer.akamai.com/api/core_features/fast_purge/v3.html#httpcodes",
            "rateLimit": limit, "rateLimitCurrentRequestSize": size, "rateLimitRemaining": remaining,
        });
        Answer::new(429, answer.to_string()).with("content-type", "application/api-problem+json")
    }

    fn problem(&mut self, status: u16, title: &str, detail: &str) -> Answer {
        let answer = json!({
            "supportId": self.support_id(), "title": title, "httpStatus": status, "detail": detail,
            "describedBy": "https://developer.akamai.com/api/core_features/fast_purge/v3.html#httpcodes",
        });
        Answer::new(status, answer.to_string()).with("content-type", "application/problem+json")
    }

    fn support_id(&mut self) -> String {
        self.serial += 1;
        format!("17PY1552425241133633-{:09}", self.serial)
    }
}

/// The gateway before every API.
fn gateway(status: u16, kind: &str, title: &str, detail: &str) -> Answer {
    let problem = json!({
        "type": format!("https://problems.luna.akamaiapis.net/-/{kind}"),
        "title": title, "status": status, "detail": detail, "requestId": "1fa2b3",
    });
    Answer::new(status, problem.to_string()).with("content-type", "application/problem+json")
}

fn is_url(object: &str) -> bool {
    (object.starts_with("http://") || object.starts_with("https://"))
        && object.is_ascii()
        && !object.contains(' ')
}

fn is_tag(object: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+./^_`|~-".contains(&byte);
    !object.is_empty() && object.len() <= 128 && object.bytes().all(legal)
}

fn hmac(key: &[u8], data: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
