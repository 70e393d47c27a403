//! What became of a call: the answers to its requests, taken together.

use super::Unreachable;
use super::target::Target;
use crate::causes::with_causes;
use crate::cdn::{Adapter, Batch, Reply, RequestError, Verdict};
use bytes::Bytes;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Requests of one call under way at the same time: a dead Varnish node does not hold up the others.
const REQUESTS: usize = 8;

/// What became of a call.
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    pub(super) status: Option<u16>,
    pub(super) request_id: Option<String>,
    pub(super) message: String,
    /// Whether anybody answered.
    answered: bool,
}

impl Answer {
    /// The worst of the answers, since a call is done only when all of them are.
    pub(super) fn of(adapter: &dyn Adapter, batch: &Batch, replies: &[Result<Reply, Unreachable>]) -> Self {
        let answers = replies.iter().enumerate().map(|(index, reply)| {
            let mut answer = match reply {
                Ok(reply) => Self::judged(adapter, batch, reply),
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

    fn judged(adapter: &dyn Adapter, batch: &Batch, reply: &Reply) -> Self {
        let judged = adapter.judge(batch, reply);
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
    pub(super) fn unwritten(error: &RequestError, items: usize) -> Self {
        let message = with_causes(error);
        let verdict = match error {
            // What the configuration or the clock spoils can be mended; the item is not to blame.
            RequestError::Http(_) | RequestError::Clock => return Self::unreachable(message),
            _ if items > 1 => Verdict::Split,
            _ => Verdict::Refused,
        };
        Self { verdict, answered: true, status: None, request_id: None, message }
    }

    /// The verdict in a word.
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

    /// Which of a call's answers decides. As long as one part may still get through, all are tried again.
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

/// Sends all requests of a call, a few at a time, until the deadline; the replies in their order.
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
