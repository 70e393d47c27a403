//! Souin's API (<https://docs.souin.io/docs/api/>): `PURGE` below `/souin-api/souin`, and a `POST` whose body follows
//! the expired draft-nottingham-http-invalidation.

use super::asked::{Asked, Named, Unread, everything};
use super::host::host_of;
use super::pages::is_anything;
use super::tags;
use crate::inbound::refused::Refused;
use crate::purge::PurgeMode;
use crate::rewrite::nameable;
use bytes::Bytes;
use http::Request;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// Where Souin has its API.
const BASE: &str = "/souin-api/souin";

/// The body of an invalidation.
#[derive(Deserialize)]
struct Invalidation {
    r#type: Kind,
    #[serde(default)]
    selectors: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    purge: bool,
}

/// What an invalidation selects by.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Uri,
    UriPrefix,
    Origin,
    Group,
}

/// Reads a request of Souin's API; `None` if it is for another one.
pub(super) fn read(request: &Request<Bytes>) -> Result<Option<Asked>, Unread> {
    let Some(rest) = request.uri().path().strip_prefix(BASE) else { return Ok(None) };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Ok(None);
    }
    let mut asked = match (request.method().as_str(), rest.trim_start_matches('/')) {
        ("PURGE", "") => {
            let missing = || Refused::bad("`Surrogate-Key` names no tag").into();
            tags::read(request.headers(), &[], true)?.ok_or_else(missing)
        }
        ("PURGE", "flush") => Ok(everything()),
        ("PURGE", pattern) => {
            let pattern = percent_decode_str(pattern).decode_utf8_lossy();
            match is_anything(&pattern) {
                true => Ok(everything()),
                false => Err(Unread::Pattern(
                    pattern.into_owned(),
                    "it is for the keys of Souin's store; purge tags by `Surrogate-Key`",
                )),
            }
        }
        ("POST", "") => invalidation(request.body()),
        _ => Err(Refused::not_ours(&format!("{} {}", request.method(), request.uri().path())).into()),
    }?;
    asked.is_souin = request.method() == "PURGE";
    Ok(Some(asked))
}

fn invalidation(body: &[u8]) -> Result<Asked, Unread> {
    let body: Invalidation = serde_json::from_slice(body)
        .map_err(|error| Refused::bad(format!("the body is not an invalidation: {error}")))?;
    let mut asked = Asked { mode: (!body.purge).then_some(PurgeMode::Soft), ..Asked::default() };
    match body.r#type {
        Kind::Group => {
            let names = body.groups.into_iter().chain(body.selectors);
            for name in names {
                if let Err(why) = nameable::tag(&name) {
                    return Err(Refused::bad(format!("the group `{name}` {why}")).into());
                }
                asked.tags.push(name);
            }
        }
        Kind::Origin => {
            asked.everything = !body.selectors.is_empty();
            asked.hosts = body.selectors.iter().filter_map(|origin| Some(url(origin)?.authority)).collect();
        }
        Kind::Uri | Kind::UriPrefix => {
            for selector in &body.selectors {
                let url = url(selector).ok_or_else(|| Refused::bad(format!("`{selector}` is no URL")))?;
                asked.hosts.push(host_of(&url.authority));
                match body.r#type {
                    Kind::Uri => asked.urls.push(url),
                    _ if url.path == "/" && url.query.is_empty() => asked.everything = true,
                    _ if url.path.ends_with('/') && url.query.is_empty() => asked.prefixes.push(url.path),
                    _ => {
                        let instead = "a prefix of URLs ends with `/`";
                        return Err(Unread::Pattern(selector.clone(), instead));
                    }
                }
            }
        }
    }
    if asked.everything {
        return Ok(Asked { hosts: asked.hosts, mode: asked.mode, ..everything() });
    }
    match asked.tags.is_empty() && asked.urls.is_empty() && asked.prefixes.is_empty() {
        true => Err(Refused::bad("nothing is selected").into()),
        false => Ok(asked),
    }
}

fn url(text: &str) -> Option<Named> {
    let url = url::Url::parse(text).ok()?;
    let authority =
        url.host_str()?.to_owned() + &url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(Named { authority, path: url.path().to_owned(), query })
}
