//! `build.rs` names the commit, wherever the source comes from.

use super::{read, repository};
use crate::harness::shim::program;
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Returns the commit that the build would get in a folder.
fn commit(dir: &Path, profile: &str, given: &str) -> String {
    let script = dir.join("build");
    if !script.exists() {
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition=2024", "-Cdebuginfo=0", "-o"]).args([&script, &repository("build.rs")]);
        assert!(rustc.current_dir(repository("")).status().unwrap().success());
    }
    let output = Command::new(&script)
        .current_dir(dir)
        .env("PROFILE", profile)
        .env("ORIGIN_SHIM_COMMIT", given)
        // No repository around the folder counts.
        .env("GIT_CEILING_DIRECTORIES", dir.parent().unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines()
        .find_map(|line| line.strip_prefix("cargo::rustc-env=ORIGIN_SHIM_COMMIT="))
        .unwrap()
        .to_owned()
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let identity =
        ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").current_dir(dir).args(identity).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_commit_is_that_of_the_source() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    assert_eq!(commit(dir, "release", ""), "");
    assert_eq!(commit(dir, "release", "given by the builder"), "given by the builder");

    // A working tree: the same commit gives the same answer. Quick builds are not built anew for each commit.
    git(dir, &["init", "-q"]);
    assert_eq!(commit(dir, "release", ""), "", "the repository of something else");
    for file in ["build.rs", ".gitattributes", ".git_archival.txt"] {
        fs::copy(repository(file), dir.join(file)).unwrap();
    }
    git(dir, &["add", "build.rs", ".gitattributes", ".git_archival.txt"]);
    git(dir, &["commit", "-q", "-m", "first"]);
    let head = git(dir, &["rev-parse", "HEAD"]);
    assert_eq!(commit(dir, "release", ""), head[..12]);
    assert_eq!(commit(dir, "debug", ""), "");

    // An archive of the source has no repository.
    git(dir, &["archive", "--format=tar", "--prefix=archive/", "--output=archive.tar", "HEAD"]);
    assert!(Command::new("tar").current_dir(dir).args(["-xf", "archive.tar"]).status().unwrap().success());
    let archive = dir.join("archive");
    assert_eq!(commit(&archive, "debug", ""), head[..12]);
    fs::write(archive.join(".git_archival.txt"), format!("node: {COMMIT}\n")).unwrap();
    assert_eq!(commit(&archive, "release", ""), COMMIT[..12]);
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = program().arg("--version").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let version = format!("origin-shim {}", env!("CARGO_PKG_VERSION"));
    assert!(said.trim() == version || said.starts_with(&format!("{version} (")), "{said}");
    // Otherwise `git archive` would not write the commit.
    assert_eq!(read(".gitattributes"), ".git_archival.txt export-subst\n");
}
