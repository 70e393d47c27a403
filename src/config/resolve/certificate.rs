//! Files of certificates and keys: what a TLS handshake would fail on is reported with what to do about it.

use crate::config::Certificate;
use crate::config::at::At;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};

/// The first byte of everything in DER that is a certificate or a key (X.690 §8.9: a sequence).
const DER: u8 = 0x30;

/// Reports what a TLS listener would detect when it starts: unreadable files, and a key of another certificate.
pub(super) fn check(certificate: &Certificate, at: &At<'_>) {
    let chain = at.key("cert").ok(chain(&certificate.cert));
    if let Some(chain) = &chain {
        at.key("cert").certificates(&certificate.cert, chain);
    }
    let key = at.key("key").ok(key(&certificate.key));
    if let (Some(chain), Some(key)) = (chain, key) {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let (path, cert) = (certificate.key.display(), certificate.cert.display());
        match CertifiedKey::from_der(chain, key, &provider) {
            Ok(_) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                at.key("key").error(format!("the key in {path} does not belong to the certificate in {cert}"))
            }
            Err(_) => at.key("key").error(format!(
                "the key in {path} cannot be used with {cert}: it must be RSA, ECDSA or Ed25519, and the certificate valid X.509"
            )),
        }
    }
}

/// Resolves the path of a file of authorities, and reports an unreadable one.
pub(super) fn authorities(path: &str, at: &At<'_>) -> Option<PathBuf> {
    let path = at.path(path);
    let authorities = at.ok(chain(&path))?;
    at.certificates(&path, &authorities);
    Some(path)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let cannot = |why: &str| format!("cannot read certificates from {shown}: {why}");
    let pem = std::fs::read(path).map_err(|error| cannot(&error.to_string()))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| cannot("damaged PEM text"))?;
    if !chain.is_empty() {
        return Ok(chain);
    }
    Err(cannot(&match () {
        () if has(&pem, "PRIVATE KEY-----") => {
            "it holds a private key and no certificate; are `cert` and `key` swapped?".to_owned()
        }
        () if pem.first() == Some(&DER) => {
            format!("it is in DER form; convert it: openssl x509 -inform der -in {shown} -out cert.pem")
        }
        () => "no PEM section CERTIFICATE".to_owned(),
    }))
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let shown = path.display();
    let cannot = |why: &str| format!("cannot read a key from {shown}: {why}");
    let pem = std::fs::read(path).map_err(|error| cannot(&error.to_string()))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        cannot(&match () {
            () if has(&pem, "ENCRYPTED") => {
                format!("it is encrypted; decrypt it: openssl pkey -in {shown} -out key.pem")
            }
            () if has(&pem, "PRIVATE KEY-----") => "damaged PEM text".to_owned(),
            () if has(&pem, "CERTIFICATE-----") => {
                "it holds a certificate and no private key; are `cert` and `key` swapped?".to_owned()
            }
            () if pem.first() == Some(&DER) => {
                format!("it is in DER form; convert it: openssl pkey -inform der -in {shown} -out key.pem")
            }
            () => "no PEM section PRIVATE KEY".to_owned(),
        })
    })
}

fn has(pem: &[u8], text: &str) -> bool {
    pem.windows(text.len()).any(|window| window == text.as_bytes())
}
