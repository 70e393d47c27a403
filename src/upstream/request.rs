//! A request as this side of the proxy gets it. Which fields it has, and what becomes of interim responses, is decided by
//! the request path.

use super::origin::Origin;
use super::upload::Upload;
use crate::config::Limits;
use crate::http::head::{FieldLine, Line, RequestHead, ResponseHead};
use crate::metrics::shard::SiteShard;
use http::HeaderValue;
use std::time::Instant;

/// The fields of a request as an origin gets them, all but the framing.
pub trait Fields {
    /// These fields, in their order, for an origin that is to see this `Host`, or that of the request if there is none.
    fn lines<'f>(&'f self, host: Option<&'f FieldLine>) -> impl Iterator<Item = Line<'f>>;
}

/// Takes the interim responses that have arrived.
pub type InterimSink<'a> = dyn Fn(Vec<ResponseHead>) + 'a;

/// A request on its way to an origin.
pub struct Outgoing<'a, F> {
    /// The client's method and target.
    pub head: &'a RequestHead,
    /// What the origin gets of its fields.
    pub fields: F,
    /// The body, taken by the first origin to which there is a connection.
    pub body: Option<Upload>,
    /// The protocol that the client asks to switch to.
    pub upgrade: Option<&'a HeaderValue>,
    /// Where interim responses go; none if nobody wants any.
    pub interim: Option<&'a InterimSink<'a>>,
    /// Whether the request may authenticate its connection ([`bound_auth`](super::bound_auth)).
    pub binds: bool,
    /// When the request arrived.
    pub since: Instant,
}

/// Where a request may go.
#[derive(Clone, Copy)]
pub struct Destination<'a> {
    /// The name of the site, for the log.
    pub site: &'a str,
    /// Its origins, in the order in which they are tried.
    pub origins: &'a [Origin],
    /// Timeouts, and the size of the pool.
    pub limits: &'a Limits,
    /// The site's counters on this worker.
    pub counters: &'a SiteShard,
}
