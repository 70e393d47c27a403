//! Authentication and authorization of callers: bearer tokens with scopes and sites.

use super::audit;
use super::places::Place;
use super::problem::{Kind, Problem};
use super::throttle::{Refusal, network};
use super::{Peer, State};
use crate::config::secret::Secret;
use crate::config::{AdminToken, Config, Scope, Site};
use axum::extract::{self, Request};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Instant;
use subtle::ConstantTimeEq;

/// An authenticated caller, with the configuration that its request sees from start to end.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    config: Arc<Config>,
    /// The index in `config.admin.tokens`; `None` for the shim itself.
    token: Option<usize>,
    /// The network that the call comes from: the address, or the /64 of an IPv6 address.
    network: IpAddr,
}

/// Lets a request with a known token pass, with a [`Caller`] extension. Any other request gets the same 401.
pub(super) async fn require_token(
    extract::State(state): extract::State<Arc<State>>,
    extract::Extension(Peer(peer)): extract::Extension<Peer>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let config = state.config.load_full();
    match bearer(request.headers()).and_then(|token| find(&config.admin.tokens, token)) {
        Some(token) => {
            let caller = Caller { config, token: Some(token), network: network(peer.ip()) };
            if let Some(place) = request.extensions().get::<Place>() {
                place.known_as(caller.name());
            }
            request.extensions_mut().insert(caller);
            Ok(next.run(request).await)
        }
        None => Err(refuse(&state, peer)),
    }
}

/// Returns the same answer for every unknown caller, and after a few of them an answer that there were too many.
fn refuse(state: &State, peer: SocketAddr) -> Problem {
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

/// Returns the index of a token. Hashing hides the lengths, and every token is compared even after a match, so
/// that the time taken reveals nothing about any of them.
fn find(tokens: &[AdminToken], presented: &[u8]) -> Option<usize> {
    let presented = Sha256::digest(presented);
    let mut found = None;
    for (index, known) in tokens.iter().enumerate() {
        let known = Sha256::digest(known.token.expose());
        if bool::from(known.ct_eq(&presented)) {
            found = Some(index);
        }
    }
    found
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

/// The shim as a caller, which presents no token.
static ITSELF: LazyLock<AdminToken> = LazyLock::new(|| AdminToken {
    name: "origin-shim".to_owned(),
    token: Secret::new(""),
    scopes: vec![Scope::PurgeEverything],
    sites: None,
});

impl Caller {
    /// Returns the shim itself as a caller, for purges that it makes on its own.
    pub(super) fn itself(config: Arc<Config>) -> Self {
        Self { config, token: None, network: IpAddr::V4(Ipv4Addr::LOCALHOST) }
    }

    /// Returns the configuration that the request sees.
    pub(super) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Returns the same caller under the current configuration: a stream may outlive a reload, but not its token.
    pub(super) fn renew(&self, config: Arc<Config>) -> Option<Self> {
        if Arc::ptr_eq(&config, &self.config) {
            return Some(self.clone());
        }
        let token = match self.token {
            Some(_) => Some(find(&config.admin.tokens, self.token().token.expose().as_bytes())?),
            None => None,
        };
        Some(Self { config, token, network: self.network })
    }

    /// Whether the token has a scope.
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.token().scopes.contains(&scope)
    }

    /// Returns the token's name, for the audit line.
    pub(super) fn name(&self) -> &str {
        &self.token().name
    }

    /// Returns the network that the call comes from: the address, or the /64 of an IPv6 address.
    pub(super) fn network(&self) -> IpAddr {
        self.network
    }

    /// Refuses a caller whose token has none of `scopes`, and names the first.
    pub(super) fn require(&self, scopes: &[Scope]) -> Result<(), Problem> {
        if scopes.iter().any(|scope| self.may(*scope)) {
            return Ok(());
        }
        let missing = scopes.first().map_or("", |scope| scope_name(*scope));
        Err(Problem::new(Kind::Forbidden, format!("Token `{}` lacks the scope `{missing}`.", self.name())))
    }

    /// Refuses a caller whose token does not cover the site, whether or not the site exists.
    pub(super) fn require_site(&self, site: &str) -> Result<(), Problem> {
        if self.sees(site) {
            return Ok(());
        }
        Err(Problem::new(Kind::Forbidden, format!("Token `{}` is not for the site `{site}`.", self.name())))
    }

    /// Returns a site that the caller may see.
    pub(super) fn site(&self, name: &str) -> Result<&Arc<Site>, Problem> {
        self.require_site(name)?;
        let site = self.config.sites.iter().find(|site| site.name == name);
        site.ok_or_else(|| Problem::new(Kind::NotFound, format!("There is no site `{name}`.")))
    }

    /// Whether the token covers the site.
    pub(super) fn sees(&self, site: &str) -> bool {
        self.token().sites.as_ref().is_none_or(|sites| sites.iter().any(|own| own == site))
    }

    /// Returns the sites that the token is limited to. `None` means all sites, including those that the
    /// configuration no longer has.
    pub(super) fn limited_to(&self) -> Option<Vec<String>> {
        self.token().sites.clone()
    }

    fn token(&self) -> &AdminToken {
        match self.token {
            Some(token) => &self.config.admin.tokens[token],
            None => &ITSELF,
        }
    }
}

/// Returns a scope as the configuration spells it.
pub(super) fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Purge => "purge",
        Scope::PurgeEverything => "purge-everything",
        Scope::Operate => "operate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
