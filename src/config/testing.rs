//! A site for tests, resolved from a file that has only the required keys.

use super::{Config, Site};
use std::path::Path;
use std::sync::Arc;

/// Returns the site `name` for the host `www.example.com` with the origin `http://origin.test:8081` and defaults for
/// all other keys.
pub(crate) fn site(name: &str) -> Site {
    let text = format!(
        "[[sites]]\nname = \"{name}\"\nhosts = [\"www.example.com\"]\norigin = \"http://origin.test:8081\""
    );
    let config = Config::parse(&text, Path::new("test.toml"), &|_| None);
    let mut sites = config.unwrap_or_else(|error| panic!("{error}")).sites;
    Arc::unwrap_or_clone(sites.remove(0))
}
