//! What all listeners share.

use super::repeats::Repeats;
use crate::admin::state::State;
use crate::inbound::webhook::replays::Replays;
use std::sync::{Arc, Mutex};

/// What all listeners share.
pub(super) struct Shared {
    pub(super) state: Arc<State>,
    pub(super) repeats: Repeats,
    /// The webhooks and signed requests that were accepted.
    pub(super) replays: Mutex<Replays>,
}
