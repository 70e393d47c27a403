//! A site for tests, as a file would have it that says no more than it must.

use super::{Config, Site};
use std::path::Path;
use std::sync::Arc;

/// The site of this name, for the host `www.example.com`, with the origin `http://origin.test:8081`; all else is the default.
pub(crate) fn site(name: &str) -> Site {
    let text = format!(
        "[[sites]]\nname = \"{name}\"\nhosts = [\"www.example.com\"]\norigin = \"http://origin.test:8081\""
    );
    let config = Config::parse(&text, Path::new("test.toml"), &|_| None);
    let mut sites = config.unwrap_or_else(|error| panic!("{error}")).sites;
    Arc::unwrap_or_clone(sites.remove(0))
}
