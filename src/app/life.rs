//! The signs of life of the control plane's thread, and the run of the machine that it lives in.

use crate::guard::boot;
use crate::listen::Pulse;
use crate::store::Boot;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The pause between two beats of the pulse.
const BEAT: Duration = Duration::from_millis(250);

/// Identifies the current run of the machine.
pub(super) fn machine() -> Option<Boot> {
    boot().map(|(id, up_ms)| Boot { id, up_ms })
}

/// Shows that the thread is alive, until its runtime ends.
pub(super) async fn beat(pulse: Arc<OnceLock<Pulse>>) {
    let pulse = pulse.get_or_init(|| Pulse::new(Instant::now()));
    loop {
        pulse.beat(Instant::now());
        tokio::time::sleep(BEAT).await;
    }
}
