//! Which site a request belongs to, compiled from the configuration: one immutable [`Routing`] that a reload
//! swaps as a whole, so that a request sees one configuration from its start to its end.

use super::access::AccessLog;
use super::edge::Edges;
use super::error::ProxyError;
use super::host;
use super::own_name::OwnName;
use super::roots::{self, Roots};
use super::upstream::{Identity, Upstream, Upstreams};
use crate::config::{
    Claims, Config, Limits, Mode, OriginCheck, OriginHost, OriginProtocol, OriginSettings, OriginUrl, Trust,
};
use crate::guard::PurgedSite;
use crate::http::head::FieldLine;
use crate::listen::tls::TlsError;
use crate::metrics::Metrics;
use crate::metrics::shard::SiteMetrics;
use crate::rewrite::Policy;
use crate::view::PurgeHealthView;
use http::{HeaderValue, header};
use ipnet::IpNet;
use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use std::net::IpAddr;
use std::path::PathBuf;
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

/// Where a site's requests go.
#[derive(Debug)]
pub struct Origin {
    /// What all workers know of it.
    pub upstream: Arc<Upstream>,
    /// The version of HTTP that it is talked to in.
    pub protocol: OriginProtocol,
    /// For https.
    pub tls: Option<OriginTls>,
    /// The `Host` that the origin sees; none: that of the request.
    pub host_header: Option<FieldLine>,
    /// How it is found out whether it is well.
    pub check: Option<OriginCheck>,
}

/// How an https origin is talked to.
#[derive(Clone, Debug)]
pub struct OriginTls {
    /// Roots, versions; ALPN for HTTP/1.1.
    http1: Arc<ClientConfig>,
    /// The same, with HTTP/2 on offer.
    http2: Option<Arc<ClientConfig>>,
    /// The name that its certificate must be for.
    pub name: ServerName<'static>,
}

/// A configuration that cannot be routed.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// An https origin's host is no name that a certificate could be for.
    #[error("site {site}: the origin host {host:?} is no DNS name or address")]
    OriginName {
        /// Which site.
        site: String,
        /// Which host.
        host: String,
        /// What is wrong with it.
        #[source]
        source: InvalidDnsNameError,
    },
    /// There is an https origin, but no way to talk to it.
    #[error("site {site}: TLS towards its origins cannot be set up")]
    OriginTls {
        /// Which site.
        site: String,
        /// Why not.
        #[source]
        source: Box<TlsError>,
    },
    /// The `Host` that the origin should see is not legal in a header.
    #[error("site {site}: the origin's Host {host:?} is not legal in a header")]
    OriginHost {
        /// Which site.
        site: String,
        /// Which host.
        host: String,
        /// What is wrong with it.
        #[source]
        source: http::header::InvalidHeaderValue,
    },
}

/// The number of the site that a request for `host` belongs to.
pub(super) fn of(routing: &Routing, host: &HeaderValue) -> Result<usize, ProxyError> {
    let text = host.to_str().ok();
    // What a site is known by is a legal host in its normal form.
    if let Some(site) = text.and_then(|host| routing.claims.exact(host)) {
        return Ok(site);
    }
    let host = text.and_then(host::of_authority).ok_or(ProxyError::BadRequest("the Host is not legal"))?;
    routing.find(&host).ok_or_else(|| ProxyError::UnknownHost(host.into_owned()))
}

impl Routing {
    /// Compiles `config`, resolving each CDN's health, each site's counters and each origin's number.
    pub fn compile(
        config: &Config,
        metrics: &Metrics,
        health: &PurgeHealthView,
        roots: &Roots,
        upstreams: &Upstreams,
    ) -> Result<Self, RoutingError> {
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

    /// The number of the site of a (lower-case) host: exact, then the longest wildcard, then the default site.
    pub fn find(&self, host: &str) -> Option<usize> {
        self.claims.server(host)
    }

    /// Every site.
    pub fn sites(&self) -> &[Site] {
        &self.sites
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
    ) -> Result<Self, RoutingError> {
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
            Trust::Secret(secret) => Self::Secret(super::opt_in::digest(secret.expose().as_bytes())),
            Trust::ClientCertificate => Self::ClientCertificate,
            Trust::Addresses(nets) => Self::Addresses(nets.clone()),
        }
    }
}

impl Origin {
    fn compile(
        site: &crate::config::Site,
        url: &OriginUrl,
        roots: &Roots,
        upstreams: &Upstreams,
    ) -> Result<Self, RoutingError> {
        let line = |host: &str| match HeaderValue::from_str(host) {
            Ok(value) => Ok(FieldLine::new(header::HOST, value).kept()),
            Err(source) => {
                Err(RoutingError::OriginHost { site: site.name.clone(), host: host.to_owned(), source })
            }
        };
        let host_header = match &site.origin_host {
            OriginHost::Origin => Some(line(&url.authority)?),
            OriginHost::Literal(host) => Some(line(host)?),
            OriginHost::Preserve => None,
        };
        let settings = &site.origin;
        let check = settings.check.clone().map(|check| OriginCheck {
            host: check.host.or_else(|| match &host_header {
                Some(line) => line.value().to_str().ok().map(str::to_owned),
                // Any host will do that the site serves.
                None => {
                    let host = site.hosts.first().map(|host| host.replace('*', "www"));
                    Some(host.unwrap_or_else(|| url.authority.clone()))
                }
            }),
            ..check
        });
        let tls = url.tls.then(|| OriginTls::compile(site, url, roots)).transpose()?;
        let scheme = if url.tls { "https" } else { "http" };
        let identity = Identity {
            url: format!("{scheme}://{}", url.authority),
            host: url.host.clone(),
            port: url.port,
            settings: identity(site, url, check.as_ref()),
            connections: settings.connections,
        };
        Ok(Self { upstream: upstreams.of(identity), protocol: settings.protocol, tls, host_header, check })
    }
}

/// Whatever else makes an origin another one. A limit of requests is that of its site.
fn identity(site: &crate::config::Site, url: &OriginUrl, check: Option<&OriginCheck>) -> String {
    let OriginSettings { protocol, connections, tls, .. } = &site.origin;
    let read = |path: &PathBuf| std::fs::read(path).map(|bytes| super::opt_in::digest(&bytes)).ok();
    let files = tls.ca.iter().chain(tls.certificate.iter().flat_map(|files| [&files.cert, &files.key]));
    let tls = url.tls.then(|| (tls, files.map(read).collect::<Vec<_>>()));
    let limit = (*connections > 0).then_some((connections, &site.name));
    format!("{}:{} {protocol:?} {tls:?} {limit:?} {check:?}", url.host, url.port)
}

impl OriginTls {
    fn compile(site: &crate::config::Site, url: &OriginUrl, roots: &Roots) -> Result<Self, RoutingError> {
        let host = site.origin.tls.server_name.as_ref().unwrap_or(&url.host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(|source| RoutingError::OriginName {
            site: site.name.clone(),
            host: host.to_owned(),
            source,
        })?;
        let config = roots.client_config(&site.origin.tls).map_err(|source| RoutingError::OriginTls {
            site: site.name.clone(),
            source: Box::new(source),
        })?;
        let http2 = (site.origin.protocol == OriginProtocol::Http2).then(|| roots::with_http2(&config));
        Ok(Self { http1: config, http2, name })
    }

    /// For connections of this version, or what the origin chooses instead.
    pub(super) fn config(&self, protocol: OriginProtocol) -> &Arc<ClientConfig> {
        match protocol {
            OriginProtocol::Http1 => &self.http1,
            OriginProtocol::Http2 => self.http2.as_ref().unwrap_or(&self.http1),
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
    fn the_origin_sees_the_configured_host() {
        let check = |origin_host: OriginHost, header: Option<&str>| {
            let mut site = fixture::site("www", &["www.example.com"]);
            site.origin_host = origin_host;
            let routing = routing(vec![site]);
            let origin = &routing.site(routing.find("www.example.com").unwrap()).origins[0];
            assert_eq!(origin.host_header.as_ref().map(|line| line.value().to_str().unwrap()), header);
        };
        check(OriginHost::Origin, Some("origin.test:8081"));
        check(OriginHost::Preserve, None);
        check(OriginHost::Literal("inner.test".into()), Some("inner.test"));
    }

    #[test]
    fn an_origin_that_no_certificate_could_be_for_is_refused() {
        let mut site = fixture::site("www", &["www.example.com"]);
        site.origins[0].tls = true;
        site.origins[0].host = "not a name".into();
        let config = fixture::config(vec![site]);
        let refused = Routing::compile(
            &config,
            &Metrics::new(1),
            &PurgeHealthView::default(),
            &Roots::default(),
            &Upstreams::default(),
        )
        .unwrap_err();
        assert_eq!(refused.to_string(), "site www: the origin host \"not a name\" is no DNS name or address");
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
