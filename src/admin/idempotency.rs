//! `Idempotency-Key`: a repeated call within 24 h returns the purge of the first one.

use super::extract::single;
use super::problem::{Kind, Problem};
use axum::http::HeaderMap;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Returns what the store keeps of the caller's key: the key, within its token and site, and a hash of the
/// request.
///
/// Keys are scoped to the caller, because two systems that both number their publishes from 1 must not get each
/// other's purges. The hash covers the meaning of the body, so that a client may write the same JSON in another
/// way.
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
