//! Named points at which a test kills the process, as `kill -9` would. `ORIGIN_SHIM_KILL_AT=committed` kills it when
//! that point is reached. Only builds with debug assertions contain the check. The names are in
//! `tests/it/faults/points.rs`.

/// Kills the process here if the environment names this point.
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
            // If the system refuses the signal, the test that waits for the process to end fails.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}
