//! Integration tests: the real binary between a real origin (nginx) and a real CDN (Varnish).

// A test that cannot go on has failed. Clippy excuses only the test functions themselves, not their helpers.
#![allow(clippy::unwrap_used)]

mod bodies;
mod cdn_contract;
mod configuration;
mod crash;
mod demo;
mod harness;
mod passthrough;
mod purging;
mod tidy;
