//! Settling: sends end or wait for another attempt. The last send ends its job, and the last job ends its purge.

use super::codes::{Code, HOLD_UP};
use super::new_sends::new_sends;
use super::{absorb, follow_up, rates, widen, works};
use crate::purge::{SendReason, State};
use crate::store::{Attempt, CdnKey, EndedJob, SendOutcome, Settled, Settlement};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// The number of attempts that a job remembers.
const HISTORY: i64 = 100;

pub(super) fn settle(connection: &Connection, settlement: &Settlement) -> rusqlite::Result<Settled> {
    let mut jobs: BTreeMap<i64, Touched> = BTreeMap::new();
    let mut settled = Settled::default();
    let mut alone = None;
    for &(id, attempt, outcome) in &settlement.sends {
        let Some(send) = Send::find(connection, id, attempt)? else { continue };
        let touched = jobs.entry(send.job).or_default();
        touched.cdn = send.cdn;
        touched.items += 1;
        touched.is_work |= outcome == SendOutcome::Done && send.reason != SendReason::Repeat;
        if send.end(connection, outcome, settlement.now_ms)? {
            touched.ended += 1;
        }
        // A refused repeat undoes nothing.
        if outcome == SendOutcome::Widened
            && send.reason != SendReason::Repeat
            && let Some(wider) = &settlement.widen
            && widen::job(connection, send.job, send.reason, wider, settlement.now_ms)?
        {
            settled.widened += 1;
        }
        alone = Some(send);
    }
    if let &[(id, attempt, outcome)] = settlement.sends.as_slice() {
        let absorbed =
            absorb::settle(connection, (id, attempt), outcome, alone.is_none(), settlement.now_ms)?;
        let purged_first = outcome == SendOutcome::Done && absorbed.iter().any(|job| job.holding_up > 0);
        if let Some(repeat) = alone.filter(|send| purged_first && send.reason == SendReason::Repeat) {
            // The repeat was the first purge of the items that it absorbed, so their own repeat is still to
            // come.
            repeat.insert_repeat(connection, settlement.now_ms)?;
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
    rates::save(connection, &settlement.rates)?;
    if let Some(work) = &settlement.work
        && let Some(touched) = jobs.values().next()
    {
        let of_jobs = jobs.iter().filter(|(_, touched)| touched.is_work).map(|(job, _)| *job);
        settled.work = Some(works::begin(connection, touched.cdn, work, of_jobs, settlement.now_ms)?);
    }
    if let Some(attempt) = &settlement.attempt
        && !jobs.is_empty()
    {
        remember(connection, attempt, &jobs)?;
    }
    for (&job, touched) in &jobs {
        if touched.ended > 0 {
            connection
                .prepare_cached("UPDATE cdns SET pending = pending - ?2 WHERE id = ?1")?
                .execute(params![touched.cdn, touched.ended])?;
            settled.ended.extend(end_job(connection, job, settlement.at_ms)?);
        }
    }
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

/// A send whose lease is still the claimer's.
struct Send {
    id: i64,
    job: i64,
    n: i64,
    cdn: i64,
    reason: SendReason,
}

impl Send {
    fn find(connection: &Connection, id: i64, attempt: u32) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached(
                "SELECT job, n, cdn, reason FROM sends WHERE id = ?1 AND attempt = ?2 AND leased = 1",
            )?
            .query_row(params![id, attempt], |row| {
                let Code(reason) = row.get(3)?;
                Ok(Self { id, job: row.get(0)?, n: row.get(1)?, cdn: row.get(2)?, reason })
            })
            .optional()
    }

    /// Applies the outcome. Returns whether this ended something that held up the job.
    fn end(&self, connection: &Connection, outcome: SendOutcome, now_ms: i64) -> rusqlite::Result<bool> {
        match outcome {
            SendOutcome::Done => {
                self.remove(connection)?;
                if self.reason != SendReason::Repeat {
                    self.insert_repeat(connection, now_ms)?;
                }
            }
            SendOutcome::Failed => {
                self.remove(connection)?;
                // A failed repeat undoes nothing: the purge itself was accepted.
                if self.reason != SendReason::Repeat {
                    connection
                        .prepare_cached("UPDATE items SET failed = 1 WHERE job = ?1 AND n = ?2")?
                        .execute([self.job, self.n])?;
                }
            }
            // The broader item that replaces the send holds up the job.
            SendOutcome::Widened => self.remove(connection)?,
            SendOutcome::RetryAt(due_ms) => {
                self.put_back(connection, self.retried(), due_ms, None)?;
                return Ok(false);
            }
            SendOutcome::Together(batch) => {
                self.put_back(connection, self.retried(), now_ms, Some(batch))?;
                return Ok(false);
            }
            SendOutcome::Unsent => {
                self.put_back(connection, self.reason, now_ms, None)?;
                return Ok(false);
            }
        }
        Ok(self.reason != SendReason::Repeat)
    }

    /// Returns the reason of the next attempt. Repeats and follow-ups keep their reason: only the purge itself
    /// holds up the job as a retry.
    fn retried(&self) -> SendReason {
        if self.reason == SendReason::First { SendReason::Retry } else { self.reason }
    }

    fn remove(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached("DELETE FROM sends WHERE id = ?1")?.execute([self.id])?;
        Ok(())
    }

    fn put_back(
        &self,
        connection: &Connection,
        reason: SendReason,
        due_ms: i64,
        batch: Option<i64>,
    ) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "UPDATE sends SET leased = 0, reason = ?2, due_ms = ?3, batch = coalesce(?4, batch) WHERE id = ?1",
            )?
            .execute(params![self.id, Code(reason), due_ms, batch])?;
        Ok(())
    }

    fn insert_repeat(&self, connection: &Connection, now_ms: i64) -> rusqlite::Result<()> {
        let after_ms: i64 = connection
            .prepare_cached("SELECT repeat_after_ms FROM jobs WHERE id = ?1")?
            .query_row([self.job], |row| row.get(0))?;
        if after_ms > 0 {
            connection.prepare_cached(&new_sends("AND items.n = ?4"))?.execute(params![
                self.job,
                Code(SendReason::Repeat),
                now_ms + after_ms,
                self.n
            ])?;
        }
        Ok(())
    }
}

/// Records the call with each job, and removes attempts that are too old.
fn remember(
    connection: &Connection,
    attempt: &Attempt,
    jobs: &BTreeMap<i64, Touched>,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO calls (at_ms, status, request_id, duration_ms, outcome, message)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            attempt.at_ms,
            attempt.status,
            attempt.request_id,
            attempt.duration_ms,
            attempt.outcome,
            attempt.message,
        ])?;
    let call = connection.last_insert_rowid();
    let mut insert =
        connection.prepare_cached("INSERT INTO attempts (job, call, items) VALUES (?1, ?2, ?3)")?;
    let mut too_old = connection
        .prepare_cached("SELECT call FROM attempts WHERE job = ?1 ORDER BY call DESC LIMIT -1 OFFSET ?2")?;
    for (job, touched) in jobs {
        insert.execute([*job, call, touched.items])?;
        let old: Vec<i64> =
            too_old.query_map([*job, HISTORY], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for old in old {
            connection
                .prepare_cached("DELETE FROM attempts WHERE job = ?1 AND call = ?2")?
                .execute([*job, old])?;
            forget_call(connection, old)?;
        }
    }
    Ok(())
}

/// Removes a call that no job remembers any more.
pub(super) fn forget_call(connection: &Connection, call: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM calls WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM attempts WHERE call = ?1)",
        )?
        .execute([call])?;
    Ok(())
}

/// Ends a job that has nothing left to send except repeats.
fn end_job(connection: &Connection, job: i64, at_ms: i64) -> rusqlite::Result<Option<EndedJob>> {
    let mut left = connection.prepare_cached("SELECT 1 FROM sends WHERE job = ?1 AND reason = ?2 LIMIT 1")?;
    for reason in HOLD_UP {
        if left.exists(params![job, Code(reason)])? {
            if reason == SendReason::FollowUp {
                follow_up::only_waits(connection, job)?;
            }
            return Ok(None);
        }
    }
    let failed = connection
        .prepare_cached("SELECT 1 FROM items WHERE job = ?1 AND failed = 1 LIMIT 1")?
        .exists([job])?;
    let state = if failed { State::Failed } else { State::Done };
    let accepted_ms = (!failed).then_some(at_ms);
    connection
        .prepare_cached("UPDATE jobs SET outcome = ?2, accepted_ms = ?3 WHERE id = ?1")?
        .execute(params![job, Code(state), accepted_ms])?;
    connection
        .prepare_cached("UPDATE cdns SET jobs = jobs - 1 WHERE id = (SELECT cdn FROM jobs WHERE id = ?1)")?
        .execute([job])?;

    let (n, purge, since_ms, verify, key) = connection
        .prepare_cached(
            "SELECT purges.n, purges.id, since_ms, cdns.site, cdns.name,
                    json_extract(purges.head, '$.verify')
             FROM jobs JOIN purges ON purges.n = jobs.purge JOIN accepted ON accepted.purge = jobs.purge
                  JOIN cdns ON cdns.id = jobs.cdn WHERE jobs.id = ?1",
        )?
        .query_row([job], |row| {
            let key = CdnKey { site: row.get(3)?, cdn: row.get(4)? };
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(5)?, key))
        })?;
    let purge_ended = end_purge(connection, n, at_ms)?;
    Ok(Some(EndedJob { key, purge, state, purge_ended, since_ms, verify }))
}

/// Ends a purge whose jobs have all ended. Returns its final state.
pub(super) fn end_purge(connection: &Connection, n: i64, at_ms: i64) -> rusqlite::Result<Option<State>> {
    let outcomes: Vec<Option<Code<State>>> = connection
        .prepare_cached("SELECT outcome FROM jobs WHERE purge = ?1")?
        .query_map([n], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let outcomes: Option<Vec<State>> =
        outcomes.into_iter().map(|outcome| outcome.map(|Code(state)| state)).collect();
    let Some(outcomes) = outcomes else { return Ok(None) };
    let outcome = [State::Failed, State::Cancelled]
        .into_iter()
        .find(|state| outcomes.contains(state))
        .unwrap_or(State::Done);
    connection
        .prepare_cached("UPDATE purges SET outcome = ?2, finished_ms = ?3 WHERE n = ?1")?
        .execute(params![n, Code(outcome), at_ms])?;
    Ok(Some(outcome))
}
