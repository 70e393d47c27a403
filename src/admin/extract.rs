//! Extractors of the parts of a request: path segments, query parameters, JSON bodies. Invalid input becomes a
//! problem.

use super::aside::on_another_thread;
use super::body_permits::BodyPermit;
use super::caller::Caller;
use super::limits::Limits;
use super::problem::{Kind, Problem};
use super::shares::Who;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, Query as AxumQuery};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use std::time::Duration;

/// The largest body, in bytes.
const BODY_BYTES: u64 = 8 << 20;
/// The number of bytes of a body that are read without a permit. A larger body must wait for a permit
/// (`body_permits.rs`).
const FREE_BYTES: u64 = 64 << 10;
/// The time within which a body must arrive, including the wait for its permit.
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

/// Returns the value of a header field that may occur at most one time.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    text.map(Some).ok_or_else(|| {
        Problem::new(Kind::BadRequest, format!("`{name}` must be one header of visible ASCII characters."))
    })
}

/// Reads a body as JSON, whatever its `Content-Type`: a purge must not be lost because of a careless client
/// library.
pub(super) async fn json<T: DeserializeOwned + Send + 'static>(
    limits: &Limits,
    caller: &Caller,
    body: Body,
) -> Result<T, Problem> {
    take(limits, caller, body, parse).await
}

/// Reads a body as JSON, or returns the default if there is none.
pub(super) async fn optional_json<T>(limits: &Limits, caller: &Caller, body: Body) -> Result<T, Problem>
where
    T: DeserializeOwned + Default + Send + 'static,
{
    take(limits, caller, body, |body| if body.is_empty() { Ok(T::default()) } else { parse(body) }).await
}

/// Reads a body as it is.
pub(super) async fn whole(limits: &Limits, caller: &Caller, body: Body) -> Result<Vec<u8>, Problem> {
    take(limits, caller, body, |body| Ok(body.to_vec())).await
}

async fn take<T: Send + 'static>(
    limits: &Limits,
    caller: &Caller,
    body: Body,
    parse: impl FnOnce(&[u8]) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let reading = async {
        let (bytes, permit) = read(limits, caller, body).await?;
        if permit.is_none() {
            return parse(&bytes);
        }
        // Parsing a large body takes time, and the delivery tasks run on this thread, too.
        on_another_thread("The body cannot be read.", move || parse(&bytes)).await?
    };
    match tokio::time::timeout(BODY_TIMEOUT, reading).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(
            Kind::Timeout,
            format!("The whole body must arrive within {} seconds.", BODY_TIMEOUT.as_secs()),
        )),
    }
}

/// Returns the whole body and, if it is a large one, its permit.
async fn read<'l>(
    limits: &'l Limits,
    caller: &Caller,
    mut body: Body,
) -> Result<(Vec<u8>, Option<BodyPermit<'l>>), Problem> {
    let too_large = || Problem::new(Kind::TooLarge, "The body is larger than 8 MiB: send several purges.");
    if body.size_hint().lower() > BODY_BYTES {
        return Err(too_large());
    }
    let (mut bytes, mut permit) = (Vec::new(), None);
    while let Some(frame) = next(&mut body, permit.as_ref()).await? {
        let Ok(data) = frame.into_data() else { continue };
        let length = bytes.len() as u64 + data.len() as u64;
        if length > BODY_BYTES {
            return Err(too_large());
        }
        if permit.is_none() && length > FREE_BYTES {
            permit = Some(limits.large_bodies.take(Who::is(caller)).await);
        }
        if let Some(permit) = &permit {
            permit.received(data.len());
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, permit))
}

/// Returns the next part of a body, as long as its permit lasts.
async fn next(body: &mut Body, permit: Option<&BodyPermit<'_>>) -> Result<Option<Frame<Bytes>>, Problem> {
    let lost = async {
        match permit {
            Some(permit) => permit.lost().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // A part that has arrived is accepted, even if it is late.
        biased;
        frame = body.frame() => frame
            .transpose()
            .map_err(|error| Problem::new(Kind::BadRequest, "The body broke off.").because(error)),
        () = lost => {
            let detail = "The body made no progress while others waited for their turn.";
            Err(Problem::new(Kind::Timeout, detail))
        }
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let kind = match error.classify() {
            Category::Data => Kind::Invalid,
            Category::Io | Category::Syntax | Category::Eof => Kind::NotJson,
        };
        // The text of serde_json already ends in "at line L column C".
        Problem::new(kind, format!("Invalid request body: {error}."))
    })
}
