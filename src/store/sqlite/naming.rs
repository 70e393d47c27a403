//! The names of queues ([`crate::store::names`]) in the database.

use super::codes::Code;
use crate::cdn::Identity;
use crate::rewrite::CdnType;
use crate::store::names::{Named, Queue, named};
use crate::store::{CdnKey, Moved};
use rusqlite::{Connection, OptionalExtension, params};

/// Returns what [`name`] would return.
pub(super) fn would_move(
    connection: &Connection,
    configured: &[(CdnKey, Identity)],
) -> rusqlite::Result<Vec<Moved>> {
    let named = named(queues(connection)?, configured);
    Ok(named.iter().flat_map(Named::moved).collect())
}

/// Gives every queue its configured name, or that of an orphan. Returns the renamed queues that have jobs
/// waiting.
pub(super) fn name(
    connection: &Connection,
    configured: &[(CdnKey, Identity)],
) -> rusqlite::Result<Vec<Moved>> {
    let named = named(queues(connection)?, configured);
    // All old names are freed before the first new one is given, because two queues may swap names.
    let mut free = connection.prepare_cached("UPDATE cdns SET name = ' ' || id WHERE id = ?1")?;
    for queue in named.iter().flat_map(Named::renamed) {
        free.execute([queue.id])?;
    }
    let mut give = connection.prepare_cached(
        "UPDATE cdns SET name = ?2, identity = ?3 WHERE id = ?1 AND (name <> ?2 OR identity <> ?3)",
    )?;
    let mut moved = Vec::new();
    for of_name in &named {
        moved.extend(of_name.moved());
        let [first, others @ ..] = of_name.queues.as_slice() else { continue };
        others.iter().try_for_each(|other| merge(connection, other.id, first.id))?;
        give.execute(params![first.id, of_name.name.cdn, of_name.identity.to_string()])?;
    }
    Ok(moved)
}

fn queues(connection: &Connection) -> rusqlite::Result<Vec<Queue>> {
    // [`would_move`] may meet a file of an older version.
    let has_identities = connection.column_exists(None, "cdns", "identity")?;
    let identity = if has_identities { "identity" } else { "''" };
    connection
        .prepare_cached(&format!(
            "SELECT id, site, name, {identity}, jobs,
                    (SELECT type FROM jobs WHERE jobs.cdn = cdns.id AND outcome IS NULL LIMIT 1)
             FROM cdns"
        ))?
        .query_map([], |row| {
            let waits_for: Option<Code<CdnType>> = row.get(5)?;
            Ok(Queue {
                id: row.get(0)?,
                key: CdnKey { site: row.get(1)?, cdn: row.get(2)? },
                identity: row.get_ref(3)?.as_str()?.into(),
                jobs: row.get(4)?,
                waits_for: waits_for.map(|Code(cdn_type)| cdn_type),
            })
        })?
        .collect()
}

/// Moves everything of one queue into another.
fn merge(connection: &Connection, from: i64, into: i64) -> rusqlite::Result<()> {
    for table in ["jobs", "sends", "works"] {
        connection
            .prepare_cached(&format!("UPDATE {table} SET cdn = ?2 WHERE cdn = ?1"))?
            .execute([from, into])?;
    }
    connection
        .prepare_cached(
            "UPDATE cdns SET jobs = cdns.jobs + other.jobs, pending = cdns.pending + other.pending,
                    paused_by = coalesce(cdns.paused_by, other.paused_by),
                    paused_reason = coalesce(cdns.paused_reason, other.paused_reason)
             FROM cdns AS other WHERE other.id = ?1 AND cdns.id = ?2",
        )?
        .execute([from, into])?;
    connection.prepare_cached("DELETE FROM cdns WHERE id = ?1")?.execute([from])?;
    Ok(())
}

/// Returns the id of the queue of a CDN for which a purge was planned, and creates the queue on first use. If
/// another CDN has its name by now, the queue is named after its identity.
pub(super) fn intern(connection: &Connection, key: &CdnKey, identity: &Identity) -> rusqlite::Result<i64> {
    let text = identity.to_string();
    let find = |column: &str, value: &str| {
        connection
            .prepare_cached(&format!(
                "SELECT id, identity FROM cdns WHERE site = ?1 AND {column} = ?2 ORDER BY name <> ?3 LIMIT 1"
            ))?
            .query_row([&key.site, value, &key.cdn], |row| {
                Ok((row.get::<_, i64>(0)?, Identity::from(row.get_ref(1)?.as_str()?)))
            })
            .optional()
    };
    let insert = |name: &str| {
        connection
            .prepare_cached("INSERT INTO cdns (site, name, identity) VALUES (?1, ?2, ?3)")?
            .execute([&key.site, name, &text])?;
        Ok(connection.last_insert_rowid())
    };
    if !identity.is_unknown()
        && let Some((id, _)) = find("identity", &text)?
    {
        return Ok(id);
    }
    match find("name", &key.cdn)? {
        None => insert(&key.cdn),
        Some((id, known)) if known.is_unknown() && !identity.is_unknown() => {
            connection
                .prepare_cached("UPDATE cdns SET identity = ?2 WHERE id = ?1")?
                .execute(params![id, text])?;
            Ok(id)
        }
        Some((id, known)) if known.is_same(identity) => Ok(id),
        Some(_) => insert(&text),
    }
}
