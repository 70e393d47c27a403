//! The facts about a request on which the decision depends.

use http::Method;

/// The facts about the request that rewriting needs.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// The request method.
    pub method: &'a Method,
    /// The path as received, without the query.
    pub path: &'a str,
    /// Whether the request carried `Authorization`.
    pub authorization: bool,
    /// Whether `Authorization` authenticates the connection instead of the request (RFC 4559 §6). No rule can make
    /// such a response shareable.
    pub bound: bool,
    /// Whether the request carried `Cookie`.
    pub cookie: bool,
    /// The rest of the requested URL, with which a redirect is compared.
    pub asked: Asked<'a>,
}

/// The requested URL, apart from its path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// `http` or `https`, if a trusted peer reported it. The connection between CDN and shim does not show it.
    pub scheme: Option<&'a str>,
    /// The host, optionally with a port.
    pub host: &'a str,
    /// The part after the `?`.
    pub query: Option<&'a str>,
}
