//! Checks the credentials at the start, every ten minutes, and soon again after a failed check. A successful check
//! ends a pause that invalid credentials caused.

use super::account::{Load, Wait};
use super::backoff::backoff;
use super::health::Checked;
use super::target::Target;
use crate::base::with_causes;
use crate::cdn::Verdict;
use crate::store::PausedBy;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The interval after a successful check.
const INTERVAL: Duration = Duration::from_secs(600);
/// The time limit for one reply.
const TIMEOUT: Duration = Duration::from_secs(45);

/// Checks until the engine stops, or a reload replaces the target.
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
            // The check may have succeeded although a purge was refused: then the delays in between must grow.
            () = target.recheck.notified() => wait_after(&mut failures),
        };
        tokio::select! {
            () = target.stop.cancelled() => return,
            () = sleep(wait) => {}
        }
    }
}

/// Waits for as long as the CDN asked for no calls at all. A purge could not be sent then either.
async fn silence(target: &Target) {
    while let Wait::Silence(silence) = target.account.wait(&Load::default()) {
        sleep(silence).await;
    }
}

fn wait_after(failures: &mut u32) -> Duration {
    *failures = failures.saturating_add(1);
    backoff(*failures, fastrand::f64())
}

/// Checks the credentials, and a second time if only the clock was wrong.
async fn check(target: &Target) -> Checked {
    match ask(target).await {
        (Verdict::Resign, _) => told(ask(target).await),
        answer => told(answer),
    }
}

fn told((verdict, message): (Verdict, String)) -> Checked {
    match verdict {
        Verdict::Done => Checked::Good,
        // The key is valid, but only a purge can show its permissions.
        Verdict::Refused => Checked::Open(message),
        // Something else answers in the CDN's place, so no purge could be trusted.
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
    // A check does not wait for tokens, but it consumes them. If it is a purge, it purges one tag.
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

/// Resumes sending after a check that found nothing wrong.
async fn resume(target: &Target) {
    // If the store did not commit this, the next check tries again.
    let _ = target.shared.store.set_paused(target.key.clone(), PausedBy::Credentials, None).await;
    target.wake.notify_one();
}
