//! Varnish as the CDN, with the VCL that the project ships.

use super::process::Process;
use super::{eventually, free_address, listens};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A running varnishd.
pub struct Varnish {
    /// The address that it listens on.
    pub address: SocketAddr,
    _process: Process,
    dir: TempDir,
}

impl Varnish {
    /// Starts it in front of `backend`, which need not listen yet.
    pub fn start(backend: SocketAddr) -> Self {
        Self::start_with(backend, "")
    }

    /// As [`Self::start`], with these lines at the end of `vcl_backend_response`.
    pub fn start_with(backend: SocketAddr, on_response: &str) -> Self {
        for _ in 0..5 {
            match Self::try_start(backend, on_response) {
                Ok(varnish) => return varnish,
                // Another process took the port in between.
                Err(output) => assert!(output.contains("Address already in use"), "{output}"),
            }
        }
        panic!("no port for Varnish");
    }

    fn try_start(backend: SocketAddr, on_response: &str) -> Result<Self, String> {
        let dir = TempDir::new().unwrap();
        let address = free_address();
        let vcl = dir.path().join("test.vcl");
        // A subroutine that is defined later runs later.
        let on_response = format!("sub vcl_backend_response {{\n{on_response}\n}}\n");
        fs::write(&vcl, shipped(backend) + &on_response).unwrap();

        let mut command = Command::new("varnishd");
        // No jail: the test's user is enough, and a temporary directory is closed to others.
        command.args(["-F", "-j", "none", "-T", "127.0.0.1:0", "-s", "malloc,64m"]);
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

    /// Replaces the VCL, as an operator does. Stored objects stay.
    pub fn use_vcl(&self, text: &str) {
        let name = format!("v{}", fs::read_dir(self.dir.path()).unwrap().count());
        let file = self.dir.path().join(format!("{name}.vcl"));
        fs::write(&file, text).unwrap();
        self.manage(&["vcl.load", &name, file.to_str().unwrap()]);
        self.manage(&["vcl.use", &name]);
    }

    fn manage(&self, arguments: &[&str]) {
        let mut command = Command::new("varnishadm");
        // A busy machine compiles a VCL for longer than the usual 5 s.
        command.args(["-t", "60", "-n"]).arg(self.dir.path().join("varnish")).args(arguments);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }

    /// The edge TTL in seconds that the VCL gave to the last response for `target`, from the log of Varnish.
    pub fn ttl_of(&self, target: &str) -> u64 {
        eventually("Varnish logs the TTL", || {
            let mut command = Command::new("varnishlog");
            command.arg("-n").arg(self.dir.path().join("varnish")).args(["-d", "-b", "-i", "TTL,BereqURL"]);
            let log = String::from_utf8(command.output().unwrap().stdout).unwrap();
            let is_target = |entry: &&str| entry.split_whitespace().next() == Some(target);
            let of_target = log.split("BereqURL").filter(is_target).last()?;
            // "- TTL VCL 172800 …": the last value, set by the headers (RFC) or by the VCL.
            let set = of_target.lines().rfind(|line| line.contains(" TTL "))?;
            set.split_whitespace().nth(3)?.parse().ok()
        })
    }
}

/// The VCL that the project ships, in front of this backend.
pub fn shipped(backend: SocketAddr) -> String {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/varnish.vcl")).unwrap();
    assert_eq!(text.matches(".port = \"8080\"").count(), 1);
    text.replace(".port = \"8080\"", &format!(".port = \"{}\"", backend.port()))
}
