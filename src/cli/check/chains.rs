//! Whether the listeners' certificates have begun, name the sites' hosts, and come with the certificates between
//! them and an authority.

use super::finding::{Finding, Level};
use crate::config::{Config, Places};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use x509_parser::prelude::{GeneralName, ParsedExtension, X509Certificate, parse_x509_certificate};

/// What a file of certificates shows.
#[derive(Clone, Debug, Default)]
struct Chain {
    path: PathBuf,
    /// The host names of the first certificate, in lower case.
    names: Vec<String>,
    /// The second at which the last of them begins.
    begins_s: i64,
    /// Whether the first one is its own issuer.
    self_signed: bool,
    /// Whether the first one may issue others.
    is_authority: bool,
    /// Whether each one is issued by the next one.
    in_order: bool,
    /// Whether it is alone and names the place of its issuer's certificate, as public authorities' certificates do.
    lacks_issuer: bool,
}

/// Looks at the certificates of the TLS listeners.
pub fn check(config: &Config, places: &Places, now_s: i64) -> Vec<Finding> {
    if config.server.tls_listen.is_empty() {
        return Vec::new();
    }
    let chains: Vec<_> = config.server.certificates.iter().filter_map(|file| look(&file.cert)).collect();
    let hosts: Vec<&str> = config.sites.iter().flat_map(|site| &site.hosts).map(String::as_str).collect();
    let mut findings: Vec<_> =
        chains.iter().enumerate().flat_map(|(index, chain)| judge(chain, index, places, now_s)).collect();
    findings.extend(uncovered(&chains, &hosts, places));
    findings
}

fn look(path: &Path) -> Option<Chain> {
    let pem = std::fs::read(path).ok()?;
    let all: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().ok()?;
    let all: Vec<_> = all.iter().filter_map(|one| Some(parse_x509_certificate(one).ok()?.1)).collect();
    let first = all.first()?;
    let self_signed = first.subject() == first.issuer();
    Some(Chain {
        path: path.to_owned(),
        names: names(first),
        begins_s: all.iter().map(|one| one.validity().not_before.timestamp()).max()?,
        self_signed,
        is_authority: first.is_ca(),
        in_order: all.windows(2).all(|pair| pair[0].issuer() == pair[1].subject()),
        lacks_issuer: all.len() == 1 && !self_signed && names_issuer(first),
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

/// Whether the certificate says where its issuer's can be fetched (RFC 5280 §4.2.2.1).
fn names_issuer(certificate: &X509Certificate<'_>) -> bool {
    let is_access =
        |extension: &ParsedExtension<'_>| matches!(extension, ParsedExtension::AuthorityInfoAccess(_));
    certificate.extensions().iter().any(|extension| is_access(extension.parsed_extension()))
}

fn judge(chain: &Chain, index: usize, places: &Places, now_s: i64) -> Vec<Finding> {
    let path = chain.path.display();
    let mut findings = Vec::new();
    let mut add = |level, message: String, advice: &str| {
        let place = places.problem(&format!("server.certificates[{index}].cert"), message);
        findings.push(Finding::new(level, place, Some(advice)));
    };
    if chain.begins_s > now_s {
        let begins =
            jiff::Timestamp::from_second(chain.begins_s).map(|at| at.to_string()).unwrap_or_default();
        add(
            Level::Error,
            format!("the certificate in {path} is not valid before {begins}"),
            "use the certificate that it replaces until then, and check the clock of this machine",
        );
    }
    if !chain.in_order {
        add(
            Level::Warning,
            format!("the certificates in {path} are not in order: each must be issued by the next one"),
            "put the server's own certificate first, then its issuer's, and so on",
        );
    }
    if chain.lacks_issuer {
        add(
            Level::Warning,
            format!("{path} has the server's certificate only: CDNs that verify it need its issuer's, too"),
            "use the full chain (certbot calls it fullchain.pem)",
        );
    }
    if chain.self_signed {
        let kind = if chain.is_authority { "an authority's own" } else { "self-signed" };
        add(
            Level::Note,
            format!("the certificate in {path} is {kind}: a CDN that verifies it needs it as an authority"),
            "give it to the CDN, or use a certificate of an authority that the CDN knows",
        );
    }
    findings
}

/// Reports the hosts that no certificate names.
fn uncovered(chains: &[Chain], hosts: &[&str], places: &Places) -> Option<Finding> {
    let is_named =
        |host: &&&str| chains.iter().flat_map(|chain| &chain.names).any(|name| names_host(name, host));
    let missing: Vec<&str> = hosts.iter().filter(|host| !is_named(host)).copied().collect();
    let (first, more) = (missing.first()?, missing.len() - 1);
    let others = if more == 0 { String::new() } else { format!(", nor {more} more of the sites' hosts") };
    Some(Finding::new(
        Level::Warning,
        places.problem("server.certificates", format!("no certificate names `{first}`{others}")),
        Some("add the names to a certificate, unless the CDN is set to verify another name, which one has"),
    ))
}

/// Whether a name of a certificate covers a host. A wildcard stands for one label (RFC 9525 §6.3).
fn names_host(name: &str, host: &str) -> bool {
    let below =
        |suffix: &str| host.split_once('.').is_some_and(|(label, rest)| label != "*" && rest == suffix);
    name == host || name.strip_prefix("*.").is_some_and(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_certificates() {
        let check = |name, host, expected| assert_eq!(names_host(name, host), expected, "{name} {host}");
        check("www.example.com", "www.example.com", true);
        check("*.example.com", "www.example.com", true);
        check("*.example.com", "*.example.com", true);
        check("*.example.com", "example.com", false);
        check("*.example.com", "a.b.example.com", false);
        check("*.com", "*.com", true);
        check("www.example.com", "*.example.com", false);
    }

    #[test]
    fn what_is_wrong_with_a_chain() {
        let good = Chain { in_order: true, ..Chain::default() };
        let check = |chain: Chain, expected: &[Level]| {
            let found = judge(&chain, 0, &Places::default(), 1_000);
            assert_eq!(found.iter().map(|finding| finding.level).collect::<Vec<_>>(), expected, "{chain:?}");
        };
        check(good.clone(), &[]);
        check(Chain { begins_s: 1_001, ..good.clone() }, &[Level::Error]);
        check(Chain { lacks_issuer: true, ..good.clone() }, &[Level::Warning]);
        check(Chain { self_signed: true, ..good.clone() }, &[Level::Note]);
        check(Chain { in_order: false, ..good }, &[Level::Warning]);
    }
}
