//! Configurations from operators.

use origin_shim::cli::import::aem::{self as import, Options};
use origin_shim::config::{self, Loaded, duration};
use std::path::Path;

/// A configuration file, in which all secrets are the same. The files that it names are not read.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(span) = duration::parse(text) {
        assert_eq!(duration::parse(&duration::print(span)), Ok(span));
    }
    if text.contains("file:") {
        return;
    }
    match load(text) {
        Ok(loaded) => {
            assert!(loaded.fingerprint.differences(&loaded.fingerprint).is_empty());
            assert!(!format!("{:?}", loaded.config).contains(SECRET), "a secret shows itself");
        }
        Err(error) => {
            let lines = text.split('\n').count();
            assert!(!error.problems().is_empty());
            for problem in error.problems() {
                assert!((1..=lines).contains(&problem.line) && problem.column > 0, "{problem:?}");
                assert!(!problem.message.is_empty() && !problem.message.contains(SECRET), "{problem:?}");
            }
        }
    }
}

const SECRET: &str = "canary-0123456789abcdef";

fn load(text: &str) -> Result<Loaded, config::ConfigError> {
    config::parse(text, Path::new("fuzz.toml"), &|_| Some(SECRET.to_owned()))
}

/// A site's configuration as AEM stores it.
pub fn aem(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for origin in [None, Some("https://main--website--acme.aem.live")] {
        let options = Options { origin: origin.map(|origin| origin.parse().unwrap()), site: None };
        match import::import(text, "cdn.json", &options) {
            Ok(imported) => {
                // A value may be invalid for the CDN, and then the error names it. No text from AEM ever
                // becomes syntax.
                for problem in load(&imported.toml).err().iter().flat_map(|error| error.problems()) {
                    let names_a_value = !problem.key.is_empty() && !problem.message.contains("unknown");
                    assert!(names_a_value, "{problem:?}\n{}", imported.toml);
                }
            }
            Err(error) => assert!(!error.problems.is_empty()),
        }
    }
}
