//! The layers that let callers in: only with a known token, and only with the scope that the call needs.

use super::audit;
use super::caller::{Caller, Peer};
use super::places::Place;
use super::problem::{Kind, Problem};
use super::state::State;
use super::throttle::{Refusal, network};
use crate::config::Scope;
use axum::extract::{self, Request};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Lets a request with a known token pass, with a [`Caller`] extension. Any other request gets the same 401.
pub(super) async fn require_token(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let config = state.config.load_full();
    let known = |token: &[u8]| Caller::of(config, token, network(peer.ip()));
    match bearer(request.headers()).and_then(known) {
        Some(caller) => {
            if let Some(place) = request.extensions().get::<Place>() {
                place.known_as(caller.name());
            }
            request.extensions_mut().insert(caller);
            Ok(next.run(request).await)
        }
        None => Err(refuse(&state, peer)),
    }
}

/// Refuses a caller without a known token. The answer is a 401, which is the same for all such callers, or a 429 if
/// there were too many failures from the caller's address. Of the calls that get a 429, only the first one in each
/// minute is logged.
pub(super) fn refuse(state: &State, peer: SocketAddr) -> Problem {
    let refusal = state.limits.failures.note(peer.ip(), Instant::now());
    let said = match refusal {
        Refusal::Unauthorized => Some("no valid token"),
        Refusal::TooMany { first: true, .. } => {
            Some("no valid token, too often: 429 for the rest of the minute")
        }
        Refusal::TooMany { first: false, .. } => None,
    };
    if let Some(said) = said {
        match audit::place_for_refusal() {
            Ok(place) => place.write(|| tracing::warn!(target: "audit", %peer, "{said}")),
            Err(problem) => return problem,
        }
    }
    match refusal {
        Refusal::Unauthorized => {
            let detail = "Send one of the configured tokens as `Authorization: Bearer TOKEN`.";
            Problem::new(Kind::Unauthorized, detail)
        }
        Refusal::TooMany { wait, .. } => {
            let detail = "Too many calls without a valid token came from this address.";
            Problem::new(Kind::TooMany, detail).retry_after(wait.as_secs() + 1)
        }
    }
}

/// Lets a known caller pass that has one of the scopes.
pub(super) async fn require_scope(
    extract::State(scopes): extract::State<&'static [Scope]>,
    extract::Extension(caller): extract::Extension<Caller>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    caller.require(scopes)?;
    Ok(next.run(request).await)
}

/// Returns the token of exactly one `Authorization: Bearer` header. An empty token is treated as absent, so that a
/// configured token that turned out to be empty grants no access.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?.as_bytes(), values.next()) else { return None };
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::caller::find;
    use crate::config::AdminToken;
    use crate::config::secret::Secret;

    #[track_caller]
    fn check(values: &[&str], expected: Option<usize>) {
        let token = |text: &str| AdminToken {
            name: String::new(),
            token: Secret::new(text),
            scopes: Vec::new(),
            sites: None,
        };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        let known = [token("first"), token(""), token("second")];
        assert_eq!(bearer(&headers).and_then(|token| find(&known, token)), expected, "{values:?}");
    }

    #[test]
    fn only_one_whole_bearer_token_opens() {
        check(&["Bearer first"], Some(0));
        check(&["bearer second"], Some(2));
        check(&["Bearer   second "], Some(2));
        check(&[], None);
        check(&["Bearer"], None);
        check(&["Bearer "], None);
        check(&["Bearer fir"], None);
        check(&["Bearer First"], None);
        check(&["Bearer first, second"], None);
        check(&["first"], None);
        check(&["Basic first"], None);
        check(&["Bearer first", "Bearer first"], None);
        check(&["Bearer wrong", "Bearer first"], None);
    }
}
