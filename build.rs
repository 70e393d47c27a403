//! Tells the program the commit that it is built from. The same source gives the same answer at every time and place.

use std::path::Path;
use std::process::Command;

/// `git archive` writes the commit into this file (gitattributes(5), `export-subst`).
const ARCHIVED: &str = ".git_archival.txt";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={ARCHIVED}");
    println!("cargo::rerun-if-env-changed=ORIGIN_SHIM_COMMIT");
    let given = std::env::var("ORIGIN_SHIM_COMMIT").ok().filter(|commit| !commit.is_empty());
    let known = || archived().or_else(checked_out).map(|commit| commit[..12].to_owned());
    let commit = given.or_else(known).unwrap_or_default();
    println!("cargo::rustc-env=ORIGIN_SHIM_COMMIT={commit}");
}

/// The commit of a source archive.
fn archived() -> Option<String> {
    let text = std::fs::read_to_string(ARCHIVED).ok()?;
    let commit = text.strip_prefix("node: ")?.trim();
    is_hash(commit).then(|| commit.to_owned())
}

/// The commit of a working tree of git. Builds without optimisation do without: each commit would build them anew.
fn checked_out() -> Option<String> {
    if std::env::var("PROFILE").ok()? != "release" {
        return None;
    }
    // A source archive may lie within the working tree of something else.
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file])?;
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"]).filter(|commit| is_hash(commit))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn is_hash(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
