//! The `[server.limits]` table, resolved, and the limits of a site or a rule that replace parts of it.

use std::time::Duration;

/// The `[server.limits]` table.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open client connections, over all workers.
    pub connections: usize,
    /// Requests in flight, over all workers.
    pub requests_in_flight: usize,
    /// Concurrent requests on one HTTP/2 connection.
    pub http2_streams: u32,
    /// The age at which a client connection is closed as soon as it has no request.
    pub connection_max_age: Duration,
    /// Time for a TLS handshake, and for a PROXY protocol header.
    pub handshake_timeout: Duration,
    /// Time for the head of a request.
    pub header_timeout: Duration,
    /// Time after which an idle client connection is closed.
    pub keep_alive_timeout: Duration,
    /// The longest pause between two parts of a request body.
    pub body_timeout: Duration,
    /// The lowest rate of a request body in bytes per second, over each `body_timeout` of waiting for it; 0: no limit.
    pub body_min_rate: u32,
    /// The longest time in which a client takes no byte of a response before it is cut off.
    pub write_timeout: Duration,
    /// The longest silence on a connection of another protocol before it is closed.
    pub tunnel_timeout: Duration,
    /// Time to connect to the origin, TLS included.
    pub origin_connect_timeout: Duration,
    /// Time from the sent request to the response head.
    pub origin_first_byte_timeout: Duration,
    /// The longest pause between two parts of a response body.
    pub origin_body_timeout: Duration,
    /// How long an idle pooled origin connection is kept.
    pub origin_idle_timeout: Duration,
    /// How long a request waits for an origin that has reached its `origin_connections`.
    pub origin_queue_timeout: Duration,
    /// Consecutive failures after which an address of an origin is avoided; 0: never.
    pub origin_max_fails: u32,
    /// How long a failed address is avoided.
    pub origin_fail_timeout: Duration,
    /// The time between two resolutions of an origin's name.
    pub origin_resolve_interval: Duration,
    /// Idle pooled connections per origin and worker.
    pub origin_pool_size: usize,
    /// Headers in a request.
    pub request_headers: usize,
    /// Bytes of a request's head.
    pub request_header_bytes: usize,
    /// Bytes of a request target.
    pub target_bytes: usize,
    /// Bytes of a request's body; 0: no limit.
    pub request_body_bytes: u64,
    /// Headers in an origin's response.
    pub origin_headers: usize,
    /// Bytes of an origin's response head.
    pub origin_header_bytes: usize,
    /// How long requests in flight may continue after SIGTERM.
    pub drain_timeout: Duration,
}

/// The limits of an empty `[server.limits]`.
impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            requests_in_flight: 16_384,
            http2_streams: 100,
            connection_max_age: Duration::from_secs(3600),
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            body_min_rate: 240,
            write_timeout: Duration::from_secs(60),
            tunnel_timeout: Duration::from_secs(600),
            origin_connect_timeout: Duration::from_secs(2),
            origin_first_byte_timeout: Duration::from_secs(30),
            origin_body_timeout: Duration::from_secs(30),
            origin_idle_timeout: Duration::from_secs(20),
            origin_queue_timeout: Duration::from_secs(5),
            origin_max_fails: 3,
            origin_fail_timeout: Duration::from_secs(10),
            origin_resolve_interval: Duration::from_secs(10),
            origin_pool_size: 256,
            request_headers: 100,
            request_header_bytes: 32 * 1024,
            target_bytes: 8 * 1024,
            request_body_bytes: 0,
            origin_headers: 256,
            origin_header_bytes: 64 * 1024,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// The limits of a site or a rule that replace those in `[server.limits]`. Only limits that apply after the site and
/// path of a request are known can be replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherLimits {
    /// Replacement of `body_timeout`.
    pub body_timeout: Option<Duration>,
    /// Replacement of `body_min_rate`.
    pub body_min_rate: Option<u32>,
    /// Replacement of `tunnel_timeout`.
    pub tunnel_timeout: Option<Duration>,
    /// Replacement of `origin_connect_timeout`.
    pub origin_connect_timeout: Option<Duration>,
    /// Replacement of `origin_queue_timeout`.
    pub origin_queue_timeout: Option<Duration>,
    /// Replacement of `origin_first_byte_timeout`.
    pub origin_first_byte_timeout: Option<Duration>,
    /// Replacement of `origin_body_timeout`.
    pub origin_body_timeout: Option<Duration>,
}

impl OtherLimits {
    /// Returns `limits` with these replacements, or `None` if nothing is replaced.
    pub fn over(&self, limits: &Limits) -> Option<Limits> {
        let Self {
            body_timeout,
            body_min_rate,
            tunnel_timeout,
            origin_connect_timeout,
            origin_queue_timeout,
            origin_first_byte_timeout,
            origin_body_timeout,
        } = *self;
        (*self != Self::default()).then(|| Limits {
            body_timeout: body_timeout.unwrap_or(limits.body_timeout),
            body_min_rate: body_min_rate.unwrap_or(limits.body_min_rate),
            tunnel_timeout: tunnel_timeout.unwrap_or(limits.tunnel_timeout),
            origin_connect_timeout: origin_connect_timeout.unwrap_or(limits.origin_connect_timeout),
            origin_queue_timeout: origin_queue_timeout.unwrap_or(limits.origin_queue_timeout),
            origin_first_byte_timeout: origin_first_byte_timeout.unwrap_or(limits.origin_first_byte_timeout),
            origin_body_timeout: origin_body_timeout.unwrap_or(limits.origin_body_timeout),
            ..limits.clone()
        })
    }
}
