//! Every history of a small world.

use super::rules::Rules;
use super::steps::Step;
use super::world::{Setting, World};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    pub states: usize,
    /// What is wrong, and the steps that led there.
    pub failure: Option<(String, Vec<Step>)>,
}

/// Examines all histories that begin with these steps, shortest first, and stops at the first failure. Of every
/// `settle`th state, it also examines what follows when nothing fails any more.
pub fn explore(setting: Setting, begin: &[Step], settle: usize) -> Found {
    let mut first = World::new(setting);
    begin.iter().for_each(|step| first.step(*step));
    let key = first.key();
    let mut from: HashMap<u64, (u64, Step)> = HashMap::from([(key, (key, Step::Tick))]);
    let mut open = VecDeque::from([(key, first)]);
    while let Some((key, world)) = open.pop_front() {
        for step in world.steps() {
            let mut next = world.clone();
            next.step(step);
            let next_key = next.key();
            let Entry::Vacant(vacant) = from.entry(next_key) else { continue };
            vacant.insert((key, step));
            let is_examined = next.failure.is_some() || from.len().is_multiple_of(settle);
            if is_examined && let Some(failure) = next.clone().settled() {
                return Found { states: from.len(), failure: Some((failure, history(&from, next_key))) };
            }
            open.push_back((next_key, next));
        }
    }
    Found { states: from.len(), failure: None }
}

/// Returns the steps that led to a state.
fn history(from: &HashMap<u64, (u64, Step)>, mut key: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some((before, step)) = from.get(&key).filter(|(before, _)| *before != key) {
        steps.push(*step);
        key = *before;
    }
    steps.reverse();
    steps
}

/// Two members, of which all holds.
pub fn two(purges: usize, faults: usize) -> Setting {
    Setting {
        rules: Rules::default(),
        members: 2,
        purges,
        faults,
        responses: 1,
        loses_commits: false,
        is_prompt: true,
        is_slow: false,
    }
}

fn holds(setting: Setting) {
    let found = explore(setting, &[], 16);
    println!("{} states", found.states);
    assert!(found.failure.is_none(), "{setting:?}: {:#?}", found.failure);
}

#[test]
fn all_histories_of_one_purge_and_one_fault() {
    holds(two(1, 1));
}

/// With all of them, this takes 8 GiB of memory and, unoptimised, half an hour.
#[test]
fn all_histories_of_two_purges_and_two_faults() {
    if std::env::var_os("ORIGIN_SHIM_LONG").is_none() {
        return holds(two(2, 0));
    }
    holds(two(2, 1));
    holds(two(1, 2));
    holds(two(2, 2));
}
