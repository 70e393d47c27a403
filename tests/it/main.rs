//! Integration tests, in one binary to save link time. Some run the real program between a real origin (nginx) and a
//! real CDN (Varnish). The others run the data plane alone between scripted sockets and check it byte by byte.
//!
//! | folder | what its tests are about |
//! |---|---|
//! | `client/` | what clients send and get |
//! | `origin/` | what origins get and send |
//! | `purging/` | purges, CDNs and what a cache may keep |
//! | `inbound/` | purge requests of other systems' clients |
//! | `process/` | the process: its configuration, admin API, reloads, end and costs |
//! | `faults/` | purges while the process, the disk, the clock or a CDN fails |
//! | `kit/` | documentation, deployment files, and rules for the source |
//! | `harness/` | what the tests stand on, and no tests of the shim |
//!
//! Tests whose names begin with `rNN_` are the rows of a checklist of what a proxy meets that faces the internet. Each
//! sends bytes and asserts the status **and** the bytes that reached the origin, or that none did.
//!
//! | rows | where |
//! |---|---|
//! | 1 to 14, 19, 21, 34 | `client/requests.rs`: framing, hosts, targets, sizes |
//! | 15 to 18, 37, 38 | `client/headers.rs`: hop-by-hop, forwarding, aliases, loops, generated values |
//! | 20, 26 to 33, 35 | `origin/misbehaving.rs`: hostile, slow and broken origins |
//! | 20, 26 to 32, 35 over HTTP/2 | `origin/h2_origins.rs`, `origin/h2_streams.rs`, `origin/h2_connections.rs` |
//! | 22 to 25 | `client/limits.rs`; floods in `client/floods.rs`, many slow clients in `client/slow.rs` |
//! | 24 per origin, 27 with several | `origin/upstreams.rs`; names of origins in `origin/resolving.rs` |
//! | 33 | also in `client/upgrades.rs` |
//! | 35, 36 | `client/interim.rs` and `client/trailers.rs`: what is passed on in each pair of versions |
//! | 39 | `process/drain.rs` |
//! | 40, 43, 46 to 50 | `client/trust.rs`: what a stranger cannot have lengthened, seen or stored |
//! | 41, 42, 45 | `src/admin/tests/`: one answer for every stranger, constant-time comparison, batch limits |
//! | 44 | `client/tls.rs`: certificates of both sides and their reload; `process/reload.rs`: reloads under load |
//! | 61 to 65 | `client/targets.rs`: forms of targets, fragments, default ports, `Max-Forwards` |
//! | 66 | `origin/bound_auth.rs`: NTLM and Negotiate |
//! | 67, 68 | `client/own_limits.rs`: limits of sites and rules, large heads |
//! | 69 | `origin/descriptors.rs`: few descriptors |
//! | 70 | `process/hand_over.rs`: two processes during an upgrade |
//! | 71 | `process/certificates.rs`: the end of their validity |

// A test that cannot go on has failed. Clippy excuses only the test functions themselves, not their helpers.
#![allow(clippy::unwrap_used)]

mod client;
mod faults;
mod harness;
mod inbound;
mod kit;
mod origin;
mod process;
mod purging;
