//! Which site a request belongs to, compiled from the configuration: one immutable [`Routing`] that a reload
//! swaps as a whole, so that a request sees one configuration from its start to its end.

use super::access::AccessLog;
use super::edge::Edges;
use super::error::ProxyError;
use super::host;
use super::own_name::OwnName;
use crate::base::digest;
use crate::config::{Claims, Config, Limits, Mode, Trust};
use crate::guard::PurgedSite;
use crate::metrics::Metrics;
use crate::metrics::shard::SiteMetrics;
use crate::rewrite::Policy;
use crate::upstream::{Origin, Roots, SetupError, Upstreams};
use crate::view::PurgeHealthView;
use http::HeaderValue;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// Everything that the request path reads of the configuration.
#[derive(Debug)]
pub struct Routing {
    /// Limits and timeouts.
    pub limits: Limits,
    /// Which requests are logged.
    pub access: AccessLog,
    trusted_proxies: Vec<IpNet>,
    proxy_protocol: Vec<IpNet>,
    sites: Vec<Site>,
    claims: Claims,
    /// By which name requests that come back are known again.
    pub own_name: OwnName,
    /// Counts the requests that belong to no site.
    pub no_site: Arc<SiteMetrics>,
}

/// One site.
#[derive(Debug)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// Whether responses are rewritten.
    pub mode: Mode,
    /// Whose opt-in is believed.
    pub trust: SiteTrust,
    /// Protocols that a connection may be switched to, lower case.
    pub upgrades: Vec<String>,
    /// Its CDNs.
    pub edges: Edges,
    /// How responses are rewritten.
    pub policy: Policy,
    /// What was purged of it.
    pub purged: Arc<PurgedSite>,
    /// Its limits, where they are not the general ones.
    limits: Option<Box<Limits>>,
    /// Those of each of its rules, likewise; none where no rule has any.
    rule_limits: Box<[Option<Box<Limits>>]>,
    /// For how long after a response's end its last bytes are on the way, in milliseconds.
    pub follow_up_margin_ms: i64,
    /// Its origins, tried in turn.
    pub origins: Vec<Origin>,
    /// Its counters.
    pub metrics: Arc<SiteMetrics>,
}

/// Whose opt-in is believed.
#[derive(Debug)]
pub enum SiteTrust {
    /// Every peer's.
    Any,
    /// That of peers who send this secret. Its digest, so that comparing tells nothing, not even a length.
    Secret([u8; 32]),
    /// That of peers whose certificate was verified.
    ClientCertificate,
    /// That of peers in these networks.
    Addresses(Vec<IpNet>),
}

impl Routing {
    /// Compiles `config`, resolving each CDN's health, each site's counters and each origin's number.
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

    /// The number of the site that a request for this `Host` belongs to.
    pub(super) fn site_of(&self, host: &HeaderValue) -> Result<usize, ProxyError> {
        let text = host.to_str().ok();
        // What a site is known by is a legal host in its normal form.
        if let Some(site) = text.and_then(|host| self.claims.exact(host)) {
            return Ok(site);
        }
        let host =
            text.and_then(host::of_authority).ok_or(ProxyError::BadRequest("the Host is not legal"))?;
        self.find(&host).ok_or_else(|| ProxyError::UnknownHost(host.into_owned()))
    }

    /// The number of the site of a (lower-case) host: exact, then the longest wildcard, then the default site.
    pub fn find(&self, host: &str) -> Option<usize> {
        self.claims.server(host)
    }

    /// Every site.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// Every origin, with the name of its site.
    pub fn origins(&self) -> impl Iterator<Item = (&str, &Origin)> + Clone {
        self.sites.iter().flat_map(|site| site.origins.iter().map(|origin| (site.name.as_str(), origin)))
    }

    /// The site of a number that [`Routing::find`] gave.
    pub fn site(&self, number: usize) -> &Site {
        &self.sites[number]
    }

    /// Whether connections from this peer begin with a PROXY protocol header.
    pub fn begins_with_proxy_header(&self, peer: IpAddr) -> bool {
        self.proxy_protocol.iter().any(|net| net.contains(&peer))
    }

    /// Whether the forwarding headers of this peer are believed.
    pub fn trusts_proxy(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

impl Site {
    /// The limits of a request for `path`: those of the first rule that matches, else the site's, else the general ones.
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
            purged: health.freshness.site(&site.name),
            rule_limits: rule_limits(site, limits.as_deref().unwrap_or(general)),
            limits,
            follow_up_margin_ms: i64::try_from(site.follow_up_margin.as_millis()).unwrap_or(i64::MAX),
            origins,
            metrics: metrics.site(&site.name),
        })
    }
}

/// The limits of each rule; none at all where no rule has its own, so that no request looks for its rule.
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
