//! The fault matrix: whatever happens to the process, the disk, the CDNs, the clocks and the credentials, every purge that
//! got a 202 reaches every CDN, and nothing else does. Each test keeps two logs, what was asked for and what each CDN
//! received, and `checker.rs` compares them. The store against its model is in `src/store/model`.
//!
//! Quick counts by default. The full ones, with their figures, in some hours:
//!
//! ```text
//! ORIGIN_SHIM_LONG=1 cargo test --test it faults -- --nocapture --test-threads=1
//! ```

mod beside;
mod cdns;
mod checker;
mod client;
mod clocks;
mod credentials;
mod descriptors;
mod disk;
mod health;
mod held;
mod kills;
mod logs;
mod memory;
mod pages;
mod points;
mod vendors;

use crate::harness::is_long;
use cdns::Cdns;
use checker::Checker;
use client::Client;

/// One count for the normal run, one for the full.
fn count<T>(quick: T, full: T) -> T {
    if is_long() { full } else { quick }
}
