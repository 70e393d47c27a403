//! Whether the credentials are good: asked at the start, every ten minutes, and soon again after a bad answer. A good
//! answer ends a pause that bad credentials caused.

use super::account::Load;
use super::backoff::backoff;
use super::health::Proof;
use super::target::Target;
use crate::cdn::Verdict;
use crate::store::PausedBy;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Between good answers.
const INTERVAL: Duration = Duration::from_secs(600);
/// No answer takes longer.
const TIMEOUT: Duration = Duration::from_secs(45);

/// Checks until the engine stops.
pub(super) async fn run(target: Arc<Target>) {
    let mut failures = 0;
    loop {
        let proof = tokio::select! {
            () = target.stop.cancelled() => return,
            proof = check(&target) => proof,
        };
        let refuted = matches!(proof, Proof::Bad(_));
        target.report(|health| health.checked(proof));
        if !refuted {
            resume(&target).await;
        }
        let wait = if refuted { wait_after(&mut failures) } else { INTERVAL };
        let wait = tokio::select! {
            () = target.stop.cancelled() => return,
            () = sleep(wait) => {
                if !refuted {
                    failures = 0;
                }
                continue;
            }
            // The check may have been good all the same: then the pauses in between must grow.
            () = target.recheck.notified() => wait_after(&mut failures),
        };
        tokio::select! {
            () = target.stop.cancelled() => return,
            () = sleep(wait) => {}
        }
    }
}

fn wait_after(failures: &mut u32) -> Duration {
    *failures = failures.saturating_add(1);
    backoff(*failures, fastrand::f64())
}

async fn check(target: &Target) -> Proof {
    let shared = &target.shared;
    let requests = match target.adapter.check_requests(&target.sign()) {
        Ok(requests) => requests,
        Err(error) => return Proof::Bad(super::with_causes(&error)),
    };
    // It does not wait, but it counts. Where it is a purge, it is one of a tag.
    target.account.take(&Load { calls: requests.len() as u64, items: [0, 1, 0, 0] });
    let mut replies = Vec::with_capacity(requests.len());
    for request in requests {
        match timeout(TIMEOUT, shared.transport.send(request)).await {
            Ok(Ok(reply)) => replies.push(reply),
            Ok(Err(unreachable)) => return Proof::Bad(unreachable.to_string()),
            Err(_) => return Proof::Bad("no answer in time".into()),
        }
    }
    let answer = target.adapter.classify_check(&replies);
    match answer.verdict {
        Verdict::Done => Proof::Good,
        // The key is good, but what it may do only a purge can show.
        Verdict::Refused => Proof::Open(answer.message),
        _ => Proof::Bad(answer.message),
    }
}

/// Nothing speaks against trying any more.
async fn resume(target: &Target) {
    let resumed = target.shared.store.set_paused(target.key.clone(), PausedBy::Credentials, None).await;
    target.shared.written(&resumed);
    target.wake.notify_one();
}
