//! Whom https origins are checked against: the platform's root certificates, read once and only when there is an
//! https origin, since a machine may well have none.

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls_platform_verifier::BuilderVerifierExt;
use std::sync::{Arc, OnceLock};

/// The TLS configuration for origins.
#[derive(Debug, Default)]
pub struct Roots(OnceLock<Arc<ClientConfig>>);

impl Roots {
    /// A given configuration instead of the platform's roots.
    pub fn given(config: Arc<ClientConfig>) -> Self {
        Self(OnceLock::from(config))
    }

    /// The configuration, made on first use.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        if let Some(config) = self.0.get() {
            return Ok(Arc::clone(config));
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::clone(self.0.get_or_init(|| Arc::new(config))))
    }
}
