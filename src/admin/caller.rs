//! The caller: the peer of the connection, and what its token allows.

use super::problem::{Kind, Problem};
use crate::config::secret::Secret;
use crate::config::{AdminToken, Config, Scope, Site};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use subtle::ConstantTimeEq;

/// The peer of the connection, set by [`super::serve`] for each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// An authenticated caller, with the configuration that its request sees from start to end.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    config: Arc<Config>,
    identity: Identity,
    /// The network that the call comes from: the address, or the /64 of an IPv6 address.
    network: IpAddr,
}

/// Who a caller is.
#[derive(Clone, Debug)]
enum Identity {
    /// The owner of the token of this index in `config.admin.tokens`.
    Token(usize),
    /// The shim itself.
    Itself,
    /// A client of a listener that wants no token, as if it had this one.
    Client(Arc<AdminToken>),
}

/// Returns the index of a token. Hashing hides the lengths, and every token is compared even after a match, so
/// that the time taken reveals nothing about any of them.
pub(super) fn find(tokens: &[AdminToken], presented: &[u8]) -> Option<usize> {
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

/// The shim as a caller, which presents no token.
static ITSELF: LazyLock<AdminToken> = LazyLock::new(|| AdminToken {
    name: "origin-shim".to_owned(),
    token: Secret::new(""),
    scopes: vec![Scope::Purge, Scope::PurgeEverything],
    sites: None,
});

impl Caller {
    /// Returns the caller with the presented token, if that is one of the configuration. `network` is the caller's
    /// network.
    pub(super) fn of(config: Arc<Config>, presented: &[u8], network: IpAddr) -> Option<Self> {
        let token = find(&config.admin.tokens, presented)?;
        Some(Self { config, identity: Identity::Token(token), network })
    }

    /// Returns a client of a listener that wants no token. It may purge these sites.
    pub(super) fn client(config: Arc<Config>, name: String, sites: Vec<String>, network: IpAddr) -> Self {
        let scopes = vec![Scope::Purge, Scope::PurgeEverything];
        let token = AdminToken { name, token: Secret::new(""), scopes, sites: Some(sites) };
        Self { config, identity: Identity::Client(Arc::new(token)), network }
    }

    /// Returns the shim itself as a caller, for purges that it makes on its own.
    pub(super) fn itself(config: Arc<Config>) -> Self {
        Self { config, identity: Identity::Itself, network: IpAddr::V4(Ipv4Addr::LOCALHOST) }
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
        let identity = match &self.identity {
            Identity::Token(_) => {
                Identity::Token(find(&config.admin.tokens, self.token().token.expose().as_bytes())?)
            }
            other => other.clone(),
        };
        Some(Self { config, identity, network: self.network })
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
        match &self.identity {
            Identity::Token(token) => &self.config.admin.tokens[*token],
            Identity::Itself => &ITSELF,
            Identity::Client(token) => token,
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
