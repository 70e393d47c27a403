//! The console in a real browser, in front of the real program and of made-up content (`tests/console/`).

use crate::harness::origin::{self, Exchange};
use crate::harness::shim::{Shim, TOKEN};
use crate::harness::site::Site;
use std::path::Path;
use std::process::Command;

#[test]
fn every_view_works_in_a_browser() {
    let node = origin::serve(|mut exchange: Exchange| {
        exchange.answer(200, &[("x-purged".to_owned(), "1".to_owned())], "");
    });
    let origin = origin::serve(|mut exchange: Exchange| {
        exchange.answer(200, &[("cache-control".to_owned(), "max-age=60".to_owned())], "page");
    });
    let cdn = format!("type = \"varnish\"\nrepeat_after = \"0s\"\napi_urls = [\"http://{node}\"]");
    let shim = Shim::start(Site::www(origin).cdn(&cdn));
    shim.wait_until_healthy();

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("target/tools/console/node_modules");
    assert!(tools.is_dir(), "{} is missing: tests/run installs it", tools.display());
    let output = Command::new("node")
        .arg(root.join("tests/console/run.mjs"))
        .args([format!("http://{}/", shim.admin), TOKEN.to_owned()])
        .arg(tools)
        .output()
        .expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.matches("\nok ").count() >= 10, "{text}");
}
