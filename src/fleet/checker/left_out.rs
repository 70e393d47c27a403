//! Each rule is needed: without it, a history is found in which the protocol fails.

use super::explore::{Found, explore, two};
use super::rules::{Rule, Rules};
use super::steps::{Fault, Step};
use super::world::Setting;

/// What the history without the rule ends with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// The CDN has a copy from before a purge that is done.
    Stale,
    /// A purge is never done.
    Stuck,
    /// Lost purges are not noticed.
    Lost,
}

fn without(rule: Rule, setting: Setting, ends: Ends) {
    without_after(&[], rule, setting, ends);
}

/// The history begins with these steps, so that it is found soon.
fn without_after(begin: &[Step], rule: Rule, setting: Setting, ends: Ends) {
    let setting = Setting { rules: Rules::without(rule), ..setting };
    let Found { states, failure } = explore(setting, begin, 4);
    let Some((failure, history)) = failure else { panic!("{rule:?} is not needed in {states} states") };
    println!("without {rule:?}, after {states} states: {failure}: {history:?}");
    let is = match ends {
        Ends::Stale => failure.contains("older copy") || failure.contains("from before"),
        Ends::Stuck => failure.contains("never done"),
        Ends::Lost => failure.contains("nobody noticed") || failure.contains("from before"),
    };
    assert!(is, "without {rule:?}: {failure}");
}

/// A member was stopped for so long that it was removed.
fn away() -> Vec<Step> {
    let stop = Step::Fault(Fault::Stop { member: 0, asks: None });
    let mut steps = vec![stop];
    steps.extend([Step::Tick; 7]);
    steps.push(Step::Resume(0));
    steps
}

#[test]
fn fence() {
    without(Rule::Fence, two(1, 1), Ends::Stale);
}

#[test]
fn window_from_sending() {
    without(Rule::WindowFromSending, two(1, 1), Ends::Stale);
}

#[test]
fn margin() {
    without(Rule::Margin, Setting { is_slow: true, ..two(1, 1) }, Ends::Stale);
}

#[test]
fn join_makes_old() {
    without(Rule::JoinMakesOld, two(1, 1), Ends::Stale);
}

#[test]
fn join_releases() {
    without_after(&away(), Rule::JoinReleases, two(1, 2), Ends::Stuck);
}

#[test]
fn apply_makes_old() {
    without(Rule::ApplyMakesOld, two(1, 0), Ends::Stale);
}

#[test]
fn own_moment() {
    without(Rule::OwnMoment, two(1, 0), Ends::Stale);
}

#[test]
fn wait_to_apply() {
    without(Rule::WaitToApply, two(1, 0), Ends::Stale);
}

#[test]
fn again_if_late() {
    without(Rule::AgainIfLate, two(1, 0), Ends::Stale);
}

#[test]
fn tell_follow_ups() {
    without(Rule::TellFollowUps, two(1, 0), Ends::Stale);
}

#[test]
fn join_if_moved() {
    without(Rule::JoinIfMoved, two(1, 1), Ends::Stuck);
}

#[test]
fn durable_join() {
    without_after(&away(), Rule::DurableJoin, two(1, 2), Ends::Stale);
}

#[test]
fn acknowledge_first() {
    without(Rule::AcknowledgeFirst, two(1, 1), Ends::Stuck);
}

#[test]
fn tell_after_lost_answer() {
    without(Rule::TellAfterLostAnswer, two(1, 1), Ends::Stuck);
}

#[test]
fn longest_response() {
    without(Rule::LongestResponse, two(1, 1), Ends::Stale);
}

#[test]
fn wait_limited() {
    let mut begin = vec![Step::Request(0), Step::Head(0), Step::Publish(0), Step::Arrive(0)];
    begin.extend(away());
    begin.pop();
    without_after(&begin, Rule::WaitLimited, two(1, 2), Ends::Stuck);
}

#[test]
fn abort_overstaying() {
    without(Rule::AbortOverstaying, two(1, 1), Ends::Stale);
}

#[test]
fn remove_as_seen() {
    without(Rule::RemoveAsSeen, two(1, 1), Ends::Stale);
}

#[test]
fn watch_anew() {
    let cut = Step::Fault(Fault::Cut { member: 1, asks: None, executes: false });
    let begin = [cut, Step::Tick, Step::Tick, Step::Tick, Step::Tick];
    without_after(&begin, Rule::WatchAnew, two(1, 2), Ends::Stale);
}

#[test]
fn poll() {
    without(Rule::Poll, two(1, 1), Ends::Stuck);
}

#[test]
fn remove_gone() {
    without(Rule::RemoveGone, two(1, 1), Ends::Stuck);
}

#[test]
fn notice_loss() {
    without(Rule::NoticeLoss, Setting { loses_commits: true, ..two(1, 1) }, Ends::Lost);
}

#[test]
fn entry_ids() {
    without(Rule::EntryIds, Setting { loses_commits: true, ..two(2, 1) }, Ends::Lost);
}
