//! `POST /v1/sites/{site}/freshness`: the copies of a page at the CDNs, as a visitor gets them, and when they were
//! fetched from the origin.

use super::caller::Caller;
use super::extract::{Segment, json as read_json};
use super::json::rfc3339;
use super::problem::{BadItem, Kind, Problem};
use super::shares::Who;
use super::state::State;
use crate::base::with_causes;
use crate::cdn::Reply;
use crate::config::{Cdn, Site};
use crate::guard::wall_ms;
use crate::rewrite::CdnType;
use crate::rewrite::stamp::{self, STAMP};
use axum::body::{Body, Bytes};
use axum::extract;
use axum::response::Json;
use http::header::{AGE, HOST};
use http::{Method, Request};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use url::{Position, Url};

/// How long a CDN may take to answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The page whose copies are looked at.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object with a url")]
pub(super) struct PageOfSite {
    /// The URL, as visitors see it. Its host must be one of a CDN of the site.
    url: String,
}

/// The copies of a page.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Copies {
    /// The URL.
    url: String,
    /// The copies, one for each CDN that has the host.
    copies: Vec<CopyJson>,
}

/// The copy of a page at a CDN.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Copy")]
struct CopyJson {
    /// The CDN's name.
    cdn: String,
    /// The CDN's type.
    #[serde(rename = "type")]
    cdn_type: CdnType,
    /// The status; null if there was no answer.
    status: Option<u16>,
    /// When the copy was fetched from the origin, RFC 3339: by the shim's stamp, or by its `Age`. Null if neither
    /// tells.
    fetched_at: Option<String>,
    /// The age of the copy, in seconds.
    age_seconds: Option<i64>,
    /// Why there was no answer.
    error: Option<String>,
}

/// `POST /v1/sites/{site}/freshness`
pub(super) async fn look(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    Segment(site): Segment,
    body: Body,
) -> Result<Json<Copies>, Problem> {
    let site = caller.site(&site)?;
    let PageOfSite { url: text } = read_json(&state.limits, &caller, body).await?;
    let url = Url::parse(&text).map_err(|error| wrong(format!("is no URL: {error}")))?;
    let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
    let host = host.ok_or_else(|| wrong("must begin with http:// or https://".to_owned()))?;
    let cdns: Vec<&Arc<Cdn>> = site.cdns.iter().filter(|cdn| has(site, cdn, host)).collect();
    // The host is checked because the shim must not make requests to whatever a caller names.
    if cdns.is_empty() {
        return Err(wrong(format!("`{host}` is not the host of a CDN of the site `{}`", site.name)));
    }
    let _place = state.limits.checkers.take(Who::is(&caller)).map_err(|_| {
        Problem::new(
            Kind::TooMany,
            "Many copies are being looked at, or credentials checked; try again soon.",
        )
    })?;
    let mut copies = Vec::new();
    for cdn in cdns {
        copies.push(copy(&state, cdn, &url, host).await);
    }
    Ok(Json(Copies { url: text, copies }))
}

fn wrong(message: String) -> Problem {
    let errors = vec![BadItem { item: "url".to_owned(), message }];
    Problem::new(Kind::Invalid, "Some fields are invalid: see `errors`.").with_errors(errors)
}

fn has(site: &Site, cdn: &Cdn, host: &str) -> bool {
    let hosts = if cdn.hosts.is_empty() { &site.hosts } else { &cdn.hosts };
    hosts.iter().any(|known| known == host)
}

async fn copy(state: &State, cdn: &Cdn, url: &Url, host: &str) -> CopyJson {
    let target = &url[Position::BeforePath..Position::AfterQuery];
    let uri = match &cdn.verify_url {
        Some(base) => format!("{base}{target}"),
        None => format!("https://{host}{target}"),
    };
    let request = Request::builder().method(Method::HEAD).uri(uri).header(HOST, host).body(Bytes::new());
    let reply = match request {
        Ok(request) => match tokio::time::timeout(TIMEOUT, state.sender.send(request)).await {
            Ok(sent) => sent.map_err(|error| with_causes(&error)),
            Err(_) => Err(format!("no answer within {} seconds", TIMEOUT.as_secs())),
        },
        Err(error) => Err(error.to_string()),
    };
    let (cdn, cdn_type) = (cdn.name.clone(), cdn.dialect.cdn);
    match reply {
        Ok(reply) => {
            let fetched_ms = fetched_ms(state, &reply);
            CopyJson {
                cdn,
                cdn_type,
                status: Some(reply.status.as_u16()),
                fetched_at: fetched_ms.map(rfc3339),
                age_seconds: fetched_ms.map(|ms| wall_ms().saturating_sub(ms).max(0) / 1_000),
                error: None,
            }
        }
        Err(error) => {
            CopyJson { cdn, cdn_type, status: None, fetched_at: None, age_seconds: None, error: Some(error) }
        }
    }
}

/// Returns when a copy was fetched, by the machine's clock. Stamps are written by the steady clock of the guard.
fn fetched_ms(state: &State, reply: &Reply) -> Option<i64> {
    if let Some(stamped_ms) = reply.headers.get(STAMP).and_then(stamp::read) {
        let ahead_ms = wall_ms().saturating_sub(state.freshness.clock.now_ms());
        return Some(stamped_ms.saturating_add(ahead_ms));
    }
    let age = reply.headers.get(AGE)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(wall_ms().saturating_sub(i64::from(age) * 1_000))
}
