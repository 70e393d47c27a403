//! The fault matrix: whatever happens to the process, the disk, the CDNs, the clocks and the credentials, every purge
//! that got a 202 reaches every CDN, and nothing else does. Most tests keep two logs, of the requested purges and of
//! what each CDN received, and `checker.rs` compares them. `src/store/model` tests the store against a model.
//!
//! | file | fault |
//! |---|---|
//! | `kills.rs`, `points.rs`, `crash.rs` | the process dies |
//! | `disk.rs`, `pages.rs`, `beside.rs`, `held.rs`, `restored.rs` | the disk fails; the store is damaged or old |
//! | `fleet.rs` | instances of a fleet end, are stopped, or lose their database |
//! | `degraded.rs` | the store or every CDN is away |
//! | `vendors.rs`, `clocks.rs`, `credentials.rs` | a CDN misbehaves, clocks differ, credentials are revoked |
//! | `descriptors.rs`, `logs.rs`, `memory.rs` | descriptors, readers of the log, or memory are missing |
//! | `client.rs`, `cdns.rs`, `checker.rs`, `health.rs` | no fault: the two logs, their comparison, health |
//!
//! The default counts are small. The full ones, with their figures, take some hours:
//!
//! ```text
//! ORIGIN_SHIM_LONG=1 cargo test --test it faults -- --nocapture --test-threads=1
//! ```

mod beside;
mod cdns;
mod checker;
mod client;
mod clocks;
mod crash;
mod credentials;
mod degraded;
mod descriptors;
mod disk;
mod fleet;
mod health;
mod held;
mod kills;
mod logs;
mod memory;
mod pages;
mod points;
mod restored;
mod vendors;

use crate::harness::is_long;
use cdns::Cdns;
use checker::Checker;
use client::Client;

/// Returns the count of the normal run or that of the full run.
fn count<T>(quick: T, full: T) -> T {
    if is_long() { full } else { quick }
}
