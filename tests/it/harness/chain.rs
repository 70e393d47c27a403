//! The whole chain: Varnish, a gate for its purges, the shim, and nginx.

use super::gate::Gate;
use super::http::{Answer, Request};
use super::nginx::Nginx;
use super::shim::Shim;
use super::site::Site;
use super::varnish::Varnish;

/// visitor -> Varnish -> shim -> nginx, and shim -> gate -> Varnish.
pub struct Chain {
    /// The origin.
    pub nginx: Nginx,
    /// The proxy under test.
    pub shim: Shim,
    /// The gate that purges pass.
    pub gate: Gate,
    /// The CDN.
    pub varnish: Varnish,
}

impl Chain {
    /// Starts the chain and waits until the CDN is healthy. `cache` is the content of `[sites.cache]`.
    pub fn start(cache: &str) -> Self {
        Self::start_with("", cache)
    }

    /// As [`Self::start`], with further keys of the site.
    pub fn start_with(keys: &str, cache: &str) -> Self {
        let nginx = Nginx::start();
        let (shim, (gate, varnish)) = Shim::start_behind(|address| {
            let varnish = Varnish::start(address);
            let gate = Gate::to(varnish.address);
            let site = Site::www(nginx.address).keys(keys).cache(cache).varnish_at(gate.address);
            ((gate, varnish), site)
        });
        shim.wait_until_healthy();
        Self { nginx, shim, gate, varnish }
    }

    /// Sends a GET as a visitor.
    pub fn visit(&self, target: &str) -> Answer {
        Request::get(target).send(self.varnish.address)
    }

    /// As [`Self::visit`]. Returns `x-cache` and the body: `HIT home 1`.
    pub fn see(&self, target: &str) -> String {
        let answer = self.visit(target);
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        format!("{} {}", answer.header("x-cache"), answer.text())
    }
}
