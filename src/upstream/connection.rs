//! A connection to an origin, in either version of HTTP.

use super::address::Address;
use super::stream::Stream;
use super::{h1, h2};
use std::rc::Rc;
use std::sync::Arc;

/// A connection to an origin: an HTTP/1.1 one is between two requests, an HTTP/2 one has room for a request.
#[derive(Debug)]
pub(super) enum Connection {
    Http1(h1::Connection<Stream>),
    Http2(h2::Connection),
}

/// The address at the other end of a connection. Only one worker counts the references, so that no locked
/// instruction is needed.
pub(super) type Route = Rc<Arc<Address>>;
