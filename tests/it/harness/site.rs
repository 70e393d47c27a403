//! The sites of the tests. The real program reads them as TOML; the data plane alone gets them as values.

use super::HOST;
use super::varnish::Varnish;
use origin_shim::config::{self, Config, OriginUrl};
use std::fmt::{Display, Formatter, Result};
use std::path::Path;
use std::sync::Arc;

/// A site under construction. `Display` writes its TOML.
#[derive(Clone, Debug)]
pub struct Site {
    name: String,
    hosts: Vec<String>,
    /// The `host:port` of origins that use plain HTTP.
    origins: Vec<String>,
    keys: String,
    tables: String,
    cdns: String,
}

impl Site {
    /// Creates a site with this name, without hosts, origins and CDNs. Everything else has the defaults of the
    /// program.
    pub fn named(name: &str) -> Self {
        let (hosts, origins) = (Vec::new(), Vec::new());
        let [keys, tables, cdns] = Default::default();
        Self { name: name.to_owned(), hosts, origins, keys, tables, cdns }
    }

    /// Creates the site `www` for [`HOST`] in front of this origin.
    pub fn www(origin: impl Display) -> Self {
        Self::named("www").host(HOST).origin(origin)
    }

    /// Adds a host or a pattern of hosts.
    pub fn host(mut self, host: &str) -> Self {
        self.hosts.push(host.to_owned());
        self
    }

    /// Adds an origin at `host:port`.
    pub fn origin(mut self, address: impl Display) -> Self {
        self.origins.push(address.to_string());
        self
    }

    /// Adds lines of TOML to the keys of the site itself.
    pub fn keys(mut self, lines: &str) -> Self {
        self.keys += &format!("{lines}\n");
        self
    }

    /// Makes this site the one for hosts that no other site has.
    pub fn default_site(self) -> Self {
        self.keys("default = true")
    }

    /// Adds the table `[sites.cache]` with these lines of TOML.
    pub fn cache(self, lines: &str) -> Self {
        self.tables(&format!("[sites.cache]\n{lines}"))
    }

    /// Adds whole tables of TOML, such as `[sites.tags]`.
    pub fn tables(mut self, tables: &str) -> Self {
        self.tables += &format!("{tables}\n");
        self
    }

    /// Adds a CDN with these keys of TOML, for the hosts of the site unless they name others.
    pub fn cdn(mut self, lines: &str) -> Self {
        self.cdns += &format!("[[sites.cdns]]\n{lines}\n");
        self
    }

    /// Adds this Varnish as a CDN.
    pub fn varnish(self, varnish: &Varnish) -> Self {
        self.varnish_at(varnish.address)
    }

    /// Adds a CDN whose purges go to a Varnish at this address.
    pub fn varnish_at(self, address: impl Display) -> Self {
        self.cdn(&format!("type = \"varnish\"\napi_urls = [\"http://{address}\"]"))
    }

    /// Returns the site as the data plane gets it. Its origins have the authority `origin.test` whatever their
    /// addresses, and all are IP addresses.
    pub fn build(&self) -> config::Site {
        let text = self.clone_with_origins(&["origin.test"]).to_string();
        let mut parsed = Config::parse(&text, Path::new("test.toml"), &|_| None)
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        let origin = |address: &String| {
            let (host, port) = address.rsplit_once(':').unwrap();
            OriginUrl {
                tls: false,
                host: host.trim_matches(['[', ']']).to_owned(),
                port: port.parse().unwrap(),
                authority: "origin.test".into(),
            }
        };
        config::Site {
            origins: self.origins.iter().map(origin).collect(),
            ..Arc::unwrap_or_clone(parsed.sites.remove(0))
        }
    }

    fn clone_with_origins(&self, origins: &[&str]) -> Self {
        Self { origins: origins.iter().map(|&origin| origin.to_owned()).collect(), ..self.clone() }
    }
}

impl Display for Site {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { name, hosts, origins, keys, tables, cdns } = self;
        let origins: Vec<_> = origins.iter().map(|origin| format!("http://{origin}")).collect();
        writeln!(
            f,
            "[[sites]]\nname = {name:?}\nhosts = {hosts:?}\norigin = {origins:?}\n{keys}{tables}{cdns}"
        )
    }
}
