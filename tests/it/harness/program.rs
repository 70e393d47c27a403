//! The real program, for what only a process has: memory, signals, two listeners.

use super::http::{Answer, Request};
use super::shim::program;
use super::site::Site;
use super::{HOST, PATIENCE, eventually, free_address};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// A running shim.
pub struct Program {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// The configuration file.
    pub config: PathBuf,
    child: Child,
    log: PathBuf,
    dir: TempDir,
}

/// A way to give a program mounts that only it sees.
pub struct Mounts(&'static str);

impl Mounts {
    /// Finds a way: in a user namespace, or as root. If the system allows neither, prints that and returns none.
    pub fn allowed() -> Option<Self> {
        let allowed = ["-rm", "-m"].into_iter().find(|how| {
            let tried = Command::new("unshare").args([how, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
            tried.is_ok_and(|output| output.status.success())
        });
        if allowed.is_none() {
            println!("NOT TESTED: neither user namespaces nor root's mounts are allowed here");
        }
        allowed.map(Self)
    }

    /// A command that mounts these, each as the arguments of mount(8), and becomes `program`.
    pub fn launch(&self, program: Command, mounts: &[&str]) -> Command {
        let mounts: String = mounts.iter().map(|mount| format!("mount {mount} && ")).collect();
        let mut command = Command::new("unshare");
        command.args([self.0, "sh", "-c", &format!("{mounts}exec \"$0\" \"$@\"")]).arg(program.get_program());
        for (name, _) in program.get_envs() {
            command.env_remove(name);
        }
        command
    }
}

/// The addresses and the directory of a program.
pub struct Place {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// The directory of its configuration and its store.
    pub dir: PathBuf,
}

impl Program {
    /// Starts it in front of this origin, with `limits` as the content of `[server.limits]`.
    pub fn before(origin: SocketAddr, limits: &str) -> Self {
        Self::start(|Place { address, admin, .. }| {
            format!(
                "[server]\nlisten = [\"{address}\"]\nworkers = 2\n[server.limits]\n{limits}\n[admin]\nlisten = \"{admin}\"\nhosts = [\"{HOST}\"]\n\
                 [store]\nurl = \"sqlite:store.db\"\n{}",
                Site::www(origin).host("www.example.com")
            )
        })
    }

    /// Starts it with the configuration that `configuration` writes for a place.
    pub fn start(configuration: impl Fn(&Place) -> String) -> Self {
        Self::start_with(|_, program| program, configuration)
    }

    /// As [`Self::start`], by a command of `launch` that becomes the program.
    pub fn start_with(
        launch: impl Fn(&Place, Command) -> Command,
        configuration: impl Fn(&Place) -> String,
    ) -> Self {
        for _ in 0..5 {
            if let Some(program) = Self::try_start(&launch, &configuration) {
                return program;
            }
        }
        panic!("no ports for the shim");
    }

    fn try_start(
        launch: &impl Fn(&Place, Command) -> Command,
        configuration: &impl Fn(&Place) -> String,
    ) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let (address, admin) = (free_address(), free_address());
        let config = dir.path().join("origin-shim.toml");
        let place = Place { address, admin, dir: dir.path().to_owned() };
        fs::write(&config, configuration(&place)).unwrap();
        let log = dir.path().join("log");
        let output = File::create(&log).unwrap();
        let child = launch(&place, program())
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut program = Self { address, admin, config, child, log, dir };
        let ready = eventually("the shim is ready", || {
            if Request::get("/readyz").try_send(admin).is_ok_and(|answer| answer.status == 200) {
                return Some(true);
            }
            // A stranger took a port in between.
            program.child.try_wait().unwrap().map(|_| false)
        });
        if !ready {
            assert!(
                program.output().to_lowercase().contains("address already in use"),
                "{}",
                program.output()
            );
        }
        ready.then_some(program)
    }

    /// Sends a GET on a connection of its own.
    pub fn get(&self, target: &str) -> Answer {
        Request::get(target).send(self.address)
    }

    /// The directory of its configuration and its store.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The path of the file that the program sees at `path`, if something is mounted there.
    pub fn seen(&self, path: &Path) -> PathBuf {
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join("root")
            .join(path.strip_prefix("/").unwrap())
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        eventually(&format!("the shim ends within {PATIENCE:?}"), || self.child.try_wait().unwrap())
    }

    /// Its output so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The resident memory in bytes: now, and at its highest.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
        };
        (bytes("VmRSS:"), bytes("VmHWM:"))
    }

    /// The value of the metric with this name and labels.
    pub fn metric(&self, name: &str) -> u64 {
        let text = Request::get("/metrics").send(self.admin);
        let line = text.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- output of the shim ----\n{}", self.output());
        }
    }
}
