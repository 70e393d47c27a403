//! Whether the credentials are good: asked at the start, every ten minutes, and soon again after a bad answer. A good
//! answer ends a pause that bad credentials caused.

use super::account::{Load, Wait};
use super::backoff::backoff;
use super::health::Checked;
use super::target::Target;
use crate::causes::with_causes;
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
        let checked = tokio::select! {
            () = target.stop.cancelled() => return,
            checked = async {
                silence(&target).await;
                check(&target).await
            } => checked,
        };
        let refuted = matches!(checked, Checked::Bad(_) | Checked::Unanswered(_));
        target.report(|health| health.checked(checked));
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

/// Waits as long as the CDN asked for no calls at all: a purge could not be sent either.
async fn silence(target: &Target) {
    while let Wait::Silence(silence) = target.account.wait(&Load::default()) {
        sleep(silence).await;
    }
}

fn wait_after(failures: &mut u32) -> Duration {
    *failures = failures.saturating_add(1);
    backoff(*failures, fastrand::f64())
}

/// Asks, and asks once more if only the clock was wrong.
async fn check(target: &Target) -> Checked {
    match ask(target).await {
        (Verdict::Resign, _) => told(ask(target).await),
        answer => told(answer),
    }
}

fn told((verdict, message): (Verdict, String)) -> Checked {
    match verdict {
        Verdict::Done => Checked::Good,
        // The key is good, but what it may do only a purge can show.
        Verdict::Refused => Checked::Open(message),
        // Somebody else answers in the CDN's place: no purge could be believed.
        Verdict::BadCredentials | Verdict::Unproven => Checked::Bad(message),
        _ => Checked::Unanswered(message),
    }
}

async fn ask(target: &Target) -> (Verdict, String) {
    let shared = &target.shared;
    let requests = match target.adapter.check_requests(&target.sign()) {
        Ok(requests) => requests,
        Err(error) => return (Verdict::BadCredentials, with_causes(&error)),
    };
    // It does not wait for tokens, but it counts. Where it is a purge, it is one of a tag.
    target.account.take(&Load { calls: requests.len() as u64, items: [0, 1, 0, 0] });
    let mut replies = Vec::with_capacity(requests.len());
    for request in requests {
        let reply = match timeout(TIMEOUT, shared.transport.send(request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(unreachable)) => return (Verdict::Later(None), unreachable.to_string()),
            Err(_) => return (Verdict::Later(None), "no answer in time".into()),
        };
        target.dated(&reply);
        replies.push(reply);
    }
    let answer = target.adapter.classify_check(&replies);
    (answer.verdict, answer.message)
}

/// Nothing speaks against trying any more.
async fn resume(target: &Target) {
    // What the store did not commit is tried again after the next check.
    let _ = target.shared.store.set_paused(target.key.clone(), PausedBy::Credentials, None).await;
    target.wake.notify_one();
}
