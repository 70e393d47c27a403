//! A wall clock that a test sets for one process, by `libfaketime` (<https://github.com/wolfcw/libfaketime>).
//! Monotonic clocks stay as they are, as on a real machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Debian's package `libfaketime`, the variant for programs with threads.
const LIBRARY: &str = "libfaketimeMT.so.1";

/// The clock.
pub struct WallClock {
    library: PathBuf,
    /// The file with the lead over the true time. It is read at every reading of the clock.
    setting: PathBuf,
}

impl WallClock {
    /// A clock with the true time. Its setting is a file in `dir`.
    pub fn new(dir: &Path) -> Self {
        let found = fs::read_dir("/usr/lib").into_iter().flatten().filter_map(Result::ok);
        let found = found.map(|entry| entry.path().join("faketime").join(LIBRARY)).find(|path| path.exists());
        let library = found.expect("libfaketime is not installed: tests/run does that");
        let clock = Self { library, setting: dir.join("faketime") };
        clock.set(0);
        clock
    }

    /// Sets the clock this number of seconds ahead of the true time.
    pub fn set(&self, ahead_seconds: i64) {
        // By renaming, because a half-written file would be another setting.
        let new = self.setting.with_extension("new");
        fs::write(&new, format!("{ahead_seconds:+}")).unwrap();
        fs::rename(new, &self.setting).unwrap();
    }

    /// Makes the program of `command` use this clock.
    pub fn show_to(&self, mut command: Command) -> Command {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.setting);
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    }
}
