//! Explains what the rewrite would do to a request and its response, by running the code that does it.

use super::caller::Caller;
use super::extract::{Segment, json as read_json};
use super::problem::{BadItem, Kind, Problem};
use super::shares::Who;
use super::sites;
use super::state::State;
use crate::base::with_causes;
use crate::config::{Scope, Site};
use crate::explain::{self, Case, CaseError, Explanation, FetchRequest, Request};
use crate::http::head::Headers;
use crate::rewrite::CdnType;
use axum::body::Body;
use axum::extract;
use axum::response::Json;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long an origin may take to answer a page that is fetched to be explained.
const FETCH_TIMEOUT: Duration = Duration::from_secs(30);

/// A request and the origin's response to it. Omitted fields are filled in as a CDN of the site would send them
/// that opts in and is trusted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an object that describes a request and a response")]
pub(super) struct Question {
    /// The URL, as visitors see it.
    url: String,
    /// The request's method.
    #[serde(default = "get")]
    method: String,
    /// The type of the CDN that sends the request; required if the site has CDNs of several types.
    cdn: Option<CdnType>,
    /// Whether this is a visitor's request, which does not opt in.
    #[serde(default)]
    visitor: bool,
    /// Header fields of the request, as pairs of name and value. Each replaces the field that a CDN would send.
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// The address that the request comes from; by default one that the site trusts.
    peer: Option<IpAddr>,
    /// Whether purges reach the CDN; by default the current state.
    healthy: Option<bool>,
    /// Whether to request the page from the origin now and explain its response, instead of the one that the next
    /// two fields describe. Needs the scope `operate`.
    #[serde(default)]
    fetch: bool,
    /// The status of the origin's response.
    #[serde(default = "ok")]
    status: u16,
    /// Header fields of the origin's response, as pairs of name and value.
    #[serde(default)]
    response_headers: Vec<(String, String)>,
}

fn get() -> String {
    "GET".to_owned()
}

fn ok() -> u16 {
    200
}

/// `POST /v1/sites/{site}/explain`
pub(super) async fn explain(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(caller): extract::Extension<Caller>,
    Segment(site): Segment,
    body: Body,
) -> Result<Json<Explanation>, Problem> {
    let site = caller.site(&site)?;
    let question: Question = read_json(&state.limits, &caller, body).await?;
    let (healthy, fetch) = (question.healthy, question.fetch);
    let Understood { request, status, response } = understand(question)?;
    let (status, response) = if fetch {
        fetched(&state, &caller, site, &request).await?
    } else {
        (status, response.into_iter().collect())
    };
    let case = case(&state, &caller, site, &request, healthy)?;
    let headers = request.headers(site);
    let opt_in = case.opt_in(request.peer(site), &headers);
    Ok(Json(case.explain(&request.method, &headers, opt_in, status, response)))
}

fn case<'c>(
    state: &State,
    caller: &'c Caller,
    site: &Site,
    request: &'c Request,
    healthy: Option<bool>,
) -> Result<Case<'c>, Problem> {
    let now = sites::health(state, site);
    let healthy = |_: &str, cdn: &str| {
        healthy.unwrap_or_else(|| now.iter().any(|health| health.name == cdn && health.healthy))
    };
    let case = Case::of(caller.config(), &request.url, healthy)
        .map_err(|error| match error {
            CaseError::NoSite(_) if caller.limited_to().is_some() => elsewhere(site),
            error => no_case(error),
        })?
        .held_against(&state.freshness);
    if case.site().name != site.name {
        return Err(elsewhere(site));
    }
    if request.is_ambiguous(site) {
        return Err(invalid("cdn", "the site has CDNs of several types: specify one".to_owned()));
    }
    Ok(case)
}

/// Requests the page from the site's origin, as the proxy would.
async fn fetched(
    state: &State,
    caller: &Caller,
    site: &Site,
    request: &Request,
) -> Result<(StatusCode, Headers), Problem> {
    caller.require(&[Scope::Operate])?;
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(invalid("method", "must be GET or HEAD if the page is fetched".to_owned()));
    }
    let headers = request.headers(site);
    let opt_in =
        case(state, caller, site, request, Some(true))?.opt_in(request.peer(site), &headers).believed;
    let _place = state.limits.checkers.take(Who::is(caller)).map_err(|_| {
        Problem::new(Kind::TooMany, "Many pages are being fetched, or credentials checked; try again soon.")
    })?;
    let asked = FetchRequest { method: &request.method, url: &request.url, headers: &headers, opt_in };
    let answer = explain::head(site, &caller.config().server.limits, asked);
    match tokio::time::timeout(FETCH_TIMEOUT, answer).await {
        Ok(Ok(answer)) => Ok((answer.status, answer.headers)),
        Ok(Err(error)) => Err(invalid("fetch", with_causes(&error))),
        Err(_) => Err(invalid("fetch", "the origin does not answer in time".to_owned())),
    }
}

struct Understood {
    request: Request,
    status: StatusCode,
    response: Vec<(HeaderName, HeaderValue)>,
}

/// Parses a question, and names every invalid part of it.
fn understand(question: Question) -> Result<Understood, Problem> {
    let mut errors = Vec::new();
    let mut complain = |item: &str, message: String| errors.push(BadItem { item: item.to_owned(), message });
    let url = explain::url(&question.url).map_err(|error| complain("url", error.to_string())).ok();
    let method = question.method.parse::<Method>();
    let method = method.map_err(|_| complain("method", "is no HTTP method".to_owned())).ok();
    // A 1xx response never reaches a client as the final answer.
    let status = StatusCode::from_u16(question.status).ok().filter(|status| status.as_u16() >= 200);
    if status.is_none() {
        complain("status", "must be from 200 to 999".to_owned());
    }
    let mut headers = |field: &str, pairs: &[(String, String)]| -> Vec<(HeaderName, HeaderValue)> {
        let read = |(name, value): &(String, String)| {
            let header = explain::header(name, value);
            header.map_err(|error| complain(&format!("{field}: {name}"), error.to_string())).ok()
        };
        pairs.iter().filter_map(read).collect()
    };
    let request_headers = headers("headers", &question.headers);
    let response = headers("response_headers", &question.response_headers);
    let (Some(url), Some(method), Some(status), true) = (url, method, status, errors.is_empty()) else {
        return Err(Problem::new(Kind::Invalid, "Some fields are invalid: see `errors`.").with_errors(errors));
    };
    let request = Request {
        url,
        method,
        cdn: question.cdn,
        visitor: question.visitor,
        headers: request_headers,
        peer: question.peer,
    };
    Ok(Understood { request, status, response })
}

/// Only callers that may see all sites learn whether another site serves the URL or none does.
fn elsewhere(site: &Site) -> Problem {
    invalid("url", format!("is not served by the site `{}`", site.name))
}

fn no_case(error: CaseError) -> Problem {
    match error {
        CaseError::NoSite(_) | CaseError::Host(_) => invalid("url", error.to_string()),
        CaseError::Routing(_) | CaseError::Tls(_) => {
            Problem::new(Kind::Internal, "The configuration cannot be explained.").because(error)
        }
    }
}

fn invalid(item: &str, message: String) -> Problem {
    let errors = vec![BadItem { item: item.to_owned(), message }];
    Problem::new(Kind::Invalid, "Some fields are invalid: see `errors`.").with_errors(errors)
}
