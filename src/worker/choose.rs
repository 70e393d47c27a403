//! What goes out next: the purge of a whole site, then small purges before bulk ones; a full call, or all that there is.
//! A call waits until its account can pay for it, but small purges do not wait for a bulk one that cannot leave yet. Pure.

use super::account::{Load, Wait};
use crate::cdn::{Capabilities, ItemKind};
use crate::purge::Room;
use crate::store::{Due, DueGroup, Lane};
use std::time::Duration;

/// Every so many calls begin with what bulk purges want, so that they do not starve.
const BULK_TURN: u32 = 4;
const KINDS: [ItemKind; 4] = [ItemKind::Url, ItemKind::Tag, ItemKind::Prefix, ItemKind::Everything];

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing is due.
    Idle,
    /// Something is due but cannot be paid for.
    Wait(Wait),
    /// Claim this.
    Call(Call),
}

/// A call's worth of sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) site: bool,
    pub(super) hard: bool,
    pub(super) room: Room,
    /// Of the room, what is left to bulk purges.
    pub(super) bulk: [usize; 4],
    /// What it costs at most.
    pub(super) load: Load,
}

/// What goes out next, at a CDN with these `limits`. `turn` counts the calls; `wait` says how long a load must wait.
pub(super) fn next(due: &Due, limits: &Capabilities, turn: u32, wait: impl Fn(&Load) -> Wait) -> Next {
    let mut least: Option<Wait> = None;
    let mut held_up = |wait: Wait| least = least.into_iter().chain([wait]).min_by_key(length);
    // What it absorbs is not sent before it, so nothing goes ahead of it even while it waits.
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
    for crowd in crowds(due, limits, turn) {
        match crowd.call(limits, &wait) {
            Ok(call) => return Next::Call(call),
            Err(wait) => held_up(wait),
        }
    }
    least.map_or(Next::Idle, Next::Wait)
}

/// What all that is due would cost, for an estimate of how long it takes.
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

/// How many due sends of a group are worth knowing: a full call's.
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
struct Crowd {
    hard: bool,
    small: [usize; 4],
    bulk: [usize; 4],
    oldest_small_ms: Option<i64>,
    oldest_bulk_ms: Option<i64>,
}

/// In the order in which they go out.
fn crowds(due: &Due, limits: &Capabilities, turn: u32) -> Vec<Crowd> {
    let mut crowds: Vec<(bool, Option<ItemKind>, Crowd)> = Vec::new();
    for group in due.groups.iter().filter(|group| group.lane != Lane::Site) {
        let alone = group.kind == ItemKind::Everything || !limits.mixed_kinds;
        let kind = alone.then_some(group.kind);
        let known = crowds.iter().position(|(hard, of, _)| (*hard, *of) == (group.hard, kind));
        let index = known.unwrap_or_else(|| {
            let empty = Crowd {
                hard: group.hard,
                small: [0; 4],
                bulk: [0; 4],
                oldest_small_ms: None,
                oldest_bulk_ms: None,
            };
            crowds.push((group.hard, kind, empty));
            crowds.len() - 1
        });
        crowds[index].2.add(group);
    }
    let mut crowds: Vec<Crowd> = crowds.into_iter().map(|(.., crowd)| crowd).collect();
    let is_turn_of_bulk = turn % BULK_TURN == BULK_TURN - 1;
    crowds.sort_by_key(|crowd| {
        let (first, second) = if is_turn_of_bulk {
            (crowd.oldest_bulk_ms, crowd.oldest_small_ms)
        } else {
            (crowd.oldest_small_ms, crowd.oldest_bulk_ms)
        };
        (first.is_none(), first.or(second))
    });
    crowds
}

impl Crowd {
    fn add(&mut self, group: &DueGroup) {
        let (counts, oldest) = match group.lane {
            Lane::Bulk => (&mut self.bulk, &mut self.oldest_bulk_ms),
            Lane::Site | Lane::Small => (&mut self.small, &mut self.oldest_small_ms),
        };
        counts[group.kind as usize] += group.count;
        *oldest = oldest.iter().copied().chain([group.oldest_ms]).min();
    }

    /// A call for them, or how long it has to wait.
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
