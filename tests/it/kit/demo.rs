//! The demo works on a fresh machine.

use crate::harness::shim::program;

#[test]
fn the_demo_shows_a_publish_its_purge_and_the_fresh_page() {
    let output = program().args(["demo", "--once", "--ports", "auto"]).output().unwrap();
    let (said, complained) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{said}\n{complained}");
    let prices: Vec<&str> = said.lines().filter(|line| line.ends_with(" EUR")).map(verdict).collect();
    assert_eq!(
        prices,
        ["MISS  42.00 EUR", "HIT   42.00 EUR", "HIT   42.00 EUR", "MISS  43.00 EUR"],
        "{said}"
    );
    assert!(said.contains("Surrogate-Control: max-age=172800"), "{said}");
}

/// Returns the end of a line from its verdict on, for instance `MISS  42.00 EUR`.
fn verdict(line: &str) -> &str {
    let start = line.rfind("MISS").or_else(|| line.rfind("HIT")).unwrap_or_default();
    &line[start..]
}
