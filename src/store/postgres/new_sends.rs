//! The statement that puts items into the queue.

use crate::rewrite::CdnType;

/// Returns a statement that inserts sends for items of `source`, which provides `job`, `n`, `reason` and `due_ms` in
/// order. An item that was added by widening (its number is at least the job's number of planned items) covers the
/// whole site, so its send gets the lane of the site, unless it is a URL or prefix. The kind is that of
/// [`crate::purge::scheduling_kind`]. `run` is the member whose responses the sends wait for.
pub(super) fn new_sends(source: &str, run: &str) -> String {
    let by_path = CdnType::ALL.into_iter().filter(|cdn| cdn.facts().purging.paths);
    let by_path: Vec<_> = by_path.map(|cdn| format!("'{}'", cdn.as_str())).collect();
    let by_path = by_path.join(", ");
    format!(
        "INSERT INTO sends (job, n, cdn, lane, kind, hard, reason, due_ms, run)
         SELECT jobs.id, items.n, jobs.cdn,
                CASE WHEN items.n >= jobs.items AND items.kind NOT IN (0, 2) THEN 0 ELSE jobs.lane END,
                CASE WHEN jobs.type IN ({by_path}) AND items.kind = 0 AND items.value LIKE '%*' THEN 2
                     ELSE items.kind END,
                items.hard, source.reason, source.due_ms, {run}
         FROM {source} AS source
              JOIN jobs ON jobs.id = source.job JOIN items ON items.job = jobs.id AND items.n = source.n
         ORDER BY source.place"
    )
}

/// A source for [`new_sends`]: the arrays of jobs $1, numbers $2 and due times $3, all for the reason $4.
pub(super) const GIVEN: &str = "(SELECT job, n, $4::int8 AS reason, due_ms, place
     FROM unnest($1, $2, $3) WITH ORDINALITY AS given (job, n, due_ms, place))";
