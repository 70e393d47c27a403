//! Cloudflare's API: purging, marking stale, and what a token may read about itself
//! (<https://developers.cloudflare.com/cache/how-to/purge-cache/>, `…/fundamentals/api/reference/limits/`).

use super::bucket::Bucket;
use super::{Answer, Kind, Now, Purged, Vendor, header};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

/// The maximum number of tags, hosts or prefixes in one call.
const ITEMS: usize = 100;

/// One zone, and one token for it.
#[derive(Debug)]
pub struct Cloudflare {
    /// The id of the zone.
    pub zone_id: String,
    /// The name of the zone.
    pub zone: String,
    /// The plan of the zone: `free`, `pro`, `business` or `enterprise`.
    pub plan: String,
    /// The account that owns the zone.
    pub account_id: String,
    /// The token.
    pub token: String,
    /// Whether the token belongs to the account and not to a user. Only the API address of the account accepts such a
    /// token.
    pub account_owned: bool,
    /// The status of the token: `active`, `disabled` or `expired`.
    pub status: String,
    /// The time at which the token expires, RFC 3339.
    pub expires_on: Option<String>,
    /// Whether the token has the permission Cache Purge.
    pub may_purge: bool,
    /// Whether the token has the permission Zone Read.
    pub may_read_zone: bool,
    /// The account's rate of calls.
    pub calls: Bucket,
    /// The account's rate of URLs.
    pub urls: Bucket,
    /// The maximum number of URLs in one call: 100, or 500 for Enterprise.
    pub urls_per_call: usize,
}

impl Default for Cloudflare {
    fn default() -> Self {
        Self {
            zone_id: "023e105f4ecef8ad9ca31a8372d0c353".to_owned(),
            zone: "example.test".to_owned(),
            plan: "free".to_owned(),
            account_id: "01a7362d577a6c3019a474fd6f485823".to_owned(),
            token: "cfut_fake-cloudflare-token".to_owned(),
            account_owned: false,
            status: "active".to_owned(),
            expires_on: None,
            may_purge: true,
            may_read_zone: false,
            calls: Bucket::full(25.0, 5.0 / 60.0),
            urls: Bucket::full(800.0, 800.0),
            urls_per_call: 100,
        }
    }
}

impl Cloudflare {
    /// Creates a zone of a larger plan.
    pub fn enterprise() -> Self {
        Self {
            plan: "enterprise".to_owned(),
            calls: Bucket::full(500.0, 50.0),
            urls: Bucket::full(3_000.0, 3_000.0),
            urls_per_call: 500,
            ..Self::default()
        }
    }
}

impl Vendor for Cloudflare {
    fn settings(&self, url: &str) -> String {
        format!(
            "type = \"cloudflare\"\nzone_id = \"{}\"\nplan = \"{}\"\napi_token = \"literal:{}\"\napi_url = \"{url}\"\n",
            self.zone_id, self.plan, self.token
        )
    }

    fn answer(&mut self, call: &Request<Bytes>, now: Now) -> Answer {
        let known = header(call, "authorization") == format!("Bearer {}", self.token);
        let path = call.uri().path();
        let zone = format!("/zones/{}", self.zone_id);
        let account = format!("/accounts/{}/tokens/verify", self.account_id);
        match (call.method().as_str(), path) {
            ("GET", "/user/tokens/verify") if known && !self.account_owned => self.verified(),
            ("GET", _) if path == account && known && self.account_owned => self.verified(),
            ("GET", "/user/tokens/verify") => failed(401, 1000, "Invalid API Token"),
            ("GET", _) if path == account => failed(401, 1000, "Invalid API Token"),
            _ if !known || self.status != "active" => failed(401, 10000, "Authentication error"),
            (method, _) => match (method, path.strip_prefix(&zone)) {
                ("GET", Some("")) => self.zone(),
                ("POST", Some("/purge_cache")) => self.purge(call, true, now),
                ("POST", Some("/invalidate_cache")) => self.purge(call, false, now),
                _ => failed(
                    404,
                    7003,
                    "Could not route to the zone, perhaps your object identifier is invalid?",
                ),
            },
        }
    }

    fn too_many(&mut self) -> Answer {
        failed(429, 10429, "Rate limited. Please wait and consider throttling your request speed")
            .with("retry-after", 1)
            .with("ratelimit", "\"default\";r=0;t=1")
    }

    /// Answers with a 200 that is not a success.
    fn partly(&mut self, call: &Request<Bytes>, now: Now) -> Answer {
        let answer = self.answer(call, now);
        if answer.status != 200 {
            return answer;
        }
        Answer { purged: Vec::new(), ..failed(200, 1, "Unable to purge, please try again") }
    }
}

impl Cloudflare {
    fn verified(&self) -> Answer {
        let result = json!({
            "id": "ed17574386854bf78a67040be0a770b0", "status": self.status, "expires_on": self.expires_on,
        });
        let messages = json!([{ "code": 10000, "message": "This API Token is valid and active" }]);
        Answer::json(200, &json!({ "success": true, "errors": [], "messages": messages, "result": result }))
    }

    fn zone(&self) -> Answer {
        if !self.may_read_zone {
            return failed(403, 9109, "Unauthorized to access requested resource");
        }
        succeeded(&json!({
            "id": self.zone_id, "name": self.zone, "status": "active",
            "account": { "id": self.account_id, "name": "Example Ltd" },
            "plan": { "name": "Some Website", "legacy_id": self.plan },
        }))
    }

    fn purge(&mut self, call: &Request<Bytes>, hard: bool, now: Now) -> Answer {
        if !self.may_purge {
            return failed(401, 10000, "Authentication error");
        }
        let body: Value = serde_json::from_slice(call.body()).unwrap_or_default();
        let Some((key, value)) =
            body.as_object().filter(|body| body.len() == 1).and_then(|body| body.iter().next())
        else {
            let message = "Request must contain only one of \"purge_everything\", \"files\", \"tags\", \"hosts\" or \"prefixes\"";
            return failed(400, 1012, message);
        };
        let names: Vec<String> = serde_json::from_value(value.clone()).unwrap_or_default();
        let (kind, most) = match key.as_str() {
            "purge_everything" if *value == json!(true) => (Kind::Everything, usize::MAX),
            "files" => (Kind::Url, self.urls_per_call),
            "tags" => (Kind::Tag, ITEMS),
            "prefixes" => (Kind::Prefix, ITEMS),
            _ => return failed(400, 1012, "unknown field"),
        };
        // The error code for too many items is not published.
        if (kind != Kind::Everything && names.is_empty()) || names.len() > most {
            return failed(400, 1013, "too many items");
        }
        if names.iter().any(|name| name.len() > 1024 || (kind == Kind::Prefix && name.contains("://"))) {
            return failed(400, 1315, "malformed item");
        }
        let urls = if kind == Kind::Url { names.len() as f64 } else { 0.0 };
        if self.calls.level(now.instant) < 1.0 || !self.urls.take(urls, now.instant) {
            let answer =
                failed(429, 10429, "Rate limited. Please wait and consider throttling your request speed");
            let wait = self.calls.until(1.0, now.instant).as_secs() + 1;
            return Answer { over_rate: true, ..self.with_rate(answer, now).with("retry-after", wait) };
        }
        self.calls.take(1.0, now.instant);
        let names = if kind == Kind::Everything { vec!["*".to_owned()] } else { names };
        let answer = succeeded(&json!({ "id": self.zone_id }));
        self.with_rate(answer, now).purging(Purged::all(kind, hard, names))
    }

    fn with_rate(&mut self, answer: Answer, now: Now) -> Answer {
        let (left, full) =
            (self.calls.level(now.instant) as u64, self.calls.until_full(now.instant).as_secs());
        answer
            .with("cf-ray", "8f1c2d3e4f5a6b7c-FRA")
            .with("ratelimit", format!("\"default\";r={left};t={full}"))
            .with("ratelimit-policy", format!("\"default\";q={};w=60", self.calls.size()))
    }
}

fn succeeded(result: &Value) -> Answer {
    Answer::json(200, &json!({ "success": true, "errors": [], "messages": [], "result": result }))
}

fn failed(status: u16, code: u32, message: &str) -> Answer {
    let errors = json!([{ "code": code, "message": message }]);
    Answer::json(status, &json!({ "success": false, "errors": errors, "messages": [], "result": null }))
}
