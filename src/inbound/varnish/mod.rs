//! The requests by which content management systems and their plug-ins purge Varnish. Varnish itself has no such API:
//! each client comes with rules for Varnish's configuration, and these conventions are read here. Everything here is
//! pure.
//!
//! | file | reads |
//! |---|---|
//! | `asked.rs` | (what was read, as a purge) |
//! | `headers.rs`, `host.rs` | single headers, and hosts |
//! | `target.rs` | the host and URL of a request, also in absolute form and as Plone rewrites it |
//! | `tags.rs` | headers that name tags, as lists or as patterns |
//! | `pages.rs` | patterns of URLs |
//! | `literal.rs` | the names within patterns |
//! | `souin.rs` | Souin's API |
//!
//! A pattern is understood if it is in a closed list, and otherwise refused, or everything is purged instead: what is
//! purged is never less than the pattern matches. One request restricts by several headers at a time; each of them
//! alone covers what they cover together, so the narrowest that is understood is enough.

mod asked;
mod headers;
mod host;
mod literal;
mod pages;
mod souin;
mod tags;
mod target;

#[cfg(test)]
mod tests;

pub use asked::{Asked, Named};

use super::refused::Refused;
use asked::{Unread, everything};
use bytes::Bytes;
use headers::{first, is_on, soft, text};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use pages::Anchor;
use target::Target;

/// How requests are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Whether a pattern that is not understood purges everything. Otherwise it is refused.
    pub widen: bool,
    /// Whether `REFRESH` purges its URL.
    pub refresh: bool,
    /// Further headers that list tags, such as those in which the site's responses do.
    pub tag_headers: Vec<HeaderName>,
}

/// Reads a request.
pub fn read(request: &Request<Bytes>, reading: &Reading) -> Result<Asked, Refused> {
    let target = Target::of(request)?;
    let mut asked = match meaning(request, &target, reading) {
        Ok(asked) => asked,
        Err(Unread::Refused(refused)) => return Err(refused),
        Err(Unread::Pattern(pattern, _)) if reading.widen => {
            Asked { everything: true, widened: Some(pattern), ..Asked::default() }
        }
        Err(Unread::Pattern(pattern, instead)) => {
            let pattern: String = pattern.chars().take(200).collect();
            let detail = format!(
                "the pattern `{pattern}` is not understood, so nothing is purged: {instead} \
                 (`on_unknown_pattern = \"everything\"` purges everything instead)"
            );
            return Err(Refused { status: StatusCode::UNPROCESSABLE_ENTITY, detail });
        }
    };
    if asked.hosts.is_empty() {
        asked.hosts.extend(target.host());
    }
    Ok(asked)
}

fn meaning(request: &Request<Bytes>, target: &Target, reading: &Reading) -> Result<Asked, Unread> {
    let headers = request.headers();
    if let Some(asked) = souin::read(request)? {
        return Ok(asked);
    }
    match request.method().as_str() {
        "PURGE" | "DELETE" => purge(headers, target, reading),
        "BAN" => ban(headers, target, reading),
        "PURGEKEYS" | "PURGETAGS" => {
            let missing = || Refused::bad("no header names a tag").into();
            tags::read(headers, &reading.tag_headers, true)?.ok_or_else(missing)
        }
        "URIBAN" => target.url(),
        "REFRESH" if reading.refresh => target.url(),
        method => {
            let detail = format!("{method} does not purge here");
            Err(Refused { status: StatusCode::METHOD_NOT_ALLOWED, detail }.into())
        }
    }
}

/// Reads a purge of tags or of a URL.
fn purge(headers: &HeaderMap, target: &Target, reading: &Reading) -> Result<Asked, Unread> {
    // Symfony's HttpCache, Magento's deployments, and `nginx-helper`.
    if is_on(headers, "clear-cache") || headers.contains_key("x-pool") || target.path == "/purgeall" {
        return Ok(everything());
    }
    if let Some(asked) = tags::read(headers, &reading.tag_headers, false)? {
        return Ok(asked);
    }
    if let Some(asked) = by_url_header(headers)? {
        return Ok(asked);
    }
    let mut asked = match method(headers)? {
        Some(Matching::Pattern) => pages::read(&target.text(), Anchor::Start)?,
        // The rules that define this header ignore queries, unless it is `exact`.
        Some(Matching::Page) if !target.is_pattern() => target.page()?,
        Some(Matching::Exact) => target.url()?,
        _ if target.is_pattern() => pages::read(&target.text(), Anchor::Start)?,
        _ => target.url()?,
    };
    asked.mode = soft(headers);
    Ok(asked)
}

/// Reads a ban, which is a pattern of tags, or of URLs, hosts and types of content.
fn ban(headers: &HeaderMap, target: &Target, reading: &Reading) -> Result<Asked, Unread> {
    if let Some(asked) = tags::read(headers, &reading.tag_headers, false)? {
        return Ok(asked);
    }
    let host = first(headers, &["x-host", "x-ban-host", "x-purge-host"])?;
    let content = first(headers, &["x-content-type"])?;
    let mut asked = match by_url_header(headers)? {
        Some(asked) => asked,
        None if host.is_some() || content.is_some() => everything(),
        None => return by_target(headers, target),
    };
    if let Some(content) = content.filter(|content| asked.everything && !pages::is_anything(content)) {
        return Err(Unread::Pattern(content.to_owned(), "no purge selects by the type of the content alone"));
    }
    if let Some(host) = host {
        asked.hosts = pages::hosts(host)?;
    }
    Ok(asked)
}

/// Reads a ban whose headers say nothing.
fn by_target(headers: &HeaderMap, target: &Target) -> Result<Asked, Unread> {
    match method(headers)? {
        Some(Matching::Exact) => target.url(),
        None if target.path == "/" && target.query.is_empty() => Ok(everything()),
        // Some rules take the URL of a ban for a pattern, and some do not.
        None if !target.is_pattern() => Err(Unread::Pattern(
            target.text(),
            "URIBAN or PURGE purges one page, and BAN with `X-Url` a pattern",
        )),
        _ => pages::read(&target.text(), Anchor::Start),
    }
}

/// Reads the header that has a pattern of URLs.
fn by_url_header(headers: &HeaderMap) -> Result<Option<Asked>, Unread> {
    let Some(url) = first(headers, &["x-url", "x-ban-url", "x-purge-regex"])? else { return Ok(None) };
    let mut asked = pages::read(url, Anchor::Anywhere)?;
    asked.mode = soft(headers);
    Ok(Some(asked))
}

/// What `X-Purge-Method` says of the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matching {
    /// A page, whose query does not matter.
    Page,
    /// An exact URL.
    Exact,
    /// A pattern of URLs.
    Pattern,
}

fn method(headers: &HeaderMap) -> Result<Option<Matching>, Refused> {
    let Some(value) = headers.get("x-purge-method") else { return Ok(None) };
    let value = text(value)?.to_ascii_lowercase();
    Ok(Some(match &*value {
        _ if value.contains("regex") => Matching::Pattern,
        _ if value.contains("exact") => Matching::Exact,
        _ => Matching::Page,
    }))
}

/// Returns the answer to a purge that was committed under this id.
pub fn accepted(asked: &Asked, id: &str) -> Response<Bytes> {
    let (status, body) = match asked.is_souin {
        true => (StatusCode::NO_CONTENT, ""),
        false => (StatusCode::OK, "Purged\n"),
    };
    let mut response = answer(status, body.to_owned());
    if let Ok(id) = HeaderValue::from_str(id) {
        response.headers_mut().insert("x-purge-id", id);
    }
    response
}

/// Returns the answer to a request that is refused.
pub fn refused(refused: &Refused) -> Response<Bytes> {
    let mut response = answer(refused.status, format!("{}\n", refused.detail));
    if refused.status == StatusCode::METHOD_NOT_ALLOWED {
        let methods = HeaderValue::from_static("PURGE, BAN, PURGEKEYS, PURGETAGS, URIBAN, DELETE");
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}

fn answer(status: StatusCode, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
    }
    response
}
