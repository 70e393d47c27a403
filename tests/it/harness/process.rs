//! A child process that ends with its test and shows its output if the test failed.

use super::{PATIENCE, eventually};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// `command` in a process in which the shell has done `first`.
pub fn after(first: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{first} && exec \"$0\" \"$@\""));
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// A running child.
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its output goes to a file in `dir`.
    pub fn start(name: &'static str, mut command: Command, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot start {name} ({error}): run tests/run, which installs what the tests need")
        });
        Self { name, child, log }
    }

    /// Waits until `ready`; `Err` with its output if the process ends before.
    pub fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<(), String> {
        eventually(&format!("{} is ready (within {PATIENCE:?})", self.name), || {
            if ready() {
                return Some(Ok(()));
            }
            let ended = self.child.try_wait().unwrap()?;
            Some(Err(format!("{} ended with {ended}:\n{}", self.name, self.output())))
        })
    }

    /// The output so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        eventually(&format!("{} ends", self.name), || self.child.try_wait().unwrap())
    }

    /// Waits until it has ended by itself.
    pub fn wait_until_ended(&mut self) -> ExitStatus {
        eventually(&format!("{} ends", self.name), || self.child.try_wait().unwrap())
    }

    /// SIGKILL: no chance to say anything.
    pub fn kill(&mut self) -> ExitStatus {
        // It may have ended already.
        let _ = self.child.kill();
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- output of {} ----\n{}", self.name, self.output());
        }
    }
}
