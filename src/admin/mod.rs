//! The admin API, on a listener of its own.
//!
//! The table in `routes.rs` lists every call, and both the router (`router.rs`) and the OpenAPI document
//! (`openapi.rs`) are made from it. Each call has a file:
//!
//! | file | calls |
//! |---|---|
//! | `purges.rs`, `wait.rs` | accept a purge, `Prefer: wait`, show and list purges |
//! | `dry_run.rs` | what a purge would send, without accepting it |
//! | `fresh.rs` | what is old after a purge, and what must be purged again |
//! | `untagged.rs` | copies without our tags, over restarts |
//! | `publish.rs` | accept the purge of a publish event |
//! | `header_purges.rs`, `own.rs` | purges that nobody calls for: those of origins, and the shim's own |
//! | `inbound/` | purge requests of other systems' clients, on listeners of their own |
//! | `operate.rs` | retry, acknowledge and cancel a purge; pause and resume a CDN; reload the configuration |
//! | `copies.rs` | the copies of a page at the CDNs |
//! | `credentials.rs` | check the CDNs' credentials |
//! | `sites.rs` | configuration without secrets, and the state of each CDN |
//! | `history.rs` | the recent past of a site |
//! | `explain.rs` | what the rewrite would do, and why |
//! | `feed/` | server-sent events: the events, one listener's stream, polling for changes |
//! | `serve.rs`, `strict/`, `misdirected.rs`, `stall.rs` | the listener: what is a request, and whether it is for us |
//! | `places.rs`, `shares.rs`, `body_permits.rs`, `throttle.rs` | no caller takes the place of others |
//! | `log.rs` | the log filter |
//! | `ops.rs`, `console/`, `routes.rs` | probes and metrics, the console, the OpenAPI document: no token needed |
//!
//! All calls share the parts of the program in `state.rs`, with the interfaces of `control.rs` and `reload.rs`. They
//! know who calls from `caller.rs`, and reach the store through `ask.rs`. Every error is a problem document (RFC
//! 9457, `problem.rs`). A caller sees only its own sites: purges of other sites are 404. The JSON of all answers is
//! in `json.rs`.

pub mod dry_run;
pub mod json;
pub mod problem;
pub mod reload;

mod aside;
mod ask;
mod audit;
mod auth;
mod body_permits;
mod caller;
mod console;
mod control;
mod copies;
mod credentials;
mod explain;
mod extract;
mod feed;
mod fresh;
mod header_purges;
pub mod history;
mod idempotency;
mod inbound;
mod limits;
mod log;
mod misdirected;
mod openapi;
mod operate;
mod ops;
mod own;
mod places;
mod publish;
mod purges;
mod readiness;
mod route;
mod router;
mod routes;
mod serve;
mod shares;
mod sites;
mod stall;
mod state;
mod strict;
mod throttle;
mod untagged;
mod wait;

#[cfg(test)]
pub(crate) mod tests;

pub use control::{CdnHealth, Control, Planner};
pub use feed::{Events, HealthEvent, JobEvent, LaggedEvent};
pub use fresh::{Awaited, guard, guard_everything, is_outrun, recall, recall_nothing};
pub use header_purges::commit_header_purges;
pub use history::record;
pub use inbound::{InboundListener, serve_inbound};
pub use limits::Limits;
pub use own::{make_up_for_lost_purges, purge_again};
pub use readiness::Readiness;
pub use serve::serve;
pub use state::State;
pub use untagged::Untagged;
