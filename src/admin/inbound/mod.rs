//! The listeners for the purge requests of other systems' clients. What these say, and what they expect as an answer,
//! is in [`crate::inbound`]; here their requests are received, assigned to a site and a caller, and committed like
//! those of the admin API.
//!
//! | file | task |
//! |---|---|
//! | `serve.rs` | the listeners: networks, connections |
//! | `dispatch.rs` | one request, from its body to its answer |
//! | `desk.rs` | its caller, its site, its commit |
//! | `repeats.rs` | the same purge at several of our addresses is one |
//! | `varnish.rs`, `fastly.rs`, `cloudflare.rs`, `akamai.rs`, `webhook.rs` | the protocols |

mod akamai;
mod cloudflare;
mod desk;
mod dispatch;
mod fastly;
mod repeats;
mod serve;
mod shared;
mod varnish;
mod webhook;

pub use serve::{InboundListener, serve_inbound};
