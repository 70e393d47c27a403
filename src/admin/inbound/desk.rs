//! What each protocol needs for a request: the caller, the site, and the commit.

use super::repeats::{Listener, Role, outcome};
use super::shared::Shared;
use crate::admin::auth;
use crate::admin::caller::Caller;
use crate::admin::problem::Problem;
use crate::admin::purges::{self, Asked};
use crate::admin::throttle::network;
use crate::config::{Config, Inbound, Scope, Site};
use crate::inbound::refused::Refused;
use crate::proxy::host::of_authority;
use crate::purge::PurgeRequest;
use crate::rewrite::CdnType;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// What the answer to a request is, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A purge was committed.
    Accepted,
    /// A fact was told, or a webhook has no meaning here.
    Nothing,
}

/// The answer to a request, and what it is.
pub(super) type Answer = (http::Response<Bytes>, Outcome);

/// What is known of a request before it is read.
pub(super) struct Desk<'d> {
    pub(super) shared: &'d Shared,
    pub(super) config: &'d Arc<Config>,
    pub(super) inbound: &'d Inbound,
    pub(super) peer: SocketAddr,
    listener: Listener,
}

impl<'d> Desk<'d> {
    pub(super) fn new(
        shared: &'d Shared,
        config: &'d Arc<Config>,
        inbound: &'d Inbound,
        (peer, listener): (SocketAddr, Listener),
    ) -> Self {
        Self { shared, config, inbound, peer, listener }
    }

    /// Returns the name of a caller without a token, for the audit line and the purge.
    pub(super) fn name(&self) -> String {
        format!("inbound-{}", self.inbound.protocol.name())
    }

    /// Returns the caller with this token of the admin API.
    pub(super) fn caller(&self, token: Option<&[u8]>) -> Result<Caller, Refused> {
        let known = |token| Caller::of(self.config.clone(), token, network(self.peer.ip()));
        let caller = token.filter(|token| !token.is_empty()).and_then(known);
        caller.ok_or_else(|| self.no_token())
    }

    /// Returns the refusal of a request without a valid token, which is noted.
    pub(super) fn no_token(&self) -> Refused {
        let problem = auth::refuse(&self.shared.state, self.peer);
        match problem.status() {
            StatusCode::UNAUTHORIZED => Refused::unauthorized(),
            _ => refused(problem),
        }
    }

    /// Returns a client that needs no token, who may purge this site. `name` is added to the listener's.
    pub(super) fn client(&self, name: &str, site: &str) -> Caller {
        let name = [&*self.name(), name].join(if name.is_empty() { "" } else { "-" });
        Caller::client(self.config.clone(), name, vec![site.to_owned()], network(self.peer.ip()))
    }

    /// Returns a client that needs no token, who may purge every site that the listener reaches.
    pub(super) fn anyone(&self) -> Caller {
        let sites = self.config.sites.iter().map(|site| site.name.clone()).collect();
        Caller::client(self.config.clone(), self.name(), sites, network(self.peer.ip()))
    }

    /// Returns the site of a purge: that of the listener, else the one that the request `names` in its protocol, else
    /// the one of its host, else the only one that the caller may purge.
    pub(super) fn site<'c>(
        &self,
        caller: &'c Caller,
        names: Option<(&str, CdnType)>,
        host: Option<&str>,
    ) -> Result<&'c Arc<Site>, Refused> {
        let sites = &caller.config().sites;
        let named = |(id, cdn): (&str, CdnType)| {
            let has = |site: &&Arc<Site>| {
                let mut cdns = site.cdns.iter().filter(|of| of.dialect.cdn == cdn);
                site.name == id || cdns.any(|cdn| cdn.settings.services().iter().any(|service| service == id))
            };
            // Several sites may share a service, and the token tells which of them is meant.
            let mut all = sites.iter().filter(has);
            all.clone().find(|site| caller.sees(&site.name)).or_else(|| all.next())
        };
        let served = |host: &str| {
            let host = of_authority(host)?.into_owned();
            sites.iter().find(|site| site.hosts.contains(&host)).or_else(|| {
                let parents = host.match_indices('.').map(|(dot, _)| format!("*{}", &host[dot..]));
                parents.into_iter().find_map(|parent| sites.iter().find(|site| site.hosts.contains(&parent)))
            })
        };
        let only = || {
            let mut visible = sites.iter().filter(|site| caller.sees(&site.name));
            visible.next().filter(|_| visible.next().is_none())
        };
        let of_listener =
            self.inbound.site.as_ref().and_then(|name| sites.iter().find(|site| site.name == *name));
        let site =
            of_listener.or_else(|| names.and_then(named)).or_else(|| host.and_then(served)).or_else(only);
        let Some(site) = site else {
            let what = names.map(|(id, _)| id).or(host).unwrap_or_default();
            let detail = format!("no site of the shim is meant by `{what}`: set `site` in [[inbound]]");
            return Err(Refused { status: StatusCode::NOT_FOUND, detail });
        };
        caller.site(&site.name).map_err(refused)
    }

    /// Commits a purge, and returns its id. A purge that this client sent to another listener just now is the same.
    pub(super) async fn purge(
        &self,
        caller: &Caller,
        site: &Site,
        request: PurgeRequest,
        agent: Option<&HeaderValue>,
    ) -> Result<String, Refused> {
        let mut digest = Sha256::new();
        let client = (caller.name(), self.peer.ip(), agent.map(HeaderValue::as_bytes), &*site.name, &request);
        digest.update(format!("{client:?}"));
        match self.shared.repeats.note(digest.finalize().into(), self.listener, Instant::now()) {
            Role::Repeated(of) => match outcome(of).await {
                Some(id) => Ok(id),
                None => self.commit(caller, site, request).await,
            },
            Role::New(tell) => {
                let committed = self.commit(caller, site, request).await;
                tell.send_replace(Some(committed.as_ref().ok().cloned()));
                committed
            }
        }
    }

    async fn commit(&self, caller: &Caller, site: &Site, request: PurgeRequest) -> Result<String, Refused> {
        let state = &self.shared.state;
        let store = state.store().map_err(refused)?.clone();
        let asked = Asked { request, idempotency: Ok(None) };
        let purge =
            purges::committed(state, &store, (caller, self.peer), site, asked).await.map_err(refused)?;
        Ok(purge.id)
    }
}

/// Returns a problem of the admin API as a refusal, with the first of the items that are invalid.
pub(super) fn refused(problem: Problem) -> Refused {
    problem.tell();
    let items: Vec<_> =
        problem.errors().iter().take(3).map(|error| format!("{}: {}", error.item, error.message)).collect();
    let detail = match items.is_empty() {
        true => problem.detail().to_owned(),
        false => format!("nothing was purged: {}", items.join("; ")),
    };
    Refused { status: problem.status(), detail }
}

/// Whether a token may purge items, and whether it may purge everything.
pub(super) fn may(caller: &Caller) -> [bool; 2] {
    [Scope::Purge, Scope::PurgeEverything].map(|scope| caller.may(scope))
}
