//! What the two planes know of each other, without a request that waits: whether each CDN can be purged and what was purged
//! lately, which the control plane writes; which responses are on their way, until when copies without our tags may live, and how
//! the origins do, which the proxy tells.

mod installation;
mod origins;

pub use installation::{Installation, name as installation_name};
pub use origins::{OriginStatus, OriginsView};

use crate::guard::Freshness;
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

/// The purge health of every CDN, by site and CDN name, and what keeps old responses out of caches; survives
/// configuration reloads.
#[derive(Debug, Default)]
pub struct PurgeHealthView {
    cells: Mutex<HashMap<(String, String), Arc<PurgeHealth>>>,
    /// What was purged, and what is on its way.
    pub freshness: Arc<Freshness>,
    /// By which name the installation knows its own requests again.
    pub installation: Arc<Installation>,
}

impl PurgeHealthView {
    /// The cell of one CDN, made on first use. Not for the request path: keep the returned handle.
    pub fn cell(&self, site: &str, cdn: &str) -> Arc<PurgeHealth> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry((site.to_owned(), cdn.to_owned())).or_default().clone()
    }
}
