//! Varnish as CDN, with the VCL that we ship.

use super::process::Process;
use super::{eventually, free_address, listens};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A running varnishd.
pub struct Varnish {
    /// Where it listens.
    pub address: SocketAddr,
    _process: Process,
    dir: TempDir,
}

impl Varnish {
    /// Starts it in front of `backend`, which need not listen yet.
    pub fn start(backend: SocketAddr) -> Self {
        Self::start_with(backend, "")
    }

    /// The same with these lines at the end of `vcl_backend_response`.
    pub fn start_with(backend: SocketAddr, on_response: &str) -> Self {
        for _ in 0..5 {
            match Self::try_start(backend, on_response) {
                Ok(varnish) => return varnish,
                // A stranger took the port in between.
                Err(output) => assert!(output.contains("Address already in use"), "{output}"),
            }
        }
        panic!("no port for Varnish");
    }

    fn try_start(backend: SocketAddr, on_response: &str) -> Result<Self, String> {
        let dir = TempDir::new().unwrap();
        let address = free_address();
        let shipped =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/varnish.vcl")).unwrap();
        let vcl = dir.path().join("test.vcl");
        let here = format!(".port = \"{}\"", backend.port());
        assert_eq!(shipped.matches(".port = \"8080\"").count(), 1);
        // What stands behind is run behind.
        let on_response = format!("sub vcl_backend_response {{\n{on_response}\n}}\n");
        fs::write(&vcl, shipped.replace(".port = \"8080\"", &here) + &on_response).unwrap();

        let mut command = Command::new("varnishd");
        // No jail: the test's user is enough, and a temporary directory is closed to others.
        command.args(["-F", "-j", "none", "-T", "none", "-s", "malloc,64m"]);
        command
            .arg("-n")
            .arg(dir.path().join("varnish"))
            .arg("-f")
            .arg(&vcl)
            .arg("-a")
            .arg(address.to_string());
        let mut process = Process::start("varnishd", command, dir.path());
        process.wait_until(|| listens(address))?;
        Ok(Self { address, _process: process, dir })
    }

    /// The edge TTL in seconds that our VCL gave to the last response for `target`, from Varnish's own log.
    pub fn ttl_of(&self, target: &str) -> u64 {
        eventually("Varnish logs the TTL", || {
            let mut command = Command::new("varnishlog");
            command.arg("-n").arg(self.dir.path().join("varnish")).args(["-d", "-b", "-i", "TTL,BereqURL"]);
            let log = String::from_utf8(command.output().unwrap().stdout).unwrap();
            let is_target = |entry: &&str| entry.split_whitespace().next() == Some(target);
            let of_target = log.split("BereqURL").filter(is_target).last()?;
            // "- TTL VCL 172800 …": what was set last, by the headers (RFC) or by the VCL.
            let set = of_target.lines().rfind(|line| line.contains(" TTL "))?;
            set.split_whitespace().nth(3)?.parse().ok()
        })
    }
}
