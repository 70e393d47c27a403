//! What handlers take from a request: path segments, query parameters, JSON bodies. Whatever is wrong becomes a problem.

use super::Limits;
use super::problem::{Kind, Problem};
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, Query as AxumQuery};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use http_body::Body as _;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::time::Duration;

/// The largest body, in bytes.
const BODY_BYTES: u64 = 8 << 20;
/// From this size on, in bytes, bodies take turns.
const LARGE_BODY_BYTES: u64 = 64 << 10;
/// A body must arrive, and get its turn, within this.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The variable segments of the path, decoded: one, or a tuple of several.
#[derive(Debug)]
pub(super) struct Segment<T = String>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            Err(error) => Err(Problem::new(Kind::NotFound, error.body_text())),
        }
    }
}

/// The query parameters.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match AxumQuery::from_request_parts(parts, state).await {
            Ok(AxumQuery(query)) => Ok(Self(query)),
            Err(error) => Err(Problem::new(Kind::BadRequest, error.body_text())),
        }
    }
}

/// The value of a header that may be there at most once.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    text.map(Some).ok_or_else(|| {
        Problem::new(Kind::BadRequest, format!("`{name}` must be one header of visible ASCII characters."))
    })
}

/// Reads a body as JSON, whatever its `Content-Type` says: a purge must not be lost to a careless client library.
pub(super) async fn json<T: DeserializeOwned>(limits: &Limits, body: Body) -> Result<T, Problem> {
    take(limits, body, parse).await
}

/// The same where a body need not be there.
pub(super) async fn optional_json<T>(limits: &Limits, body: Body) -> Result<T, Problem>
where
    T: DeserializeOwned + Default,
{
    take(limits, body, |body| if body.is_empty() { Ok(T::default()) } else { parse(body) }).await
}

async fn take<T>(
    limits: &Limits,
    body: Body,
    parse: impl FnOnce(&[u8]) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let reading = async {
        let _turn = match body.size_hint().upper() {
            Some(bytes) if bytes < LARGE_BODY_BYTES => None,
            _ => limits.large_bodies.acquire().await.ok(),
        };
        parse(&read(body).await?)
    };
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(
            Kind::Timeout,
            format!("The whole body must arrive within {} seconds.", BODY_TIMEOUT.as_secs()),
        )),
    }
}

async fn read(body: Body) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Kind::TooLarge, "The body is larger than 8 MiB: send several purges.");
    if body.size_hint().lower() > BODY_BYTES {
        return Err(too_large());
    }
    // The limit fits any usize that the shim runs with.
    match Limited::new(body, BODY_BYTES as usize).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(Problem::new(Kind::BadRequest, "The body broke off.").because(error)),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let kind = match error.classify() {
            Category::Data => Kind::Invalid,
            Category::Io | Category::Syntax | Category::Eof => Kind::NotJson,
        };
        // serde_json's own text ends in "at line L column C".
        Problem::new(kind, format!("The body is wrong: {error}."))
    })
}
