//! Asks a CDN that completes purges later about what it accepted, until that is complete. Only two things wait for
//! this: purges of a kind of which the CDN limits the number in flight, and the verification of the purge
//! (`verify.rs`). The work in flight is read from the store, so polling continues after a restart.

use super::account::{Load, Wait};
use super::backoff::backoff;
use super::naming::WATCH;
use super::target::Target;
use crate::cdn::{Completion, Progress};
use crate::store::Work;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// The delay from acceptance to the first poll. Each later delay is half as long again, up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(30);
/// The delay between two polls. Polls count towards the rate of the CDN's API, and that rate is not published.
const PAUSE: Duration = Duration::from_secs(1);
/// The time limit for one reply.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The age at which work counts as ended if the CDN will never report its progress. It is not recorded as complete.
const USUALLY: Duration = Duration::from_secs(60);
/// The age at which polling stops.
const GIVE_UP: Duration = Duration::from_secs(86_400);

/// Polls until the engine stops, or a reload replaces the target.
pub(super) async fn run(target: Arc<Target>) {
    let Some(completion) = target.adapter.completion() else { return };
    let mut polls = HashMap::new();
    let mut store_failures = 0;
    while !target.stop.is_cancelled() {
        if !target.account.ownership.is_open() {
            // The member that sends for the account asks.
            tokio::select! {
                () = target.stop.cancelled() => {}
                () = sleep(WATCH) => {}
            }
            continue;
        }
        let works = target.shared.store.works(target.key.clone()).await;
        let again = match works {
            Ok(works) => {
                store_failures = 0;
                tokio::select! {
                    () = target.stop.cancelled() => return,
                    again = ask_what_is_due(&target, completion, &works, &mut polls) => again,
                }
            }
            Err(_) => {
                store_failures += 1;
                Some(Instant::now() + backoff(store_failures, fastrand::f64()))
            }
        };
        let wait = async {
            match again {
                Some(again) => sleep_until(again).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = target.stop.cancelled() => {}
            () = target.accepted.notified() => {}
            () = wait => {}
        }
    }
}

/// When to ask again about a work, and the delay after that.
struct Poll {
    at: Instant,
    next: Duration,
}

/// Asks about one work if one is due. Returns when to check again; `None` if nothing is in flight.
async fn ask_what_is_due(
    target: &Target,
    completion: &dyn Completion,
    works: &[Work],
    polls: &mut HashMap<i64, Poll>,
) -> Option<Instant> {
    polls.retain(|id, _| works.iter().any(|work| work.id == *id));
    for work in works {
        // This includes work of a previous run.
        target.account.is_under_way(work.id, work.what.clone());
        polls.entry(work.id).or_insert_with(|| Poll { at: Instant::now() + FIRST, next: FIRST });
    }
    let work = works.iter().min_by_key(|work| polls.get(&work.id).map(|poll| poll.at))?;
    let poll = polls.get_mut(&work.id)?;
    if poll.at > Instant::now() {
        return Some(poll.at);
    }
    // A poll costs as much as any other call.
    let load = Load { calls: 1, items: [0; 4] };
    match target.account.wait(&load) {
        Wait::No | Wait::Completion => target.account.take(&load),
        Wait::For(wait) | Wait::Silence(wait) => return Some(Instant::now() + wait),
    }
    let age = target.shared.since(work.since_ms);
    let (site, cdn, name) = (&target.key.site, &target.key.cdn, &work.what.name);
    let ended = match ask(target, completion, name).await {
        Progress::Complete => Some(Some(target.shared.wall_ms())),
        Progress::Unknown if age >= USUALLY => Some(None),
        _ if age >= GIVE_UP => {
            tracing::warn!(site, cdn, work = name, "the CDN does not complete what it accepted a day ago");
            Some(None)
        }
        Progress::Unknown | Progress::UnderWay => None,
    };
    if let Some(completed_ms) = ended {
        let completed = target.shared.store.complete(work.id, completed_ms).await;
        // If the store did not record this, the poll is repeated.
        if completed.is_ok() {
            tracing::debug!(site, cdn, work = name, is_told = completed_ms.is_some(), "complete");
            target.account.completed(work.id);
            target.shared.changed();
        }
    }
    poll.next = poll.next.mul_f64(1.5).min(LONGEST);
    poll.at = Instant::now() + poll.next;
    Some(Instant::now() + PAUSE)
}

async fn ask(target: &Target, completion: &dyn Completion, work: &str) -> Progress {
    let request = match completion.ask(work, &target.sign()) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(work, error = &error as &dyn std::error::Error, "cannot ask about this");
            return Progress::Unknown;
        }
    };
    match timeout(TIMEOUT, target.shared.transport.send(request)).await {
        Ok(Ok(reply)) => completion.progress(&reply),
        Ok(Err(_)) | Err(_) => Progress::UnderWay,
    }
}
