//! The whole chain: Varnish, a gate for its purges, the shim, nginx.

use super::gate::Gate;
use super::http::{Answer, Request};
use super::nginx::Nginx;
use super::shim::Shim;
use super::varnish::Varnish;
use super::{HOST, free_address};

/// visitor -> Varnish -> shim -> nginx, and shim -> gate -> Varnish.
pub struct Chain {
    /// The origin.
    pub nginx: Nginx,
    /// The proxy under test.
    pub shim: Shim,
    /// What purges pass.
    pub gate: Gate,
    /// The CDN.
    pub varnish: Varnish,
}

impl Chain {
    /// Starts it and waits until the shim knows that it can purge. `cache` is the content of `[sites.cache]`.
    pub fn start(cache: &str) -> Self {
        Self::start_with("", cache)
    }

    /// The same with further keys of the site.
    pub fn start_with(keys: &str, cache: &str) -> Self {
        let nginx = Nginx::start();
        for _ in 0..5 {
            let address = free_address();
            let varnish = Varnish::start(address);
            let gate = Gate::to(varnish.address);
            let site = site(&nginx, &gate, keys, cache);
            match Shim::try_start(address, &site) {
                Ok(shim) => {
                    shim.wait_until_healthy();
                    return Self { nginx, shim, gate, varnish };
                }
                // A stranger took the port in between.
                Err(output) => assert!(output.to_lowercase().contains("address already in use"), "{output}"),
            }
        }
        panic!("no ports for the shim");
    }

    /// What a visitor gets.
    pub fn visit(&self, target: &str) -> Answer {
        Request::get(target).send(self.varnish.address)
    }

    /// The same, in one word and the body: `HIT home 1`.
    pub fn see(&self, target: &str) -> String {
        let answer = self.visit(target);
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        format!("{} {}", answer.header("x-cache"), answer.text())
    }
}

fn site(nginx: &Nginx, gate: &Gate, keys: &str, cache: &str) -> String {
    format!(
        r#"[[sites]]
name = "www"
hosts = ["{HOST}"]
origin = "http://{}"
{keys}

[sites.cache]
{cache}

[[sites.cdns]]
type = "varnish"
hosts = ["{HOST}"]
api_urls = ["http://{}"]
"#,
        nginx.address, gate.address
    )
}
