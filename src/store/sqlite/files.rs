//! The files beside the database, and why a store cannot be opened.

#[cfg(doc)]
use super::guard::Guard;
use super::migrations::VERSION;
use crate::base::beside;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The lock file cannot be written.
    #[error("cannot create the lock file {path}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The store's files cannot be opened or examined.
    #[error("cannot open the files of the store {path}")]
    Files {
        /// The database.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another instance has the store open.
    #[error("{path} is in use by another instance; each instance needs a store of its own")]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// SQLite cannot open the database.
    #[error("cannot open the store {path}")]
    Database {
        /// The database; `:memory:` if it has no file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// The database belongs to another program.
    #[error("{path} is a database, but not a store of origin-shim")]
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// A newer origin-shim wrote the database.
    #[error(
        "{path} has format {found}, but this version knows formats up to {VERSION}; use the newer version"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version of its format.
        found: i32,
    },
    /// The file system has no shared memory (a network disk), which the write-ahead log needs.
    #[error("{path} is on a file system without the locks that a write-ahead log needs; use a local disk")]
    NoWal {
        /// The database.
        path: PathBuf,
    },
    /// The system cannot start another thread.
    #[error("cannot start a thread of the store")]
    Thread(#[source] io::Error),
}

/// Locks a file beside the database. The lock ends with the process, however that ends. Older versions use no
/// other lock. [`Guard`] still holds if this file is removed.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let name = beside(path, "-lock");
    let failed = |source| OpenError::Lock { path: name.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
