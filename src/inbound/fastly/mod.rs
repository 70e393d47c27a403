//! Fastly's purge API, as its clients use it (<https://www.fastly.com/documentation/reference/api/purging/>), and what
//! they ask before they purge. Everything here is pure: requests become purges, and their results become answers.
//!
//! The token is one of the admin API's, in `Fastly-Key`. A service is a site, or the `service_id` of one of its CDNs.

use super::refused::Refused;
use crate::purge::{PurgeMode, PurgeRequest};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

/// The most keys of a call, and (`LONGEST_KEY`) the most bytes of a key, as at Fastly.
const MOST_KEYS: usize = 256;
const LONGEST_KEY: usize = 1_024;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A purge.
    Purge(Purge),
    /// Facts.
    Facts(Facts),
}

/// A purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// The service, if the request names one; a URL says by its host which site it belongs to.
    pub service: Option<String>,
    /// What is purged.
    pub request: PurgeRequest,
    /// What the answer is about.
    pub about: About,
}

/// What the answer to a purge is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Each of these keys, which the client compares with those that it has sent.
    Keys(Vec<String>),
    /// A key or URL.
    One,
    /// Everything.
    All,
}

/// Facts that clients ask for before they purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Facts {
    /// A service.
    Service(String),
    /// The versions of a service.
    Versions(String),
    /// All services, or the one with this name.
    Services(Option<String>),
    /// The services of another page than the first, which has all of them.
    NoServices,
    /// The token.
    Token,
    /// The user of the token.
    User,
    /// How users log in, which the command line asks at its start.
    Login,
}

/// Returns the token of a request.
pub fn token(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get("fastly-key").map(HeaderValue::as_bytes)
}

/// Reads a request.
pub fn read(request: &Request<Bytes>) -> Result<Asked, Refused> {
    let (method, headers) = (request.method(), request.headers());
    let path = request.uri().path();
    if method == "PURGE" {
        return url(request, None);
    }
    if let Some(rest) = path.strip_prefix("/purge/") {
        return match *method {
            Method::POST => url(request, Some(rest)),
            _ => Err(Refused::bad("a URL is purged by POST")),
        };
    }
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (method, &*segments) {
        (&Method::POST, ["service", id, "purge"]) => keys(id, headers, request.body()),
        (&Method::POST, ["service", id, "purge_all"]) => {
            let request = PurgeRequest { everything: true, ..base(Some(PurgeMode::Hard)) };
            Ok(Asked::Purge(Purge { service: Some(decoded(id)?), request, about: About::All }))
        }
        (&Method::POST, ["service", id, "purge", ..]) => {
            // Some clients send a key with slashes as it is.
            let key = path.splitn(5, '/').nth(4).unwrap_or_default();
            let key = checked(decoded(key)?)?;
            let request = PurgeRequest { tags: vec![key], ..base(mode(headers)) };
            Ok(Asked::Purge(Purge { service: Some(decoded(id)?), request, about: About::One }))
        }
        // Some clients ask for one page after the other until one is empty.
        (&Method::GET, ["service"]) if query(request, "page").is_some_and(|page| page != "1") => {
            Ok(Asked::Facts(Facts::NoServices))
        }
        (&Method::GET, ["service"]) => Ok(Asked::Facts(Facts::Services(None))),
        (&Method::GET, ["service", "search"]) => {
            let name = query(request, "name").ok_or_else(|| Refused::bad("`name` is missing"))?;
            Ok(Asked::Facts(Facts::Services(Some(name))))
        }
        (&Method::GET, ["service", id] | ["service", id, "details"]) => {
            Ok(Asked::Facts(Facts::Service(decoded(id)?)))
        }
        (&Method::GET, ["service", id, "version"]) => Ok(Asked::Facts(Facts::Versions(decoded(id)?))),
        (&Method::GET, ["tokens", "self"]) => Ok(Asked::Facts(Facts::Token)),
        (&Method::GET, ["current_user"]) => Ok(Asked::Facts(Facts::User)),
        (&Method::GET, ["realms", _, ".well-known", "openid-configuration"]) => {
            Ok(Asked::Facts(Facts::Login))
        }
        _ => Err(Refused::not_ours(&format!("{method} {path}"))),
    }
}

/// The body of a call with keys.
#[derive(Deserialize)]
struct Keys {
    surrogate_keys: Vec<String>,
}

fn keys(service: &str, headers: &HeaderMap, body: &[u8]) -> Result<Asked, Refused> {
    let mut keys = Vec::new();
    for value in headers.get_all("surrogate-key") {
        let text = std::str::from_utf8(value.as_bytes());
        let text = text.map_err(|_| Refused::bad("`Surrogate-Key` is not UTF-8"))?;
        keys.extend(text.split_ascii_whitespace().map(str::to_owned));
    }
    if keys.is_empty() {
        let wrong = |error| {
            Refused::bad(format!("neither a `Surrogate-Key` header nor a list `surrogate_keys`: {error}"))
        };
        keys = serde_json::from_slice::<Keys>(body).map_err(wrong)?.surrogate_keys;
    }
    if keys.is_empty() {
        return Err(Refused::bad("no key is given"));
    }
    if keys.len() > MOST_KEYS {
        return Err(Refused::bad(format!("{} keys are too many: at most {MOST_KEYS}", keys.len())));
    }
    let keys = keys.into_iter().map(checked).collect::<Result<Vec<_>, _>>()?;
    let request = PurgeRequest { tags: keys.clone(), ..base(mode(headers)) };
    Ok(Asked::Purge(Purge { service: Some(decoded(service)?), request, about: About::Keys(keys) }))
}

/// Reads the purge of a URL, which is a part of the target, or (`None`) the target itself.
fn url(request: &Request<Bytes>, target: Option<&str>) -> Result<Asked, Refused> {
    let uri = request.uri();
    let host = || request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let text = match target {
        Some(target) => decoded_scheme(target) + &query,
        None if uri.scheme().is_some() => uri.to_string(),
        None => format!("{}{}{query}", host().ok_or_else(|| Refused::bad("`Host` is missing"))?, uri.path()),
    };
    let urls = match text.contains("://") {
        true => vec![text],
        // Fastly's URLs have no scheme, so both are meant.
        false => ["http", "https"].map(|scheme| format!("{scheme}://{text}")).to_vec(),
    };
    let request = PurgeRequest { urls, ..base(mode(request.headers())) };
    Ok(Asked::Purge(Purge { service: None, request, about: About::One }))
}

/// Returns the URL that follows `/purge/`. Some clients escape the colon of its scheme, and some servers in between
/// join the slashes after it.
fn decoded_scheme(target: &str) -> String {
    for scheme in ["http", "https"] {
        for colon in [":", "%3A", "%3a"] {
            let Some(rest) = target.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(colon)) else {
                continue;
            };
            let rest = rest.trim_start_matches("%2F").trim_start_matches("%2f").trim_start_matches('/');
            return format!("{scheme}://{rest}");
        }
    }
    target.to_owned()
}

fn base(mode: Option<PurgeMode>) -> PurgeRequest {
    PurgeRequest {
        mode,
        reason: Some("asked for through Fastly's API".to_owned()),
        ..PurgeRequest::default()
    }
}

/// Returns the mode that the headers name. Shopware sends `0` for a hard purge, although Fastly itself would take any
/// value for a soft one.
fn mode(headers: &HeaderMap) -> Option<PurgeMode> {
    let value = headers.get("fastly-soft-purge")?.to_str().unwrap_or_default().trim();
    Some(if matches!(value, "0" | "" | "false") { PurgeMode::Hard } else { PurgeMode::Soft })
}

fn checked(key: String) -> Result<String, Refused> {
    if key.len() > LONGEST_KEY {
        return Err(Refused::bad(format!("a key has {} bytes: at most {LONGEST_KEY}", key.len())));
    }
    Ok(key)
}

fn decoded(text: &str) -> Result<String, Refused> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| Refused::bad("the path is not UTF-8"))
}

fn query(request: &Request<Bytes>, name: &str) -> Option<String> {
    let query = request.uri().query()?;
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Returns the answer to a purge that was committed under this id.
pub fn accepted(about: &About, id: &str) -> Response<Bytes> {
    let body = match about {
        About::Keys(keys) => {
            keys.iter().map(|key| (key.clone(), json!(id))).collect::<serde_json::Map<_, _>>().into()
        }
        About::One => json!({ "status": "ok", "id": id }),
        About::All => json!({ "status": "ok" }),
    };
    answer(StatusCode::OK, &body)
}

/// Returns the answer to a request that is refused.
pub fn refused(refused: &Refused) -> Response<Bytes> {
    let title = match refused.status {
        StatusCode::UNAUTHORIZED => "Provided credentials are missing or invalid",
        StatusCode::FORBIDDEN => "You are not authorized to perform this action",
        StatusCode::NOT_FOUND => "Record not found",
        status => status.canonical_reason().unwrap_or("Error"),
    };
    answer(refused.status, &json!({ "msg": title, "detail": refused.detail }))
}

/// A site as a service.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// The id by which the client knows the service, or else the name of the site.
    pub id: &'a str,
    /// The name of the site.
    pub name: &'a str,
}

/// What a client may learn about its token.
#[derive(Clone, Copy, Debug)]
pub struct TokenFacts<'a> {
    /// The name of the token.
    pub name: &'a str,
    /// Whether it may purge items.
    pub purge_select: bool,
    /// Whether it may purge everything.
    pub purge_all: bool,
}

/// Returns the answer to a question. `services` are those that the token covers.
pub fn facts(
    facts: &Facts,
    services: &[Service<'_>],
    token: TokenFacts<'_>,
) -> Result<Response<Bytes>, Refused> {
    let find = |id: &str| {
        let service = services.iter().find(|service| service.id == id || service.name == id);
        let detail = format!("there is no service or site `{id}`");
        service.ok_or(Refused { status: StatusCode::NOT_FOUND, detail })
    };
    let body = match facts {
        Facts::Service(id) => service(find(id)?, id),
        Facts::Versions(id) => find(id).map(|_| json!([version(id)]))?,
        Facts::Services(None) => services.iter().map(|known| service(known, known.id)).collect(),
        Facts::NoServices => json!([]),
        Facts::Services(Some(name)) => {
            let named = services.iter().find(|service| service.name == name);
            let detail = format!("there is no site `{name}`");
            let named = named.ok_or(Refused { status: StatusCode::NOT_FOUND, detail })?;
            service(named, named.id)
        }
        Facts::Token => {
            let scopes = [("purge_select", token.purge_select), ("purge_all", token.purge_all)];
            let scopes: Vec<_> = scopes.iter().filter(|(_, may)| *may).map(|(name, _)| *name).collect();
            // Fastly's own libraries take one of these only.
            let scope = scopes.last().copied().unwrap_or("global:read");
            json!({
                "id": token.name, "name": token.name, "user_id": token.name, "customer_id": "origin-shim",
                "scope": scope, "scopes": scopes,
                "services": services.iter().map(|service| service.id).collect::<Vec<_>>()
            })
        }
        Facts::User => {
            json!({ "id": token.name, "name": token.name, "login": token.name, "role": "engineer" })
        }
        Facts::Login => json!({
            "issuer": "origin-shim", "authorization_endpoint": "", "token_endpoint": "", "jwks_uri": "",
            "response_types_supported": [], "subject_types_supported": [], "id_token_signing_alg_values_supported": []
        }),
    };
    Ok(answer(StatusCode::OK, &body))
}

fn service(service: &Service<'_>, id: &str) -> Value {
    let version = version(id);
    json!({
        "id": id, "name": service.name, "customer_id": "origin-shim", "type": "vcl", "comment": "Origin Shim",
        "version": 1, "active_version": version.clone(), "versions": [version]
    })
}

fn version(id: &str) -> Value {
    json!({ "number": 1, "active": true, "locked": true, "deployed": true, "service_id": id, "comment": "" })
}

fn answer(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
