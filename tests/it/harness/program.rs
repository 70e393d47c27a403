//! The real program, for tests of what only a process has: memory, signals, two listeners.

use super::http::{Answer, Request};
use super::shim::program;
use super::site::Site;
use super::{HOST, PATIENCE, eventually, free_address};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// A running shim with one site in front of one origin.
pub struct Program {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// The configuration file of the shim.
    pub config: PathBuf,
    child: Child,
    log: PathBuf,
    dir: TempDir,
}

/// The method by which a program gets private mounts.
pub struct Mounts(&'static str);

impl Mounts {
    /// Chooses a user namespace, or root's rights if that fails. If the system allows neither, prints a line about
    /// that and returns `None`.
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

    /// Returns a command that makes these mounts, each given as the arguments of mount(8), and becomes `program`.
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

/// The addresses and the directory of a program that is about to start.
pub struct Place {
    pub address: SocketAddr,
    pub admin: SocketAddr,
    /// The directory of the configuration and the store.
    pub dir: PathBuf,
}

impl Program {
    /// Starts the program with `limits` as the content of `[server.limits]`.
    pub fn before(origin: SocketAddr, limits: &str) -> Self {
        Self::start(|Place { address, admin, .. }| {
            format!(
                "[server]\nlisten = [\"{address}\"]\nworkers = 2\n[server.limits]\n{limits}\n[admin]\nlisten = \"{admin}\"\nhosts = [\"{HOST}\"]\n\
                 [store]\nurl = \"sqlite:store.db\"\n{}",
                Site::www(origin).host("www.example.com")
            )
        })
    }

    /// Starts the program with the configuration that is written for a place.
    pub fn start(configuration: impl Fn(&Place) -> String) -> Self {
        Self::start_with(|_, program| program, configuration)
    }

    /// Starts the program by a command that becomes it.
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
            // Another process took a port in between.
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

    /// Sends a request for the site. The connection is closed after it.
    pub fn get(&self, target: &str) -> Answer {
        Request::get(target).send(self.address)
    }

    /// Returns the directory of the configuration, the store and the log.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the path at which this process sees the program's `path`, if the program has mounted something there.
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

    /// Stops all threads of the program, until [`Self::go_on`].
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets a paused program go on.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until the program has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        eventually(&format!("the shim ends within {PATIENCE:?}"), || self.child.try_wait().unwrap())
    }

    /// Returns the output of the program.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns the resident memory in bytes: the present value and the highest so far.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
        };
        (bytes("VmRSS:"), bytes("VmHWM:"))
    }

    /// Returns the value of a metric, whose name may include labels.
    pub fn metric(&self, name: &str) -> u64 {
        let text = Request::get("/metrics").send(self.admin);
        let line = text.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The program may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- output of the shim ----\n{}", self.output());
        }
    }
}
