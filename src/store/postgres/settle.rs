//! Settling: sends end or wait for another attempt. The last send ends its job, and the last job ends its purge. Each
//! step is one statement for all sends of the call, because a call may carry thousands.

use super::codes::{Coded, code, coded};
use super::db::{Db, get};
use super::error::Error;
use super::new_sends::{GIVEN, new_sends};
use super::{absorb, follow_up, locks, naming, rates, widen, works};
use crate::purge::{SendReason, State};
use crate::store::{Attempt, CdnKey, EndedJob, SendOutcome, Settled, Settlement};
use std::collections::{BTreeMap, HashMap};

/// The number of attempts that a job remembers.
const HISTORY: i64 = 100;

/// Settles the sends of a call. All moments are by the database's clock, except `at_ms`.
pub(super) async fn settle(db: &Db, settlement: &Settlement) -> Result<Settled, Error> {
    let ids: Vec<i64> = settlement.sends.iter().map(|(id, ..)| *id).collect();
    let rows = db
        .query(
            "SELECT DISTINCT cdn FROM sends WHERE id = ANY ($1)
             UNION SELECT DISTINCT cdn FROM sends WHERE absorber = ANY ($1)",
            &[&ids],
        )
        .await?;
    let cdns: Vec<i64> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    locks::queues(db, &cdns).await?;

    let mut jobs: BTreeMap<i64, Touched> = BTreeMap::new();
    let mut settled = Settled::default();
    let found = find(db, &ids).await?;
    let mut changes = Changes::default();
    let mut alone = None;
    for &(id, attempt, outcome) in &settlement.sends {
        let Some(send) = found.get(&id).filter(|send| send.attempt == i64::from(attempt)) else { continue };
        let touched = jobs.entry(send.job).or_default();
        touched.cdn = send.cdn;
        touched.items += 1;
        touched.is_work |= outcome == SendOutcome::Done && send.reason != SendReason::Repeat;
        if changes.end(send, outcome, settlement.now_ms) {
            touched.ended += 1;
        }
        alone = Some(send);
    }
    changes.apply(db).await?;
    if let Some(wider) = &settlement.widen {
        for (job, reason) in &changes.widened {
            if widen::job(db, *job, *reason, wider, settlement.now_ms).await? {
                settled.widened += 1;
            }
        }
    }
    if let &[(id, attempt, outcome)] = settlement.sends.as_slice() {
        let absorbed = absorb::settle(db, (id, attempt), outcome, alone.is_none(), settlement.now_ms).await?;
        let purged_first = outcome == SendOutcome::Done && absorbed.iter().any(|job| job.holding_up > 0);
        if let Some(repeat) = alone.filter(|send| purged_first && send.reason == SendReason::Repeat) {
            // The repeat was the first purge of the items that it absorbed, so their own repeat is still to
            // come.
            let mut own = Changes::default();
            own.repeat(repeat, settlement.now_ms);
            own.apply(db).await?;
        }
        for of_job in absorbed {
            let touched = jobs.entry(of_job.job).or_default();
            touched.cdn = of_job.cdn;
            touched.items += of_job.items;
            if outcome == SendOutcome::Done {
                touched.ended += of_job.holding_up;
                touched.is_work |= of_job.holding_up > 0;
            }
        }
    }
    rates::save(db, &settlement.rates).await?;
    if let Some(work) = &settlement.work
        && let Some(touched) = jobs.values().next()
    {
        let of_jobs = jobs.iter().filter(|(_, touched)| touched.is_work).map(|(job, _)| *job).collect();
        settled.work = Some(works::begin(db, touched.cdn, work, of_jobs, settlement.now_ms).await?);
    }
    if let Some(attempt) = &settlement.attempt
        && !jobs.is_empty()
    {
        remember(db, attempt, &jobs).await?;
    }
    settled.ended = end_jobs(db, &jobs, settlement.at_ms).await?;
    Ok(settled)
}

/// The effects of a settlement on one job.
#[derive(Default)]
struct Touched {
    cdn: i64,
    /// The number of the job's items in the call.
    items: i64,
    /// The number of sends that ended, without repeats.
    ended: i64,
    /// Whether the CDN accepted any send that is no repeat.
    is_work: bool,
}

/// A leased send.
struct Send {
    id: i64,
    job: i64,
    n: i64,
    cdn: i64,
    reason: SendReason,
    attempt: i64,
    repeat_after_ms: i64,
}

async fn find(db: &Db, ids: &[i64]) -> Result<HashMap<i64, Send>, Error> {
    let rows = db
        .query(
            "SELECT sends.id, job, n, sends.cdn, reason, attempt, repeat_after_ms
             FROM sends JOIN jobs ON jobs.id = sends.job WHERE sends.id = ANY ($1) AND leased",
            &[&ids.to_vec()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let send = Send {
                id: get(row, 0)?,
                job: get(row, 1)?,
                n: get(row, 2)?,
                cdn: get(row, 3)?,
                reason: coded(row, 4)?,
                attempt: get(row, 5)?,
                repeat_after_ms: get(row, 6)?,
            };
            Ok((send.id, send))
        })
        .collect()
}

/// What the outcomes change, by statement.
#[derive(Default)]
struct Changes {
    removed: Vec<i64>,
    /// Job and number of each failed item.
    failed: (Vec<i64>, Vec<i64>),
    /// Job, number and due time of each repeat.
    repeats: (Vec<i64>, Vec<i64>, Vec<i64>),
    /// Id, reason, due time and batch of each send that waits again.
    put_back: (Vec<i64>, Vec<i64>, Vec<i64>, Vec<Option<i64>>),
    /// Jobs with refused items, and why these were sent.
    widened: Vec<(i64, SendReason)>,
}

impl Changes {
    /// Notes an outcome. Returns whether this ends something that held up the job.
    fn end(&mut self, send: &Send, outcome: SendOutcome, now_ms: i64) -> bool {
        let is_repeat = send.reason == SendReason::Repeat;
        match outcome {
            SendOutcome::Done => {
                self.removed.push(send.id);
                if !is_repeat {
                    self.repeat(send, now_ms);
                }
            }
            SendOutcome::Failed => {
                self.removed.push(send.id);
                // A failed repeat undoes nothing: the purge itself was accepted.
                if !is_repeat {
                    self.failed.0.push(send.job);
                    self.failed.1.push(send.n);
                }
            }
            // The broader item that replaces the send holds up the job. A refused repeat undoes nothing.
            SendOutcome::Widened => {
                self.removed.push(send.id);
                if !is_repeat {
                    self.widened.push((send.job, send.reason));
                }
            }
            SendOutcome::RetryAt(due_ms) => return self.put_back(send, retried(send.reason), due_ms, None),
            SendOutcome::Together(batch) => {
                return self.put_back(send, retried(send.reason), now_ms, Some(batch));
            }
            SendOutcome::Unsent => return self.put_back(send, send.reason, now_ms, None),
        }
        !is_repeat
    }

    /// Notes the repeat of a send, if its job has repeats.
    fn repeat(&mut self, send: &Send, now_ms: i64) {
        if send.repeat_after_ms > 0 {
            self.repeats.0.push(send.job);
            self.repeats.1.push(send.n);
            self.repeats.2.push(now_ms + send.repeat_after_ms);
        }
    }

    fn put_back(&mut self, send: &Send, reason: SendReason, due_ms: i64, batch: Option<i64>) -> bool {
        self.put_back.0.push(send.id);
        self.put_back.1.push(reason.code());
        self.put_back.2.push(due_ms);
        self.put_back.3.push(batch);
        false
    }

    async fn apply(&self, db: &Db) -> Result<(), Error> {
        if !self.removed.is_empty() {
            db.execute("DELETE FROM sends WHERE id = ANY ($1)", &[&self.removed]).await?;
        }
        if !self.failed.0.is_empty() {
            db.execute(
                "UPDATE items SET failed = true FROM unnest($1, $2) AS of (job, n)
                 WHERE items.job = of.job AND items.n = of.n",
                &[&self.failed.0, &self.failed.1],
            )
            .await?;
        }
        if !self.repeats.0.is_empty() {
            db.execute(
                &new_sends(GIVEN, "NULL"),
                &[&self.repeats.0, &self.repeats.1, &self.repeats.2, &code(SendReason::Repeat)],
            )
            .await?;
        }
        if !self.put_back.0.is_empty() {
            db.execute(
                "UPDATE sends SET leased = false, run = NULL, reason = again.reason, due_ms = again.due_ms,
                        batch = coalesce(again.batch, sends.batch)
                 FROM unnest($1, $2, $3, $4) AS again (id, reason, due_ms, batch) WHERE sends.id = again.id",
                &[&self.put_back.0, &self.put_back.1, &self.put_back.2, &self.put_back.3],
            )
            .await?;
        }
        Ok(())
    }
}

/// Returns the reason of the next attempt. Repeats and follow-ups keep their reason: only the purge itself
/// holds up the job as a retry.
fn retried(reason: SendReason) -> SendReason {
    if reason == SendReason::First { SendReason::Retry } else { reason }
}

/// Records the call with each job, and removes attempts that are too old.
async fn remember(db: &Db, attempt: &Attempt, jobs: &BTreeMap<i64, Touched>) -> Result<(), Error> {
    // PostgreSQL stores no zero characters.
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    let row = db
        .one(
            "INSERT INTO calls (at_ms, status, request_id, duration_ms, outcome, message)
             VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
            &[
                &attempt.at_ms,
                &attempt.status.map(i64::from),
                &attempt.request_id.as_deref().map(clean),
                &attempt.duration_ms,
                &attempt.outcome,
                &clean(&attempt.message),
            ],
        )
        .await?;
    let call: i64 = get(&row, 0)?;
    let (of, items): (Vec<i64>, Vec<i64>) = jobs.iter().map(|(job, touched)| (*job, touched.items)).unzip();
    db.execute(
        "INSERT INTO attempts (job, call, items) SELECT job, $1, items FROM unnest($2, $3) AS of (job, items)",
        &[&call, &of, &items],
    )
    .await?;
    let old = db
        .query(
            "DELETE FROM attempts USING unnest($1) AS of,
                    LATERAL (SELECT call FROM attempts WHERE job = of ORDER BY call DESC OFFSET $2) AS old
             WHERE attempts.job = of AND attempts.call = old.call RETURNING attempts.call",
            &[&of, &HISTORY],
        )
        .await?;
    let old: Vec<i64> = old.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    forget_calls(db, &old).await
}

/// Removes calls that no job remembers any more.
pub(super) async fn forget_calls(db: &Db, calls: &[i64]) -> Result<(), Error> {
    if calls.is_empty() {
        return Ok(());
    }
    db.execute(
        "DELETE FROM calls WHERE id = ANY ($1) AND NOT EXISTS (SELECT 1 FROM attempts WHERE call = calls.id)",
        &[&calls.to_vec()],
    )
    .await
    .map(drop)
}

/// Ends the jobs that have nothing left to send except repeats, and wait for no member.
async fn end_jobs(db: &Db, jobs: &BTreeMap<i64, Touched>, at_ms: i64) -> Result<Vec<EndedJob>, Error> {
    let touched = || jobs.iter().filter(|(_, touched)| touched.ended > 0);
    let ids: Vec<i64> = touched().map(|(job, _)| *job).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = db
        .query(
            "SELECT id, cdn, purge,
                    EXISTS (SELECT 1 FROM sends WHERE job = jobs.id AND reason IN (0, 1)),
                    EXISTS (SELECT 1 FROM sends WHERE job = jobs.id AND reason = 3)
                        OR EXISTS (SELECT 1 FROM awaited WHERE awaited.job = jobs.id),
                    EXISTS (SELECT 1 FROM items WHERE job = jobs.id AND failed)
             FROM jobs WHERE id = ANY ($1) AND outcome IS NULL ORDER BY id",
            &[&ids],
        )
        .await?;
    let mut counters: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    touched().for_each(|(_, touched)| counters.entry(touched.cdn).or_default().1 -= touched.ended);
    let (mut waiting, mut ended) = (Vec::new(), Vec::new());
    for row in &rows {
        let (job, cdn, purge): (i64, i64, i64) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
        match (get::<bool>(row, 3)?, get::<bool>(row, 4)?) {
            (true, _) => {}
            (false, true) => waiting.push(job),
            (false, false) => {
                let state = if get(row, 5)? { State::Failed } else { State::Done };
                counters.entry(cdn).or_default().0 -= 1;
                ended.push((job, purge, state));
            }
        }
    }
    if !waiting.is_empty() {
        follow_up::only_wait(db, &waiting).await?;
    }
    let result = finish(db, &ended, at_ms).await?;
    let counters: Vec<_> = counters.into_iter().map(|(cdn, (jobs, pending))| (cdn, jobs, pending)).collect();
    naming::count(db, &counters).await?;
    Ok(result)
}

/// Ends these jobs (of these purges, in these states), and the purges of which they were the last ones.
async fn finish(db: &Db, ended: &[(i64, i64, State)], at_ms: i64) -> Result<Vec<EndedJob>, Error> {
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<i64> = ended.iter().map(|(job, ..)| *job).collect();
    let states: Vec<&str> = ended.iter().map(|(_, _, state)| state.code()).collect();
    db.execute(
        "UPDATE jobs SET outcome = of.outcome, accepted_ms = CASE WHEN of.outcome = $4 THEN $3 END
         FROM unnest($1, $2) AS of (id, outcome) WHERE jobs.id = of.id",
        &[&ids, &states, &at_ms, &code(State::Done)],
    )
    .await?;
    let purges: Vec<i64> = ended.iter().map(|(_, purge, _)| *purge).collect();
    let outcomes = end_purges(db, &purges, at_ms).await?;
    let rows = db
        .query(
            "SELECT jobs.id, purges.id, since_ms, cdns.site, cdns.name, verify
             FROM jobs JOIN purges ON purges.key = jobs.purge JOIN cdns ON cdns.id = jobs.cdn
             WHERE jobs.id = ANY ($1) ORDER BY jobs.id",
            &[&ids],
        )
        .await?;
    let mut result = Vec::with_capacity(rows.len());
    for (row, (place, (_, purge, state))) in rows.iter().zip(ended.iter().enumerate()) {
        // Of several jobs of one purge, the last one ends it.
        let is_last = ended.iter().skip(place + 1).all(|(_, other, _)| other != purge);
        result.push(EndedJob {
            key: CdnKey { site: get(row, 3)?, cdn: get(row, 4)? },
            purge: get(row, 1)?,
            state: *state,
            purge_ended: outcomes.get(purge).copied().filter(|_| is_last),
            since_ms: get(row, 2)?,
            verify: get(row, 5)?,
        });
    }
    Ok(result)
}

/// Ends those of the purges whose jobs have all ended. Returns their final states. Two transactions may end the last
/// two jobs of a purge at the same time, so the purges are locked first.
pub(super) async fn end_purges(db: &Db, purges: &[i64], at_ms: i64) -> Result<HashMap<i64, State>, Error> {
    let purges = purges.to_vec();
    db.execute("SELECT 1 FROM purges WHERE key = ANY ($1) ORDER BY key FOR UPDATE", &[&purges]).await?;
    let rows = db
        .query(
            "WITH ended AS (
                 SELECT purge, CASE WHEN bool_or(outcome = 'failed') THEN 'failed'
                                    WHEN bool_or(outcome = 'cancelled') THEN 'cancelled' ELSE 'done' END AS outcome
                 FROM jobs WHERE purge = ANY ($1) GROUP BY purge HAVING bool_and(outcome IS NOT NULL))
             UPDATE purges SET outcome = ended.outcome, finished_ms = $2 FROM ended WHERE key = ended.purge
             RETURNING key, purges.outcome",
            &[&purges, &at_ms],
        )
        .await?;
    rows.iter().map(|row| Ok((get(row, 0)?, coded(row, 1)?))).collect()
}
