//! Akamai's Fast Purge API.

use super::desk::{Answer, Desk, Outcome};
use crate::guard::wall_ms;
use crate::inbound::akamai::{self, Signed};
use crate::inbound::refused::Refused;
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use std::sync::PoisonError;

pub(super) async fn answer(desk: &Desk<'_>, request: Request<Bytes>) -> Result<Answer, Refused> {
    let signed = Signed::of(&request).map_err(|_| desk.no_token())?;
    let named = desk.config.admin.tokens.iter().find(|token| token.name == signed.client_token);
    let token = named.ok_or_else(|| desk.no_token())?.token.expose();
    let now_ms = wall_ms();
    let once = signed.verify(&request, token, now_ms / 1_000).inspect_err(|refused| {
        if *refused == Refused::unauthorized() {
            desk.no_token();
        }
    })?;
    let caller = desk.caller(Some(token.as_bytes()))?;
    let purge = akamai::read(&request)?;
    let url = purge.urls.first().and_then(|url| url.parse::<Uri>().ok());
    let host = url.as_ref().and_then(Uri::authority).map(|authority| authority.as_str());
    let site = desk.site(&caller, None, host)?;
    let replays = || desk.shared.replays.lock().unwrap_or_else(PoisonError::into_inner);
    if replays().knows(&once) {
        let detail = "this request was answered before: each needs a nonce of its own".to_owned();
        return Err(Refused { status: StatusCode::UNAUTHORIZED, detail });
    }
    let id = desk.purge(&caller, site, purge, request.headers().get(header::USER_AGENT)).await?;
    replays().remember(once, now_ms);
    Ok((akamai::accepted(&id), Outcome::Accepted))
}
