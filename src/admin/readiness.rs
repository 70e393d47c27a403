//! The readiness of the process, from its start to its end.

use schemars::JsonSchema;
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// The phase of the process: starting, then ready, then draining.
#[derive(Debug)]
pub struct Readiness {
    phase: watch::Sender<Phase>,
    /// The complaint about another process with the same configuration, if there is one.
    beside: Mutex<Option<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    Starting,
    Ready,
    Draining,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { phase: watch::Sender::new(Phase::Starting), beside: Mutex::default() }
    }
}

impl Readiness {
    /// Marks the process as ready, because everything is up.
    pub fn set_ready(&self) {
        self.advance(Phase::Ready);
    }

    /// Marks the process as about to stop: load balancers should go elsewhere, and waiting callers get their
    /// answer.
    pub fn set_draining(&self) {
        self.advance(Phase::Draining);
    }

    /// Sets or clears the complaint about another process with the same configuration.
    pub fn set_beside(&self, complaint: Option<String>) {
        *self.beside.lock().unwrap_or_else(PoisonError::into_inner) = complaint;
    }

    /// Waits until the process drains.
    pub async fn draining(&self) {
        // This cannot fail while `self` holds the sender.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Draining).await;
    }

    /// Returns the phase of the process.
    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Returns the complaint about another process with the same configuration, if there is one.
    pub(super) fn beside(&self) -> Option<String> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Moves to a later phase, never back: a late start must not make a draining process ready again.
    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let forwards = *phase < to;
            if forwards {
                *phase = to;
            }
            forwards
        });
    }
}
