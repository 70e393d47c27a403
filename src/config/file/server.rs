//! The `[server]` table.

use crate::config::text::DurationText;
use schemars::JsonSchema;
use serde::Deserialize;

/// The data plane: listeners, certificates, limits.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The name of this installation in `CDN-Loop` (RFC 8586), as `origin-shim-` and this ID. A request that already
    /// carries it runs in a circle and gets 508. 1 to 64 of the letters a to z, digits, `.`, `_` and `-`. Instances
    /// that serve the same sites share one ID. Installations that stand one behind the other need different ones.
    /// Default: a random ID, which the store keeps.
    #[schemars(regex(pattern = "^[a-z0-9._-]{1,64}$"), example = &"shop-eu")]
    pub id: Option<String>,
    /// Addresses for plain HTTP, `IP:PORT`: HTTP/1.1, and HTTP/2 with prior knowledge. Default: `["0.0.0.0:8080"]`, or
    /// none if `tls_listen` is set.
    #[schemars(example = ["0.0.0.0:8080", "[::]:8080"])]
    pub listen: Option<Vec<String>>,
    /// Addresses for TLS 1.2 and 1.3, `IP:PORT`: HTTP/1.1 and HTTP/2 by ALPN. Needs `server.certificates`.
    #[schemars(example = ["0.0.0.0:8443"])]
    pub tls_listen: Vec<String>,
    /// The number of worker threads, each with its own runtime and origin connections. 0: one per core.
    #[schemars(range(max = 1024))]
    pub workers: u32,
    /// Certificates, chosen by SNI. Without SNI, or with an unknown name, the first is served.
    pub certificates: Vec<Certificate>,
    /// PEM file of the authorities whose client certificates are trusted, for `trust = "client-cert"`. Clients without
    /// a certificate are served too. Clients with a certificate of any other authority are rejected.
    #[schemars(example = &"tls/edge-ca.pem")]
    pub client_ca: Option<String>,
    /// Networks or addresses of peers whose `X-Forwarded-*`, `Forwarded` and `traceparent` are trusted. From all other
    /// peers these headers are replaced.
    #[schemars(example = ["10.0.0.0/8", "2001:db8::7"])]
    pub trusted_proxies: Vec<String>,
    /// Networks or addresses of load balancers that begin every connection with a PROXY protocol header (version 1 or
    /// 2). The client's address is the one in that header. A connection from there without the header is closed.
    #[schemars(example = ["10.0.0.7"])]
    pub proxy_protocol: Vec<String>,
    /// Limits and timeouts.
    pub limits: Limits,
}

/// One certificate and its private key.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// PEM file with the certificate, then its intermediates.
    #[schemars(example = &"tls/www.pem")]
    pub cert: String,
    /// PEM file with the private key (PKCS#8, PKCS#1 or SEC1), not encrypted.
    #[schemars(example = &"tls/www.key")]
    pub key: String,
}

/// Limits and timeouts. Timeouts must be more than zero. Counts apply to all workers together unless the key states
/// otherwise.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open client connections, at least 1. Further ones get 503, and far beyond the limit they are closed without an
    /// answer. Each uses a file descriptor, and so does its connection to the origin: the limit is lower if the
    /// process may not open that many files.
    #[schemars(range(min = 1))]
    pub connections: u32,
    /// Requests in flight, at least 1. Further ones get 503.
    #[schemars(range(min = 1))]
    pub requests_in_flight: u32,
    /// Concurrent requests on one HTTP/2 connection, 1 to 1000. Further ones are refused, and the client may repeat
    /// them.
    #[schemars(range(min = 1, max = 1000))]
    pub http2_streams: u32,
    /// The age at which a client connection is closed as soon as it has no request, so that load spreads over workers
    /// and instances.
    pub connection_max_age: DurationText,
    /// Time for a TLS handshake, and for a PROXY protocol header.
    pub handshake_timeout: DurationText,
    /// Time for the head of a request.
    pub header_timeout: DurationText,
    /// Time after which an idle client connection is closed. It should exceed the CDN's own timeout, so that the CDN
    /// never sends a request into a closing connection.
    pub keep_alive_timeout: DurationText,
    /// The longest pause between two parts of a request body; then 408.
    pub body_timeout: DurationText,
    /// The lowest rate of a request body in bytes per second, over each `body_timeout` that was spent waiting for it;
    /// then 408. 0: no limit.
    pub body_min_rate: u32,
    /// The longest time in which a client takes no byte of a response; then it is cut off.
    pub write_timeout: DurationText,
    /// The longest silence on a connection that was switched to another protocol; then it is closed.
    pub tunnel_timeout: DurationText,
    /// Time to connect to the origin, TLS included; then 502.
    pub origin_connect_timeout: DurationText,
    /// Time from the sent request to the head of the origin's response; then 504.
    pub origin_first_byte_timeout: DurationText,
    /// The longest pause between two parts of the origin's body; then the response is cut off.
    pub origin_body_timeout: DurationText,
    /// Time after which an idle connection to the origin is closed. It should be shorter than the origin's own
    /// timeout.
    pub origin_idle_timeout: DurationText,
    /// How long a request waits for an origin that has reached its `origin_connections`; then 503.
    pub origin_queue_timeout: DurationText,
    /// Consecutive failures after which an address of an origin is avoided while others are healthy. An address fails
    /// if it does not accept a connection, or does not answer in time. 0: never.
    pub origin_max_fails: u32,
    /// Time after which an avoided address is tried again.
    pub origin_fail_timeout: DurationText,
    /// How often the names of origins are resolved again. While a name does not resolve, its last addresses are used.
    pub origin_resolve_interval: DurationText,
    /// Idle connections to each origin that each worker keeps. 0: none.
    pub origin_pool_size: u32,
    /// Headers in a request, 1 to 1000; then 431.
    #[schemars(range(min = 1, max = 1000))]
    pub request_headers: u32,
    /// Bytes of a request's head, 8192 to 1048576; then 431.
    #[schemars(range(min = 8192, max = 1_048_576))]
    pub request_header_bytes: u32,
    /// Bytes of a request's target (path and query), 1 to 65534 and at most `request_header_bytes`; then 414.
    #[schemars(range(min = 1, max = 65534))]
    pub target_bytes: u32,
    /// Bytes of a request's body; then 413. 0: no limit.
    pub request_body_bytes: u64,
    /// Headers in an origin's response, 1 to 256; then 502.
    #[schemars(range(min = 1, max = 256))]
    pub origin_headers: u32,
    /// Bytes of an origin's response head, 1024 to 1048576; then 502. Origins that name every product of a page in a
    /// tag, as Magento does, may need 262144.
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub origin_header_bytes: u32,
    /// How long requests in flight may continue after SIGTERM.
    pub drain_timeout: DurationText,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            requests_in_flight: 16_384,
            http2_streams: 100,
            connection_max_age: "1h".into(),
            handshake_timeout: "5s".into(),
            header_timeout: "10s".into(),
            keep_alive_timeout: "75s".into(),
            body_timeout: "30s".into(),
            body_min_rate: 240,
            write_timeout: "60s".into(),
            tunnel_timeout: "10m".into(),
            origin_connect_timeout: "2s".into(),
            origin_first_byte_timeout: "30s".into(),
            origin_body_timeout: "30s".into(),
            origin_idle_timeout: "20s".into(),
            origin_queue_timeout: "5s".into(),
            origin_max_fails: 3,
            origin_fail_timeout: "10s".into(),
            origin_resolve_interval: "10s".into(),
            origin_pool_size: 256,
            request_headers: 100,
            request_header_bytes: 32 * 1024,
            target_bytes: 8 * 1024,
            request_body_bytes: 0,
            origin_headers: 256,
            origin_header_bytes: 64 * 1024,
            drain_timeout: "30s".into(),
        }
    }
}
