//! Tests of requests from clients and of the responses to them.
//!
//! | file | what is tested |
//! |---|---|
//! | `requests.rs`, `targets.rs`, `headers.rs` | the parts of a request, and which of them reach the origin |
//! | `heads.rs` | the bytes of a response head, against a slow model |
//! | `refusals.rs` | requests and responses that are refused, and what the client gets instead |
//! | `forwarding.rs`, `passthrough.rs` | what is forwarded unchanged, reused connections, reloads and shutdown |
//! | `rewriting.rs`, `trust.rs` | the lifetimes and tags of responses, and which clients may opt in |
//! | `bodies.rs`, `streaming.rs`, `trailers.rs`, `interim.rs`, `upgrades.rs` | bodies, interim responses, tunnels |
//! | `protocols.rs`, `h2_clients.rs`, `vtc.rs` | versions of HTTP, and peers that share no code with the shim |
//! | `tls.rs`, `listeners.rs`, `proxy_protocol.rs` | connections before their first request |
//! | `limits.rs`, `own_limits.rs`, `slow.rs`, `floods.rs` | limits, and clients that try to exceed them |

mod bodies;
mod floods;
mod forwarding;
mod h2_clients;
mod headers;
mod heads;
mod interim;
mod large_bodies;
mod limits;
mod listeners;
mod own_limits;
mod passthrough;
mod protocols;
mod proxy_protocol;
mod refusals;
mod requests;
mod rewriting;
mod slow;
mod streaming;
mod targets;
mod tls;
mod trailers;
mod trust;
mod upgrades;
mod vtc;
