//! The clients that users of these APIs have, unchanged: only the address is that of the shim.

use super::*;
use std::path::Path;
use std::process::Command;

/// Purges with a client from PyPI.
fn purge_with(client: &str, to: SocketAddr, what: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("timeout");
    command
        .arg("60")
        .arg(root.join("target/tools/clients/bin/python"))
        .arg(root.join("tests/clients/purge.py"));
    command.args([client, &to.to_string(), TOKEN, HOST, what]).env("NO_PROXY", "*");
    let output = command.output().expect("tests/run installs the clients");
    assert!(output.status.success(), "{client}, {what}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn clients_from_pypi_purge_without_a_change() {
    let world = World::start(&[FASTLY, CLOUDFLARE, &format!("{AKAMAI}\nsite = \"www\"")]);
    let url = format!("http://{HOST}/news/1");
    for (client, to) in ["fastly", "cloudflare", "edgegrid"].into_iter().zip(&world.listeners) {
        for (what, gone, stays) in [
            ("news", vec!["/news/1", "/news/2"], vec!["/other"]),
            (&*url, vec!["/news/1"], vec!["/news/2", "/other"]),
            ("everything", vec!["/news/1", "/other"], vec![]),
        ] {
            world.cache(&["/news/1", "/news/2", "/other"]);
            purge_with(client, *to, what);
            world.settle();
            for page in gone {
                assert_eq!(world.see(page), "MISS", "{client}, {what}: {page}");
            }
            for page in stays {
                assert_eq!(world.see(page), "HIT", "{client}, {what}: {page}");
            }
        }
    }
}
