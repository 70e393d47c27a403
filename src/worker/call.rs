//! The life of a call: sign, send, judge, settle; and halve it where the CDN did not like the whole.

use super::backoff::backoff;
use super::target::Target;
use super::{Unreachable, milliseconds, with_causes};
use crate::cdn::{Batch, Reply, RequestError, SignContext, Verdict};
use crate::purge::{Filled, State, Wanted};
use crate::store::{Attempt, ClaimedSend, PausedBy, SendOutcome, Settlement};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// Every answer of a call must have come by then.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests of one call under way at the same time: a dead Varnish node does not hold up the others.
const REQUESTS: usize = 8;
/// A call is not begun when its lease ends sooner: longer than the longest call.
const SHORTEST_LEASE: Duration = Duration::from_secs(75);
/// What an attempt keeps of a message, in bytes.
const MESSAGE: usize = 2_048;

/// A batch of claimed sends.
pub(super) struct Call {
    target: Arc<Target>,
    /// All that were claimed together.
    claimed: Arc<[ClaimedSend]>,
    filled: Filled,
    lease_until_ms: i64,
}

impl Call {
    pub(super) fn new(
        target: Arc<Target>,
        claimed: Arc<[ClaimedSend]>,
        filled: Filled,
        lease_until_ms: i64,
    ) -> Self {
        Self { target, claimed, filled, lease_until_ms }
    }

    /// What batching needs to know of a send.
    pub(super) fn wanted(send: &ClaimedSend) -> Wanted<'_> {
        Wanted { item: &send.item, identity: (send.id, send.created_ms) }
    }

    /// The sends that this call is for.
    pub(super) fn sends(&self) -> impl Iterator<Item = &ClaimedSend> {
        self.filled.wanted_by.iter().flatten().map(|position| &self.claimed[*position])
    }

    /// Whether the lease might end before the call does.
    pub(super) fn is_too_late(&self) -> bool {
        self.lease_until_ms.saturating_sub(self.target.shared.now_ms()) < milliseconds(SHORTEST_LEASE)
    }

    /// Sends the batch, and halves of it as long as the CDN asks for that.
    pub(super) async fn run(self) {
        let mut left = vec![self];
        while let Some(call) = left.pop() {
            let target = &call.target;
            let is_over = target.stop.is_cancelled() || target.pace.is_holding() || target.is_paused();
            if is_over || call.is_too_late() {
                call.settle(|_| SendOutcome::Unsent, None).await;
            } else {
                left.extend(call.once().await);
            }
        }
    }

    /// Sends the batch once. If that only split it, the halves.
    async fn once(mut self) -> Vec<Self> {
        let shared = self.target.shared.clone();
        let began = Instant::now();
        let at_ms = shared.now_ms();
        let answer = self.send().await;
        let took = began.elapsed();
        let outcome = answer.outcome();
        let (key, items) = (&self.target.key, self.filled.batch.items.len());
        shared.observer.call(key, outcome, took, items as u64);
        tracing::debug!(
            site = key.site,
            cdn = key.cdn,
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
        let now_ms = shared.now_ms();
        match answer.verdict {
            Verdict::Done => {
                self.target.pace.succeeded();
                self.target.report(|health| health.purged());
                self.settle(|_| SendOutcome::Done, Some(attempt)).await;
            }
            Verdict::Later(after) => {
                let wait = self.target.pace.failed(began, after);
                self.target.report(|health| health.failed(&attempt.message));
                let retry_ms = now_ms.saturating_add(milliseconds(wait));
                let give_up_ms = self.target.give_up_ms();
                let outcome = |send: &ClaimedSend| {
                    let age_ms = now_ms.saturating_sub(send.created_ms);
                    if age_ms > give_up_ms { SendOutcome::Failed } else { SendOutcome::RetryAt(retry_ms) }
                };
                self.settle(outcome, Some(attempt)).await;
            }
            Verdict::Split | Verdict::Refused => {
                let wanted: Vec<_> = self.claimed.iter().map(Self::wanted).collect();
                let Some(halves) = self.filled.halves(&wanted) else {
                    self.settle(|_| SendOutcome::Failed, Some(attempt)).await;
                    return Vec::new();
                };
                self.lease_until_ms = now_ms.saturating_add(milliseconds(super::queue::LEASE));
                let until_ms = self.lease_until_ms;
                self.settle(|_| SendOutcome::Splitting(until_ms), Some(attempt)).await;
                // The last is taken first.
                let [first, second] = halves;
                return [second, first]
                    .map(|filled| Self::new(self.target.clone(), self.claimed.clone(), filled, until_ms))
                    .into();
            }
            Verdict::BadCredentials => {
                // Paused before the sends are given back, or they would be claimed at once.
                self.pause(began, &attempt.message).await;
                self.settle(|_| SendOutcome::RetryAt(now_ms), Some(attempt)).await;
            }
        }
        Vec::new()
    }

    async fn send(&self) -> Answer {
        let (adapter, shared) = (&self.target.adapter, &self.target.shared);
        let sign = SignContext { now_ms: shared.now_ms(), nonce: uuid::Uuid::new_v4().to_string() };
        let requests = match adapter.requests(&self.filled.batch, &sign) {
            Ok(requests) => requests,
            Err(error) => return Answer::unwritten(&error),
        };
        let replies = send_all(&self.target, requests).await;
        let count = replies.len();
        let answers = replies.into_iter().enumerate().map(|(index, reply)| {
            let mut answer = match reply {
                Ok(reply) => Answer::judged(&self.target, &self.filled.batch, &reply),
                Err(unreachable) => Answer::unreachable(unreachable.to_string()),
            };
            if count > 1 {
                answer.message = format!("request {} of {count}: {}", index + 1, answer.message);
            }
            answer
        });
        // The first of the worst: it is done only when all of them are.
        let worst = answers.reduce(|worst, answer| if answer.rank() > worst.rank() { answer } else { worst });
        worst.unwrap_or_else(|| Answer::unreachable("there was nothing to send it to".into()))
    }

    async fn pause(&self, began: Instant, why: &str) {
        let Target { key, shared, .. } = &*self.target;
        tracing::error!(
            site = key.site,
            cdn = key.cdn,
            why,
            "the CDN refuses the credentials: paused, nothing is lost"
        );
        let paused = shared.store.set_paused(key.clone(), PausedBy::Credentials, Some(why.to_owned())).await;
        shared.written(&paused);
        // Also in case that failed, and for calls that are under way.
        self.target.pace.failed(began, None);
        self.target.report(|health| health.refused(why));
        self.target.recheck.notify_one();
    }

    /// Tells the store what became of the sends. While it cannot be told, their lease protects them; after that they
    /// are sent again, which does no harm.
    async fn settle(&self, outcome: impl Fn(&ClaimedSend) -> SendOutcome, attempt: Option<Attempt>) {
        let shared = &self.target.shared;
        let sends: Vec<_> = self.sends().map(|send| (send.id, send.attempt, outcome(send))).collect();
        let mut failures = 0;
        loop {
            let settlement =
                Settlement { sends: sends.clone(), attempt: attempt.clone(), now_ms: shared.now_ms() };
            let settled = shared.store.settle(settlement).await;
            shared.written(&settled);
            match settled {
                Ok(ended) => {
                    for job in &ended {
                        self.ended(job);
                    }
                    shared.changed();
                    return;
                }
                Err(_) if shared.now_ms() >= self.lease_until_ms || shared.stop.is_cancelled() => return,
                Err(_) => {
                    self.target.report(|_| {});
                    failures += 1;
                    sleep(backoff(failures, fastrand::f64())).await;
                }
            }
        }
    }

    fn ended(&self, job: &crate::store::EndedJob) {
        let took_ms = self.target.shared.now_ms().saturating_sub(job.created_ms);
        let took = Duration::from_millis(u64::try_from(took_ms).unwrap_or_default());
        let (site, cdn, purge) = (&job.key.site, &job.key.cdn, &job.purge);
        if job.state == State::Failed {
            tracing::error!(site, cdn, purge, "a purge failed: retry or acknowledge it");
        } else {
            tracing::info!(site, cdn, purge, took_ms, "purged");
        }
        self.target.shared.observer.job_ended(job, took);
    }
}

/// Sends all requests of a call, a few at a time; the replies in their order.
async fn send_all(target: &Target, requests: Vec<http::Request<Bytes>>) -> Vec<Result<Reply, Unreachable>> {
    let deadline = Instant::now() + CALL_TIMEOUT;
    let mut replies: Vec<_> =
        requests.iter().map(|_| Err(Unreachable("the request broke off".into()))).collect();
    let mut under_way = JoinSet::new();
    for (index, request) in requests.into_iter().enumerate() {
        if under_way.len() >= REQUESTS
            && let Some(Ok((index, reply))) = under_way.join_next().await
        {
            replies[index] = reply;
        }
        let transport = target.shared.transport.clone();
        under_way.spawn(async move {
            let reply = timeout_at(deadline, transport.send(request)).await;
            (index, reply.unwrap_or_else(|_| Err(Unreachable("no answer in time".into()))))
        });
    }
    while let Some(ended) = under_way.join_next().await {
        if let Ok((index, reply)) = ended {
            replies[index] = reply;
        }
    }
    replies
}

/// What became of a call.
struct Answer {
    verdict: Verdict,
    /// Whether anybody answered.
    answered: bool,
    status: Option<u16>,
    request_id: Option<String>,
    message: String,
}

impl Answer {
    fn judged(target: &Target, batch: &Batch, reply: &Reply) -> Self {
        let judged = target.adapter.judge(batch, reply);
        Self {
            verdict: judged.verdict,
            answered: true,
            status: Some(reply.status.as_u16()),
            request_id: judged.request_id,
            message: judged.message,
        }
    }

    /// What the CDN did is unknown, so it is sent again.
    fn unreachable(message: String) -> Self {
        Self { verdict: Verdict::Later(None), answered: false, status: None, request_id: None, message }
    }

    /// One of the items cannot be written, and is found by halving; but parts that make no HTTP say nothing about items.
    fn unwritten(error: &RequestError) -> Self {
        let message = with_causes(error);
        match error {
            // What the configuration or the clock spoils can be mended; the item is not to blame.
            RequestError::Http(_) | RequestError::Clock => Self::unreachable(message),
            _ => Self { verdict: Verdict::Refused, answered: true, status: None, request_id: None, message },
        }
    }

    fn outcome(&self) -> &'static str {
        match self.verdict {
            Verdict::Done => "done",
            Verdict::Later(_) if self.answered => "later",
            Verdict::Later(_) => "unreachable",
            Verdict::Split => "split",
            Verdict::Refused => "refused",
            Verdict::BadCredentials => "bad-credentials",
        }
    }

    /// Which of a call's answers decides. As long as one part may still get through, all are tried again.
    fn rank(&self) -> (u8, Duration) {
        match self.verdict {
            Verdict::Done => (0, Duration::ZERO),
            Verdict::Refused => (1, Duration::ZERO),
            Verdict::Split => (2, Duration::ZERO),
            Verdict::Later(after) => (3, after.unwrap_or_default()),
            Verdict::BadCredentials => (4, Duration::ZERO),
        }
    }
}

/// At most [`MESSAGE`] bytes, whole characters.
fn shorten(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE));
    message
}
