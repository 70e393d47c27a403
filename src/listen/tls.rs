//! TLS towards clients: selects certificates by name and verifies client certificates. The last valid ones are
//! used until new ones are loaded.

use crate::config::{Certificate, Server};
use crate::http::tls::{TlsError, chain, key, provider};
use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The current TLS configuration of new connections. Each connection keeps the one with which it began.
#[derive(Debug)]
pub struct Tls(ArcSwap<ServerConfig>);

impl Tls {
    /// Wraps the configuration for new connections.
    pub(super) fn new(loaded: Arc<ServerConfig>) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from(loaded)))
    }

    /// Returns the configuration for a connection that begins now.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }

    /// Replaces the configuration for new connections; open ones are not affected.
    pub(super) fn replace(&self, loaded: Arc<ServerConfig>) {
        self.0.store(loaded);
    }
}

/// Builds a configuration with TLS 1.2 and 1.3, and HTTP/2 and HTTP/1.1 by ALPN. Either every file is loaded or
/// none: one invalid file is an error that names the file.
pub(super) fn server_config(server: &Server) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Config)?
        .with_client_cert_verifier(verifier(server.client_ca.as_ref())?)
        .with_cert_resolver(Arc::new(Certificates::load(&server.certificates)?));
    // All ciphers offered here are secure. Ours are ordered by strength, and auditors require the server's order.
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Stateless resumption lets a CDN reconnect to any worker, and nothing is kept per client. Every load creates
    // new keys, so a session that an authority vouched for does not outlive the removal of that authority.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Config)?;
    Ok(Arc::new(config))
}

/// Builds the verifier of client certificates. Clients need no certificate, but without one they are not trusted
/// to opt in. A client whose certificate cannot be verified is refused.
fn verifier(client_ca: Option<&PathBuf>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(path) = client_ca else { return Ok(Arc::new(NoClientAuth)) };
    let mut roots = RootCertStore::empty();
    for authority in chain(path)? {
        roots.add(authority).map_err(|source| TlsError::Authority { path: path.clone(), source })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .allow_unauthenticated()
        .build()
        .map(|verifier| verifier as Arc<dyn ClientCertVerifier>)
        .map_err(|source| TlsError::ClientCa { path: path.clone(), source })
}

/// Certificates that were loaded and validated.
#[derive(Debug)]
struct Certificates {
    first: Arc<CertifiedKey>,
    /// Keys by exact name, or by `*.parent`; several if a name has keys of several kinds.
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &CertifiedKey| key.key.choose_scheme(hello.signature_schemes()).is_some();
        Some(self.pick(hello.server_name(), fits))
    }
}

impl Certificates {
    fn load(certificates: &[Certificate]) -> Result<Self, TlsError> {
        let mut first = None;
        let mut by_name: HashMap<String, Vec<_>> = HashMap::new();
        for certificate in certificates {
            let (key, names) = certified(certificate)?;
            for name in names {
                by_name.entry(name).or_default().push(Arc::clone(&key));
            }
            first.get_or_insert(key);
        }
        Ok(Self { first: first.ok_or(TlsError::None)?, by_name })
    }

    /// Returns the certificate for a name: exact, then wildcard (one label, RFC 6125 §6.4.3), else the first one.
    /// Of several, the first that the client can verify is used.
    fn pick(&self, name: Option<&str>, fits: impl Fn(&CertifiedKey) -> bool) -> Arc<CertifiedKey> {
        let of_name = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            self.by_name.get(&name).or_else(|| {
                let (_, parent) = name.split_once('.')?;
                self.by_name.get(&format!("*.{parent}"))
            })
        });
        let keys = of_name.map_or([].as_slice(), Vec::as_slice);
        let key = keys.iter().find(|key| fits(key)).or(keys.first()).unwrap_or(&self.first);
        Arc::clone(key)
    }
}

/// Loads a certificate with its key, and returns the names that it is valid for.
fn certified(files: &Certificate) -> Result<(Arc<CertifiedKey>, Vec<String>), TlsError> {
    let chain = chain(&files.cert)?;
    let names = {
        let leaf = webpki::EndEntityCert::try_from(&chain[0])
            .map_err(|source| TlsError::Certificate { path: files.cert.clone(), source })?;
        leaf.valid_dns_names().map(str::to_ascii_lowercase).collect()
    };
    let key = CertifiedKey::from_der(chain, key(&files.key)?, &provider())
        .map_err(|source| TlsError::key(&files.cert, &files.key, source))?;
    Ok((Arc::new(key), names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use std::path::Path;

    /// Writes a fresh self-signed certificate for `names`.
    fn certificate(directory: &Path, file: &str, names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let (cert, key) = (directory.join(format!("{file}.pem")), directory.join(format!("{file}.key")));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Certificate { cert, key }
    }

    #[test]
    fn certificates_are_picked_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let files = [
            certificate(directory.path(), "first", &["first.test"]),
            certificate(directory.path(), "www", &["www.a.test", "*.b.test"]),
            certificate(directory.path(), "again", &["www.a.test", "x.b.test"]),
        ];
        let loaded = Certificates::load(&files).unwrap();
        let of = |index: usize| std::fs::read(&files[index].cert).unwrap();
        let check = |name: Option<&str>, index: usize| {
            let picked = loaded.pick(name, |_| true);
            let expected = CertificateDer::from_pem_slice(&of(index)).unwrap();
            assert_eq!(picked.cert[0], expected, "{name:?}");
        };
        check(None, 0);
        check(Some("unknown.test"), 0);
        check(Some("first.test"), 0);
        check(Some("www.a.test"), 1);
        check(Some("WWW.A.test"), 1);
        check(Some("y.b.test"), 1);
        check(Some("x.b.test"), 2);
        check(Some("z.y.b.test"), 0);
        check(Some("b.test"), 0);
    }

    #[test]
    fn of_several_keys_the_first_that_the_client_can_verify() {
        let directory = tempfile::tempdir().unwrap();
        let files = [
            certificate(directory.path(), "one", &["a.test"]),
            certificate(directory.path(), "two", &["a.test"]),
        ];
        let loaded = Certificates::load(&files).unwrap();
        let second = Arc::clone(&loaded.by_name["a.test"][1]);
        let picked = loaded.pick(Some("a.test"), |key| key.cert == second.cert);
        assert!(Arc::ptr_eq(&picked, &second));
        let none_fits = loaded.pick(Some("a.test"), |_| false);
        assert!(Arc::ptr_eq(&none_fits, &loaded.first));
    }

    #[test]
    fn bad_files_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let good = certificate(directory.path(), "good", &["a.test"]);
        let other = certificate(directory.path(), "other", &["b.test"]);
        let empty = directory.path().join("empty.pem");
        std::fs::write(&empty, "nothing").unwrap();

        let check = |cert: &Path, key: &Path, message: &str| {
            let files = [good.clone(), Certificate { cert: cert.into(), key: key.into() }];
            let refused = Certificates::load(&files).unwrap_err().to_string();
            assert!(refused.contains(message), "{refused}");
        };
        check(Path::new("/nonexistent.pem"), &good.key, "cannot read /nonexistent.pem");
        check(&empty, &good.key, "there is no certificate in ");
        check(&good.cert, &empty, "cannot read ");
        check(&good.cert, &other.key, "does not serve the certificate in ");
        assert!(matches!(Certificates::load(&[]), Err(TlsError::None)));
    }
}
