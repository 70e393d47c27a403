//! The owners of queues. A queue's name is what the configuration calls its CDN today, and its identity decides
//! where its purges go.

use super::codes::Code;
use crate::cdn::{Identity, successor};
use crate::rewrite::CdnType;
use crate::store::{CdnKey, Moved};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, HashMap};

/// A queue under its last name.
struct Queue {
    id: i64,
    key: CdnKey,
    identity: Identity,
    jobs: i64,
    /// The type of CDN for which its jobs under way were planned.
    waits_for: Option<CdnType>,
}

/// A queue, its new name, and whether it has that name because no configured CDN matches it.
struct Named {
    queue: Queue,
    to: CdnKey,
    orphaned: bool,
}

/// The configured CDNs.
struct Configured<'a> {
    of_site: HashMap<&'a str, Vec<(&'a str, &'a Identity)>>,
    identities: HashMap<&'a CdnKey, &'a Identity>,
}

impl<'a> Configured<'a> {
    fn new(cdns: &'a [(CdnKey, Identity)]) -> Self {
        let mut of_site: HashMap<_, Vec<_>> = HashMap::new();
        for (key, identity) in cdns {
            of_site.entry(key.site.as_str()).or_default().push((key.cdn.as_str(), identity));
        }
        Self { of_site, identities: cdns.iter().map(|(key, identity)| (key, identity)).collect() }
    }

    fn name(&self, queue: Queue) -> Named {
        let of_site = self.of_site.get(queue.key.site.as_str()).map(Vec::as_slice).unwrap_or_default();
        let waits_for = queue.waits_for.map(CdnType::as_str);
        let heir = successor((&queue.key.cdn, &queue.identity), waits_for, of_site);
        let cdn = heir.map_or_else(|| orphan(&queue, of_site), str::to_owned);
        let to = CdnKey { site: queue.key.site.clone(), cdn };
        Named { queue, to, orphaned: heir.is_none() }
    }
}

impl Named {
    /// Returns the renaming if the name changes and jobs are waiting.
    fn moved(&self) -> Option<Moved> {
        let jobs = u64::try_from(self.queue.jobs).unwrap_or_default();
        let Self { queue, to, orphaned } = self;
        let moved = || Moved { from: queue.key.clone(), to: to.clone(), orphaned: *orphaned, jobs };
        (queue.key != *to && jobs > 0).then(moved)
    }
}

/// Returns what [`name`] would return.
pub(super) fn would_move(
    connection: &Connection,
    configured: &[(CdnKey, Identity)],
) -> rusqlite::Result<Vec<Moved>> {
    let configured = Configured::new(configured);
    Ok(queues(connection)?.into_iter().filter_map(|queue| configured.name(queue).moved()).collect())
}

/// Gives every queue its configured name, or that of an orphan. Returns the renamed queues that have jobs
/// waiting.
pub(super) fn name(
    connection: &Connection,
    configured: &[(CdnKey, Identity)],
) -> rusqlite::Result<Vec<Moved>> {
    let configured = Configured::new(configured);
    // Several queues may turn out to be the same.
    let mut by_name: BTreeMap<CdnKey, Vec<Named>> = BTreeMap::new();
    for queue in queues(connection)? {
        let named = configured.name(queue);
        by_name.entry(named.to.clone()).or_default().push(named);
    }
    // All old names are freed before the first new one is given, because two queues may swap names.
    let mut free = connection.prepare_cached("UPDATE cdns SET name = ' ' || id WHERE id = ?1")?;
    for named in by_name.values().flatten().filter(|named| named.queue.key != named.to) {
        free.execute([named.queue.id])?;
    }
    let mut give = connection.prepare_cached(
        "UPDATE cdns SET name = ?2, identity = ?3 WHERE id = ?1 AND (name <> ?2 OR identity <> ?3)",
    )?;
    let mut moved = Vec::new();
    for (to, mut queues) in by_name {
        moved.extend(queues.iter().filter_map(Named::moved));
        // The queue that has the name already keeps its row.
        queues.sort_by_key(|named| (named.queue.key != to, named.queue.id));
        let mut queues = queues.iter().map(|named| &named.queue);
        let Some(first) = queues.next() else { continue };
        queues.try_for_each(|other| merge(connection, other.id, first.id))?;
        let identity = configured.identities.get(&to).copied().unwrap_or(&first.identity);
        give.execute(params![first.id, to.cdn, identity.to_string()])?;
    }
    Ok(moved)
}

/// Returns the name of an orphan: its identity, which no configured CDN has as its name. An orphan of unknown
/// identity keeps its name unless a configured CDN has it.
fn orphan(queue: &Queue, of_site: &[(&str, &Identity)]) -> String {
    let name = &queue.key.cdn;
    match queue.identity.is_unknown() {
        true if of_site.iter().any(|(known, _)| known == name) => format!("former:{name}"),
        true => name.clone(),
        false => queue.identity.to_string(),
    }
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
