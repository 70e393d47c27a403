//! Accepting purges: all that wait at the same time, in one transaction.

use super::codes::{Coded, code};
use super::db::{Db, count, get};
use super::error::Error;
use super::new_sends::{GIVEN, new_sends};
use super::{awaited, locks, naming};
use crate::purge::{JobPlan, SendReason, State};
use crate::rewrite::CdnType;
use crate::store::stored::{IDEMPOTENCY_MS, body, head, lane};
use crate::store::{CdnKey, Enqueued, NewPurge, WAITING_MS};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The most items that one statement inserts.
const CHUNK: usize = 20_000;

/// Accepts the purges for a member's run. The first sends may wait `wait_ms` for other members. Returns what became of
/// each purge, and the last log number.
pub(super) async fn enqueue(
    db: &Db,
    purges: &[&NewPurge],
    (run, wait_ms): (Uuid, i64),
) -> Result<(Vec<Enqueued>, Option<i64>), Error> {
    let mut enqueued = Vec::with_capacity(purges.len());
    for purge in purges {
        enqueued.push(earlier(db, purge).await?.unwrap_or(Enqueued::Created));
    }
    let new: Vec<&NewPurge> = purges
        .iter()
        .zip(&enqueued)
        .filter_map(|(purge, enqueued)| (*enqueued == Enqueued::Created).then_some(*purge))
        .collect();
    if new.is_empty() {
        return Ok((enqueued, None));
    }
    locks::names(db).await?;
    let keys = insert_purges(db, &new).await?;
    let jobs = insert_jobs(db, &new, &keys).await?;
    insert_items(db, &jobs).await?;
    insert_follow_ups(db, &jobs, run).await?;
    count_up(db, &jobs).await?;
    let n = log(db, &keys, run).await?;
    let under_way = jobs.iter().filter(|job| !job.plan.items.is_empty()).map(|job| job.id);
    awaited::begin(db, &under_way.collect::<Vec<_>>(), run, wait_ms).await?;
    Ok((enqueued, Some(n)))
}

/// Takes the idempotency key of a purge. Returns the result if it was used within the last 24 h. A transaction that
/// uses the key at the same time is waited for.
async fn earlier(db: &Db, purge: &NewPurge) -> Result<Option<Enqueued>, Error> {
    let Some((key, hash)) = &purge.idempotency else { return Ok(None) };
    let taken = db
        .execute(
            "INSERT INTO idempotency (caller, key, hash, created_ms, purge) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (caller, key) DO UPDATE
                 SET hash = excluded.hash, created_ms = excluded.created_ms, purge = excluded.purge
                 WHERE idempotency.created_ms <= $4 - $6",
            &[&purge.caller, key, hash, &purge.now_ms, &purge.id, &IDEMPOTENCY_MS],
        )
        .await?;
    if taken > 0 {
        return Ok(None);
    }
    let row = db
        .one("SELECT hash, purge FROM idempotency WHERE caller = $1 AND key = $2", &[&purge.caller, key])
        .await?;
    let is_same = get::<&str>(&row, 0)? == hash;
    Ok(Some(if is_same { Enqueued::Existing(get(&row, 1)?) } else { Enqueued::KeyReused }))
}

async fn insert_purges(db: &Db, purges: &[&NewPurge]) -> Result<Vec<i64>, Error> {
    let keys = numbers(db, "purges", "key", purges.len()).await?;
    let is_done = |purge: &NewPurge| purge.jobs.iter().all(|job| job.items.is_empty());
    let text = |of: fn(&NewPurge) -> &str| purges.iter().map(|purge| of(purge)).collect::<Vec<&str>>();
    let number = |of: fn(&NewPurge) -> i64| purges.iter().map(|purge| of(purge)).collect::<Vec<i64>>();
    let heads: Vec<String> = purges.iter().map(|purge| head(&purge.request)).collect::<Result<_, _>>()?;
    let bodies: Vec<String> = purges.iter().map(|purge| body(&purge.request)).collect::<Result<_, _>>()?;
    let finished: Vec<Option<i64>> =
        purges.iter().map(|purge| is_done(purge).then_some(purge.now_ms)).collect();
    let verify: Vec<Option<bool>> = purges.iter().map(|purge| purge.request.verify).collect();
    db.execute(
        "INSERT INTO purges
             (key, id, site, caller, created_ms, since_ms, finished_ms, outcome, items, verify, head, body)
         SELECT key, id, site, caller, created, since, finished, CASE WHEN finished IS NOT NULL THEN $12 END,
                items, verify, head, body
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
              AS new (key, id, site, caller, created, since, finished, items, verify, head, body)",
        &[
            &keys,
            &text(|purge| &purge.id),
            &text(|purge| &purge.site),
            &text(|purge| &purge.caller),
            &number(|purge| purge.now_ms),
            &number(|purge| purge.since_ms),
            &finished,
            &number(|purge| count(purge.request.item_count())),
            &verify,
            &heads,
            &bodies,
            &code(State::Done),
        ],
    )
    .await?;
    Ok(keys)
}

/// A job, with the numbers that it got.
struct Job<'p> {
    id: i64,
    cdn: i64,
    of: &'p NewPurge,
    /// The job's number within the purge.
    number: usize,
    plan: &'p JobPlan,
}

async fn insert_jobs<'p>(db: &Db, purges: &[&'p NewPurge], keys: &[i64]) -> Result<Vec<Job<'p>>, Error> {
    let of_all: Vec<(&'p NewPurge, usize, &'p JobPlan)> = purges
        .iter()
        .flat_map(|purge| purge.jobs.iter().enumerate().map(|(number, plan)| (*purge, number, plan)))
        .collect();
    let of_purges: Vec<i64> =
        purges.iter().zip(keys).flat_map(|(purge, key)| purge.jobs.iter().map(|_| *key)).collect();
    let ids = numbers(db, "jobs", "id", of_purges.len()).await?;
    let (mut jobs, mut known) = (Vec::with_capacity(ids.len()), BTreeMap::new());
    for (id, (of, number, plan)) in ids.into_iter().zip(of_all) {
        let key = CdnKey { site: of.site.clone(), cdn: plan.cdn.clone() };
        let name = (key.clone(), plan.identity.to_string());
        let cdn = match known.get(&name) {
            Some(cdn) => *cdn,
            None => naming::intern(db, &key, &plan.identity).await?,
        };
        known.insert(name, cdn);
        jobs.push(Job { id, cdn, of, number, plan });
    }
    let number = |of: fn(&Job<'_>) -> i64| jobs.iter().map(of).collect::<Vec<i64>>();
    let done: Vec<Option<i64>> =
        jobs.iter().map(|job| job.plan.items.is_empty().then_some(job.of.now_ms)).collect();
    let types: Vec<&str> = jobs.iter().map(|job| CdnType::code(job.plan.cdn_type)).collect();
    let fallback: Vec<String> =
        jobs.iter().map(|job| serde_json::to_string(&job.plan.fallback)).collect::<Result<_, _>>()?;
    let untagged: Vec<bool> = jobs.iter().map(|job| job.plan.untagged).collect();
    db.execute(
        "INSERT INTO jobs
             (id, purge, cdn, type, items, fallback, repeat_after_ms, lane, untagged, due_ms, outcome, accepted_ms)
         SELECT id, purge, cdn, type, items,
                ARRAY(SELECT json_array_elements_text(fallback::json)), repeats, lane, untagged, due,
                CASE WHEN done IS NOT NULL THEN $11 END, done
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12)
              AS new (id, purge, cdn, type, items, fallback, repeats, lane, untagged, due, done)",
        &[
            &number(|job| job.id),
            &of_purges,
            &number(|job| job.cdn),
            &types,
            &number(|job| count(job.plan.items.len())),
            &fallback,
            &number(|job| job.plan.repeat_after_ms),
            &number(|job| lane(job.plan).code()),
            &untagged,
            &number(|job| job.of.due_ms),
            &code(State::Done),
            &done,
        ],
    )
    .await?;
    Ok(jobs)
}

async fn insert_items(db: &Db, jobs: &[Job<'_>]) -> Result<(), Error> {
    let items = jobs.iter().flat_map(|job| job.plan.items.iter().enumerate().map(move |item| (job.id, item)));
    let items: Vec<_> = items.collect();
    for chunk in items.chunks(CHUNK) {
        let of: Vec<i64> = chunk.iter().map(|(job, _)| *job).collect();
        let n: Vec<i64> = chunk.iter().map(|(_, (n, _))| count(*n)).collect();
        let kind: Vec<i64> = chunk.iter().map(|(_, (_, item))| item.kind.code()).collect();
        let hard: Vec<bool> = chunk.iter().map(|(_, (_, item))| item.hard).collect();
        let value: Vec<&str> = chunk.iter().map(|(_, (_, item))| item.value.as_str()).collect();
        db.execute(
            "INSERT INTO items (job, n, kind, hard, value) SELECT * FROM unnest($1, $2, $3, $4, $5)",
            &[&of, &n, &kind, &hard, &value],
        )
        .await?;
    }
    let ids: Vec<i64> = jobs.iter().map(|job| job.id).collect();
    let all = "(SELECT jobs.id AS job, items.n, $2::int8 AS reason, due_ms,
                       row_number() OVER (ORDER BY jobs.id, items.n) AS place
                FROM jobs JOIN items ON items.job = jobs.id WHERE jobs.id = ANY ($1))";
    db.execute(&new_sends(all, "NULL"), &[&ids, &code(SendReason::First)]).await.map(drop)
}

/// Inserts the follow-ups, which wait for responses of this run.
async fn insert_follow_ups(db: &Db, jobs: &[Job<'_>], run: Uuid) -> Result<(), Error> {
    let of_job = |job: &Job<'_>| -> Vec<(i64, i64, i64)> {
        let follow_ups = &job.of.follow_ups;
        let items = follow_ups.items.iter().filter(|(number, _)| *number == job.number);
        items.map(|(_, item)| (job.id, i64::from(*item), WAITING_MS + follow_ups.margin_ms)).collect()
    };
    let waiting: Vec<(i64, i64, i64)> = jobs.iter().flat_map(of_job).collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&(i64, i64, i64)) -> i64| waiting.iter().map(of).collect::<Vec<i64>>();
    db.execute(
        &new_sends(GIVEN, "$5"),
        &[
            &column(|row| row.0),
            &column(|row| row.1),
            &column(|row| row.2),
            &code(SendReason::FollowUp),
            &run,
        ],
    )
    .await
    .map(drop)
}

/// Adds to the counters of the CDNs, in their order.
async fn count_up(db: &Db, jobs: &[Job<'_>]) -> Result<(), Error> {
    let mut of_cdns: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for job in jobs {
        let (under_way, pending) = of_cdns.entry(job.cdn).or_default();
        let follow_ups = job.of.follow_ups.items.iter().filter(|(number, _)| *number == job.number).count();
        *under_way += i64::from(!job.plan.items.is_empty());
        *pending += count(job.plan.items.len() + follow_ups);
    }
    let cdns: Vec<_> = of_cdns.into_iter().map(|(cdn, (jobs, pending))| (cdn, jobs, pending)).collect();
    naming::count(db, &cdns).await
}

/// Gives the purges their numbers in the log. This comes last: the row of the last number stays locked until the
/// commit, so numbers have no gaps and become visible in order, and nobody joins meanwhile. Returns the last number.
async fn log(db: &Db, purges: &[i64], run: Uuid) -> Result<i64, Error> {
    let entries: Vec<Uuid> = purges.iter().map(|_| Uuid::new_v4()).collect();
    let Some(last) = entries.last().copied() else {
        return Err(Error::Strange("no purge to log".to_owned()));
    };
    let row = db
        .one(
            "WITH head AS (UPDATE log_head SET n = n + cardinality($1), entry = $3 RETURNING n),
                  logged AS (INSERT INTO log (n, entry, purge, run)
                             SELECT head.n - cardinality($1) + place, entry, purge, $4
                             FROM head, unnest($1, $2) WITH ORDINALITY AS new (entry, purge, place))
             SELECT n FROM head",
            &[&entries, &purges.to_vec(), &last, &run],
        )
        .await?;
    get(&row, 0)
}

/// Returns fresh numbers for rows of a table, in order.
async fn numbers(db: &Db, table: &str, column: &str, most: usize) -> Result<Vec<i64>, Error> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let rows = db
        .query(
            "SELECT nextval(pg_get_serial_sequence($1, $2)) FROM generate_series(1, $3)",
            &[&table, &column, &count(most)],
        )
        .await?;
    let mut numbers: Vec<i64> = rows.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    numbers.sort_unstable();
    Ok(numbers)
}
