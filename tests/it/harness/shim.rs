//! The real program with the sites of a test.

use super::http::{Answer, Download, Request};
use super::process::Process;
use super::{HOST, eventually, free_address};
use serde_json::Value;
use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// The token of the tests, which may use all of the admin API.
pub const TOKEN: &str = "integration-test-token";

/// A running shim.
pub struct Shim {
    /// The data plane.
    pub address: SocketAddr,
    /// The admin API.
    pub admin: SocketAddr,
    /// The configuration file.
    pub config: PathBuf,
    process: Process,
    dir: TempDir,
}

/// The program under test, without the variables of this machine's environment that it would read.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_origin-shim"));
    for (name, _) in std::env::vars().filter(|(name, _)| is_foreign(name)) {
        command.env_remove(name);
    }
    command
}

fn is_foreign(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with("_proxy") || name.starts_with("origin_shim_") || name == "rust_log"
}

impl Shim {
    /// Starts the shim with these sites, on free ports, and waits until it is ready. The sites may be followed by
    /// other tables of the configuration.
    pub fn start(sites: impl Display) -> Self {
        Self::start_behind(|_| ((), &sites)).0
    }

    /// Starts the shim with the sites that `start` returns together with what it has started for them. `start` gets
    /// the address of the data plane first, so that it can start a CDN in front of the shim.
    pub fn start_behind<T, S: Display>(start: impl Fn(SocketAddr) -> (T, S)) -> (Self, T) {
        Self::start_behind_in(&[], start)
    }

    /// As [`Self::start_behind`], in this environment.
    pub fn start_behind_in<T, S: Display>(
        environment: &[(&str, &str)],
        start: impl Fn(SocketAddr) -> (T, S),
    ) -> (Self, T) {
        for _ in 0..5 {
            let address = free_address();
            let (started, sites) = start(address);
            match Self::try_start_in(environment, address, &sites) {
                Ok(shim) => return (shim, started),
                // Another process took a port in between.
                Err(output) => assert!(output.to_lowercase().contains("address already in use"), "{output}"),
            }
        }
        panic!("no ports for the shim");
    }

    /// Starts the shim with its data plane at `address`. Returns its output as an error if it ends instead.
    pub fn try_start(address: SocketAddr, sites: impl Display) -> Result<Self, String> {
        Self::try_start_in(&[], address, sites)
    }

    fn try_start_in(
        environment: &[(&str, &str)],
        address: SocketAddr,
        sites: impl Display,
    ) -> Result<Self, String> {
        let dir = TempDir::new().unwrap();
        let admin = free_address();
        let config = dir.path().join("origin-shim.toml");
        fs::write(&config, configuration(address, admin, sites)).unwrap();
        let mut command = serve(&config);
        command.envs(environment.iter().copied());
        let mut process = Process::start("origin-shim", command, dir.path());
        process.wait_until(|| is_ready(admin))?;
        Ok(Self { address, admin, config, process, dir })
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends SIGKILL through a shared reference, while other threads use the shim.
    pub fn kill_now(&self) {
        let status = Command::new("kill").args(["-KILL", &self.process.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        let status = Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Sends SIGTERM.
    pub fn stop(&self) {
        let status = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Replaces this part of the configuration file, which must occur exactly once.
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.config).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from}");
        fs::write(&self.config, text.replace(from, to)).unwrap();
    }

    /// Starts the killed shim again, with the same configuration, ports and store.
    pub fn start_again(&mut self) {
        self.start_again_as(|command| command);
    }

    /// As [`Self::start_again`], with another environment, or under another program.
    pub fn start_again_as(&mut self, change: impl Fn(Command) -> Command) {
        let admin = self.admin;
        // While the shim was down, a connection of another process may have got one of its ports.
        eventually("its ports are free again", || {
            self.process = Process::start("origin-shim", change(serve(&self.config)), self.dir.path());
            match self.process.wait_until(|| is_ready(admin)) {
                Ok(()) => Some(()),
                Err(output) if output.to_lowercase().contains("address already in use") => None,
                Err(output) => panic!("{output}"),
            }
        });
    }

    /// Starts another process with the same configuration, which is to take over. `notify` gets the notifications of a
    /// service manager.
    pub fn successor(&self, notify: &std::path::Path) -> Process {
        let mut command = serve(&self.config);
        command.arg("--take-over").env("NOTIFY_SOCKET", notify);
        Process::start("successor", command, self.dir.path())
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it has ended by itself.
    pub fn wait_until_ended(&mut self) {
        self.process.wait_until_ended();
    }

    /// Everything that the shim has written: its log, and its store with the files beside it.
    pub fn written(&self) -> Vec<u8> {
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| *path != self.config);
        files.flat_map(|path| fs::read(path).unwrap_or_default()).collect()
    }

    /// Waits until every CDN of the site `www` is known to be purgeable.
    pub fn wait_until_healthy(&self) {
        eventually("every CDN is healthy", || {
            let site = self.call(Request::get("/v1/sites/www")).json();
            let cdns = site["cdns"].as_array().filter(|cdns| !cdns.is_empty())?;
            cdns.iter().all(|cdn| cdn["healthy"] == true).then_some(())
        });
    }

    /// Sends an opted-in GET as a CDN of this type does, but directly to the shim.
    pub fn as_cdn(&self, cdn: &str, target: &str) -> Answer {
        let headers = [("x-push-invalidation", "enabled"), ("x-byo-cdn-type", cdn)];
        Request::get(target).headers(&headers).send(self.address)
    }

    /// Requests a purge and waits until it is done.
    pub fn purge(&self, body: &Value) -> Value {
        let answer = self.post_purge(body, &[("prefer", "wait=30")]);
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        let purge = answer.json();
        assert_eq!(purge["state"], "done", "{body}: {purge}");
        purge
    }

    /// Reports a publish event and waits until its purge is done.
    pub fn publish(&self, event: &Value) -> Value {
        let headers = [("content-type", "application/json"), ("prefer", "wait=30")];
        let body = event.to_string();
        let request = Request { body: body.as_bytes(), ..Request::get("/v1/sites/www/events") };
        let answer = self.call(request.method("POST").headers(&headers));
        assert_eq!(answer.status, 200, "{event}: {}", answer.text());
        let purge = answer.json();
        assert_eq!(purge["state"], "done", "{event}: {purge}");
        purge
    }

    /// Requests a purge. Returns its id.
    pub fn accept(&self, body: &Value) -> String {
        let answer = self.post_purge(body, &[]);
        assert_eq!(answer.status, 202, "{body}: {}", answer.text());
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(answer.header("location"), format!("/v1/purges/{id}"));
        id
    }

    /// Requests a purge. Returns its id if it was accepted.
    pub fn try_accept(&self, body: &Value) -> Option<String> {
        let (bearer, body) = (format!("Bearer {TOKEN}"), body.to_string());
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let request = Request { body: body.as_bytes(), ..Request::get("/v1/sites/www/purges") };
        let answer = request.method("POST").headers(&headers).try_send(self.admin).ok()?;
        (answer.status == 202).then(|| answer.json()["id"].as_str().unwrap().to_owned())
    }

    /// Sends `POST /v1/sites/www/purges`.
    pub fn post_purge(&self, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let headers = [&[("content-type", "application/json")], headers].concat();
        let body = body.to_string();
        let request = Request { body: body.as_bytes(), ..Request::get("/v1/sites/www/purges") };
        self.call(request.method("POST").headers(&headers))
    }

    /// Reads the purge `id`.
    pub fn look_up(&self, id: &str) -> Value {
        let answer = self.call(Request::get(&format!("/v1/purges/{id}")));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Sends an authorised call of the admin API.
    pub fn call(&self, request: Request<'_>) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [&[("authorization", bearer.as_str())], request.headers].concat();
        request.headers(&headers).send(self.admin)
    }

    /// Sends an authorised call whose answer is read as it comes.
    pub fn open(&self, request: Request<'_>) -> Download {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [&[("authorization", bearer.as_str())], request.headers].concat();
        request.headers(&headers).open(self.admin).unwrap()
    }

    /// The resident memory in bytes: now, and at its highest.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let kilobytes = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        (kilobytes("VmRSS:") * 1024, kilobytes("VmHWM:") * 1024)
    }
}

fn serve(config: &std::path::Path) -> Command {
    let mut command = program();
    command.arg("serve").arg("--config").arg(config);
    command
}

fn is_ready(admin: SocketAddr) -> bool {
    Request::get("/readyz").try_send(admin).is_ok_and(|answer| answer.status == 200)
}

fn configuration(address: SocketAddr, admin: SocketAddr, sites: impl Display) -> String {
    format!(
        r#"[server]
listen = ["{address}"]
workers = 2

[admin]
listen = "{admin}"
hosts = ["{HOST}"]

[[admin.tokens]]
name = "test"
token = "literal:{TOKEN}"
scopes = ["read", "purge", "purge-everything", "operate"]

[store]
url = "sqlite:store.db"

{sites}
"#
    )
}
