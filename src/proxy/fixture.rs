//! Configurations and heads for tests.

use super::routing::Routing;
use crate::config::*;
pub use crate::http::head::fixture::{headers, lines, request};
use crate::metrics::Metrics;
use crate::rewrite::{CdnType, Dialect};
use crate::upstream::{Roots, Upstreams};
use crate::view::PurgeHealthView;
use std::sync::Arc;
use std::time::Duration;

/// Returns the default limits.
pub fn limits() -> Limits {
    Limits::default()
}

/// Returns a configuration of these sites.
pub fn config(sites: Vec<Site>) -> Config {
    Config {
        server: Server { workers: 1, ..Server::default() },
        admin: Admin { listen: ([127, 0, 0, 1], 0).into(), hosts: vec![], tokens: vec![] },
        store: Store { path: None, database: None, retention: Duration::from_secs(60) },
        fleet: crate::config::Fleet::default(),
        inbound: Vec::new(),
        log: crate::config::Log::default(),
        sites: sites.into_iter().map(Arc::new).collect(),
    }
}

/// Returns a site without CDNs whose origin is `http://origin.test:8081`.
pub fn site(name: &str, hosts: &[&str]) -> Site {
    Site { hosts: hosts.iter().map(|&host| host.to_owned()).collect(), ..testing::site(name) }
}

/// Returns a CDN of this type with the type's usual header fields.
pub fn cdn(name: &str, cdn: CdnType) -> Arc<Cdn> {
    Arc::new(Cdn {
        name: name.to_owned(),
        hosts: vec!["www.example.com".into()],
        hard: true,
        everything: Everything::SiteTag,
        repeat_after: Duration::ZERO,
        repeat_everything_after: Duration::ZERO,
        verify: false,
        verify_url: None,
        account: "main".into(),
        rate: Default::default(),
        dialect: Dialect::new(cdn, None, None),
        settings: CdnSettings::Varnish(crate::config::cdns::Varnish { api_urls: vec![] }),
    })
}

/// Compiles the routing of a configuration.
pub fn routing(config: &Config, health: &PurgeHealthView) -> Routing {
    Routing::compile(config, &Metrics::new(1), health, &Roots::default(), &Upstreams::default()).unwrap()
}
