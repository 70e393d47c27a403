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

/// The destination of a site's requests.
#[derive(Debug)]
pub struct Origin {
    /// The state of the origin that all workers share.
    pub upstream: Arc<Upstream>,
    /// The version of HTTP that the origin is used with.
    pub protocol: OriginProtocol,
    /// The TLS setup of an https origin.
    pub tls: Option<OriginTls>,
    /// The `Host` that the origin receives, or `None` for that of the request.
    pub host_header: Option<FieldLine>,
    /// The active health check, if there is one.
    pub check: Option<OriginCheck>,
}

/// The TLS setup of an https origin.
#[derive(Clone, Debug)]
pub struct OriginTls {
    /// The configuration with roots, versions, and ALPN for HTTP/1.1.
    http1: Arc<ClientConfig>,
    /// The same configuration that also offers HTTP/2.
    http2: Option<Arc<ClientConfig>>,
    /// The name that the origin's certificate must be valid for.
    pub name: ServerName<'static>,
}

/// The reasons why an origin cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The host of an https origin cannot be the name in a certificate.
    #[error("site {site}: the origin host {host:?} is not a DNS name or address")]
    Name {
        /// The site.
        site: String,
        /// The host.
        host: String,
        /// The reason why the name is invalid.
        #[source]
        source: InvalidDnsNameError,
    },
    /// The TLS settings of an https origin cannot be used.
    #[error("site {site}: TLS towards its origins cannot be set up")]
    Tls {
        /// The site.
        site: String,
        /// The cause.
        #[source]
        source: Box<TlsError>,
    },
    /// The `Host` for the origin is not valid in a header field.
    #[error("site {site}: the origin's Host {host:?} is not legal in a header")]
    Host {
        /// The site.
        site: String,
        /// The host.
        host: String,
        /// The reason why the value is invalid.
        #[source]
        source: http::header::InvalidHeaderValue,
    },
}

impl Origin {
    /// Compiles one origin of `site`.
    ///
    /// # Errors
    /// Returns an error if the origin's name, its `Host` or its TLS settings cannot be used.
    pub fn compile(
        site: &Site,
        url: &OriginUrl,
        roots: &Roots,
        upstreams: &Upstreams,
    ) -> Result<Self, SetupError> {
        let line = |host: &str| match HeaderValue::from_str(host) {
            Ok(value) => Ok(FieldLine::new(&header::HOST, &value)),
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
                Some(line) => line.value().to_str().map(str::to_owned),
                // Any host that the site serves is suitable.
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

/// Returns all other settings that distinguish origins. A limit of concurrent requests applies per site, so it
/// includes the site.
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

    /// Returns the configuration for connections that offer this version. The origin may choose another one.
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
        assert_eq!(
            refused.to_string(),
            "site www: the origin host \"not a name\" is not a DNS name or address"
        );
    }
}
