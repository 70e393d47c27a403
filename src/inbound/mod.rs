//! The purge APIs that clients of CDNs already speak, and the webhooks of content management systems. Everything here
//! is pure: a request becomes a purge, and the result becomes the answer that the client expects.
//! `admin/inbound/` serves them.
//!
//! | file | who speaks it |
//! |---|---|
//! | `fastly/`, `cloudflare.rs`, `akamai.rs` | clients of these CDNs' APIs |
//! | `varnish/` | content management systems and plug-ins that purge Varnish |
//! | `webhook/` | content management systems that report what changed |
//! | `client.rs` | the families of clients |
//! | `refused.rs` | a request that no API would accept |

pub mod akamai;
pub mod client;
pub mod cloudflare;
pub mod fastly;
pub mod refused;
pub mod varnish;
pub mod webhook;
