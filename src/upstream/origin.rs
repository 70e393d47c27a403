//! An origin of a site, compiled from the configuration.

use super::address::{Identity, Upstream, Upstreams};
use super::tls::{self, Roots};
use crate::base::digest;
use crate::config::{OriginCheck, OriginHost, OriginProtocol, OriginSettings, OriginUrl, Site};
use crate::http::head::FieldLine;
use crate::http::tls::TlsError;
use http::{HeaderValue, header};
use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use std::path::PathBuf;
use std::sync::Arc;

/// Where a site's requests go.
#[derive(Debug)]
pub struct Origin {
    /// What all workers know of it.
    pub upstream: Arc<Upstream>,
    /// The version of HTTP that it is talked to in.
    pub protocol: OriginProtocol,
    /// How TLS is set up, for an https origin.
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

/// Why an origin cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// An https origin's host is no name that a certificate could be for.
    #[error("site {site}: the origin host {host:?} is no DNS name or address")]
    Name {
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
    Tls {
        /// Which site.
        site: String,
        /// Why not.
        #[source]
        source: Box<TlsError>,
    },
    /// The `Host` that the origin should see is not legal in a header.
    #[error("site {site}: the origin's Host {host:?} is not legal in a header")]
    Host {
        /// Which site.
        site: String,
        /// Which host.
        host: String,
        /// What is wrong with it.
        #[source]
        source: http::header::InvalidHeaderValue,
    },
}

impl Origin {
    /// Compiles one origin of `site`.
    ///
    /// # Errors
    /// If its name, its `Host` or its TLS settings cannot be used.
    pub fn compile(
        site: &Site,
        url: &OriginUrl,
        roots: &Roots,
        upstreams: &Upstreams,
    ) -> Result<Self, SetupError> {
        let line = |host: &str| match HeaderValue::from_str(host) {
            Ok(value) => Ok(FieldLine::new(header::HOST, value).kept()),
            Err(source) => Err(SetupError::Host { site: site.name.clone(), host: host.to_owned(), source }),
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
fn identity(site: &Site, url: &OriginUrl, check: Option<&OriginCheck>) -> String {
    let OriginSettings { protocol, connections, tls, .. } = &site.origin;
    let read = |path: &PathBuf| std::fs::read(path).map(|bytes| digest(&bytes)).ok();
    let files = tls.ca.iter().chain(tls.certificate.iter().flat_map(|files| [&files.cert, &files.key]));
    let tls = url.tls.then(|| (tls, files.map(read).collect::<Vec<_>>()));
    let limit = (*connections > 0).then_some((connections, &site.name));
    format!("{}:{} {protocol:?} {tls:?} {limit:?} {check:?}", url.host, url.port)
}

impl OriginTls {
    fn compile(site: &Site, url: &OriginUrl, roots: &Roots) -> Result<Self, SetupError> {
        let host = site.origin.tls.server_name.as_ref().unwrap_or(&url.host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(|source| SetupError::Name {
            site: site.name.clone(),
            host: host.to_owned(),
            source,
        })?;
        let config = roots
            .client_config(&site.origin.tls)
            .map_err(|source| SetupError::Tls { site: site.name.clone(), source: Box::new(source) })?;
        let http2 = (site.origin.protocol == OriginProtocol::Http2).then(|| tls::with_http2(&config));
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
    use crate::config::testing;

    fn compile(site: &Site) -> Result<Origin, SetupError> {
        Origin::compile(site, &site.origins[0], &Roots::default(), &Upstreams::default())
    }

    #[test]
    fn the_origin_sees_the_configured_host() {
        let check = |origin_host: OriginHost, header: Option<&str>| {
            let mut site = testing::site("www");
            site.origin_host = origin_host;
            let origin = compile(&site).unwrap();
            assert_eq!(origin.host_header.as_ref().map(|line| line.value().to_str().unwrap()), header);
        };
        check(OriginHost::Origin, Some("origin.test:8081"));
        check(OriginHost::Preserve, None);
        check(OriginHost::Literal("inner.test".into()), Some("inner.test"));
    }

    #[test]
    fn an_origin_that_no_certificate_could_be_for_is_refused() {
        let mut site = testing::site("www");
        site.origins[0].tls = true;
        site.origins[0].host = "not a name".into();
        let refused = compile(&site).unwrap_err();
        assert_eq!(refused.to_string(), "site www: the origin host \"not a name\" is no DNS name or address");
    }
}
