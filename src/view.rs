//! What the two planes may know of each other: whether each CDN can be purged, which the control plane writes and the
//! proxy reads without a lock; and how the origins do, the other way round.

mod origins;

pub use origins::{OriginStatus, OriginsView};

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Whether purges to one CDN are known to get through. Starts unhealthy: it fails closed.
#[derive(Debug, Default)]
pub struct PurgeHealth(AtomicBool);

impl PurgeHealth {
    /// Whether a long TTL could be taken back from this CDN.
    pub fn is_healthy(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Written by the control plane only.
    pub fn set(&self, healthy: bool) {
        self.0.store(healthy, Ordering::Relaxed);
    }
}

/// The purge health of every CDN, by site and CDN name; survives configuration reloads.
#[derive(Debug, Default)]
pub struct PurgeHealthView(Mutex<HashMap<(String, String), Arc<PurgeHealth>>>);

impl PurgeHealthView {
    /// The cell of one CDN, made on first use. Not for the request path: keep the returned handle.
    pub fn cell(&self, site: &str, cdn: &str) -> Arc<PurgeHealth> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry((site.to_owned(), cdn.to_owned())).or_default().clone()
    }
}
