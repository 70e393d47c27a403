//! An invalid configuration ends the program with 78 (EX_CONFIG), and the error names file, line and key.

use crate::harness::shim::program;
use std::fs;
use tempfile::TempDir;

const GOOD: &str = r#"[server]
listen = ["127.0.0.1:8080"]

[[sites]]
name = "www"
hosts = ["www.example.test"]
origin = "http://127.0.0.1:9"

[[sites.cdns]]
type = "fastly"
hosts = ["www.example.test"]
service_id = "abc"
auth_token = "literal:abc"
"#;

/// Returns the exit code and the whole output.
fn run(command: &str, config: &str) -> (Option<i32>, String) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("wrong.toml");
    fs::write(&file, config).unwrap();
    let output = program().arg(command).arg("--config").arg(&file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_good_configuration_passes() {
    let (code, said) = run("check", GOOD);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_readmes_configuration_passes() {
    let readme = include_str!("../../../README.md");
    let (_, block) = readme.split_once("```toml\n").unwrap();
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("readme.toml");
    fs::write(&file, block.split("```").next().unwrap()).unwrap();
    let mut check = program();
    check.args(["check", "--config"]).arg(&file).env("ORIGIN_SHIM_TOKEN", "a-token-of-the-reader-0123456789");
    let output = check.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn every_mistake_is_named_with_file_line_and_key() {
    // The replaced text, its replacement, and the key that must be named.
    let table = [
        ("[server]\n", "[server]\nworker = 2\n", "worker"),
        ("\"127.0.0.1:8080\"", "\"127.0.0.1\"", "listen"),
        ("name = \"www\"", "name = 5", "name"),
        ("origin = \"http://127.0.0.1:9\"\n", "origin = \"http://127.0.0.1:9\"\nmode = \"maybe\"\n", "mode"),
        ("origin = \"http://127.0.0.1:9\"", "origin = \"ftp://127.0.0.1\"", "origin"),
        ("type = \"fastly\"", "type = \"fastest\"", "type"),
        ("literal:abc", "env:ORIGIN_SHIM_TEST_THAT_NOBODY_SETS", "auth_token"),
        ("service_id = \"abc\"\n", "service_id = \"abc\"\nzone_id = \"x\"\n", "zone_id"),
        ("[[sites.cdns]]", "[sites.cache]\nedge_ttl = \"2 fortnights\"\n\n[[sites.cdns]]", "edge_ttl"),
    ];
    for (from, to, key) in table {
        assert_eq!(GOOD.matches(from).count(), 1, "{from}");
        let config = GOOD.replace(from, to);
        // The line of the key itself.
        let line = 1 + config.lines().position(|line| line.trim_start().starts_with(key)).unwrap();
        for command in ["serve", "check"] {
            let (code, said) = run(command, &config);
            assert_eq!(code, Some(78), "{command} with {to}: {said}");
            assert!(
                said.contains(&format!("wrong.toml:{line}")),
                "{command}: line {line} is not named: {said}"
            );
            assert!(said.contains(key), "{command}: {key} is not named: {said}");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let output = program().args(["serve", "--config", "/nonexistent/shim.toml"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("/nonexistent/shim.toml"), "{said}");
}
