//! `Idempotency-Key`: a repeat of a call within 24 h gives the purge of the first.

use super::extract::single;
use super::problem::{Kind, Problem};
use axum::http::HeaderMap;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// What the store keeps of the caller's key: the key, within its token and site, and a hash of what was asked for.
///
/// Keys are a caller's own: two systems that both count their publishes from 1 must not get each other's purges. And the
/// hash is of what the body means, so that a client may write the same JSON in another way.
pub(super) fn of_request(
    headers: &HeaderMap,
    caller: &str,
    site: &str,
    request: &impl Serialize,
) -> Result<Option<(String, String)>, Problem> {
    let Some(key) = single(headers, "idempotency-key")? else { return Ok(None) };
    if key.is_empty() || key.len() > 255 {
        return Err(Problem::new(Kind::BadRequest, "`Idempotency-Key` must have 1 to 255 characters."));
    }
    let meaning = serde_json::to_vec(request)
        .map_err(|error| Problem::new(Kind::Internal, "The request cannot be hashed.").because(error))?;
    Ok(Some((format!("{caller}\n{site}\n{key}"), hex::encode(Sha256::digest(meaning)))))
}
