//! The life of a call: sign, send, judge, settle.

use super::account::load_of_call;
use super::account::{Load, Reservation};
use super::backoff::backoff;
use super::call_result::{CallResult, send_all};
use super::milliseconds;
use super::target::Target;
use crate::cdn::{ItemKind, Reply, Verdict};
use crate::failpoint;
use crate::purge::{Filled, SendReason, State, Wanted};
use crate::store::{
    Attempt, Claimed, ClaimedSend, EndedJob, Lane, NewWork, PausedBy, SendOutcome, Settled, Settlement, Wider,
};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The deadline for all replies of a call, from its start.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The maximum length of an attempt's message in bytes.
const MESSAGE: usize = 2_048;

/// One call: a batch of claimed sends.
pub(super) struct Call {
    target: Arc<Target>,
    sends: Vec<ClaimedSend>,
    filled: Filled,
    lease_until_ms: i64,
}

impl Call {
    pub(super) fn new(target: Arc<Target>, claimed: Claimed, lease_until_ms: i64) -> Self {
        let wanted = |send: &ClaimedSend| (send.id, send.created_ms);
        let wanted: Vec<_> =
            claimed.sends.iter().map(|send| Wanted { item: &send.item, identity: wanted(send) }).collect();
        let filled = Filled::of(&wanted, claimed.absorbed_digest);
        Self { target, sends: claimed.sends, filled, lease_until_ms }
    }

    /// Returns what the call costs.
    pub(super) fn load(&self) -> Load {
        load_of_call(self.target.cdn_type, self.filled.batch.items.iter())
    }

    fn kinds(&self) -> impl Iterator<Item = ItemKind> {
        self.filled.batch.items.iter().map(|item| item.kind)
    }

    fn is_repeat(&self) -> bool {
        self.sends.iter().all(|send| send.reason == SendReason::Repeat)
    }

    /// Describes the work that the CDN accepted.
    fn work(&self, name: String) -> NewWork {
        let items = self.load().items;
        let wildcards = items[ItemKind::Prefix as usize] + items[ItemKind::Everything as usize];
        NewWork { name, items: items.iter().sum(), wildcards }
    }

    /// Sends the batch and settles it.
    pub(super) async fn run(self, mut reservation: Reservation) {
        let target = &self.target;
        let is_over = target.stop.is_cancelled() || target.pace.is_holding() || target.is_paused();
        if is_over || !reservation.is_good() {
            self.settle(Settlement::default(), |_, _| SendOutcome::Unsent).await;
            return;
        }
        let shared = target.shared.clone();
        let (began, at_ms) = (Instant::now(), shared.wall_ms());
        let (answer, replies) = self.send(&mut reservation).await;
        let took = began.elapsed();
        let outcome = answer.outcome();
        let items = self.filled.batch.items.len();
        shared.observer.call(&target.key, outcome, took, items as u64);
        tracing::debug!(
            site = target.key.site,
            cdn = target.key.cdn,
            outcome,
            items,
            status = answer.status,
            message = answer.message,
            "called a CDN"
        );
        let attempt = Attempt {
            at_ms,
            status: answer.status,
            request_id: answer.request_id,
            duration_ms: milliseconds(took),
            outcome: outcome.to_owned(),
            message: shorten(answer.message),
        };
        let work = match (&answer.verdict, target.adapter.completion()) {
            (Verdict::Done, Some(completion)) => {
                replies.last().and_then(|reply| completion.work(reply)).map(|name| self.work(name))
            }
            _ => None,
        };
        self.end(answer.verdict, attempt, began, work).await;
        // Until here, the call might have become accepted work at any moment.
        drop(reservation);
    }

    /// Acts on the verdict.
    async fn end(&self, verdict: Verdict, attempt: Attempt, began: Instant, work: Option<NewWork>) {
        let target = &self.target;
        let now_ms = target.shared.now_ms();
        let settlement = Settlement { attempt: Some(attempt.clone()), work, ..Settlement::default() };
        match verdict {
            Verdict::Done => {
                target.pace.succeeded();
                target.report(|health| {
                    health.purged();
                    health.proved(self.kinds());
                });
                self.settle(settlement, |_, _| SendOutcome::Done).await;
            }
            Verdict::Partial(missing) => {
                target.report(|health| health.purged());
                let retry = self.retry(now_ms, target.pace.failed(began, None));
                let missing: HashSet<usize> = missing
                    .iter()
                    .filter_map(|item| self.filled.wanted_by.get(*item))
                    .flatten()
                    .copied()
                    .collect();
                let outcome = |position: usize, send: &ClaimedSend| {
                    if missing.contains(&position) { retry(send) } else { SendOutcome::Done }
                };
                self.settle(settlement, outcome).await;
            }
            Verdict::Later(after) => {
                if let Some(after) = after {
                    target.account.silence(after);
                }
                let retry = self.retry(now_ms, target.pace.failed(began, after));
                target.report(|health| health.failed(&attempt.message));
                self.settle(settlement, |_, send| retry(send)).await;
            }
            Verdict::Unproven => {
                let retry = self.retry(now_ms, target.pace.failed(began, None));
                target.report(|health| health.unproved(self.kinds(), &attempt.message));
                self.settle(settlement, |_, send| retry(send)).await;
            }
            Verdict::Resign => {
                let retry = self.retry(now_ms, target.pace.failed(began, None));
                target.report(|health| health.failed(&attempt.message));
                self.settle(settlement, |_, send| retry(send)).await;
            }
            Verdict::Split => self.split(settlement).await,
            Verdict::Refused => self.refused(settlement).await,
            Verdict::BadCredentials => {
                // The CDN is paused before the sends are given back, or they would be claimed at once.
                self.pause(began, &attempt.message).await;
                self.settle(settlement, |_, _| SendOutcome::RetryAt(now_ms)).await;
            }
        }
    }

    /// Signs and sends the batch. If only the clock was wrong, the call is repeated at once, one time.
    async fn send(&self, reservation: &mut Reservation) -> (CallResult, Vec<Reply>) {
        let (target, batch) = (&*self.target, &self.filled.batch);
        let deadline = Instant::now() + CALL_TIMEOUT;
        let mut again = true;
        loop {
            let requests = match target.adapter.requests(batch, &target.sign()) {
                Ok(requests) => requests,
                Err(error) => return (CallResult::unwritten(&error, batch.items.len()), Vec::new()),
            };
            let load = *reservation.load();
            reservation.spend();
            // The call may address several nodes, or its names may be longer than planned. Every request that
            // leaves is charged.
            let more = (requests.len() as u64).saturating_sub(1);
            if more > 0 {
                target.account.take(&Load { calls: more, items: load.items.map(|items| items.min(1)) });
            }
            failpoint::reached(if self.is_repeat() { "repeating" } else { "sending" });
            let replies = send_all(target, requests, deadline).await;
            failpoint::reached(if self.is_repeat() { "repeated" } else { "replied" });
            let answer = CallResult::of(&*target.adapter, batch, &replies);
            let replies: Vec<_> = replies.into_iter().flatten().collect();
            for reply in &replies {
                target.account.heard(&target.adapter.rate_hints(reply), &load);
                target.dated(reply);
            }
            let is_late = answer.verdict == Verdict::Resign;
            if !(is_late && std::mem::take(&mut again) && reservation.renew()) {
                return (answer, replies);
            }
        }
    }

    /// Returns the outcome of a send that is retried after `wait`. A send that is too old fails.
    fn retry(&self, now_ms: i64, wait: Duration) -> impl Fn(&ClaimedSend) -> SendOutcome + use<> {
        let retry_ms = now_ms.saturating_add(milliseconds(wait));
        let give_up_ms = self.target.terms().give_up_ms;
        move |send| {
            let age_ms = now_ms.saturating_sub(send.since_ms);
            if age_ms > give_up_ms { SendOutcome::Failed } else { SendOutcome::RetryAt(retry_ms) }
        }
    }

    /// Settles each half as a call of its own, which leaves as soon as the account can pay for it.
    async fn split(&self, settlement: Settlement) {
        let Some([first, second]) = self.filled.halves() else { return self.refused(settlement).await };
        let number = |half: &[usize]| half.iter().map(|position| self.sends[*position].id).min();
        let numbers = [number(&first), number(&second)];
        let second: HashSet<usize> = second.into_iter().collect();
        let together = |position: usize, send: &ClaimedSend| {
            let number = numbers[usize::from(second.contains(&position))];
            SendOutcome::Together(number.unwrap_or(send.id))
        };
        self.settle(settlement, together).await;
    }

    /// Replaces a permanently refused item by something broader, finally by the whole site. If the purge of the
    /// site was refused, it fails.
    async fn refused(&self, mut settlement: Settlement) {
        let hard = self.sends.iter().any(|send| send.item.hard);
        let is_site = self.sends.iter().any(|send| send.lane == Lane::Site);
        if let [refused] = self.filled.batch.items.as_slice()
            && let Some(item) = self.target.adapter.broader(refused).filter(|_| !is_site)
        {
            let why = format!("the CDN refused an item, so a purge of {} takes its place", item.value);
            settlement.widen = Some(Wider { item, why });
            return self.settle(settlement, |_, _| SendOutcome::Widened).await;
        }
        let Some(item) = self.target.wider(hard).filter(|_| !is_site) else {
            // Splitting lets valid items through among refused ones.
            if self.filled.wanted_by.len() > 1 {
                return Box::pin(self.split(settlement)).await;
            }
            return self.settle(settlement, |_, _| SendOutcome::Failed).await;
        };
        settlement.widen = Some(Wider { item, why: WHY_REFUSED.to_owned() });
        self.settle(settlement, |_, _| SendOutcome::Widened).await;
    }

    async fn pause(&self, began: Instant, why: &str) {
        let Target { key, shared, stop, .. } = &*self.target;
        // A reload has replaced this target, or the program ends. The credentials of its successor, or those at the
        // next start, are checked anew.
        if stop.is_cancelled() {
            return;
        }
        tracing::error!(
            site = key.site,
            cdn = key.cdn,
            why,
            "the CDN refuses the credentials: paused, nothing is lost"
        );
        let _ = shared.store.set_paused(key.clone(), PausedBy::Credentials, Some(why.to_owned())).await;
        // The pace also holds back calls that were claimed already, and all calls if the store did not commit the
        // pause.
        self.target.pace.failed(began, None);
        self.target.report(|health| health.refused(why));
        self.target.recheck.notify_one();
    }

    /// Reports the outcome of each send, by its position, to the store. While the store does not respond, their lease
    /// keeps the sends from being claimed again. When it has ended, they are sent again, which does no harm.
    async fn settle(&self, settlement: Settlement, outcome: impl Fn(usize, &ClaimedSend) -> SendOutcome) {
        let Target { shared, account, .. } = &*self.target;
        let sends = self.sends.iter().enumerate();
        let sends = sends.map(|(position, send)| (send.id, send.attempt, outcome(position, send))).collect();
        let settlement = Settlement { sends, ..settlement };
        let mut failures = 0;
        loop {
            let now_ms = shared.now_ms();
            let (rates, at_ms) = (account.saved(now_ms), shared.wall_ms());
            let settlement = Settlement { rates, now_ms, at_ms, ..settlement.clone() };
            let work = settlement.work.clone();
            let settled = shared.store.settle(settlement).await;
            match settled {
                Ok(settled) => {
                    failpoint::reached("settled");
                    return self.settled(&settled, work);
                }
                Err(_) if now_ms >= self.lease_until_ms || shared.stop.is_cancelled() => return,
                Err(_) => {
                    self.target.report(|_| {});
                    failures += 1;
                    sleep(backoff(failures, fastrand::f64())).await;
                }
            }
        }
    }

    fn settled(&self, settled: &Settled, work: Option<NewWork>) {
        let Target { key, shared, account, wake, accepted, .. } = &*self.target;
        if let (Some(number), Some(work)) = (settled.work, work) {
            account.is_under_way(number, work);
            accepted.notify_one();
        }
        settled.ended.iter().for_each(|job| self.ended(job));
        if settled.widened > 0 {
            shared.observer.widened(key, settled.widened);
        }
        // Something may be due at once.
        wake.notify_one();
        shared.changed();
    }

    fn ended(&self, job: &EndedJob) {
        let took = self.target.shared.since(job.since_ms);
        let (site, cdn, purge) = (&job.key.site, &job.key.cdn, &job.purge);
        if job.state == State::Failed {
            tracing::error!(site, cdn, purge, "a purge failed: retry or acknowledge it");
        } else {
            tracing::info!(site, cdn, purge, took_ms = milliseconds(took), "purged");
        }
        self.target.shared.observer.job_ended(job, took);
        self.target.to_verify(job);
    }
}

/// The fallback reason that a job shows, whatever its outcome. It does not claim success: nothing is purged yet,
/// and the CDN may refuse the purge of the site, too.
const WHY_REFUSED: &str = "the CDN refused an item, so a purge of everything of the site takes its place";

/// Truncates a message to at most [`MESSAGE`] bytes of whole characters.
fn shorten(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE));
    message
}
