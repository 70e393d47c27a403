//! Random histories of larger worlds, in which members may also be slow without any fault.

use super::explore::two;
use super::rules::{Rule, Rules};
use super::steps::Step;
use super::world::{Setting, World};
use fastrand::Rng;

/// How often each history is followed.
fn histories() -> u64 {
    if std::env::var_os("ORIGIN_SHIM_LONG").is_some() { 200_000 } else { 300 }
}

/// Follows random histories, of which each is told by its seed.
fn follow(setting: Setting) {
    for seed in 0..histories() {
        if let Some((failure, history)) = history(setting, seed) {
            panic!("seed {seed} of {setting:?}: {failure}: {history:#?}");
        }
    }
}

fn history(setting: Setting, seed: u64) -> Option<(String, Vec<Step>)> {
    let mut rng = Rng::with_seed(seed);
    let (mut world, mut taken) = (World::new(setting), Vec::new());
    for _ in 0..rng.usize(40..240) {
        // Otherwise, nearly all of the faults would happen at the beginning.
        let is_fault = |step: &Step| matches!(step, Step::Fault(_));
        let wants_fault = rng.u8(..) < 24;
        let steps: Vec<Step> =
            world.steps().into_iter().filter(|step| is_fault(step) == wants_fault).collect();
        let Some(step) = rng.choice(steps) else { continue };
        taken.push(step);
        world.step(step);
        if let Some(failure) = &world.failure {
            return Some((failure.clone(), taken));
        }
    }
    world.settled().map(|failure| (failure, taken))
}

fn many() -> Setting {
    Setting { members: 4, responses: 40, is_prompt: false, ..two(6, 6) }
}

#[test]
fn four_members() {
    follow(many());
}

#[test]
fn prompt_members() {
    follow(Setting { members: 3, is_prompt: true, ..many() });
}

#[test]
fn a_slow_clock() {
    follow(Setting { members: 3, is_slow: true, ..many() });
}

#[test]
fn a_row_that_looks_as_before_may_be_removed_by_mistake() {
    let setting = Setting { rules: Rules::without(Rule::FreshBeat), ..many() };
    let failure = (0..20_000).find_map(|seed| history(setting, seed));
    let Some((failure, history)) = failure else { panic!("{:?} is not needed", Rule::FreshBeat) };
    println!("{failure}: {history:?}");
}

/// What is lost is made up for.
#[test]
fn failovers_that_lose_commits() {
    follow(Setting { members: 3, loses_commits: true, ..many() });
}
