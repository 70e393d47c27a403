//! Rewriting of old files. Files from versions that could not release free space are rewritten one time. The new
//! file is written beside the old one, not in a directory for temporary files, which may be memory. The old one
//! stays until the new one is complete.

use crate::base::beside;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::io;
use std::path::Path;

/// The size in bytes above which a file is not rewritten, because the start would take minutes.
const LARGEST: u64 = 1 << 30;

/// Why a file was not rewritten.
#[derive(Debug, thiserror::Error)]
enum Unchanged {
    #[error("it has {} MiB, and is rewritten automatically only up to {} MiB", .0 >> 20, LARGEST >> 20)]
    Large(u64),
    #[error("rewriting it was interrupted; the next start tries again")]
    BrokenOff,
    #[error("another program is reading it")]
    Busy,
    #[error("it cannot be rewritten")]
    Database(#[from] rusqlite::Error),
    #[error("the rewritten file cannot replace it")]
    File(#[from] io::Error),
}

/// Rewrites the file if it cannot shrink. Returns whether the file may have been replaced. No connection may be
/// open. Whatever fails, no data is lost.
pub(super) fn enable(path: &Path) -> bool {
    let new = beside(path, "-new");
    match written_anew(path, &new) {
        Ok(false) => false,
        Ok(true) => {
            tracing::info!(
                store = %path.display(),
                "the store was rewritten, so that it releases the space of removed purges"
            );
            true
        }
        Err(error) => {
            // The file may not exist.
            let _ = std::fs::remove_file(&new);
            tracing::warn!(
                store = %path.display(), error = &error as &dyn std::error::Error,
                "the store keeps the space of removed purges for later ones; to make it shrink, stop the shim and run: \
                 sqlite3 {} 'PRAGMA journal_mode = DELETE; PRAGMA auto_vacuum = INCREMENTAL; VACUUM'",
                path.display()
            );
            // The last step may have failed after the new file was already in place.
            true
        }
    }
}

fn written_anew(path: &Path, new: &Path) -> Result<bool, Unchanged> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let old = Connection::open_with_flags(path, flags)?;
    let pragma = |name| old.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    if pragma("auto_vacuum")? != 0 || pragma("page_count")? == 0 {
        return Ok(false);
    }
    if new.exists() {
        // An impatient user may have interrupted the rewriting, and would do so again.
        std::fs::remove_file(new)?;
        return Err(Unchanged::BrokenOff);
    }
    let is_busy: bool = old.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if is_busy {
        return Err(Unchanged::Busy);
    }
    let bytes = std::fs::metadata(path)?.len();
    if bytes > LARGEST {
        return Err(Unchanged::Large(bytes));
    }
    tracing::info!(store = %path.display(), mib = bytes >> 20, "the store is being rewritten, which takes a moment");
    old.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    old.execute("VACUUM INTO ?1", [new.to_string_lossy()])?;
    drop(old);
    let file = File::options().write(true).open(new)?;
    file.set_permissions(std::fs::metadata(path)?.permissions())?;
    file.sync_all()?;
    std::fs::rename(new, path)?;
    if let Some(directory) = path.parent() {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        File::open(directory)?.sync_all()?;
    }
    Ok(true)
}
