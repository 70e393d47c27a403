#![doc = include_str!("ARCHITECTURE.md")]

// What every part uses and none owns.
pub mod base;

// HTTP on the wire, as both sides speak it.
pub mod http;

// Pure: how a response is rewritten and how tags are encoded.
pub mod rewrite;

// What the operator asked for.
pub mod config;

// What both planes share: counters, and the view of the control plane that the proxy reads.
pub mod metrics;
pub mod telemetry;
pub mod view;

// Nothing old after a purge.
pub mod guard;

// The data plane, in the order of a request.
pub mod listen;
pub mod proxy;
pub mod upstream;

// What the data plane would do, told in advance.
pub mod explain;

// Where tests end the process.
mod failpoint;

// The control plane, in the order of a purge.
pub mod admin;
pub mod cdn;
pub mod delivery;
pub mod purge;
pub mod store;

// How people are told.
mod terminal;

// Putting it together.
pub mod app;
pub mod cli;
pub mod demo;
