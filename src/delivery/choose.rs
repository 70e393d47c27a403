//! Chooses what is sent next: the purge of a whole site first, then small purges before bulk ones; a full call, or
//! all that is due. A call waits until its account can pay for it, but small purges do not wait for a bulk call
//! that cannot leave yet. Pure.

use super::account::{Load, Wait};
use crate::cdn::{Capabilities, ItemKind};
use crate::purge::Room;
use crate::store::{Due, DueGroup, Lane};
use std::time::Duration;

/// One in this many calls begins with bulk purges, so that they do not starve.
const BULK_TURN: u32 = 4;
const KINDS: [ItemKind; 4] = [ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything];

/// What the queue does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing is due.
    Idle,
    /// Sends are due, but the account cannot pay for them.
    Wait(Wait),
    /// Claim the sends of this call.
    Call(Call),
}

/// The sends of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) site: bool,
    pub(super) hard: bool,
    pub(super) room: Room,
    /// The part of the room that is reserved for bulk purges while small ones are due as well; see `bulk` in
    /// [`crate::store::Claim`].
    pub(super) bulk: [usize; 4],
    /// The most that the call can cost.
    pub(super) load: Load,
}

/// Returns what is sent next to a CDN with these `limits`. `turn` counts the calls; `wait` returns how long a load
/// must wait.
pub(super) fn next(due: &Due, limits: &Capabilities, turn: u32, wait: impl Fn(&Load) -> Wait) -> Next {
    let mut least: Option<Wait> = None;
    let mut held_up = |wait: Wait| least = least.into_iter().chain([wait]).min_by_key(length);
    // Items that a site's purge absorbs are not sent before it, so nothing goes ahead of it even while it waits.
    let site = due.groups.iter().filter(|group| group.lane == Lane::Site);
    if let Some(group) = site.min_by_key(|group| (!group.hard, group.oldest_ms)) {
        let mut items = [0; 4];
        items[group.kind as usize] = 1;
        let load = Load { calls: 1, items: items.map(|items| items as u64) };
        let room = Room { items, total: 1, bytes: limits.bytes_per_call };
        let call = Call { site: true, hard: group.hard, room, bulk: [0; 4], load };
        return match wait(&load) {
            Wait::No => Next::Call(call),
            wait => Next::Wait(wait),
        };
    }
    for group in grouped(due, limits, turn) {
        match group.call(limits, &wait) {
            Ok(call) => return Next::Call(call),
            Err(wait) => held_up(wait),
        }
    }
    least.map_or(Next::Idle, Next::Wait)
}

/// Returns what sending all that is due would cost, to estimate how long it takes.
pub(super) fn load_of(due: &Due, limits: &Capabilities) -> Load {
    let mut load = Load::default();
    for kind in KINDS {
        let of_kind = due.groups.iter().filter(|group| group.kind == kind);
        let items: usize = of_kind.map(|group| group.count).sum();
        load.items[kind as usize] = items as u64;
        load.calls += items.div_ceil(limits.items_per_call(kind).max(1)) as u64;
    }
    load
}

/// The number of due sends per group that is worth counting: those of a full call.
pub(super) fn full_call(limits: &Capabilities) -> usize {
    KINDS.map(|kind| limits.items_per_call(kind)).into_iter().max().unwrap_or(1)
}

fn length(wait: &Wait) -> Duration {
    match wait {
        Wait::No => Duration::ZERO,
        Wait::For(wait) | Wait::Silence(wait) => *wait,
        Wait::Completion => Duration::MAX,
    }
}

/// Due sends that may share a call.
struct Group {
    hard: bool,
    small: [usize; 4],
    bulk: [usize; 4],
    oldest_small_ms: Option<i64>,
    oldest_bulk_ms: Option<i64>,
}

/// Groups the due sends by call, in the order in which they are sent.
fn grouped(due: &Due, limits: &Capabilities, turn: u32) -> Vec<Group> {
    let mut grouped: Vec<(bool, Option<ItemKind>, Group)> = Vec::new();
    for group in due.groups.iter().filter(|group| group.lane != Lane::Site) {
        let alone = group.kind == ItemKind::Everything || !limits.mixed_kinds;
        let kind = alone.then_some(group.kind);
        let known = grouped.iter().position(|(hard, of, _)| (*hard, *of) == (group.hard, kind));
        let index = known.unwrap_or_else(|| {
            let empty = Group {
                hard: group.hard,
                small: [0; 4],
                bulk: [0; 4],
                oldest_small_ms: None,
                oldest_bulk_ms: None,
            };
            grouped.push((group.hard, kind, empty));
            grouped.len() - 1
        });
        grouped[index].2.add(group);
    }
    let mut grouped: Vec<Group> = grouped.into_iter().map(|(.., group)| group).collect();
    let is_turn_of_bulk = turn % BULK_TURN == BULK_TURN - 1;
    grouped.sort_by_key(|group| {
        let (first, second) = if is_turn_of_bulk {
            (group.oldest_bulk_ms, group.oldest_small_ms)
        } else {
            (group.oldest_small_ms, group.oldest_bulk_ms)
        };
        (first.is_none(), first.or(second))
    });
    grouped
}

impl Group {
    fn add(&mut self, group: &DueGroup) {
        let (counts, oldest) = match group.lane {
            Lane::Bulk => (&mut self.bulk, &mut self.oldest_bulk_ms),
            Lane::Site | Lane::Small => (&mut self.small, &mut self.oldest_small_ms),
        };
        counts[group.kind as usize] += group.count;
        *oldest = oldest.iter().copied().chain([group.oldest_ms]).min();
    }

    /// Returns a call for these sends, or how long it must wait.
    fn call(&self, limits: &Capabilities, wait: &impl Fn(&Load) -> Wait) -> Result<Call, Wait> {
        let mut load = Load { calls: 1, items: [0; 4] };
        let (mut items, mut bulk) = ([0; 4], [0; 4]);
        let mut total = full_call(limits);
        let mut least = None;
        for kind in KINDS {
            let index = kind as usize;
            let most = limits.items_per_call(kind).max(1).min(total);
            let all = (self.small[index] + self.bulk[index]).min(most);
            let small = self.small[index].min(most);
            let with = |amount: usize| {
                let mut load = load;
                load.items[index] = amount as u64;
                load
            };
            let amount =
                [all, small].into_iter().find(|amount| *amount > 0 && wait(&with(*amount)) == Wait::No);
            match amount {
                Some(amount) => {
                    load = with(amount);
                    items[index] = amount;
                    total -= amount;
                    if amount == all {
                        bulk[index] = self.bulk[index].min((amount / 4).max(1));
                    }
                }
                None if all > 0 => {
                    let wait = wait(&with(if small > 0 { small } else { all }));
                    least = least.into_iter().chain([wait]).min_by_key(length);
                }
                None => {}
            }
        }
        if load.items == [0; 4] {
            return Err(least.unwrap_or(Wait::Completion));
        }
        let room = Room { items, total: items.iter().sum(), bytes: limits.bytes_per_call };
        Ok(Call { site: false, hard: self.hard, room, bulk, load })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::purge::testing::{capabilities, cdn};
    use crate::rewrite::CdnType;
    use ItemKind::{Everything, Prefix, Tag, Url};
    use Lane::{Bulk, Site, Small};

    fn due(groups: &[(Lane, ItemKind, bool, usize, i64)]) -> Due {
        let group = |&(lane, kind, hard, count, oldest_ms)| DueGroup { lane, kind, hard, count, oldest_ms };
        Due { groups: groups.iter().map(group).collect(), ..Due::default() }
    }

    fn limits(cdn_type: CdnType) -> Capabilities {
        capabilities(&cdn(cdn_type))
    }

    /// Formats the result as `kind hardness: items (share of bulk)`.
    fn shown(next: Next) -> String {
        let call = match next {
            Next::Idle => return "idle".into(),
            Next::Wait(wait) => return format!("{wait:?}"),
            Next::Call(call) => call,
        };
        let kinds = KINDS.into_iter().filter(|kind| call.room.items[*kind as usize] > 0);
        let items = kinds.map(|kind| {
            let index = kind as usize;
            assert_eq!(call.room.items[index] as u64, call.load.items[index]);
            format!("{kind:?} {} ({})", call.room.items[index], call.bulk[index])
        });
        let (site, hard) = (if call.site { "site " } else { "" }, if call.hard { "hard" } else { "soft" });
        format!("{site}{hard}: {}", items.collect::<Vec<_>>().join(", "))
    }

    #[track_caller]
    fn check(cdn_type: CdnType, groups: &[(Lane, ItemKind, bool, usize, i64)], expected: &str) {
        check_turn(cdn_type, groups, 0, expected);
    }

    #[track_caller]
    fn check_turn(
        cdn_type: CdnType,
        groups: &[(Lane, ItemKind, bool, usize, i64)],
        turn: u32,
        expected: &str,
    ) {
        assert_eq!(shown(next(&due(groups), &limits(cdn_type), turn, |_| Wait::No)), expected);
    }

    #[test]
    fn a_full_call_or_all_there_is() {
        use CdnType::{Cloudfront, Fastly};
        check(Fastly, &[], "idle");
        check(Fastly, &[(Small, Tag, true, 3, 5)], "hard: Tag 3 (0)");
        check(Fastly, &[(Small, Tag, true, 256, 5), (Bulk, Tag, true, 256, 5)], "hard: Tag 256 (64)");
        check(Fastly, &[(Small, Tag, true, 100, 5), (Bulk, Tag, true, 2, 5)], "hard: Tag 102 (2)");
        check(Fastly, &[(Bulk, Url, false, 256, 5)], "soft: Url 1 (1)");
        // Only CloudFront mixes kinds in a call, within its limits.
        let kinds = [(Small, Url, true, 3_000, 5), (Small, Tag, true, 7, 5), (Bulk, Prefix, true, 40, 5)];
        check(Cloudfront, &kinds[1..], "hard: Tag 7 (0), Prefix 15 (3)");
        check(Cloudfront, &kinds, "hard: Url 3000 (0)");
    }

    #[test]
    fn who_goes_first() {
        use CdnType::Fastly;
        let groups = [
            (Bulk, Tag, true, 9, 1),
            (Small, Url, true, 1, 7),
            (Small, Tag, false, 2, 6),
            (Site, Tag, false, 1, 8),
            (Site, Everything, true, 1, 9),
        ];
        check(Fastly, &groups, "site hard: Everything 1 (0)");
        check(Fastly, &groups[..4], "site soft: Tag 1 (0)");
        check(Fastly, &groups[..3], "soft: Tag 2 (0)");
        check(Fastly, &groups[..2], "hard: Url 1 (0)");
        check(Fastly, &groups[..1], "hard: Tag 9 (2)");
        // It is the turn of bulk purges.
        check_turn(Fastly, &groups, 3, "site hard: Everything 1 (0)");
        check_turn(Fastly, &groups[..3], 3, "hard: Tag 9 (2)");
        check_turn(Fastly, &groups[..3], 4, "soft: Tag 2 (0)");
    }

    #[test]
    fn what_cannot_be_paid_for_waits() {
        let limits = limits(CdnType::Akamai);
        // Each missing tag takes a second; URLs cost nothing.
        let check = |groups: &[(Lane, ItemKind, bool, usize, i64)], tokens: u64, expected: &str| {
            let wait = |load: &Load| match load.items[Tag as usize].saturating_sub(tokens) {
                0 => Wait::No,
                missing => Wait::For(Duration::from_secs(missing)),
            };
            assert_eq!(shown(next(&due(groups), &limits, 0, wait)), expected);
        };
        let (small, bulk) = ((Small, Tag, true, 5, 1), (Bulk, Tag, true, 5_000, 1));
        check(&[small, bulk], 5_000, "hard: Tag 5000 (1250)");
        check(&[small, bulk], 4_999, "hard: Tag 5 (0)");
        check(&[small, bulk], 3, "For(2s)");
        check(&[bulk], 4_000, "For(1000s)");
        check(&[bulk, (Bulk, Url, true, 2, 2)], 0, "hard: Url 2 (1)");
        // Nothing goes ahead of the purge that will absorb it.
        check(&[small, (Site, Tag, true, 1, 2)], 0, "For(1s)");
    }

    #[test]
    fn what_all_of_it_costs() {
        let groups = [(Bulk, Tag, true, 600, 1), (Small, Tag, true, 1, 1), (Small, Url, true, 3, 1)];
        let load = load_of(&due(&groups), &limits(CdnType::Fastly));
        assert_eq!(load, Load { calls: 3 + 3, items: [3, 601, 0, 0] });
    }
}
