//! The client of the origins. [`send()`] takes a request and returns its response. Everything below is internal to
//! this module: the choice of origin and address, pooled and new connections, one exchange on a connection, its
//! deadlines, and retries. The request path decides the contents of a request. Nothing here depends on sites'
//! rules, CDNs or purges.

pub mod bound_auth;
pub mod h1;
pub mod h2;

mod address;
mod client;
mod connect;
mod connection;
mod descriptors;
mod error;
mod exchange;
mod health;
mod origin;
mod pool;
mod request;
mod send;
mod stream;
mod tls;
mod tunnel;
mod upload;

pub use address::Upstreams;
pub use client::Client;
pub use descriptors::Descriptors;
pub use error::{Cause, DownloadError, ExchangeError, OriginError, Phase, SendError};
pub use exchange::{OriginBody, Response};
pub use health::OriginMonitor;
pub use origin::{Origin, SetupError};
pub use request::{Destination, Fields, InterimSink, Outgoing};
pub use send::send;
pub use tls::{Roots, with_http2};
pub use tunnel::{Tunnel, has_upgrade};
pub use upload::{Upload, UploadError};
