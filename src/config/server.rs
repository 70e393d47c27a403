//! The `[server]` table, resolved.

use super::limits::Limits;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The `[server]` table.
#[derive(Clone, Debug, Default)]
pub struct Server {
    /// The installation's name in `CDN-Loop`; `None` for the name that the store keeps.
    pub id: Option<String>,
    /// Plain listeners (HTTP/1.1, and HTTP/2 with prior knowledge).
    pub listen: Vec<SocketAddr>,
    /// TLS listeners (ALPN chooses the version).
    pub tls_listen: Vec<SocketAddr>,
    /// Worker threads, at least 1 (0 in the file becomes the number of cores).
    pub workers: usize,
    /// Certificates in file order. The first serves unknown names.
    pub certificates: Vec<Certificate>,
    /// PEM file of the authorities whose client certificates are trusted; `None` if no client certificate is
    /// requested.
    pub client_ca: Option<PathBuf>,
    /// Peers that begin every connection with a PROXY protocol header.
    pub proxy_protocol: Vec<IpNet>,
    /// Peers whose `X-Forwarded-*`, `Forwarded` and `traceparent` are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Limits and timeouts.
    pub limits: Limits,
}

/// One of the `[[server.certificates]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// PEM file of the chain.
    pub cert: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}
