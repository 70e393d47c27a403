//! Tests of the configuration from text to result, as an operator sees it.

mod example;
mod resolved;
mod wrong;

use super::{ConfigError, Loaded, parse};
use std::path::Path;

/// The keys that a site must have.
const SITE: &str = r#"
[[sites]]
name = "www"
hosts = ["www.example.com"]
origin = "https://origin.example.com"
"#;

/// A secret that must never be shown.
const CANARY: &str = "canary-0123456789abcdef";

fn env(name: &str) -> Option<String> {
    name.ends_with("_CANARY").then(|| CANARY.to_owned())
}

fn read(text: &str) -> Result<Loaded, ConfigError> {
    parse(text, Path::new("shim.toml"), &env)
}

/// Returns the errors of a text, or its warnings if it has no errors.
fn complaints(text: &str) -> Vec<String> {
    let problems = match read(text) {
        Ok(loaded) => loaded.warnings,
        Err(error) => error.problems().to_vec(),
    };
    problems.iter().map(ToString::to_string).collect()
}
