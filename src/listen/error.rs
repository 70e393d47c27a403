//! The reasons why the data plane cannot start.

use crate::http::tls::TlsError;
use crate::upstream::SetupError;
use std::io;
use std::net::SocketAddr;

/// Why the data plane cannot start or cannot apply a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Binding an address failed.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error("the certificates cannot be used")]
    Tls(#[from] TlsError),
    /// The sites cannot be routed.
    #[error("the sites cannot be routed")]
    Routing(#[from] SetupError),
    /// The system provides no thread or event queue.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
}
