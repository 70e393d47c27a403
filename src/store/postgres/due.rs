//! The sends that wait for a CDN. This is read before every claim: one statement, whose parts are short walks along
//! one index.

use super::codes::coded;
use super::db::{Db, count, counted, get};
use super::error::Error;
use crate::cdn::ItemKind;
use crate::store::{CdnKey, Claim, Due, DueGroup, Lane};

/// Every lane, kind and hardness, hard ones first, in the order of claims.
pub(super) const GROUPS: &str = "(SELECT lane, kind, hard
     FROM unnest('{0,1,2}'::smallint[]) AS lane, unnest('{0,1,2,3}'::smallint[]) AS kind,
          unnest('{true,false}'::bool[]) AS hard) AS groups";

/// Returns what is due at `now_ms` by the database's clock. Its moments are by that clock, too.
pub(super) async fn due(db: &Db, key: &CdnKey, now_ms: i64, most: usize) -> Result<Due, Error> {
    // For leased sends, `due_ms` is the end of the lease, so one index serves both.
    let rows = db
        .query(
            &format!(
                "SELECT pending, groups.lane, groups.kind, groups.hard, present.count, present.oldest, later.next
                 FROM cdns, {GROUPS},
                      LATERAL (SELECT count(*), min(due_ms) AS oldest FROM
                          (SELECT due_ms FROM sends
                           WHERE cdn = cdns.id AND lane = groups.lane AND kind = groups.kind AND hard = groups.hard
                             AND due_ms <= $3 ORDER BY due_ms, id LIMIT $4) AS these) AS present,
                      LATERAL (SELECT min(due_ms) AS next FROM sends
                          WHERE cdn = cdns.id AND lane = groups.lane AND kind = groups.kind AND hard = groups.hard
                            AND due_ms > $3) AS later
                 WHERE site = $1 AND name = $2 AND paused_by IS NULL
                 ORDER BY groups.lane, groups.kind, groups.hard DESC"
            ),
            &[&key.site, &key.cdn, &now_ms, &count(most)],
        )
        .await?;
    let mut due = Due::default();
    for row in &rows {
        due.pending = counted(row, 0)?;
        if let Some(oldest_ms) = get(row, 5)? {
            let (lane, kind): (Lane, ItemKind) = (coded(row, 1)?, coded(row, 2)?);
            let count = usize::try_from(get::<i64>(row, 4)?).unwrap_or_default();
            due.groups.push(DueGroup { lane, kind, hard: get(row, 3)?, count, oldest_ms });
        }
        due.next_ms = due.next_ms.into_iter().chain(get::<Option<i64>>(row, 6)?).min();
    }
    Ok(due)
}

/// Returns the kinds for which a claim has room.
pub(super) fn kinds(claim: &Claim) -> impl Iterator<Item = ItemKind> {
    let kinds = [ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything].into_iter();
    kinds.filter(|kind| claim.room.items[*kind as usize] > 0)
}
