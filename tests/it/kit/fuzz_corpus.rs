//! A replay of the fuzzers' corpus: each input keeps the laws.

#[path = "../../fuzz/laws/mod.rs"]
mod laws;

use std::path::Path;

#[test]
fn what_was_of_interest_to_the_fuzzers_is_lawful() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    for (target, law) in laws::ALL {
        let mut inputs = 0;
        for entry in std::fs::read_dir(fuzz.join("corpus").join(target)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            law(&std::fs::read(path).unwrap());
            inputs += 1;
        }
        assert!(inputs >= 10, "{target} has a corpus");
    }
}

#[test]
fn every_law_is_a_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let mut targets: Vec<_> = std::fs::read_dir(fuzz.join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    targets.sort();
    assert_eq!(targets, laws::ALL.map(|(name, _)| name));
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for target in targets {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
    }
}
