//! The webhooks of the last hour that were accepted, so that a replay is dropped.

use super::verify::WINDOW_MS;
use std::collections::{HashMap, VecDeque};

/// The most webhooks that are remembered. Beyond, the oldest is forgotten: its replay would purge once more, which
/// costs the origin a few requests and nothing else.
const MOST: usize = 10_000;

/// The webhooks that were accepted.
#[derive(Debug, Default)]
pub struct Replays {
    known: HashMap<[u8; 32], i64>,
    order: VecDeque<([u8; 32], i64)>,
}

impl Replays {
    /// Whether a webhook was accepted before.
    pub fn knows(&self, webhook: &[u8; 32]) -> bool {
        self.known.contains_key(webhook)
    }

    /// Remembers a webhook that was accepted at `now_ms`. What was not accepted is not remembered, because its sender
    /// will try again.
    pub fn remember(&mut self, webhook: [u8; 32], now_ms: i64) {
        // A signature is valid from an hour before its time to an hour after it.
        while let Some((oldest, at_ms)) = self.order.front().copied()
            && (self.order.len() >= MOST || now_ms - at_ms > 2 * WINDOW_MS)
        {
            self.order.pop_front();
            self.known.remove(&oldest);
        }
        if self.known.insert(webhook, now_ms).is_none() {
            self.order.push_back((webhook, now_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_is_known_as_long_as_its_signature_is_valid() {
        let mut replays = Replays::default();
        assert!(!replays.knows(&[1; 32]));
        replays.remember([1; 32], 0);
        replays.remember([1; 32], 1);
        replays.remember([2; 32], 2 * WINDOW_MS);
        assert!(replays.knows(&[1; 32]) && replays.knows(&[2; 32]));
        replays.remember([3; 32], 2 * WINDOW_MS + 1);
        assert!(!replays.knows(&[1; 32]) && replays.knows(&[3; 32]));
    }

    #[test]
    fn memory_is_bounded() {
        let mut replays = Replays::default();
        let name = |number: usize| {
            let mut name = [0; 32];
            name[..8].copy_from_slice(&number.to_le_bytes());
            name
        };
        (0..=MOST).for_each(|number| replays.remember(name(number), 0));
        assert_eq!((replays.known.len(), replays.order.len()), (MOST, MOST));
        assert!(!replays.knows(&name(0)) && replays.knows(&name(MOST)));
    }
}
