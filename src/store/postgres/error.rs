//! Why a verb failed, or why the store cannot be opened.

use crate::store::StoreError;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// Why the database did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The database answered with an error, or not at all.
    #[error("the database failed")]
    Database(#[from] tokio_postgres::Error),
    /// No connection could be made for some time.
    #[error("the database cannot be reached")]
    Unreachable(#[source] Arc<Error>),
    /// A value that this program cannot have written.
    #[error("the database contains {0}")]
    Strange(String),
    /// A value that cannot be written as JSON.
    #[error("a value cannot be written or read as JSON")]
    Json(#[from] serde_json::Error),
    /// The commit was reported with a warning: the standby may not have it
    /// (<https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION>).
    #[error("the database committed, but not durably: {0}")]
    NotDurable(String),
    /// The commit took too long. It may still succeed.
    #[error("the commit has not ended for {} s", .0.as_secs())]
    Undecided(Duration),
    /// The commit failed in a way that does not tell whether it took place.
    #[error("it is not known whether the commit took place")]
    InDoubt(#[source] Box<Error>),
    /// What failed concerned several callers.
    #[error(transparent)]
    Shared(Arc<Error>),
    /// A newer version of this program wrote the schema.
    #[error(
        "the schema has version {found}, but this version knows versions up to {known} and the next one; use the newer version"
    )]
    Newer {
        /// The version of the schema.
        found: i64,
        /// The newest version that this program writes.
        known: i64,
    },
    /// The server is older than 14.
    #[error("the server is PostgreSQL {0}, but at least 14 is needed")]
    OldServer(String),
    /// A file with certificates cannot be used.
    #[error("cannot use {path}")]
    Certificates {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The system cannot start the store's thread.
    #[error("cannot start the thread of the store")]
    Thread(#[source] io::Error),
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    fn state(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) => error.code(),
            Self::Shared(error) => error.state(),
            _ => None,
        }
    }

    /// Returns whether what failed may have taken place nevertheless.
    pub(super) fn is_in_doubt(&self) -> bool {
        match self {
            Self::InDoubt(_) => true,
            Self::Shared(error) => error.is_in_doubt(),
            _ => false,
        }
    }

    /// Returns whether the transaction failed only because of another one, so that it may simply be run again.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self.state(), Some(state) if [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE].contains(state))
    }

    /// Returns whether the connection is of no use any more.
    pub(super) fn is_fatal(&self) -> bool {
        match self {
            Self::Database(error) => error.as_db_error().is_none_or(|error| {
                matches!(error.severity(), "FATAL" | "PANIC")
                    || *error.code() == SqlState::READ_ONLY_SQL_TRANSACTION
            }),
            Self::Undecided(_) => true,
            _ => false,
        }
    }

    /// Returns the error of a verb.
    pub(super) fn of(self, verb: &'static str) -> StoreError {
        let is_corrupt = match &self {
            Self::Strange(_) => true,
            _ => self
                .state()
                .is_some_and(|state| [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(state)),
        };
        match self {
            Self::Closed => StoreError::Closed,
            error => {
                let in_doubt = error.is_in_doubt();
                StoreError::Database { verb, source: Arc::new(error), is_corrupt, in_doubt }
            }
        }
    }
}
