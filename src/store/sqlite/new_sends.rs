//! The statement that puts items into the queue.

use crate::rewrite::CdnType;

/// Returns a statement that inserts sends for items of job ?1, with reason ?2, due at ?3. `condition` may restrict the
/// items. An item that was added by widening (its number is at least the job's number of planned items) covers the
/// whole site, so its send gets the lane of the site, unless it is a URL or prefix. The kind is that of
/// [`crate::purge::scheduling_kind`].
pub(super) fn new_sends(condition: &str) -> String {
    let by_path = CdnType::ALL.into_iter().filter(|cdn| cdn.facts().purging.paths);
    let by_path: Vec<_> = by_path.map(|cdn| format!("'{}'", cdn.as_str())).collect();
    let by_path = by_path.join(", ");
    format!(
        "INSERT INTO sends (job, n, cdn, lane, kind, hard, reason, due_ms)
         SELECT jobs.id, items.n, jobs.cdn,
                CASE WHEN items.n >= jobs.items AND items.kind NOT IN (0, 2) THEN 0 ELSE jobs.lane END,
                CASE WHEN jobs.type IN ({by_path}) AND items.kind = 0 AND items.value GLOB '*[*]' THEN 2
                     ELSE items.kind END,
                items.hard, ?2, ?3
         FROM jobs JOIN items ON items.job = jobs.id WHERE jobs.id = ?1 {condition}"
    )
}
