//! Named points at which a test ends the process as `kill -9` would. `ORIGIN_SHIM_KILL_AT=committed` ends it when that point
//! is reached. Only builds with debug assertions look; in a release there is nothing of it. The names are in
//! `tests/it/faults/points.rs`.

/// Ends the process here, if the environment names this point.
#[inline(always)]
pub(crate) fn reached(_point: &str) {
    #[cfg(debug_assertions)]
    armed::reached(_point);
}

#[cfg(debug_assertions)]
mod armed {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::LazyLock;

    static ARMED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("ORIGIN_SHIM_KILL_AT").ok());

    pub(super) fn reached(point: &str) {
        if ARMED.as_deref() == Some(point) {
            // Should the system not let us kill ourselves, the test that waits for it says so.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}
