//! Tests of requests to origins and of their responses.
//!
//! | file | what is tested |
//! |---|---|
//! | `misbehaving.rs`, `h2_origins.rs` | hostile, slow and broken origins, in HTTP/1 and in HTTP/2 |
//! | `h2_connections.rs`, `h2_streams.rs` | connections and streams of HTTP/2 |
//! | `upstreams.rs`, `resolving.rs`, `descriptors.rs` | several origins, TLS, names, few descriptors |
//! | `bound_auth.rs`, `early_hints.rs`, `grpc.rs` | uses of HTTP with rules of their own |
//! | `real_origins.rs`, `stampede.rs`, `circles.rs` | a real cache, a crowd in front of it, loops of requests |

mod bound_auth;
mod circles;
mod descriptors;
mod early_hints;
mod grpc;
mod h2_connections;
mod h2_origins;
mod h2_streams;
mod misbehaving;
mod real_origins;
mod resolving;
mod stampede;
mod upstreams;
