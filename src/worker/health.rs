//! Purge health: whether purges to a CDN are known to get through in time. It fails closed: what is not known is a reason
//! against it, and any reason gives the CDN's responses the short TTL. Pure; `target.rs` feeds it and publishes the result.

use super::milliseconds;
use crate::store::{PausedBy, QueueStatus};
use std::time::Duration;

/// What is known of one CDN.
#[derive(Debug)]
pub(super) struct Health {
    max_lag_ms: i64,
    proof: Proof,
    /// Why the last purge call did not get through.
    failing: Option<String>,
    /// How the queue stood when the store was last asked.
    queue: Option<QueueStatus>,
    /// The oldest job was too old, and its successor is not young enough yet.
    lagging: bool,
}

/// Whether the credentials are known to be good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nobody asked yet.
    Unchecked,
    /// A check or a purge succeeded.
    Good,
    /// Not refused, but only a purge can tell.
    Open(String),
    /// Refused, or nobody could be asked.
    Bad(String),
}

impl Health {
    pub(super) fn new(max_lag: Duration) -> Self {
        let max_lag_ms = milliseconds(max_lag);
        Self { max_lag_ms, proof: Proof::Unchecked, failing: None, queue: None, lagging: false }
    }

    /// The configuration allows another lag.
    pub(super) fn set_max_lag(&mut self, max_lag: Duration) {
        self.max_lag_ms = milliseconds(max_lag);
    }

    /// A check of the credentials ended.
    pub(super) fn checked(&mut self, proof: Proof) {
        // A purge that got through proves more than a check that cannot tell.
        if self.proof == Proof::Good && matches!(proof, Proof::Open(_)) {
            return;
        }
        if proof == Proof::Good && self.queue.as_ref().is_some_and(|queue| queue.pending == 0) {
            self.failing = None;
        }
        self.proof = proof;
    }

    /// A purge got through.
    pub(super) fn purged(&mut self) {
        self.proof = Proof::Good;
        self.failing = None;
    }

    /// A purge did not get through and will be tried again.
    pub(super) fn failed(&mut self, why: &str) {
        self.failing = Some(why.to_owned());
    }

    /// A purge was refused because of the credentials.
    pub(super) fn refused(&mut self, why: &str) {
        self.proof = Proof::Bad(why.to_owned());
    }

    /// The store told how the queue stands.
    pub(super) fn queued(&mut self, queue: QueueStatus, now_ms: i64) {
        let age = queue.oldest_due_ms.map_or(0, |due| now_ms.saturating_sub(due));
        // It recovers below half, so that it does not flap.
        self.lagging = if self.lagging { age >= self.max_lag_ms / 2 } else { age > self.max_lag_ms };
        self.queue = Some(queue);
    }

    pub(super) fn queue(&self) -> Option<&QueueStatus> {
        self.queue.as_ref()
    }

    /// Everything that speaks against a long TTL, in words; healthy if nothing does. `store` says why the store fails.
    pub(super) fn reasons(&self, store: Option<&str>, now_ms: i64) -> Vec<String> {
        let mut reasons = Vec::new();
        reasons.extend(store.map(|why| format!("the store fails: {why}")));
        match &self.proof {
            Proof::Unchecked => reasons.push("the credentials are not checked yet".into()),
            Proof::Good => {}
            Proof::Open(why) => {
                reasons.push(format!("the credentials are not proved before the first purge: {why}"))
            }
            Proof::Bad(why) => reasons.push(format!("the credentials could not be proved: {why}")),
        }
        reasons.extend(self.failing.as_ref().map(|why| format!("the last purge call failed: {why}")));
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
        if self.lagging {
            let age = queue.oldest_due_ms.map_or(0, |due| now_ms.saturating_sub(due)) / 1_000;
            let most = self.max_lag_ms / 1_000;
            reasons.push(format!("the oldest job waits for {age} s; max_purge_lag is {most} s"));
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

    fn healthy() -> Health {
        let mut health = Health::new(Duration::from_secs(60));
        health.checked(Proof::Good);
        health.queued(queue(), NOW);
        health
    }

    #[track_caller]
    fn check(health: &Health, expected: &[&str]) {
        assert_eq!(health.reasons(None, NOW), expected);
    }

    #[test]
    fn what_is_not_known_speaks_against() {
        let mut health = Health::new(Duration::from_secs(60));
        check(&health, &["the credentials are not checked yet", "the queue is not read yet"]);
        health.queued(queue(), NOW);
        check(&health, &["the credentials are not checked yet"]);
        health.checked(Proof::Good);
        check(&health, &[]);
        assert_eq!(health.reasons(Some("disk full"), NOW), ["the store fails: disk full"]);
    }

    #[test]
    fn checks() {
        let mut health = healthy();
        health.checked(Proof::Bad("401".into()));
        check(&health, &["the credentials could not be proved: 401"]);
        health.checked(Proof::Open("403".into()));
        check(&health, &["the credentials are not proved before the first purge: 403"]);
        health.purged();
        check(&health, &[]);
        health.checked(Proof::Open("403".into()));
        check(&health, &[]);
    }

    #[test]
    fn calls() {
        let mut health = healthy();
        health.failed("503");
        check(&health, &["the last purge call failed: 503"]);
        health.purged();
        check(&health, &[]);

        // A good check proves nothing while purges wait.
        health.failed("503");
        health.queued(QueueStatus { pending: 1, ..queue() }, NOW);
        health.checked(Proof::Good);
        check(&health, &["the last purge call failed: 503"]);
        health.queued(queue(), NOW);
        health.checked(Proof::Good);
        check(&health, &[]);

        health.refused("401");
        check(&health, &["the credentials could not be proved: 401"]);
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
}
