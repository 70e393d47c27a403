//! The site that a request belongs to, compiled from the configuration: one immutable [`Routing`] that a reload
//! replaces as a whole, so that a request sees one configuration from its start to its end.

use super::access::AccessLog;
use super::asking::Asking;
use super::edge::Edges;
use super::error::ProxyError;
use super::host;
use super::own_name::OwnName;
use crate::base::digest;
use crate::config::{Claims, Config, Limits, Mode, Trust};
use crate::guard::PurgedSite;
use crate::http::head::Value;
use crate::metrics::Metrics;
use crate::metrics::shard::SiteMetrics;
use crate::rewrite::Policy;
use crate::upstream::{Origin, Roots, SetupError, Upstreams};
use crate::view::PurgeHealthView;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// Everything in the configuration that the request path reads.
#[derive(Debug)]
pub struct Routing {
    /// Limits and timeouts.
    pub limits: Limits,
    /// The rule for which requests are logged.
    pub access: AccessLog,
    trusted_proxies: Vec<IpNet>,
    proxy_protocol: Vec<IpNet>,
    sites: Vec<Site>,
    claims: Claims,
    /// The name in `CDN-Loop` by which our own requests are recognised.
    pub own_name: OwnName,
    /// The counters of the requests that belong to no site.
    pub no_site: Arc<SiteMetrics>,
}

/// One site.
#[derive(Debug)]
pub struct Site {
    /// The name in the configuration.
    pub name: String,
    /// Whether responses are rewritten.
    pub mode: Mode,
    /// The peers whose opt-in is trusted.
    pub trust: SiteTrust,
    /// The protocols that a connection may be switched to, in lower case.
    pub upgrades: Vec<String>,
    /// The CDNs in front of the site.
    pub edges: Edges,
    /// The rules for rewriting responses.
    pub policy: Policy,
    /// The headers by which the origin asks for purges; `None` if it cannot.
    pub asking: Option<Asking>,
    /// The record of what was purged of the site.
    pub purged: Arc<PurgedSite>,
    /// The site's limits if they differ from the general ones.
    limits: Option<Box<Limits>>,
    /// The limits of each rule that has its own. Empty if no rule has any.
    rule_limits: Box<[Option<Box<Limits>>]>,
    /// How long the last bytes of a response stay in flight after its end, in milliseconds.
    pub follow_up_margin_ms: i64,
    /// The origins, which are tried in turn.
    pub origins: Vec<Origin>,
    /// The site's counters.
    pub metrics: Arc<SiteMetrics>,
}

/// The peers whose opt-in is trusted.
#[derive(Debug)]
pub enum SiteTrust {
    /// All peers.
    Any,
    /// Peers that send this secret. Only its digest is stored, so that the comparison reveals nothing, not even a
    /// length.
    Secret([u8; 32]),
    /// Peers whose certificate was verified.
    ClientCertificate,
    /// Peers in these networks.
    Addresses(Vec<IpNet>),
}

impl Routing {
    /// Compiles `config` and resolves each CDN's health, each site's counters and each origin's number.
    pub fn compile(
        config: &Config,
        metrics: &Metrics,
        health: &PurgeHealthView,
        roots: &Roots,
        upstreams: &Upstreams,
    ) -> Result<Self, SetupError> {
        let mut routing = Self {
            limits: config.server.limits.clone(),
            access: AccessLog::new(&config.log),
            trusted_proxies: config.server.trusted_proxies.clone(),
            proxy_protocol: config.server.proxy_protocol.clone(),
            sites: Vec::with_capacity(config.sites.len()),
            claims: Claims::of(&config.sites),
            own_name: OwnName::new(config.server.id.as_deref(), &health.installation),
            no_site: metrics.site(""),
        };
        for site in &config.sites {
            routing.sites.push(Site::compile(
                (site, &config.server.limits),
                metrics,
                health,
                roots,
                upstreams,
            )?);
        }
        Ok(routing)
    }

    /// Returns the number of the site that a request with this `Host` belongs to.
    pub(super) fn site_of(&self, host: Value<'_>) -> Result<usize, ProxyError> {
        let text = host.to_str();
        // Sites are indexed by valid hosts in their normal form, so most requests need no parsing.
        if let Some(site) = text.and_then(|host| self.claims.exact(host)) {
            return Ok(site);
        }
        let host =
            text.and_then(host::of_authority).ok_or(ProxyError::BadRequest("the Host is not legal"))?;
        self.find(&host).ok_or_else(|| ProxyError::UnknownHost(host.into_owned()))
    }

    /// Returns the number of the site that serves a lower-case host: an exact match, otherwise the longest
    /// wildcard, otherwise the default site.
    pub fn find(&self, host: &str) -> Option<usize> {
        self.claims.server(host)
    }

    /// Returns all sites.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// Returns all origins, each with the name of its site.
    pub fn origins(&self) -> impl Iterator<Item = (&str, &Origin)> + Clone {
        self.sites.iter().flat_map(|site| site.origins.iter().map(|origin| (site.name.as_str(), origin)))
    }

    /// Returns the site with a number that [`Routing::find`] returned.
    pub fn site(&self, number: usize) -> &Site {
        &self.sites[number]
    }

    /// Whether connections from this peer begin with a PROXY protocol header.
    pub fn begins_with_proxy_header(&self, peer: IpAddr) -> bool {
        self.proxy_protocol.iter().any(|net| net.contains(&peer))
    }

    /// Whether the forwarding fields of this peer are trusted.
    pub fn trusts_proxy(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

impl Site {
    /// Returns the limits of a request for `path`: those of the first rule that matches, otherwise the site's,
    /// otherwise the general ones.
    pub fn limits<'a>(&'a self, general: &'a Limits, path: &str) -> &'a Limits {
        let of_rule = match &*self.rule_limits {
            [] => None,
            all => self.policy.rule_number(path).and_then(|number| all.get(number)?.as_deref()),
        };
        of_rule.or(self.limits.as_deref()).unwrap_or(general)
    }

    fn compile(
        (site, general): (&crate::config::Site, &Limits),
        metrics: &Metrics,
        health: &PurgeHealthView,
        roots: &Roots,
        upstreams: &Upstreams,
    ) -> Result<Self, SetupError> {
        let limits = site.limits.over(general).map(Box::new);
        let origins = site.origins.iter().map(|url| Origin::compile(site, url, roots, upstreams));
        let origins = origins.collect::<Result<_, _>>()?;
        Ok(Self {
            name: site.name.clone(),
            mode: site.mode,
            trust: SiteTrust::compile(&site.trust),
            upgrades: site.upgrades.clone(),
            edges: Edges::compile(&site.name, &site.cdns, health),
            policy: site.policy.clone(),
            asking: site.purge_headers.clone().map(|headers| {
                let queue = health.header_purges.queue(&site.name);
                Asking { headers, queue }
            }),
            purged: health.freshness.site(&site.name),
            rule_limits: rule_limits(site, limits.as_deref().unwrap_or(general)),
            limits,
            follow_up_margin_ms: i64::try_from(site.follow_up_margin.as_millis()).unwrap_or(i64::MAX),
            origins,
            metrics: metrics.site(&site.name),
        })
    }
}

/// Returns the limits of each rule, or an empty list if no rule has its own, so that requests need not search for
/// their rule.
fn rule_limits(site: &crate::config::Site, limits: &Limits) -> Box<[Option<Box<Limits>>]> {
    let own: Box<[_]> = site.rule_limits.iter().map(|other| other.over(limits).map(Box::new)).collect();
    if own.iter().any(Option::is_some) { own } else { Box::default() }
}

impl SiteTrust {
    fn compile(trust: &Trust) -> Self {
        match trust {
            Trust::Any => Self::Any,
            Trust::Secret(secret) => Self::Secret(digest(secret.expose().as_bytes())),
            Trust::ClientCertificate => Self::ClientCertificate,
            Trust::Addresses(nets) => Self::Addresses(nets.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::fixture;

    fn routing(sites: Vec<crate::config::Site>) -> Routing {
        fixture::routing(&fixture::config(sites), &PurgeHealthView::default())
    }

    #[test]
    fn exact_then_wildcard_then_default_else_none() {
        let mut www = fixture::site("www", &["www.example.com"]);
        let preview = fixture::site("preview", &["*.example.com"]);
        let deep = fixture::site("deep", &["*.deep.example.com"]);
        let sites = |www| vec![www, preview.clone(), deep.clone()];
        let check = |routing: &Routing, host: &str, site: Option<&str>| {
            assert_eq!(routing.find(host).map(|site| routing.site(site).name.as_str()), site, "{host}");
        };

        let strict = routing(sites(www.clone()));
        check(&strict, "www.example.com", Some("www"));
        check(&strict, "a.example.com", Some("preview"));
        check(&strict, "a.b.example.com", Some("preview"));
        check(&strict, "a.deep.example.com", Some("deep"));
        check(&strict, "deep.example.com", Some("preview"));
        check(&strict, "example.com", None);
        check(&strict, "other.test", None);
        check(&strict, "[::1]", None);

        www.default = true;
        check(&routing(sites(www)), "other.test", Some("www"));
    }

    #[test]
    fn peers_are_trusted_by_network() {
        let mut config = fixture::config(vec![]);
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        let routing = fixture::routing(&config, &PurgeHealthView::default());
        assert!(routing.trusts_proxy("10.1.2.3".parse().unwrap()));
        assert!(!routing.trusts_proxy("192.0.2.1".parse().unwrap()));
    }
}
