//! Documentation, deployment files, the demo, and rules for the source: every name in the documentation and the
//! deployment files exists, and every configuration in them is valid.
//!
//! | file | what is tested |
//! |---|---|
//! | `docs.rs`, `readme.rs` | the documentation |
//! | `kubernetes.rs`, `compose.rs`, `systemd.rs`, `metrics.rs` | manifests, the unit, dashboards and alerts |
//! | `debian.rs`, `sbom.rs`, `version.rs` | the package, what is in the program, and its commit |
//! | `demo.rs`, `log.rs` | the demo, and the log |
//! | `fuzz_corpus.rs` | the corpus of the fuzzers |
//! | `tidy/` | rules for the source that no compiler checks |

mod compose;
mod debian;
mod demo;
mod docs;
mod fuzz_corpus;
mod kubernetes;
mod log;
mod metrics;
mod readme;
mod sbom;
mod systemd;
mod tidy;
mod version;

use origin_shim::config::{self, Loaded};
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the path of a file or folder of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns a stand-in for the secret of this name, which is long enough and different from all others.
fn placeholder(name: &str) -> String {
    format!("placeholder-of-{name}")
}

/// Loads a configuration as `origin-shim check` does, with a placeholder for every secret and a certificate of its own
/// for every other; their files are in `dir`.
fn load(text: &str, file: &str, dir: &Path) -> Loaded {
    let certified = rcgen::generate_simple_self_signed(vec!["www.example.com".to_owned()]).unwrap();
    fs::write(dir.join("cert.pem"), certified.cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let here = |name: &str| dir.join(name).display().to_string();
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut line = line.trim_start().to_owned();
        for (key, name) in [("cert", "cert.pem"), ("key", "key.pem"), ("client_ca", "cert.pem")] {
            if line.starts_with(&format!("{key} = ")) {
                line = format!("{key} = {:?}", here(name));
            }
        }
        if let Some((before, path)) = line.clone().split_once("\"file:") {
            let (path, after) = path.split_once('"').unwrap();
            let name = path.rsplit('/').next().unwrap();
            fs::write(dir.join(name), placeholder(name)).unwrap();
            line = format!("{before}\"file:{}\"{after}", here(name));
        }
        lines.push(line);
    }
    let env = |name: &str| Some(placeholder(name));
    let lines = lines.join("\n");
    config::parse(&lines, Path::new(file), &env).unwrap_or_else(|error| panic!("{file}: {error}\n{lines}"))
}

fn insist(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}
