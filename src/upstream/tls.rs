//! The TLS setup for https origins: the roots that verify their certificates, and our own certificate. The
//! platform's roots are read one time and only when they are needed, because a machine may have none.

use crate::config::OriginTls;
use crate::http::tls::{self, TlsError};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::{Arc, OnceLock};

/// The names of the versions of HTTP in ALPN (RFC 7301).
const ALPN_HTTP1: &[u8] = b"http/1.1";
pub(super) const ALPN_HTTP2: &[u8] = b"h2";

/// Returns the same configuration, with HTTP/2 offered first.
pub fn with_http2(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    Arc::new(config)
}

/// The TLS configurations for origins.
#[derive(Debug, Default)]
pub struct Roots {
    given: Option<Arc<ClientConfig>>,
    platform: OnceLock<Arc<ClientConfig>>,
}

impl Roots {
    /// Uses the given configuration for all origins.
    pub fn given(config: Arc<ClientConfig>) -> Self {
        Self { given: Some(config), platform: OnceLock::new() }
    }

    /// Returns the configuration for a site's origins.
    pub fn client_config(&self, settings: &OriginTls) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = &self.given {
            return Ok(Arc::clone(config));
        }
        if settings.ca.is_some() || settings.certificate.is_some() {
            return made(settings).map(Arc::new);
        }
        if let Some(config) = self.platform.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(made(settings)?);
        Ok(Arc::clone(self.platform.get_or_init(|| config)))
    }
}

fn made(settings: &OriginTls) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?;
    let builder = match &settings.ca {
        None => builder.with_platform_verifier().map_err(TlsError::Config)?,
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in tls::chain(path)? {
                roots.add(authority).map_err(|source| TlsError::Authority { path: path.clone(), source })?;
            }
            builder.with_root_certificates(roots)
        }
    };
    let mut config = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some(files) => builder
            .with_client_auth_cert(tls::chain(&files.cert)?, tls::key(&files.key)?)
            .map_err(|source| TlsError::key(&files.cert, &files.key, source))?,
    };
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(config)
}
