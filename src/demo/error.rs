//! Why the demo ends early.

use super::http1;
use std::error::Error;
use std::io;

/// Why the demo ended.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The runtime, a port, the signal handler or the output failed.
    #[error("cannot {action}")]
    Io {
        /// The action that failed.
        action: &'static str,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The shim did not start.
    #[error("the shim did not start")]
    Start(#[source] Box<dyn Error + Send + Sync>),
    /// A part of the chain did not answer.
    #[error("{step}: no answer")]
    Silent {
        /// The step of the sequence.
        step: &'static str,
        /// The reason.
        #[source]
        source: http1::SendError,
    },
    /// A part of the chain gave an unexpected answer.
    #[error("{step}: expected {expected}, got {got}")]
    Unexpected {
        /// The step of the sequence.
        step: &'static str,
        /// The expected answer.
        expected: String,
        /// The actual answer.
        got: String,
    },
}
