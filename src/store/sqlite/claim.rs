//! Claims: sends are leased, one call's worth at a time.

use super::codes::Code;
use super::due::{KINDS, sending};
use super::lease::lease;
use super::{absorb, rates};
use crate::cdn::{Identity, Item, ItemKind};
use crate::purge::{Cover, Filling, Fit};
use crate::store::{Claim, Claimed, Lane};
use rusqlite::{Connection, Row, params};
use std::collections::HashSet;

/// The most sends that one claim takes for each item that it may carry, because many purges may share an item.
const CROWD: usize = 16;
/// The most sends of a group that one claim checks for being covered by its items.
const COVERED: i64 = 1_000;

pub(super) fn claim(connection: &Connection, claim: &Claim) -> rusqlite::Result<Claimed> {
    let Some((cdn, _)) = sending(connection, &claim.key)? else { return Ok(Claimed::default()) };
    if !is_of(connection, cdn, &claim.identity)? {
        return Ok(Claimed::default());
    }
    rates::save(connection, &claim.rates)?;
    if claim.site {
        return absorb::claim(connection, cdn, claim);
    }
    let taken = match together(connection, cdn, claim)? {
        Some(taken) => taken,
        None => {
            let mut taken = fill(connection, cdn, claim)?;
            let covered = covered(connection, cdn, claim, &taken)?;
            taken.extend(covered);
            taken
        }
    };
    let batch = taken.first().map(|first| first.id).filter(|_| claim.keep_together);
    let leased = taken.iter().map(|taken| lease(connection, taken.id, batch, claim.lease_until_ms));
    Ok(Claimed { sends: leased.collect::<Result<_, _>>()?, ..Claimed::default() })
}

/// Returns whether this queue has the identity that the claimer expects. Its name may have passed to another
/// CDN.
fn is_of(connection: &Connection, cdn: i64, identity: &Identity) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT identity FROM cdns WHERE id = ?1")?
        .query_row([cdn], |row| Ok(identity.is_same(&row.get_ref(0)?.as_str()?.into())))
}

/// A send that may be leased.
struct Taken {
    id: i64,
    kind: ItemKind,
    item: Item,
    due_ms: i64,
    batch: Option<i64>,
}

impl Taken {
    const COLUMNS: &str = "sends.id, sends.kind, items.kind, items.value, items.hard, due_ms, batch";

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let (Code(kind), Code(item_kind)) = (row.get(1)?, row.get(2)?);
        let item = Item { kind: item_kind, value: row.get(3)?, hard: row.get(4)? };
        Ok(Self { id: row.get(0)?, kind, item, due_ms: row.get(5)?, batch: row.get(6)? })
    }
}

/// Returns all sends of the batch to which the first send in line belongs, if it belongs to one and there is
/// room for all of them.
fn together(connection: &Connection, cdn: i64, claim: &Claim) -> rusqlite::Result<Option<Vec<Taken>>> {
    for lane in lanes(claim) {
        let mut first: Option<Taken> = None;
        for kind in kinds(claim) {
            let mut one = Vec::new();
            scan(connection, (cdn, lane, kind, claim.hard), claim.now_ms, "", 1, |taken| {
                one.push(taken);
                true
            })?;
            first = first.into_iter().chain(one).min_by_key(|taken| (taken.due_ms, taken.id));
        }
        if let Some(first) = first {
            let Some(batch) = first.batch else { return Ok(None) };
            let members: Vec<Taken> = connection
                .prepare_cached(&format!(
                    "SELECT {} FROM sends JOIN items ON items.job = sends.job AND items.n = sends.n
                     WHERE batch = ?1 AND cdn = ?2 AND due_ms <= ?3 ORDER BY sends.id",
                    Taken::COLUMNS
                ))?
                .query_map(params![batch, cdn, claim.now_ms], Taken::read)?
                .collect::<Result<_, _>>()?;
            return Ok(have_room(&members, claim).then_some(members));
        }
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
fn fill(connection: &Connection, cdn: i64, claim: &Claim) -> rusqlite::Result<Vec<Taken>> {
    let crowd = claim.room.total.saturating_mul(CROWD);
    // Some room is reserved for bulk purges, so that small ones do not starve them.
    let mut filling = Filling::new(claim.room.clone(), claim.bulk);
    let (mut taken, mut seen) = (Vec::new(), HashSet::new());
    for (pass, lane) in [Lane::Small, Lane::Bulk, Lane::Small].into_iter().enumerate() {
        if pass == 1 {
            filling.release();
        }
        for kind in kinds(claim) {
            if lane == Lane::Bulk && claim.bulk[kind as usize] == 0 {
                continue;
            }
            scan(connection, (cdn, lane, kind, claim.hard), claim.now_ms, "AND batch IS NULL", -1, |next| {
                if seen.contains(&next.id) {
                    return true;
                }
                let fits = taken.len() < crowd && filling.add(kind, &next.item) != Fit::Full;
                if fits {
                    seen.insert(next.id);
                    taken.push(next);
                }
                fits
            })?;
        }
    }
    Ok(taken)
}

/// Returns other due sends whose items the call covers.
fn covered(
    connection: &Connection,
    cdn: i64,
    claim: &Claim,
    carried: &[Taken],
) -> rusqlite::Result<Vec<Taken>> {
    let cover = Cover::of(carried.iter().map(|taken| &taken.item));
    let ids: HashSet<i64> = carried.iter().map(|taken| taken.id).collect();
    let mut covered = Vec::new();
    for (lane, kind, hard) in groups() {
        let has_twins = claim.hard && !hard && carried.iter().any(|taken| taken.kind == kind);
        let is_below =
            cover.has_prefixes() && (claim.hard || !hard) && matches!(kind, ItemKind::Url | ItemKind::Prefix);
        if !has_twins && !is_below {
            continue;
        }
        scan(connection, (cdn, lane, kind, hard), claim.now_ms, "AND batch IS NULL", COVERED, |next| {
            if !ids.contains(&next.id) && cover.by(&next.item).is_some() {
                covered.push(next);
            }
            true
        })?;
    }
    Ok(covered)
}

/// Passes the due sends of a group to `visit`, in their order, until that returns false.
fn scan(
    connection: &Connection,
    (cdn, lane, kind, hard): (i64, Lane, ItemKind, bool),
    now_ms: i64,
    condition: &str,
    limit: i64,
    mut visit: impl FnMut(Taken) -> bool,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM sends JOIN items ON items.job = sends.job AND items.n = sends.n
         WHERE cdn = ?1 AND lane = ?2 AND sends.kind = ?3 AND sends.hard = ?4 AND due_ms <= ?5 {condition}
         ORDER BY due_ms, sends.id LIMIT ?6",
        Taken::COLUMNS
    ))?;
    let mut rows = statement.query(params![cdn, Code(lane), Code(kind), hard, now_ms, limit])?;
    while let Some(row) = rows.next()? {
        if !visit(Taken::read(row)?) {
            break;
        }
    }
    Ok(())
}

fn kinds(claim: &Claim) -> impl Iterator<Item = ItemKind> {
    KINDS.into_iter().filter(|kind| claim.room.items[*kind as usize] > 0)
}

fn lanes(claim: &Claim) -> impl Iterator<Item = Lane> {
    let bulk = claim.bulk.iter().any(|bulk| *bulk > 0);
    [Lane::Small, Lane::Bulk].into_iter().filter(move |lane| bulk || *lane == Lane::Small)
}

fn groups() -> impl Iterator<Item = (Lane, ItemKind, bool)> {
    let lanes = [Lane::Small, Lane::Bulk].into_iter();
    lanes.flat_map(|lane| KINDS.into_iter().flat_map(move |kind| [(lane, kind, true), (lane, kind, false)]))
}
