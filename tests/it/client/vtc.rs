//! The scripts in `tests/vtc`. varnishtest plays them with its own client and server, which share no code with the
//! shim.

use crate::harness::free_address;
use crate::harness::in_process::{Shim, config, site};
use std::process::Command;

#[test]
fn every_script_passes() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vtc");
    let mut scripts: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "vtc"));
    scripts.sort();
    assert!(!scripts.is_empty());
    for script in scripts {
        // The address of varnishtest's server is an argument, so it must be known first.
        let origin = free_address();
        let shim = Shim::start(&config(vec![site(&[origin])]));
        let output = Command::new("varnishtest")
            .args(["-v", "-t", "60"])
            .args(["-D".to_owned(), format!("shim={}", shim.address())])
            .args(["-D".to_owned(), format!("origin={origin}")])
            .arg(&script)
            .output()
            .unwrap_or_else(|error| {
                panic!("cannot start varnishtest ({error}): run tests/run, which installs it")
            });
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}:\n{said}", script.display());
    }
}
