//! The reasons why the program does not start, or does not end cleanly.

use crate::listen::{ListenError, WorkerPanicked};
use crate::upstream::SetupError;
use std::io;
use std::net::SocketAddr;

/// The reason why the program did not start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data plane did not start.
    #[error("the proxy cannot start")]
    Listen(#[from] ListenError),
    /// The sites cannot be routed.
    #[error("the sites cannot be routed")]
    Routing(#[from] SetupError),
    /// The admin address cannot be bound.
    #[error("cannot listen on {address} for the admin API")]
    AdminBind {
        /// The address.
        address: SocketAddr,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The address of an inbound listener cannot be bound.
    #[error("cannot listen on {address} for `inbound`")]
    InboundBind {
        /// The address.
        address: SocketAddr,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The system provides no thread or event queue.
    #[error("the control plane cannot start")]
    Control(#[source] io::Error),
    /// Calls to CDNs cannot be made.
    #[error("calls to CDNs cannot be made")]
    Sender(#[source] crate::cdn::SendError),
}

/// The reason why the program did not end cleanly.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// A thread of the data plane panicked.
    #[error("the proxy did not end cleanly")]
    Data(#[from] WorkerPanicked),
    /// The control plane panicked.
    #[error("the control plane panicked")]
    Control,
}
