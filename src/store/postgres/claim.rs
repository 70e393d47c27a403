//! Claims: sends are leased, one call's worth at a time.

use super::codes::{code, coded};
use super::db::{Db, count, get};
use super::due::{GROUPS, kinds};
use super::error::Error;
use super::lease::lease;
use super::{absorb, locks, rates};
use crate::cdn::{Item, ItemKind};
use crate::purge::{Cover, Filling, Fit};
use crate::store::{Claim, Claimed, Lane};
use std::collections::HashSet;
use tokio_postgres::Row;
use uuid::Uuid;

/// The most sends that one claim takes for each item that it may carry, because many purges may share an item.
const CROWD: usize = 16;
/// The most sends of a group that one claim checks for being covered by its items.
const COVERED: usize = 1_000;
/// The fewest sends that are read at once.
const CHUNK: usize = 64;

/// Claims for this run. All moments are by the database's clock.
pub(super) async fn claim(db: &Db, claim: &Claim, run: Uuid) -> Result<Claimed, Error> {
    let Some(cdn) = locks::queue(db, &claim.key).await? else { return Ok(Claimed::default()) };
    // The queue's name may have passed to another CDN.
    let sending = db.find("SELECT identity FROM cdns WHERE id = $1 AND paused_by IS NULL", &[&cdn]).await?;
    match sending {
        Some(row) if claim.identity.is_same(&get::<&str>(&row, 0)?.into()) => {}
        _ => return Ok(Claimed::default()),
    }
    rates::save(db, &claim.rates).await?;
    if claim.site {
        return absorb::claim(db, cdn, claim, run).await;
    }
    let heads = heads(db, cdn, claim.now_ms).await?;
    let taken = match together(db, cdn, claim, &heads).await? {
        Some(taken) => taken,
        None => {
            let mut taken = fill(db, cdn, claim, &heads).await?;
            let covered = covered(db, cdn, claim, &heads, &taken).await?;
            taken.extend(covered);
            taken
        }
    };
    let batch = taken.first().map(|first| first.id).filter(|_| claim.keep_together);
    let ids: Vec<i64> = taken.iter().map(|taken| taken.id).collect();
    let sends = lease(db, &ids, batch, claim.lease_until_ms, run).await?;
    Ok(Claimed { sends, ..Claimed::default() })
}

/// What may be claimed at once: a lane, a kind and a hardness.
type Group = (Lane, ItemKind, bool);

/// The first due send of a group.
struct Head {
    group: Group,
    due_ms: i64,
    id: i64,
    batch: Option<i64>,
}

/// Returns the first send of each group that has due ones.
async fn heads(db: &Db, cdn: i64, now_ms: i64) -> Result<Vec<Head>, Error> {
    let rows = db
        .query(
            &format!(
                "SELECT groups.lane, groups.kind, groups.hard, first.due_ms, first.id, first.batch
                 FROM {GROUPS},
                      LATERAL (SELECT due_ms, id, batch FROM sends
                          WHERE cdn = $1 AND lane = groups.lane AND kind = groups.kind AND hard = groups.hard
                            AND due_ms <= $2 ORDER BY due_ms, id LIMIT 1) AS first"
            ),
            &[&cdn, &now_ms],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let group = (coded(row, 0)?, coded(row, 1)?, get(row, 2)?);
            Ok(Head { group, due_ms: get(row, 3)?, id: get(row, 4)?, batch: get(row, 5)? })
        })
        .collect()
}

/// A send that may be leased.
struct Taken {
    id: i64,
    kind: ItemKind,
    item: Item,
    due_ms: i64,
}

impl Taken {
    const COLUMNS: &str = "sends.id, sends.kind, items.kind, items.value, items.hard, due_ms";

    fn read(row: &Row) -> Result<Self, Error> {
        let item = Item { kind: coded(row, 2)?, value: get(row, 3)?, hard: get(row, 4)? };
        Ok(Self { id: get(row, 0)?, kind: coded(row, 1)?, item, due_ms: get(row, 5)? })
    }
}

/// Returns all sends of the batch to which the first send in line belongs, if it belongs to one and there is
/// room for all of them.
async fn together(db: &Db, cdn: i64, claim: &Claim, heads: &[Head]) -> Result<Option<Vec<Taken>>, Error> {
    for lane in lanes(claim) {
        let of_lane = heads.iter().filter(|head| {
            let (of, kind, hard) = head.group;
            of == lane && hard == claim.hard && kinds(claim).any(|known| known == kind)
        });
        let Some(first) = of_lane.min_by_key(|head| (head.due_ms, head.id)) else { continue };
        let Some(batch) = first.batch else { return Ok(None) };
        let rows = db
            .query(
                &format!(
                    "SELECT {} FROM sends JOIN items ON items.job = sends.job AND items.n = sends.n
                     WHERE batch = $1 AND cdn = $2 AND due_ms <= $3 ORDER BY sends.id",
                    Taken::COLUMNS
                ),
                &[&batch, &cdn, &claim.now_ms],
            )
            .await?;
        let members: Vec<Taken> = rows.iter().map(Taken::read).collect::<Result<_, _>>()?;
        return Ok(have_room(&members, claim).then_some(members));
    }
    Ok(None)
}

fn have_room(members: &[Taken], claim: &Claim) -> bool {
    let mut filling = Filling::new(claim.room.clone(), [0; 4]);
    let cover = Cover::of(members.iter().map(|member| &member.item));
    let mut carried = members.iter().filter(|member| cover.broader(&member.item).is_none());
    carried.all(|member| {
        // A soft item is not carried separately beside its hard twin.
        let item = Item { hard: claim.hard, ..member.item.clone() };
        filling.add(member.kind, &item) != Fit::Full
    })
}

/// Returns due sends that are not kept together with others, until the call is full.
async fn fill(db: &Db, cdn: i64, claim: &Claim, heads: &[Head]) -> Result<Vec<Taken>, Error> {
    let crowd = claim.room.total.saturating_mul(CROWD);
    let chunk = claim.room.total.clamp(CHUNK, COVERED);
    // Some room is reserved for bulk purges, so that small ones do not starve them.
    let mut filling = Filling::new(claim.room.clone(), claim.bulk);
    let (mut taken, mut seen) = (Vec::new(), HashSet::new());
    for (pass, lane) in [Lane::Small, Lane::Bulk, Lane::Small].into_iter().enumerate() {
        if pass == 1 {
            filling.release();
        }
        for kind in kinds(claim) {
            let group = (lane, kind, claim.hard);
            if (lane == Lane::Bulk && claim.bulk[kind as usize] == 0) || !has(heads, group) {
                continue;
            }
            scan(db, cdn, group, (claim.now_ms, chunk, usize::MAX), |next| {
                if seen.contains(&next.id) {
                    return true;
                }
                let fits = taken.len() < crowd && filling.add(kind, &next.item) != Fit::Full;
                if fits {
                    seen.insert(next.id);
                    taken.push(next);
                }
                fits
            })
            .await?;
        }
    }
    Ok(taken)
}

/// Returns other due sends whose items the call covers.
async fn covered(
    db: &Db,
    cdn: i64,
    claim: &Claim,
    heads: &[Head],
    carried: &[Taken],
) -> Result<Vec<Taken>, Error> {
    let cover = Cover::of(carried.iter().map(|taken| &taken.item));
    let ids: HashSet<i64> = carried.iter().map(|taken| taken.id).collect();
    let mut covered = Vec::new();
    for group in groups().filter(|group| has(heads, *group)) {
        let (_, kind, hard) = group;
        let has_twins = claim.hard && !hard && carried.iter().any(|taken| taken.kind == kind);
        let is_below =
            cover.has_prefixes() && (claim.hard || !hard) && matches!(kind, ItemKind::Url | ItemKind::Prefix);
        if !has_twins && !is_below {
            continue;
        }
        scan(db, cdn, group, (claim.now_ms, COVERED, COVERED), |next| {
            if !ids.contains(&next.id) && cover.by(&next.item).is_some() {
                covered.push(next);
            }
            true
        })
        .await?;
    }
    Ok(covered)
}

/// Passes the due sends of a group that are in no batch to `visit`, in their order, until that returns false, or until
/// `most` were seen. They are read `chunk` at a time.
async fn scan(
    db: &Db,
    cdn: i64,
    (lane, kind, hard): Group,
    (now_ms, chunk, most): (i64, usize, usize),
    mut visit: impl FnMut(Taken) -> bool,
) -> Result<(), Error> {
    let (mut after, mut left) = ((i64::MIN, i64::MIN), most);
    while left > 0 {
        let limit = chunk.min(left);
        let rows = db
            .query(
                &format!(
                    "SELECT {} FROM sends JOIN items ON items.job = sends.job AND items.n = sends.n
                     WHERE cdn = $1 AND lane = $2 AND sends.kind = $3 AND sends.hard = $4 AND due_ms <= $5
                       AND batch IS NULL AND (due_ms, sends.id) > ($6, $7)
                     ORDER BY due_ms, sends.id LIMIT $8",
                    Taken::COLUMNS
                ),
                &[&cdn, &code(lane), &code(kind), &hard, &now_ms, &after.0, &after.1, &count(limit)],
            )
            .await?;
        for row in &rows {
            let taken = Taken::read(row)?;
            after = (taken.due_ms, taken.id);
            if !visit(taken) {
                return Ok(());
            }
        }
        if rows.len() < limit {
            return Ok(());
        }
        left -= rows.len();
    }
    Ok(())
}

fn has(heads: &[Head], group: Group) -> bool {
    heads.iter().any(|head| head.group == group)
}

fn lanes(claim: &Claim) -> impl Iterator<Item = Lane> {
    let bulk = claim.bulk.iter().any(|bulk| *bulk > 0);
    [Lane::Small, Lane::Bulk].into_iter().filter(move |lane| bulk || *lane == Lane::Small)
}

/// Returns the groups whose sends may be covered by items of others.
fn groups() -> impl Iterator<Item = Group> {
    let kinds = [ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything];
    let of_lane =
        move |lane| kinds.into_iter().flat_map(move |kind| [(lane, kind, true), (lane, kind, false)]);
    [Lane::Small, Lane::Bulk].into_iter().flat_map(of_lane)
}
