//! Origins that lead back to the shim.

use super::finding::{Finding, Level};
use crate::config::{Config, OriginUrl, Places};
use std::net::{IpAddr, SocketAddr};

/// Looks for origins that are the shim itself, or a name that the CDN serves. No name is resolved.
pub fn check(config: &Config, places: &Places) -> Vec<Finding> {
    // Only an address of this machine can be bound.
    judge(config, places, &|address| std::net::UdpSocket::bind((address, 0)).is_ok())
}

fn judge(config: &Config, places: &Places, is_local: &dyn Fn(IpAddr) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let listeners = config.server.listen.iter().chain(&config.server.tls_listen);
    let listeners: Vec<_> =
        listeners.map(|listener| (listener, "proxy")).chain([(&config.admin.listen, "admin API")]).collect();
    for (number, site) in config.sites.iter().enumerate() {
        for (index, origin) in site.origins.iter().enumerate() {
            let key = format!("sites[{number}].origin[{index}]");
            let own = listeners.iter().find(|(listener, _)| leads_to(origin, **listener, is_local));
            let public =
                || config.sites.iter().find(|site| site.hosts.iter().any(|host| is_public(origin, host)));
            let (level, message, advice) = if let Some((listener, what)) = own {
                (
                    Level::Error,
                    format!("the origin is this shim itself: its {what} listens on {listener}"),
                    "name the server that makes the pages",
                )
            } else if let Some(other) = public() {
                (
                    Level::Warning,
                    format!(
                        "`{}` is a host of site `{}`: if it leads to the CDN, requests come back to the shim (508 Loop Detected)",
                        origin.host, other.name
                    ),
                    "name the origin by an address or a name of its own",
                )
            } else {
                continue;
            };
            findings.push(Finding::new(level, places.problem(&key, message), Some(advice)));
        }
    }
    findings
}

/// Whether a connection to the origin arrives at the listener.
fn leads_to(origin: &OriginUrl, listener: SocketAddr, is_local: &dyn Fn(IpAddr) -> bool) -> bool {
    let loopback = |address: IpAddr| if listener.is_ipv6() { address.is_ipv6() } else { address.is_ipv4() };
    let same = |address: IpAddr| {
        address == listener.ip() || (listener.ip().is_unspecified() && loopback(address) && is_local(address))
    };
    let reaches = match origin.host.parse::<IpAddr>() {
        Ok(address) => same(address),
        Err(_) => {
            origin.host == "localhost" && (listener.ip().is_loopback() || listener.ip().is_unspecified())
        }
    };
    origin.port == listener.port() && reaches
}

/// Whether the origin has the name of a host, on the port that visitors use.
fn is_public(origin: &OriginUrl, host: &str) -> bool {
    let same = match host.strip_prefix('*') {
        Some(suffix) => origin.host.len() > suffix.len() && origin.host.ends_with(suffix),
        None => origin.host == host,
    };
    same && matches!(origin.port, 80 | 443)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use std::path::Path;

    #[test]
    fn what_leads_back() {
        let found = |listen: &str, origin: &str| {
            let text = format!(
                "[server]\nlisten = [\"{listen}\"]\n[[sites]]\nname = \"www\"\nhosts = [\"www.example.com\", \"*.example.org\"]\norigin = \"{origin}\"\n"
            );
            let loaded = config::parse(&text, Path::new("shim.toml"), &|_| None).unwrap();
            let is_local = |address: IpAddr| address.is_loopback() || address.to_string() == "192.0.2.1";
            judge(&loaded.config, &loaded.places, &is_local).first().map(|finding| finding.level)
        };
        let (any, lo) = ("0.0.0.0:8080", "127.0.0.1:8080");
        assert_eq!(found(lo, "http://127.0.0.1:8080"), Some(Level::Error));
        assert_eq!(found(lo, "http://localhost:8080"), Some(Level::Error));
        assert_eq!(found(any, "http://127.0.0.1:8080"), Some(Level::Error));
        assert_eq!(found(any, "http://192.0.2.1:8080"), Some(Level::Error));
        assert_eq!(found(any, "http://127.0.0.1:9180"), Some(Level::Error), "the admin API");
        assert_eq!(found(any, "http://192.0.2.2:8080"), None);
        assert_eq!(found(lo, "http://192.0.2.1:8080"), None);
        assert_eq!(found(lo, "http://127.0.0.1:8081"), None);
        assert_eq!(found(lo, "https://www.example.com"), Some(Level::Warning));
        assert_eq!(found(lo, "https://origin.example.org"), Some(Level::Warning));
        assert_eq!(found(lo, "https://www.example.com:8443"), None);
        assert_eq!(found(lo, "https://origin.example.com"), None);
    }
}
