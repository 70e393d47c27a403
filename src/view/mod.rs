//! The state that the two planes share without blocking a request. The control plane writes whether each CDN can
//! be purged and what was purged lately. The proxy writes which responses are in flight, until when copies without
//! our tags may live, and the state of the origins.

mod header_purges;
mod installation;
mod origins;

pub use header_purges::{AskedItems, HeaderPurges, PurgeQueue};
pub use installation::{Installation, name as installation_name};
pub use origins::{OriginStatus, OriginsView};

use crate::guard::Freshness;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Whether purges are known to reach one CDN. The initial state is unhealthy, so it fails closed.
#[derive(Debug, Default)]
pub struct PurgeHealth(AtomicBool);

impl PurgeHealth {
    /// Whether a response with a long TTL could be purged from this CDN.
    pub fn is_healthy(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the health. Only the control plane calls this.
    pub fn set(&self, healthy: bool) {
        self.0.store(healthy, Ordering::Relaxed);
    }
}

/// The purge health of every CDN, by site and CDN name, and the state of the guard. It survives configuration
/// reloads.
#[derive(Debug, Default)]
pub struct PurgeHealthView {
    cells: Mutex<HashMap<(String, String), Arc<PurgeHealth>>>,
    /// Past purges, and the responses in flight.
    pub freshness: Arc<Freshness>,
    /// The purges that origins asked for in their responses.
    pub header_purges: Arc<HeaderPurges>,
    /// The name by which the installation recognizes its own requests.
    pub installation: Arc<Installation>,
}

impl PurgeHealthView {
    /// Returns the cell of one CDN, which is made on first use. The request path must not call this; keep the
    /// returned handle.
    pub fn cell(&self, site: &str, cdn: &str) -> Arc<PurgeHealth> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.entry((site.to_owned(), cdn.to_owned())).or_default().clone()
    }
}
