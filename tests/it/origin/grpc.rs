//! gRPC through the shim, with a client and a server of others (<https://pypi.org/project/grpcio/>). It needs HTTP/2
//! on both sides, bodies that stream both ways at once, `TE: trailers` in requests, and the status of a call in
//! trailers.

use crate::harness::eventually;
use crate::harness::process::Process;
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A command that runs a script with the gRPC that `tests/run` has installed.
fn python(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("target/tools/grpc/bin/python"));
    command.arg(root.join("tests/it/origin/grpc").join(script));
    command
}

/// A running server, and its port.
struct Server {
    port: u16,
    _process: Process,
    _dir: TempDir,
}

impl Server {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let process = Process::start("grpc_server", python("server.py"), dir.path());
        let port = eventually("the gRPC server listens", || {
            let output = process.output();
            output.split_once("listening on ")?.1.split_once('\n')?.0.parse().ok()
        });
        Self { port, _process: process, _dir: dir }
    }
}

/// The results of a client of the server at this address, call by call.
fn calls(address: &str) -> Vec<Value> {
    let mut client = python("client.py");
    let program = PathBuf::from(client.get_program());
    let output = client.arg(address).output().unwrap_or_else(|error| {
        panic!(
            "cannot start {} ({error}): run tests/run, which installs what the tests need",
            program.display()
        )
    });
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One call: its messages, status and details, and whether the client saw headers and trailers of the application's.
fn brief(call: &Value) -> String {
    let has = |part: &'static str| if call[part] == json!([]) { "" } else { part };
    let brief = json!([call["call"], call["messages"], call["status"], call["details"]]);
    format!("{brief} {} {}", has("headers"), has("trailers")).trim_end().to_owned()
}

#[test]
fn every_kind_of_call_ends_as_it_would_without_the_shim() {
    let server = Server::start();
    let origin = format!("127.0.0.1:{}", server.port);
    let shim = Shim::start(Site::www(origin).keys("origin_protocol = \"http2\""));
    let calls_through = calls(&shim.address.to_string());
    let briefs: Vec<String> = calls_through.iter().map(brief).collect();
    let expected = [
        r#"["Unary",["echo hello"],"OK",""] headers trailers"#,
        r#"["Countdown",["3","2","1"],"OK",""]  trailers"#,
        r#"["Countdown",[],"OK",""]  trailers"#,
        r#"["Total",["321"],"OK",""]"#,
        r#"["Chat",["heard one","heard two","heard three"],"OK",""]"#,
        r#"["Large",[2000000],"OK",""]"#,
        r#"["Refused",[],"FAILED_PRECONDITION","not today: ü %"]  trailers"#,
        r#"["RefusedLate",[],"PERMISSION_DENIED","after its head"] headers"#,
        r#"["Broken",["first","second"],"DATA_LOSS","after two messages"]"#,
        r#"["Unknown",[],"UNIMPLEMENTED","Method not found!"]"#,
    ];
    assert_eq!(briefs, expected);
    // Metadata, too, to the last byte.
    assert_eq!(calls_through, calls(&format!("127.0.0.1:{}", server.port)));
}
