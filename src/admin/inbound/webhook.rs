//! Webhooks of content management systems.

use super::desk::{Answer, Desk, Outcome};
use crate::admin::publish;
use crate::config::{Hook, HookProof};
use crate::guard::wall_ms;
use crate::inbound::refused::Refused;
use crate::inbound::webhook::hook::Wanted;
use crate::inbound::webhook::verify::{Sent, Verified, Verifier};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};
use std::sync::PoisonError;

pub(super) async fn answer(desk: &Desk<'_>, request: Request<Bytes>) -> Result<Answer, Refused> {
    let name = request.uri().path().trim_start_matches('/');
    let hook = desk.inbound.hooks.iter().find(|hook| hook.name == name);
    let detail = format!("there is no webhook `{name}` in the shim's configuration");
    let hook = hook.ok_or(Refused { status: StatusCode::NOT_FOUND, detail })?;
    if request.method() != Method::POST {
        let detail = "a webhook is sent by POST".to_owned();
        return Err(Refused { status: StatusCode::METHOD_NOT_ALLOWED, detail });
    }
    let now_ms = wall_ms();
    let once = match &hook.proof {
        None => None,
        Some(proof) => verified(desk, proof, &request, now_ms)?.once,
    };
    let replays = || desk.shared.replays.lock().unwrap_or_else(PoisonError::into_inner);
    if once.is_some_and(|once| replays().knows(&once)) {
        return Ok((
            told(&json!({ "purged": false, "reason": "this webhook came before" })),
            Outcome::Nothing,
        ));
    }
    let body: Value = serde_json::from_slice(request.body())
        .map_err(|error| Refused::bad(format!("the body is not JSON: {error}")))?;
    let answer = purge(desk, hook, &request, &body).await?;
    if let Some(once) = once {
        replays().remember(once, now_ms);
    }
    Ok(answer)
}

/// Purges what a webhook asks for.
async fn purge(
    desk: &Desk<'_>,
    hook: &Hook,
    request: &Request<Bytes>,
    body: &Value,
) -> Result<Answer, Refused> {
    let caller = desk.client(&hook.name, &hook.site);
    let site = caller.site(&hook.site).map_err(super::desk::refused)?;
    let wanted = hook.rule.read(request.headers(), body).map_err(|too_many| Refused {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        detail: too_many.to_string(),
    })?;
    let mut purge = match wanted {
        Wanted::Purge(purge) => purge,
        Wanted::Event(event) => publish::purge_of(site, &event).map_err(super::desk::refused)?,
        Wanted::Nothing => {
            let reason = "a condition does not hold, or the body names nothing to purge";
            return Ok((told(&json!({ "purged": false, "reason": reason })), Outcome::Nothing));
        }
    };
    purge.reason = Some(format!("asked for by the webhook `{}`", hook.name));
    let id = desk.purge(&caller, site, purge, request.headers().get(header::USER_AGENT)).await?;
    Ok((told(&json!({ "purged": true, "id": id })), Outcome::Accepted))
}

fn verified(
    desk: &Desk<'_>,
    proof: &HookProof,
    request: &Request<Bytes>,
    now_ms: i64,
) -> Result<Verified, Refused> {
    let verifier =
        Verifier { scheme: proof.scheme, header: &proof.header, secret: proof.secret.expose().as_bytes() };
    let sent = Sent {
        method: request.method().as_str(),
        target: request.uri().path_and_query().map_or("/", |target| target.as_str()),
        headers: request.headers(),
        body: request.body(),
    };
    verifier.verify(sent, now_ms).map_err(|why| {
        let refused = desk.no_token();
        let is_unauthorized = refused.status == StatusCode::UNAUTHORIZED;
        if is_unauthorized { Refused { detail: why.to_string(), ..refused } } else { refused }
    })
}

/// Returns the answer to a webhook. Storyblok wants JSON.
fn told(body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
