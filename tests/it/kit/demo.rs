//! The demo works on a fresh machine.

use crate::harness::shim::program;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

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

#[test]
fn the_demo_lives_and_compares_until_it_is_interrupted() {
    let mut demo = program().args(["demo", "--ports", "auto"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let console = lines.find(|line| line.contains("the console")).unwrap();
    let (address, token) = console.split_once("http://").unwrap().1.split_once("/#token=").unwrap();
    assert!(address.starts_with("127.0.0.1:") && token.len() == 32, "{console}");

    let mut figures = |name: &str| -> [u64; 2] {
        let line = lines.find(|line| line.trim_start().starts_with(name)).unwrap();
        let numbers = line.split_whitespace().filter_map(|word| word.parse().ok());
        numbers.take(2).collect::<Vec<u64>>().try_into().unwrap()
    };
    let ([visits, requests], [without, _]) = (figures("with the shim"), figures("without the shim"));
    // Both sides get the same visits, except for one that is under way.
    assert!(visits > 0 && visits.abs_diff(without) <= 1, "{visits} and {without}");
    assert!(requests > 0 && requests < visits, "{requests} of {visits}");

    let interrupted = Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert!(lines.any(|line| line.contains("pages published")), "the last figures are missing");
    assert!(demo.wait().unwrap().success());
}
