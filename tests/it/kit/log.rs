//! The log follows `[log]`.

use crate::harness::http::Request;
use crate::harness::process::Process;
use crate::harness::shim::program;
use crate::harness::{eventually, free_address};
use serde_json::Value;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use tempfile::TempDir;

/// A shim without an origin, with this `[log]` and a data plane of its own.
struct Logging {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
    dir: TempDir,
}

const TOKEN: &str = "token-of-the-tests-0123456789";

fn config(address: SocketAddr, admin: SocketAddr, limits: &str, log: &str) -> String {
    format!(
        r#"server = {{ listen = ["{address}"], workers = 1, limits = {{ {limits} }} }}
admin = {{ listen = "{admin}", hosts = ["www.example.test"], tokens = [{{ name = "test", token = "literal:{TOKEN}", scopes = ["operate"] }}] }}
store = {{ url = "sqlite::memory:" }}
log = {{ {log} }}
sites = [{{ name = "www", hosts = ["www.example.test"], origin = "http://127.0.0.1:9" }}]
"#
    )
}

impl Logging {
    fn start(log: &str) -> Self {
        Self::limited("", log)
    }

    fn limited(limits: &str, log: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let (address, admin) = (free_address(), free_address());
        let file = dir.path().join("origin-shim.toml");
        fs::write(&file, config(address, admin, limits, log)).unwrap();
        let mut command = program();
        command.arg("serve").arg("--config").arg(&file);
        let mut process = Process::start("origin-shim", command, dir.path());
        process.wait_until(|| crate::harness::listens(address)).unwrap();
        Self { process, address, admin, dir }
    }

    /// Changes `[log]` and reloads.
    fn reload(&self, log: &str) {
        fs::write(self.dir.path().join("origin-shim.toml"), config(self.address, self.admin, "", log))
            .unwrap();
        let reloads = self.process.output().matches("\"changes\"").count();
        let hangup = format!("kill -HUP {}", self.process.id());
        assert!(Command::new("sh").arg("-c").arg(hangup).status().unwrap().success());
        eventually("the reload is told", || {
            (self.process.output().matches("\"changes\"").count() > reloads).then_some(())
        });
    }

    /// Calls `/v1/log-filter`.
    fn filter(&self, method: &str, body: &str) -> (u16, String) {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("authorization", bearer.as_str())];
        let call = Request { method, body: body.as_bytes(), ..Request::get("/v1/log-filter") };
        let answer = call.headers(&headers).send(self.admin);
        (answer.status, answer.text().to_owned())
    }

    /// Returns the lines with this target as soon as there are `count`.
    fn lines(&self, target: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} lines of {target}"), || {
            let output = self.process.output();
            let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let lines: Vec<_> = lines.filter(|line| line["target"] == target).collect();
            (lines.len() >= count).then_some(lines)
        })
    }
}

#[test]
fn requests_are_logged_without_their_queries_if_that_is_asked_for() {
    let shim = Logging::start(r#"format = "json", filter = "warn", access = "all""#);
    let visit = |target: &str, host: &str| Request { host, ..Request::get(target) }.send(shim.address).status;
    assert_eq!(visit("/a?token=hush", "www.example.test"), 502);
    assert_eq!(visit("/b", "www.example.invalid"), 421);
    let lines = shim.lines("access", 2);
    let line = &lines[0];
    assert_eq!(line["path"], "/a?…");
    assert_eq!(line["host"], "www.example.test");
    assert_eq!(
        (&line["site"], &line["method"], &line["status"]),
        (&"www".into(), &"GET".into(), &502.into())
    );
    assert_eq!((&line["decision"], &line["reason"]), (&"untouched".into(), &"shim-error".into()));
    assert_eq!(line["peer"], "127.0.0.1");
    assert_eq!((&lines[1]["site"], &lines[1]["status"]), (&"".into(), &421.into()));
    assert!(!shim.process.output().contains("hush"));

    // A reload changes which requests are logged, and the filter.
    shim.reload(r#"format = "json", filter = "info", access = "errors""#);
    assert_eq!(visit("/c", "www.example.invalid"), 421);
    assert_eq!(visit("/d", "www.example.test"), 502);
    let lines = shim.lines("access", 3);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["path"], "/d");

    shim.reload(r#"format = "json", filter = "info""#);
    assert_eq!(visit("/e", "www.example.test"), 502);
    let failures = shim.lines("origin_shim::proxy::respond", 5);
    assert_eq!((failures.len(), shim.lines("access", 0).len()), (5, 3));
}

#[test]
fn the_filter_can_be_changed_by_a_call() {
    let shim = Logging::start(r#"format = "json", filter = "warn""#);
    assert_eq!(shim.filter("GET", ""), (200, r#"{"filter":"warn"}"#.to_owned()));
    let visit = || Request::get("/").send(shim.address).status;
    assert_eq!(visit(), 502);
    shim.lines("origin_shim::proxy::respond", 1);
    assert_eq!(shim.filter("PUT", r#"{"filter": "error"}"#), (200, r#"{"filter":"error"}"#.to_owned()));
    assert_eq!(visit(), 502);
    for wrong in
        ["what=ever=this", "verbose", "info;debug", "off", "origin_shim::proxy=warn", "info,audit=off"]
    {
        assert_eq!(shim.filter("PUT", &format!(r#"{{"filter": "{wrong}"}}"#)).0, 422, "{wrong}");
    }
    assert_eq!(shim.filter("PUT", r#"{"filter": "error,origin_shim::proxy=warn"}"#).0, 200);
    assert_eq!(visit(), 502);
    assert_eq!(shim.lines("origin_shim::proxy::respond", 2).len(), 2);
    let audit = shim.lines("audit", 2);
    let told = |line: &Value| (line["message"].clone(), line["object"].clone(), line["token"].clone());
    assert_eq!(told(&audit[0]), ("log filter changed".into(), "error".into(), "test".into()));
}

#[test]
fn who_is_turned_away_is_in_the_access_log() {
    let shim = Logging::limited("connections = 2", r#"format = "json", filter = "warn", access = "errors""#);
    let held: Vec<_> = (0..2).map(|_| TcpStream::connect(shim.address).unwrap()).collect();
    let turned_away = eventually("there is no room", || {
        let answer = Request::get("/full?token=hush").send(shim.address);
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(turned_away.header("retry-after"), "1");
    let lines = shim.lines("access", 1);
    let line = lines.iter().find(|line| line["status"] == 503).unwrap();
    assert_eq!((&line["path"], &line["site"]), (&"/full?…".into(), &"".into()));
    drop(held);
}
