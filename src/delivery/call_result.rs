//! The result of a call: the replies to its requests, taken together.

use super::Unreachable;
use super::target::Target;
use crate::base::with_causes;
use crate::cdn::{Adapter, Batch, Reply, RequestError, Verdict};
use bytes::Bytes;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Concurrent requests of one call. With several, a dead Varnish node does not hold up the others.
const REQUESTS: usize = 8;

/// The result of a call.
pub(super) struct CallResult {
    pub(super) verdict: Verdict,
    pub(super) status: Option<u16>,
    pub(super) request_id: Option<String>,
    pub(super) message: String,
    /// Whether the CDN replied.
    answered: bool,
}

impl CallResult {
    /// Returns the worst of the replies, because a call is done only when all its requests are.
    pub(super) fn of(adapter: &dyn Adapter, batch: &Batch, replies: &[Result<Reply, Unreachable>]) -> Self {
        let answers = replies.iter().enumerate().map(|(index, reply)| {
            let mut answer = match reply {
                Ok(reply) => Self::of_reply(adapter, batch, reply),
                Err(unreachable) => Self::unreachable(unreachable.to_string()),
            };
            if replies.len() > 1 {
                answer.message = format!("request {} of {}: {}", index + 1, replies.len(), answer.message);
            }
            answer
        });
        let worst = answers.reduce(|worst, answer| if answer.rank() > worst.rank() { answer } else { worst });
        worst.unwrap_or_else(|| Self::unreachable("there was nothing to send it to".into()))
    }

    fn of_reply(adapter: &dyn Adapter, batch: &Batch, reply: &Reply) -> Self {
        let of_reply = adapter.judge(batch, reply);
        Self {
            verdict: of_reply.verdict,
            answered: true,
            status: Some(reply.status.as_u16()),
            request_id: of_reply.request_id,
            message: of_reply.message,
        }
    }

    /// What the CDN did is unknown, so the call is retried.
    fn unreachable(message: String) -> Self {
        Self { verdict: Verdict::Later(None), answered: false, status: None, request_id: None, message }
    }

    /// Returns the result of a call that could not be written. If one of the items cannot be encoded, it is found by
    /// halving the batch. Any other error proves nothing about the items, so the call is retried.
    pub(super) fn unwritten(error: &RequestError, items: usize) -> Self {
        let message = with_causes(error);
        let verdict = match error {
            // A configuration or clock error can be fixed, and is not the item's fault.
            RequestError::Http(_) | RequestError::Clock => return Self::unreachable(message),
            _ if items > 1 => Verdict::Split,
            _ => Verdict::Refused,
        };
        Self { verdict, answered: true, status: None, request_id: None, message }
    }

    /// Returns the verdict as one word.
    pub(super) fn outcome(&self) -> &'static str {
        match self.verdict {
            Verdict::Done => "done",
            Verdict::Partial(_) => "partial",
            Verdict::Later(_) | Verdict::Resign if self.answered => "later",
            Verdict::Later(_) | Verdict::Resign => "unreachable",
            Verdict::Unproven => "unproven",
            Verdict::Split => "split",
            Verdict::Refused => "refused",
            Verdict::BadCredentials => "bad-credentials",
        }
    }

    /// Ranks the replies of a call; the highest decides. As long as one request may still succeed, all are
    /// retried.
    fn rank(&self) -> (u8, Duration) {
        match self.verdict {
            Verdict::Done => (0, Duration::ZERO),
            Verdict::Refused => (1, Duration::ZERO),
            Verdict::Split => (2, Duration::ZERO),
            Verdict::Partial(_) => (3, Duration::ZERO),
            Verdict::Later(after) => (4, after.unwrap_or_default()),
            Verdict::Unproven => (5, Duration::ZERO),
            Verdict::Resign => (6, Duration::ZERO),
            Verdict::BadCredentials => (7, Duration::ZERO),
        }
    }
}

/// Sends all requests of a call, a few at a time, until the deadline. Returns the replies in the order of the
/// requests.
pub(super) async fn send_all(
    target: &Target,
    requests: Vec<http::Request<Bytes>>,
    deadline: Instant,
) -> Vec<Result<Reply, Unreachable>> {
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
