//! Accepting purges with group commit: all that wait at the same time share one transaction, because a commit waits
//! for disks and standbys, however much it carries.

use super::db::Db;
use super::enqueue::enqueue;
use super::error::Error;
use super::server::{CHANNEL, Link};
use super::transaction::{self, Kind};
use crate::failpoint;
use crate::store::{Enqueued, NewPurge};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// The most purges in one transaction.
const GROUP: usize = 256;
/// The most items in one transaction, unless a single purge has more.
const ITEMS: usize = 50_000;

/// A purge that waits for its commit.
pub(super) struct Waiting {
    pub(super) purge: NewPurge,
    pub(super) tell: oneshot::Sender<Result<Enqueued, Error>>,
}

/// Accepts purges until every sender is gone and the queue is empty. `run` is that of this member, with the time in
/// milliseconds that first sends may wait for the others.
pub(super) async fn run(
    mut link: Link,
    mut queue: mpsc::Receiver<Waiting>,
    run: (Uuid, i64),
    commits: Arc<AtomicU64>,
) {
    while let Some(first) = queue.recv().await {
        let mut items = size(&first);
        let mut group = vec![first];
        while group.len() < GROUP
            && items < ITEMS
            && let Ok(next) = queue.try_recv()
        {
            items += size(&next);
            group.push(next);
        }
        accept(&mut link, group, run, &commits).await;
    }
}

fn size(waiting: &Waiting) -> usize {
    waiting.purge.jobs.iter().map(|job| job.items.len()).sum()
}

/// Accepts a group, and answers.
async fn accept(link: &mut Link, group: Vec<Waiting>, run: (Uuid, i64), commits: &AtomicU64) {
    let (purges, tells): (Vec<_>, Vec<_>) =
        group.into_iter().map(|waiting| (waiting.purge, waiting.tell)).unzip();
    let purges = Arc::new(purges);
    match together(link, purges.clone(), run).await {
        Ok((enqueued, last)) => {
            if last.is_some() {
                commits.fetch_add(1, Ordering::Relaxed);
            }
            // A caller may no longer be waiting.
            tells.into_iter().zip(enqueued).for_each(|(tell, enqueued)| drop(tell.send(Ok(enqueued))));
            if let Some(last) = last {
                wake(link, last).await;
            }
        }
        Err(error) if purges.len() > 1 && !error.is_fatal() && !error.is_in_doubt() => {
            // One purge makes the others fail, so each is accepted alone.
            for (purge, tell) in purges.iter().zip(tells) {
                let waiting = vec![Waiting { purge: purge.clone(), tell }];
                Box::pin(accept(link, waiting, run, commits)).await;
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            tells.into_iter().for_each(|tell| drop(tell.send(Err(Error::Shared(error.clone())))));
        }
    }
}

async fn together(
    link: &mut Link,
    purges: Arc<Vec<NewPurge>>,
    run: (Uuid, i64),
) -> Result<(Vec<Enqueued>, Option<i64>), Error> {
    transaction::run(link, Kind::Write, &move |db: &Db| {
        let purges = purges.clone();
        Box::pin(async move {
            let accepted = enqueue(db, &purges.iter().collect::<Vec<_>>(), run).await?;
            failpoint::reached("writing");
            Ok(accepted)
        })
    })
    .await
}

/// Wakes the members of the fleet, in a transaction of its own: a notification locks all others out until its commit.
/// One that is lost delays nothing for long, because the log is also read regularly.
async fn wake(link: &mut Link, last: i64) {
    let Ok(db) = link.take().await else { return };
    let woken = db.execute("SELECT pg_notify($1, $2)", &[&CHANNEL, &last.to_string()]).await;
    if woken.is_ok() {
        link.put(db);
    }
}
