//! Purge health: whether purges to a CDN are known to get through in time. Health fails closed: anything unknown
//! is a reason against it, and any reason gives the CDN's responses the short TTL. Pure; `target.rs` feeds it and
//! publishes the result.

use super::backoff::LONGEST_BACKOFF;
use super::milliseconds;
use crate::cdn::ItemKind;
use crate::store::{PausedBy, QueueStatus, Verification, WAITING_MS};
use std::collections::BTreeMap;
use std::time::Duration;

/// Consecutive checks that may remain unanswered before earlier proof expires. Checks after a failure follow each
/// other within seconds.
const PATIENCE: u32 = 3;

/// What is known of one CDN.
#[derive(Debug)]
pub(super) struct Health {
    max_lag_ms: i64,
    /// The longest time from a job's acceptance until it becomes due.
    most_ahead_ms: i64,
    proof: Proof,
    /// Consecutive checks without a conclusive answer.
    unanswered: u32,
    /// A purge was refused because of the credentials and waits; none has got through since.
    refused: bool,
    /// The kinds of items whose last purge was answered by a success without proof, and what was missing.
    unproved: BTreeMap<ItemKind, String>,
    /// Why the last purge call did not get through.
    failure: Option<String>,
    /// The state of the queue when it was last read from the store.
    queue: Option<QueueStatus>,
    /// The oldest job exceeded the limit, and the oldest since has not yet fallen below half of it.
    lagging: bool,
    /// The oldest job seems to become due later than any job can, so its age is unknown: the clock was set back
    /// between two runs.
    ahead: bool,
    /// A copy older than its purge was seen, and no fresh one since.
    stale: bool,
}

/// The result of a credentials check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// The credentials are valid.
    Good,
    /// The credentials were not refused, but only a purge can prove them.
    Open(String),
    /// The credentials are invalid.
    Bad(String),
    /// The CDN could not be reached, or its answer is inconclusive.
    Unanswered(String),
}

/// Whether the credentials are known to be valid; if not, why.
#[derive(Debug)]
enum Proof {
    /// No check has ended yet.
    Unchecked,
    Good,
    None(String),
}

impl Health {
    /// Purges must get through within `max_lag`, and are sent `settle` after they were accepted.
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

    /// Applies the limits of a new configuration.
    pub(super) fn set_terms(&mut self, max_lag: Duration, settle: Duration) {
        self.max_lag_ms = milliseconds(max_lag);
        self.most_ahead_ms = milliseconds(settle + LONGEST_BACKOFF);
    }

    /// Records the result of a credentials check.
    pub(super) fn checked(&mut self, checked: Checked) {
        self.unanswered = match checked {
            Checked::Unanswered(_) => self.unanswered.saturating_add(1),
            _ => 0,
        };
        let is_proved = matches!(self.proof, Proof::Good);
        self.proof = match checked {
            // A check proves less than a purge: as long as a refused purge waits, a valid check is not enough.
            Checked::Good if self.refused => {
                Proof::None("the credentials are valid again, but no purge got through yet".into())
            }
            Checked::Good => Proof::Good,
            // A check that cannot decide does not outweigh a purge that got through.
            Checked::Open(_) if is_proved => Proof::Good,
            // Neither does a check that the network lost.
            Checked::Unanswered(_) if is_proved && self.unanswered < PATIENCE => Proof::Good,
            Checked::Open(why) => {
                Proof::None(format!("the credentials are not proved before the first purge: {why}"))
            }
            Checked::Bad(why) | Checked::Unanswered(why) => {
                Proof::None(format!("the credentials could not be proved: {why}"))
            }
        };
    }

    /// Records that a purge got through.
    pub(super) fn purged(&mut self) {
        (self.proof, self.unanswered, self.refused, self.failure) = (Proof::Good, 0, false, None);
    }

    /// Records that a purge did not get through and will be tried again. The queue shows if it waits too long.
    pub(super) fn failed(&mut self, why: &str) {
        self.failure = Some(why.to_owned());
    }

    /// Records that a purge of items of these kinds was answered by a success without proof. The answer may come
    /// from someone else, so purges of these kinds are not trusted until one is proved again.
    pub(super) fn unproved(&mut self, kinds: impl Iterator<Item = ItemKind>, why: &str) {
        self.unproved.extend(kinds.map(|kind| (kind, why.to_owned())));
        self.failed(why);
    }

    /// Records that a purge of items of these kinds was proved. This does not prove other kinds: an old VCL proves
    /// purges, but no bans.
    pub(super) fn proved(&mut self, kinds: impl Iterator<Item = ItemKind>) {
        kinds.for_each(|kind| drop(self.unproved.remove(&kind)));
    }

    /// Records the verification of purged copies. An inconclusive copy changes nothing.
    pub(super) fn verified(&mut self, seen: Verification) {
        match seen {
            Verification::Fresh => self.stale = false,
            Verification::Stale => self.stale = true,
            Verification::Unknown => {}
        }
    }

    /// Records that a purge was refused because of the credentials.
    pub(super) fn refused(&mut self, why: &str) {
        self.proof = Proof::None(format!("the credentials could not be proved: {why}"));
        self.refused = true;
    }

    /// Records the state of the queue. Returns whether the refused purge left the queue, in which case a check can
    /// now decide again.
    pub(super) fn queued(&mut self, queue: QueueStatus, now_ms: i64) -> bool {
        let age = queue.oldest_due_ms.map_or(0, |due| now_ms.saturating_sub(due));
        // Follow-ups that wait for responses have a due time of their own.
        self.ahead = queue.oldest_due_ms.is_some_and(|due| due < WAITING_MS) && age < -self.most_ahead_ms;
        // The lag ends below half of the limit, so that health does not flap.
        self.lagging = if self.lagging { age >= self.max_lag_ms / 2 } else { age > self.max_lag_ms };
        // The refused purge was cancelled.
        let was_emptied = self.refused && queue.pending == 0;
        self.refused &= !was_emptied;
        // The purge without proof was cancelled, or went out as something else.
        if queue.pending == 0 {
            self.unproved.clear();
        }
        self.queue = Some(queue);
        was_emptied
    }

    /// Whether the health is a verdict and not only the lack of any information.
    pub(super) fn is_known(&self) -> bool {
        self.queue.is_some() && !matches!(self.proof, Proof::Unchecked)
    }

    pub(super) fn queue(&self) -> Option<&QueueStatus> {
        self.queue.as_ref()
    }

    /// All reasons against a long TTL, in words. The CDN is healthy if there is none. `store` is the reason why
    /// the store fails.
    pub(super) fn reasons(&self, store: Option<&str>, now_ms: i64) -> Vec<String> {
        let mut reasons = Vec::new();
        reasons.extend(store.map(|why| format!("the store fails: {why}")));
        match &self.proof {
            Proof::Good => {}
            Proof::Unchecked => reasons.push("the credentials are not checked yet".into()),
            Proof::None(why) => reasons.push(why.clone()),
        }
        // Several kinds usually lack the same proof.
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
            reasons.push(format!("failed jobs that must be retried or acknowledged: {}", queue.failed));
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
        // Purges get through although checks do not.
        health.purged();
        health.checked(lost());
        check(&health, &[]);
        // Credentials that were never proved remain unproved.
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
        check(&health, &["the credentials are valid again, but no purge got through yet"]);
        health.purged();
        check(&health, &[]);
        // The refused purge waits as long as the queue is not empty.
        health.refused("401");
        assert!(!health.queued(QueueStatus { pending: 1, ..queue() }, NOW));
        health.checked(Checked::Good);
        check(&health, &["the credentials are valid again, but no purge got through yet"]);
        // The purge was cancelled, as the queue shows. A check decides again, once.
        assert!(health.queued(queue(), NOW));
        assert!(!health.queued(queue(), NOW));
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
        // Purges of tags prove nothing about bans, and neither does a check.
        health.purged();
        health.proved([ItemKind::Tag].into_iter());
        health.checked(Checked::Good);
        check(&health, &["a purge was not proved: 200 without X-Purged"]);
        health.proved([ItemKind::Tag, ItemKind::Prefix].into_iter());
        check(&health, &[]);
        // The purge was cancelled.
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
        check(&health, &["failed jobs that must be retried or acknowledged: 2"]);
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
    fn a_reload_changes_the_limits() {
        let waiting = |ms| QueueStatus { oldest_due_ms: Some(NOW - ms), ..queue() };
        let mut health = healthy();
        health.queued(waiting(61_000), NOW);
        check(&health, &["the oldest job waits for 61 s; max_purge_lag is 60 s"]);
        health.set_terms(Duration::from_secs(200), Duration::from_secs(3_600));
        health.queued(waiting(61_000), NOW);
        check(&health, &[]);
        // A purge that is sent in an hour is not ahead of its time.
        health.queued(waiting(-3_600_000), NOW);
        check(&health, &[]);
        health.set_terms(Duration::from_secs(200), Duration::from_secs(10));
        health.queued(waiting(-3_600_000), NOW);
        assert!(!health.reasons(None, NOW).is_empty());
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
        // Sends that wait for responses are not late.
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
