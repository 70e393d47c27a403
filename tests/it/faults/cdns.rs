//! One site with a CDN for each adapter, all of them stand-ins. They keep the second of the two logs.

use super::checker::Receipts;
use crate::harness::fake_cdn::bucket::Bucket;
use crate::harness::fake_cdn::{Akamai, Cloudflare, Cloudfront, FakeCdn, Fastly, Faults, Node, Vendor};
use crate::harness::site::Site;
use std::net::SocketAddr;

/// The CDNs of the site.
pub struct Cdns {
    /// Fastly's API.
    pub fastly: FakeCdn<Fastly>,
    /// Akamai's API.
    pub akamai: FakeCdn<Akamai>,
    /// Cloudflare's API.
    pub cloudflare: FakeCdn<Cloudflare>,
    /// CloudFront's API.
    pub cloudfront: FakeCdn<Cloudfront>,
    /// A Varnish node.
    pub varnish: FakeCdn<Node>,
    /// A further line of Akamai's table, which sets its rate.
    akamai_rate: &'static str,
}

impl Cdns {
    /// Starts the CDNs with rates that no test reaches.
    pub fn roomy() -> Self {
        let akamai = Akamai { tags: Bucket::full(5_000.0, 1_000.0), ..Akamai::default() };
        let cdns = Self::new(akamai, Cloudflare::enterprise());
        Self { akamai_rate: "items_per_second = 1000.0\n", ..cdns }
    }

    /// Starts the CDNs with Akamai's published rate and that of Cloudflare's plan Pro: 5 calls a second, 25 at
    /// once.
    pub fn tight() -> Self {
        let pro = Cloudflare {
            plan: "pro".to_owned(),
            calls: Bucket::full(25.0, 5.0),
            urls: Bucket::full(1_500.0, 1_500.0),
            ..Cloudflare::default()
        };
        Self::new(Akamai::default(), pro)
    }

    fn new(akamai: Akamai, cloudflare: Cloudflare) -> Self {
        Self {
            fastly: FakeCdn::start(Fastly::default()),
            akamai: FakeCdn::start(akamai),
            cloudflare: FakeCdn::start(cloudflare),
            cloudfront: FakeCdn::start(Cloudfront::default()),
            varnish: FakeCdn::start(Node::default()),
            akamai_rate: "",
        }
    }

    /// Returns the site, with further keys of `[sites.cache]`. Fastly's repeat follows after `repeat_after`.
    pub fn site(&self, origin: SocketAddr, cache: &str, repeat_after: &str) -> Site {
        let tables = [
            self.fastly.settings(),
            self.akamai.settings() + self.akamai_rate,
            self.cloudflare.settings(),
            self.cloudfront.settings(),
            self.varnish.settings(),
        ];
        tables.iter().fold(Site::www(origin).cache(cache), |site, settings| {
            let repeat_after = if settings.contains("\"fastly\"") { repeat_after } else { "0s" };
            site.cdn(&format!("repeat_after = \"{repeat_after}\"\n{settings}"))
        })
    }

    /// Makes all CDNs misbehave, each in its own order.
    pub fn misbehave(&self, faults: Faults) {
        let seeded = |seed| Faults { seed, ..faults };
        self.fastly.misbehave(seeded(faults.seed));
        self.akamai.misbehave(seeded(faults.seed + 1));
        self.cloudflare.misbehave(seeded(faults.seed + 2));
        self.cloudfront.misbehave(seeded(faults.seed + 3));
    }

    /// Returns the log of each CDN.
    pub fn receipts(&self) -> Vec<Receipts> {
        fn of<V: Vendor>(name: &'static str, cdn: &FakeCdn<V>) -> Receipts {
            Receipts { cdn: name, calls: cdn.calls(), started: cdn.started() }
        }
        vec![
            of("fastly", &self.fastly),
            of("akamai", &self.akamai),
            of("cloudflare", &self.cloudflare),
            of("cloudfront", &self.cloudfront),
            of("varnish", &self.varnish),
        ]
    }
}
