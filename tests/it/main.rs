//! Integration tests, in one binary for the sake of link time: the real program between a real origin (nginx) and a real
//! CDN (Varnish), and the data plane alone between scripted sockets, byte by byte.

// A test that cannot go on has failed. Clippy excuses only the test functions themselves, not their helpers.
#![allow(clippy::unwrap_used)]

mod adapters;
mod admin;
mod bodies;
mod budget;
mod cache_model;
mod cdn_contract;
mod circles;
mod cloudfront;
mod configuration;
mod crash;
mod credentials;
mod demo;
mod early_hints;
mod edge;
mod events;
mod fake_cdn;
mod faults;
mod fuzz_corpus;
mod growth;
mod grpc;
mod guard_cost;
mod hardening;
mod harness;
mod identity;
mod kit;
mod modes;
mod passthrough;
mod proof;
mod proxy;
mod purging;
mod races;
mod real_origins;
mod restored;
mod send_queue;
mod siege;
mod spellings;
mod stampede;
mod support_proxy;
mod tidy;
mod verifying;
