//! The data plane alone, in the process of the test. The test plays the control plane.

use super::scripted::Origin;
use super::site::Site;
use super::wire::{LIMIT, Wire};
use origin_shim::config::{self, Admin, Cdn, CdnSettings, Config, Everything, Limits, Server, Store};
use origin_shim::listen::{self, DataPlane};
use origin_shim::metrics::Metrics;
use origin_shim::proxy::Shared;
use origin_shim::rewrite::{CdnType, Dialect};
use origin_shim::upstream::Roots;
use origin_shim::view::PurgeHealthView;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A running data plane, and what it shares with a control plane.
pub struct Shim {
    pub plane: DataPlane,
    pub metrics: Arc<Metrics>,
    pub health: Arc<PurgeHealthView>,
}

impl Shim {
    pub fn start(config: &Config) -> Self {
        Self::with_roots(config, Roots::default())
    }

    pub fn with_roots(config: &Config, roots: Roots) -> Self {
        let metrics = Arc::new(Metrics::new(config.server.workers));
        let health = Arc::new(PurgeHealthView::default());
        let shared = Shared::with_roots(config, Arc::clone(&metrics), Arc::clone(&health), roots).unwrap();
        Self { plane: listen::spawn(config, shared).unwrap(), metrics, health }
    }

    /// Starts the data plane in front of one origin, with the site `www.example.com`.
    pub fn before(origin: &Origin) -> Self {
        Self::start(&config(vec![site(&[origin.address])]))
    }

    pub fn address(&self) -> SocketAddr {
        self.plane.addresses().plain[0]
    }

    pub fn connect(&self) -> Wire {
        Wire::connect(self.address())
    }

    /// Sends one request on its own connection.
    pub fn request(&self, request: &str) -> (String, String) {
        self.connect().request(request)
    }

    /// Waits until a line appears in the metrics. A request is counted when its response has been dropped, and the
    /// client may see the response earlier.
    pub fn counts(&self, line: &str) {
        let started = Instant::now();
        loop {
            let text = self.metrics.render();
            if text.lines().any(|l| l == line) {
                return;
            }
            assert!(started.elapsed() < LIMIT, "no {line} in\n{text}");
            std::thread::yield_now();
        }
    }
}

pub fn limits() -> Limits {
    Limits {
        // Debug builds on busy machines need this long.
        origin_connect_timeout: Duration::from_secs(5),
        ..Limits::default()
    }
}

pub fn config(sites: Vec<config::Site>) -> Config {
    Config {
        inbound: Vec::new(),
        log: config::Log::default(),
        server: Server {
            id: Some("test".into()),
            listen: vec![([127, 0, 0, 1], 0).into()],
            workers: 1,
            limits: limits(),
            ..Server::default()
        },
        admin: Admin { listen: ([127, 0, 0, 1], 0).into(), hosts: vec![], tokens: vec![] },
        store: Store { path: None, database: None, retention: Duration::from_secs(60) },
        fleet: origin_shim::config::Fleet::default(),
        sites: sites.into_iter().map(Arc::new).collect(),
    }
}

/// Returns the site `www` with the host `www.example.com` and these origins, whose authority is `origin.test`.
pub fn site(origins: &[SocketAddr]) -> config::Site {
    origins.iter().fold(Site::named("www").host("www.example.com"), Site::origin).build()
}

/// Returns a CDN named by its type.
pub fn cdn(cdn: CdnType) -> Arc<Cdn> {
    Arc::new(Cdn {
        name: cdn.as_str().into(),
        hosts: vec!["www.example.com".into()],
        hard: true,
        everything: Everything::SiteTag,
        repeat_after: Duration::ZERO,
        repeat_everything_after: Duration::ZERO,
        rate: Default::default(),
        verify: false,
        verify_url: None,
        account: "main".into(),
        dialect: Dialect::new(cdn, None, None),
        settings: CdnSettings::Varnish(config::cdns::Varnish { api_urls: vec![] }),
    })
}
