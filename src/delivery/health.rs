//! Purge health: whether purges to a CDN are known to get through in time. It fails closed: what is not known is a reason
//! against it, and any reason gives the CDN's responses the short TTL. Pure; `target.rs` feeds it and publishes the result.

use super::backoff::LONGEST_BACKOFF;
use super::milliseconds;
use crate::cdn::ItemKind;
use crate::store::{PausedBy, QueueStatus, Verification, WAITING_MS};
use std::collections::BTreeMap;
use std::time::Duration;

/// Checks in a row that may go unanswered before what was proved counts no more: they follow each other within seconds.
const PATIENCE: u32 = 3;

/// What is known of one CDN.
#[derive(Debug)]
pub(super) struct Health {
    max_lag_ms: i64,
    /// A job may become due so much later than it was accepted.
    most_ahead_ms: i64,
    proof: Proof,
    /// Checks in a row without an answer that tells anything.
    unanswered: u32,
    /// A purge was refused because of the credentials and waits; none got through since.
    refused: bool,
    /// The kinds of items whose last purge was answered by a success that proves nothing, and what was missing.
    unproved: BTreeMap<ItemKind, String>,
    /// Why the last purge call did not get through.
    failure: Option<String>,
    /// How the queue stood when the store was last asked.
    queue: Option<QueueStatus>,
    /// The oldest job was too old, and its successor is not young enough yet.
    lagging: bool,
    /// The oldest job seems to become due later than any can, so that nobody knows its age: the clock was set back between two
    /// runs.
    ahead: bool,
    /// A copy that is older than its purge was seen, and none since that was fresh.
    stale: bool,
}

/// What a check of the credentials showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// They are good.
    Good,
    /// They are not refused, but only a purge can tell.
    Open(String),
    /// They are bad.
    Bad(String),
    /// Nobody could be asked, or the answer tells nothing.
    Unanswered(String),
}

/// Whether the credentials are known to be good; if not, why.
#[derive(Debug)]
enum Proof {
    /// They were not checked yet.
    Unchecked,
    Good,
    None(String),
}

impl Health {
    /// Purges are to get through within `max_lag`, and are sent `settle` after they were accepted.
    pub(super) fn new(max_lag: Duration, settle: Duration) -> Self {
        Self {
            max_lag_ms: milliseconds(max_lag),
            most_ahead_ms: milliseconds(settle + LONGEST_BACKOFF),
            proof: Proof::Unchecked,
            unanswered: 0,
            refused: false,
            unproved: BTreeMap::new(),
            failure: None,
            queue: None,
            lagging: false,
            ahead: false,
            stale: false,
        }
    }

    /// The configuration says otherwise.
    pub(super) fn set_terms(&mut self, max_lag: Duration, settle: Duration) {
        self.max_lag_ms = milliseconds(max_lag);
        self.most_ahead_ms = milliseconds(settle + LONGEST_BACKOFF);
    }

    /// A check of the credentials ended.
    pub(super) fn checked(&mut self, checked: Checked) {
        self.unanswered = match checked {
            Checked::Unanswered(_) => self.unanswered.saturating_add(1),
            _ => 0,
        };
        let is_proved = matches!(self.proof, Proof::Good);
        self.proof = match checked {
            // A check is less than a purge: as long as a refused one waits, it has the last word.
            Checked::Good if self.refused => {
                Proof::None("the credentials are good again, but no purge got through yet".into())
            }
            Checked::Good => Proof::Good,
            // Neither does a check that cannot tell speak against a purge that got through,
            Checked::Open(_) if is_proved => Proof::Good,
            // nor one that a network swallowed.
            Checked::Unanswered(_) if is_proved && self.unanswered < PATIENCE => Proof::Good,
            Checked::Open(why) => {
                Proof::None(format!("the credentials are not proved before the first purge: {why}"))
            }
            Checked::Bad(why) | Checked::Unanswered(why) => {
                Proof::None(format!("the credentials could not be proved: {why}"))
            }
        };
    }

    /// A purge got through.
    pub(super) fn purged(&mut self) {
        (self.proof, self.unanswered, self.refused, self.failure) = (Proof::Good, 0, false, None);
    }

    /// A purge did not get through and will be tried again. What waits too long is told by the queue.
    pub(super) fn failed(&mut self, why: &str) {
        self.failure = Some(why.to_owned());
    }

    /// A purge of items of these kinds got a success without its proof: whoever answers now, nobody may rely on a purge
    /// until one is proved again.
    pub(super) fn unproved(&mut self, kinds: impl Iterator<Item = ItemKind>, why: &str) {
        self.unproved.extend(kinds.map(|kind| (kind, why.to_owned())));
        self.failed(why);
    }

    /// A purge of items of these kinds was proved. It says nothing of the others: an old VCL proves purges, but no bans.
    pub(super) fn proved(&mut self, kinds: impl Iterator<Item = ItemKind>) {
        kinds.for_each(|kind| drop(self.unproved.remove(&kind)));
    }

    /// Copies of what was purged were looked at. One that does not tell says nothing.
    pub(super) fn verified(&mut self, seen: Verification) {
        match seen {
            Verification::Fresh => self.stale = false,
            Verification::Stale => self.stale = true,
            Verification::Unknown => {}
        }
    }

    /// A purge was refused because of the credentials.
    pub(super) fn refused(&mut self, why: &str) {
        self.proof = Proof::None(format!("the credentials could not be proved: {why}"));
        self.refused = true;
    }

    /// The store told how the queue stands. Whether that took away the purge whose refusal a check could not answer: now it
    /// can.
    pub(super) fn queued(&mut self, queue: QueueStatus, now_ms: i64) -> bool {
        let age = queue.oldest_due_ms.map_or(0, |due| now_ms.saturating_sub(due));
        // Follow-ups that wait for responses have a due time of their own.
        self.ahead = queue.oldest_due_ms.is_some_and(|due| due < WAITING_MS) && age < -self.most_ahead_ms;
        // It recovers below half, so that it does not flap.
        self.lagging = if self.lagging { age >= self.max_lag_ms / 2 } else { age > self.max_lag_ms };
        // It was cancelled.
        let was_emptied = self.refused && queue.pending == 0;
        self.refused &= !was_emptied;
        // What could not be proved was cancelled, or went out as something else.
        if queue.pending == 0 {
            self.unproved.clear();
        }
        self.queue = Some(queue);
        was_emptied
    }

    /// Whether what it says is a verdict, and not only that nobody has looked yet.
    pub(super) fn is_known(&self) -> bool {
        self.queue.is_some() && !matches!(self.proof, Proof::Unchecked)
    }

    pub(super) fn queue(&self) -> Option<&QueueStatus> {
        self.queue.as_ref()
    }

    /// Everything that speaks against a long TTL, in words; healthy if nothing does. `store` says why the store fails.
    pub(super) fn reasons(&self, store: Option<&str>, now_ms: i64) -> Vec<String> {
        let mut reasons = Vec::new();
        reasons.extend(store.map(|why| format!("the store fails: {why}")));
        match &self.proof {
            Proof::Good => {}
            Proof::Unchecked => reasons.push("the credentials are not checked yet".into()),
            Proof::None(why) => reasons.push(why.clone()),
        }
        // Several kinds mostly lack the same.
        if let Some(why) = self.unproved.values().next() {
            reasons.push(format!("a purge was not proved: {why}"));
        }
        if self.stale {
            reasons.push("a copy that is older than its purge is still served".into());
        }
        let Some(queue) = &self.queue else {
            reasons.push("the queue is not read yet".into());
            return reasons;
        };
        if let Some(pause) = &queue.paused {
            let by = match pause.by {
                PausedBy::Person => "paused",
                PausedBy::Credentials => "paused because the credentials were refused",
            };
            reasons.push(format!("{by}: {}", pause.reason));
        }
        if queue.failed > 0 {
            reasons
                .push(format!("{} failed jobs wait for someone to retry or acknowledge them", queue.failed));
        }
        if self.ahead {
            reasons.push(
                "it is not known for how long the oldest job waits, since the clock was set back".into(),
            );
        }
        if self.lagging {
            let age = queue.oldest_due_ms.map_or(0, |due| now_ms.saturating_sub(due)) / 1_000;
            let most = self.max_lag_ms / 1_000;
            let failure = self.failure.as_ref().map(|why| format!("; the last call: {why}"));
            reasons.push(format!(
                "the oldest job waits for {age} s; max_purge_lag is {most} s{}",
                failure.unwrap_or_default()
            ));
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CdnKey, Pause};

    const NOW: i64 = 1_000_000;

    fn queue() -> QueueStatus {
        let key = CdnKey { site: "www".into(), cdn: "fastly".into() };
        QueueStatus::empty(key)
    }

    fn new() -> Health {
        Health::new(Duration::from_secs(60), Duration::from_secs(10))
    }

    fn healthy() -> Health {
        let mut health = new();
        health.checked(Checked::Good);
        health.queued(queue(), NOW);
        health
    }

    #[track_caller]
    fn check(health: &Health, expected: &[&str]) {
        assert_eq!(health.reasons(None, NOW), expected);
    }

    #[test]
    fn what_is_not_known_speaks_against() {
        let mut health = new();
        check(&health, &["the credentials are not checked yet", "the queue is not read yet"]);
        health.queued(queue(), NOW);
        check(&health, &["the credentials are not checked yet"]);
        health.checked(Checked::Good);
        check(&health, &[]);
        assert_eq!(health.reasons(Some("disk full"), NOW), ["the store fails: disk full"]);
    }

    #[test]
    fn checks() {
        let mut health = healthy();
        health.checked(Checked::Bad("401".into()));
        check(&health, &["the credentials could not be proved: 401"]);
        health.checked(Checked::Open("403".into()));
        check(&health, &["the credentials are not proved before the first purge: 403"]);
        health.purged();
        check(&health, &[]);
        health.checked(Checked::Open("403".into()));
        check(&health, &[]);
    }

    #[test]
    fn a_network_that_hiccups_proves_nothing() {
        let lost = || Checked::Unanswered("no route".into());
        let bad = ["the credentials could not be proved: no route"];
        let mut health = healthy();
        for _ in 0..2 {
            health.checked(lost());
            check(&health, &[]);
        }
        health.checked(Checked::Good);
        for expected in [&[][..], &[], &bad, &bad] {
            health.checked(lost());
            check(&health, expected);
        }
        // A purge gets through where checks do not.
        health.purged();
        health.checked(lost());
        check(&health, &[]);
        // What was never proved is not.
        let mut health = new();
        health.queued(queue(), NOW);
        health.checked(lost());
        check(&health, &bad);
    }

    #[test]
    fn a_refused_purge_has_the_last_word() {
        let mut health = healthy();
        health.queued(QueueStatus { pending: 1, ..queue() }, NOW);
        health.refused("401");
        check(&health, &["the credentials could not be proved: 401"]);
        health.checked(Checked::Good);
        check(&health, &["the credentials are good again, but no purge got through yet"]);
        health.purged();
        check(&health, &[]);
        // Cancelled, as the queue will tell.
        health.refused("401");
        health.checked(Checked::Good);
        check(&health, &["the credentials are good again, but no purge got through yet"]);
        health.queued(queue(), NOW);
        health.checked(Checked::Good);
        check(&health, &[]);
    }

    #[test]
    fn a_failed_call_counts_when_it_takes_too_long() {
        let mut health = healthy();
        health.failed("503");
        check(&health, &[]);
        health.queued(QueueStatus { oldest_due_ms: Some(NOW - 61_000), ..queue() }, NOW);
        check(&health, &["the oldest job waits for 61 s; max_purge_lag is 60 s; the last call: 503"]);
        health.purged();
        check(&health, &["the oldest job waits for 61 s; max_purge_lag is 60 s"]);
    }

    #[test]
    fn a_kind_that_is_not_proved_waits_for_its_own_proof() {
        let mut health = healthy();
        health.queued(QueueStatus { pending: 2, ..queue() }, NOW);
        health.unproved([ItemKind::Prefix].into_iter(), "200 without X-Purged");
        check(&health, &["a purge was not proved: 200 without X-Purged"]);
        // Tags that are purged say nothing of bans, nor does a check.
        health.purged();
        health.proved([ItemKind::Tag].into_iter());
        health.checked(Checked::Good);
        check(&health, &["a purge was not proved: 200 without X-Purged"]);
        health.proved([ItemKind::Tag, ItemKind::Prefix].into_iter());
        check(&health, &[]);
        // Cancelled.
        health.unproved([ItemKind::Prefix].into_iter(), "200 without X-Purged");
        health.queued(queue(), NOW);
        check(&health, &[]);
    }

    #[test]
    fn the_first_verdict_is_one() {
        let mut health = new();
        assert!(!health.is_known());
        health.queued(queue(), NOW);
        assert!(!health.is_known());
        health.checked(Checked::Bad("401".into()));
        assert!(health.is_known());
    }

    #[test]
    fn queues() {
        let mut health = healthy();
        health.queued(QueueStatus { failed: 2, ..queue() }, NOW);
        check(&health, &["2 failed jobs wait for someone to retry or acknowledge them"]);
        let paused = |by| QueueStatus { paused: Some(Pause { by, reason: "why".into() }), ..queue() };
        health.queued(paused(PausedBy::Person), NOW);
        check(&health, &["paused: why"]);
        health.queued(paused(PausedBy::Credentials), NOW);
        check(&health, &["paused because the credentials were refused: why"]);
        health.queued(queue(), NOW);
        check(&health, &[]);
    }

    #[test]
    fn lag_recovers_below_half() {
        let mut health = healthy();
        for (age_ms, lagging) in
            [(0, false), (60_000, false), (60_001, true), (30_000, true), (29_999, false), (60_000, false)]
        {
            health.queued(QueueStatus { oldest_due_ms: Some(NOW - age_ms), ..queue() }, NOW);
            assert_eq!(!health.reasons(None, NOW).is_empty(), lagging, "{age_ms}");
        }
        health.queued(QueueStatus { oldest_due_ms: Some(NOW - 61_000), ..queue() }, NOW);
        check(&health, &["the oldest job waits for 61 s; max_purge_lag is 60 s"]);
        health.queued(queue(), NOW);
        check(&health, &[]);
    }

    #[test]
    fn an_age_that_is_not_known_counts() {
        let mut health = healthy();
        let mut check_due = |due_ms: i64, expected: &[&str]| {
            health.queued(QueueStatus { oldest_due_ms: Some(due_ms), ..queue() }, NOW);
            check(&health, expected);
        };
        let unknown = "it is not known for how long the oldest job waits, since the clock was set back";
        check_due(NOW + 70_000, &[]);
        check_due(NOW + 70_001, &[unknown]);
        check_due(NOW + 3_600_000, &[unknown]);
        check_due(NOW, &[]);
        // What waits for responses is not late.
        check_due(WAITING_MS, &[]);
        check_due(WAITING_MS + 500, &[]);
    }

    #[test]
    fn a_stale_copy_counts_until_a_fresh_one_is_seen() {
        let mut health = healthy();
        health.verified(Verification::Stale);
        health.purged();
        health.verified(Verification::Unknown);
        check(&health, &["a copy that is older than its purge is still served"]);
        health.verified(Verification::Fresh);
        check(&health, &[]);
    }
}
