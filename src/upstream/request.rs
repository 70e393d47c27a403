//! A request as the request path hands it over. The request path decides which fields it has and what happens to
//! interim responses.

use super::origin::Origin;
use super::upload::Upload;
use crate::config::Limits;
use crate::http::head::{FieldLine, Line, RequestHead, ResponseHead, Value};
use crate::metrics::shard::SiteShard;
use std::time::Instant;

/// The fields of a request as an origin receives them, except for the framing.
pub trait Fields {
    /// Returns these fields in their order, with this `Host`, or that of the request if there is none.
    fn lines<'f>(&'f self, host: Option<&'f FieldLine>) -> impl Iterator<Item = Line<'f>>;
}

/// Takes the interim responses that have arrived.
pub type InterimSink<'a> = dyn Fn(Vec<ResponseHead>) + 'a;

/// A request on its way to an origin.
pub struct Outgoing<'a, F> {
    /// The client's method and target.
    pub head: &'a RequestHead,
    /// The fields that the origin receives.
    pub fields: F,
    /// The body, taken by the first origin to which there is a connection.
    pub body: Option<Upload>,
    /// The protocol to which the client requests a switch.
    pub upgrade: Option<Value<'a>>,
    /// The destination of interim responses, or `None` if they are not wanted.
    pub interim: Option<&'a InterimSink<'a>>,
    /// Whether the request may authenticate its connection ([`bound_auth`](super::bound_auth)).
    pub binds: bool,
    /// When the request arrived.
    pub since: Instant,
}

/// The destination of a request.
#[derive(Clone, Copy)]
pub struct Destination<'a> {
    /// The name of the site, for the log.
    pub site: &'a str,
    /// The site's origins, in the order in which they are tried.
    pub origins: &'a [Origin],
    /// Timeouts, and the size of the pool.
    pub limits: &'a Limits,
    /// The site's counters on this worker.
    pub counters: &'a SiteShard,
}
