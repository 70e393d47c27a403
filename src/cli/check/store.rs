//! Whether the store's file can be opened here.

use super::finding::{Finding, Level};
use crate::config::{Config, Places};
use rustix::fs::{Access, access};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The first bytes of every SQLite file (<https://www.sqlite.org/fileformat.html>, 1.3).
const MAGIC: &[u8] = b"SQLite format 3\0";

/// What was found where the store should be.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Usable,
    NoDirectory,
    UnwritableDirectory,
    IsDirectory,
    UnwritableFile,
    OtherFile,
}

/// Looks at the store's file and its directory.
pub fn check(config: &Config, places: &Places) -> Vec<Finding> {
    let Some(path) = &config.store.path else { return Vec::new() };
    let user = rustix::process::geteuid().as_raw();
    judge(look(path), path, user, places).into_iter().collect()
}

fn look(path: &Path) -> Found {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let can_write = |path: &Path| access(path, Access::WRITE_OK).is_ok();
    if !directory.is_dir() {
        Found::NoDirectory
    } else if path.is_dir() {
        Found::IsDirectory
    } else if path.exists() && !can_write(path) {
        Found::UnwritableFile
    } else if !can_write(&directory) {
        Found::UnwritableDirectory
    } else if is_foreign(path) {
        Found::OtherFile
    } else {
        Found::Usable
    }
}

/// Whether the file has content that is not SQLite's.
fn is_foreign(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start));
    read.is_ok_and(|length| length > 0) && start != MAGIC
}

fn judge(found: Found, path: &Path, user: u32, places: &Places) -> Option<Finding> {
    let shown = path.display();
    let (level, what, advice) = match found {
        Found::Usable => return None,
        Found::NoDirectory => (
            Level::Error,
            format!("the directory of {shown} does not exist, so every purge would be refused"),
            "create it, owned by the user of the service, or name another one",
        ),
        Found::IsDirectory => (
            Level::Error,
            format!("{shown} is a directory, so every purge would be refused"),
            "name a file in it, such as sqlite:/var/lib/origin-shim/store.db",
        ),
        // Whoever checks may be another user than the service.
        Found::UnwritableDirectory => (
            Level::Warning,
            format!("this user (uid {user}) cannot write to the directory of {shown}"),
            "if the service runs as this user, every purge would be refused: let it own the directory",
        ),
        Found::UnwritableFile => (
            Level::Warning,
            format!("this user (uid {user}) cannot write to {shown}"),
            "if the service runs as this user, every purge would be refused: let it own the file",
        ),
        Found::OtherFile => (
            Level::Error,
            format!("{shown} is not an SQLite database"),
            "name another file, or move this one away",
        ),
    };
    Some(Finding::new(level, places.problem("store.url", what), Some(advice)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(look(&at("store.db")), Found::Usable);
        assert_eq!(look(&at("none/store.db")), Found::NoDirectory);
        assert_eq!(look(directory.path()), Found::IsDirectory);
        std::fs::write(at("store.db"), "").unwrap();
        assert_eq!(look(&at("store.db")), Found::Usable);
        std::fs::write(at("store.db"), [MAGIC, b"..."].concat()).unwrap();
        assert_eq!(look(&at("store.db")), Found::Usable);
        std::fs::write(at("store.db"), "name,age").unwrap();
        assert_eq!(look(&at("store.db")), Found::OtherFile);
        assert_eq!(look(Path::new("store.db")), Found::Usable);
    }
}
