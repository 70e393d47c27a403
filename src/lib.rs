#![doc = include_str!("ARCHITECTURE.md")]

// Helpers for all parts of the program.
pub mod base;

// HTTP on the wire, for clients and for origins.
pub mod http;

// Pure: how a response is rewritten and how tags are encoded.
pub mod rewrite;

// The operator's configuration.
pub mod config;

// State that both planes share: counters, logs, and the view of the control plane that the proxy reads.
pub mod metrics;
pub mod telemetry;
pub mod view;

// The promise that nothing old stays after a purge.
pub mod guard;

// A model for tests: how the instances of a fleet keep that promise together.
#[cfg(test)]
pub mod fleet;

// The data plane, in the order of a request.
pub mod listen;
pub mod proxy;
pub mod upstream;

// A forecast of what the data plane would do.
pub mod explain;

// Points at which tests kill the process.
mod failpoint;

// The control plane, in the order of a purge.
pub mod admin;
pub mod cdn;
pub mod delivery;
pub mod inbound;
pub mod purge;
pub mod store;

// Output for people.
mod terminal;

// The assembled program.
pub mod app;
pub mod cli;
pub mod demo;
