//! Certificates and keys in files, as both sides of the proxy read them.

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::VerifierBuilderError;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There are TLS listeners but no certificate.
    #[error("there is no certificate for the TLS listeners")]
    None,
    /// A file cannot be read or is not PEM.
    #[error("cannot read {path}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: pem::Error,
    },
    /// The certificate file contains no certificate.
    #[error("there is no certificate in {path}")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The certificate cannot be parsed.
    #[error("the first certificate in {path} cannot be parsed")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: webpki::Error,
    },
    /// The key is of an unknown kind or does not match the certificate.
    #[error("the key in {key} does not serve the certificate in {cert}")]
    Key {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// The authorities for client certificates cannot be used.
    #[error("the authorities in {path} cannot be used")]
    ClientCa {
        /// The authorities' file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: VerifierBuilderError,
    },
    /// One of the authorities cannot be used.
    #[error("an authority in {path} cannot be used")]
    Authority {
        /// The authorities' file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// The TLS configuration is rejected.
    #[error("TLS cannot be set up")]
    Config(#[source] rustls::Error),
}

impl TlsError {
    /// Creates the error for a key that does not match its certificate.
    pub(crate) fn key(cert: &Path, key: &Path, source: rustls::Error) -> Self {
        Self::Key { cert: cert.to_owned(), key: key.to_owned(), source }
    }
}

/// Reads the private key in a file.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::Pem { path: path.to_owned(), source })
}

/// Reads the certificates in a file; at least one.
pub(crate) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if chain.is_empty() { Err(TlsError::Empty { path: path.to_owned() }) } else { Ok(chain) }
}

/// Returns the cryptography provider of every TLS connection, of either side.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
