//! A connection to an origin, of either version of HTTP.

use super::address::Address;
use super::stream::Stream;
use super::{h1, h2};
use std::rc::Rc;
use std::sync::Arc;

/// A connection to an origin: between two requests, or in HTTP/2 with room for one.
#[derive(Debug)]
pub(super) enum Connection {
    Http1(h1::Connection<Stream>),
    Http2(h2::Connection),
}

/// The address at the other end of a connection. Its references are counted by the worker alone, which costs no locked
/// instruction.
pub(super) type Route = Rc<Arc<Address>>;
