//! The promise, held against a model of the caches: random origins, visitors, purges, reloads and modes, driven
//! through the real opt-in, rewriting, guard and register. Time is simulated. `cache.rs`, with `habits.rs` and
//! `fields.rs`, stands by itself.
//!
//! The model must find each fault of the list when its correction is undone. See `faults.rs`.

mod cache;
mod exchange;
mod faults;
mod fields;
mod habits;
mod kernel;
mod laws;
mod origin;
mod purges;
mod shim;
mod site;
mod world;

use crate::harness::is_long;
use exchange::{Stage, Visitor};
use faults::Fault;
use origin::{AgeForm, PAGES, Repeats, SAMPLES, TAG_FIELDS};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use purges::Wanted;
use site::{Choice, KINDS};
use std::collections::BTreeMap;
use world::{Command, Setup, World};

/// The kind of worlds to generate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Focus {
    Any,
    /// One page, which is confirmed, and purged by its tags.
    Confirmed,
}

fn setup(focus: Focus) -> impl Strategy<Value = Setup> {
    let second = prop::option::weighted(0.3, 0..KINDS.len());
    let mode = prop_oneof![12 => Just(0u8), 1 => Just(1u8), 1 => Just(2u8)];
    let passes = if focus == Focus::Any { 0.4 } else { 1.0 };
    let choice = (0..KINDS.len(), second, mode, prop::bool::weighted(passes)).prop_map(
        |(first, second, mode, passes_conditions)| Choice {
            cdns: (first, second),
            mode,
            passes_conditions,
            fixed_browser: false,
        },
    );
    let repeats = select(&[Repeats::Nothing, Repeats::Lifetimes, Repeats::Everything]);
    let samples = prop::array::uniform4(0..SAMPLES.len());
    let favourite = if focus == Focus::Any { PAGES.len() } else { 1 };
    (choice, samples, 0..favourite, 0..TAG_FIELDS.len(), repeats, prop::bool::weighted(0.8)).prop_map(
        |(choice, samples, favourite, tag_field, repeats, names)| Setup {
            choice,
            samples,
            favourite,
            tag_field,
            repeats,
            names,
        },
    )
}

fn command(focus: Focus) -> impl Strategy<Value = Command> {
    let pages = if focus == Focus::Any { 2 * PAGES.len() } else { 1 };
    let visitor = prop_oneof![
        8 => Just(Visitor::Plain),
        1 => select(&[Visitor::Cookie, Visitor::Login, Visitor::French, Visitor::Worker, Visitor::Ghost]),
    ];
    let until = prop_oneof![
        4 => Just(Stage::Left),
        2 => select(&[Stage::Asked, Stage::Decided, Stage::Headed, Stage::Written]),
    ];
    let form = select(&[AgeForm::Plain, AgeForm::List, AgeForm::Signed, AgeForm::Nominated]);
    let age = prop::option::weighted(0.15, (select(&[1u64, 30, 5_000]), form));
    let place = (0..2usize, 0..pages, select(&[0usize, 0, 0, 1]), prop::bool::weighted(0.15));
    let wanted: &[Wanted] = match focus {
        Focus::Any => &[Wanted::Url, Wanted::Path, Wanted::Tag, Wanted::Prefix, Wanted::Everything],
        Focus::Confirmed => &[Wanted::Tag],
    };
    let wanted = select(wanted);
    let delay = select(&[0i64, 50, 800]);
    prop_oneof![
        3 => select(&[10i64, 300, 2_000, 65_000, 400_000, 10_000_000, 173_000_000]).prop_map(Command::Wait),
        8 => (place, visitor, until, age).prop_map(|((cdn, page, spelling, query), visitor, until, age)| {
            Command::Visit { cdn, page, spelling, query, visitor, until, age }
        }),
        2 => (0..3usize).prop_map(Command::Advance),
        1 => (0..pages, prop::option::of(0..SAMPLES.len())).prop_map(|(page, sample)| Command::Edit(page, sample)),
        2 => (wanted, 0..pages, 0..4usize, prop::bool::weighted(0.2), delay).prop_map(
            |(wanted, page, number, soft, delay_ms)| Command::Purge { wanted, page, number, soft, delay_ms }
        ),
        1 => (0..pages, 0..SAMPLES.len()).prop_map(|(page, sample)| Command::Retell(page, sample)),
        2 => Just(Command::Expire),
        1 => prop_oneof![
            any::<bool>().prop_map(Command::Health),
            prop_oneof![4 => Just(0u8), 1 => Just(1), 1 => Just(2)].prop_map(Command::Reload),
        ],
    ]
}

/// Returns the shortest history found that breaks a law, if one of `cases` does.
fn broken(fault: Option<Fault>, focus: Focus, cases: u32) -> Option<(Setup, Vec<Command>, String)> {
    let config = Config { cases, max_shrink_iters: 2_000, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let histories = (setup(focus), prop::collection::vec(command(focus), 1..24));
    let result = TestRunner::new_with_rng(config, rng).run(&histories, |(setup, commands)| {
        World::new(setup, fault, false).run(&commands).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => None,
        Err(TestError::Fail(_, (setup, commands))) => {
            let mut world = World::new(setup.clone(), fault, true);
            let law = world.run(&commands).expect_err("as it did a moment ago");
            let story = format!("{law}\n{setup:?}\n{}", world.story());
            Some((setup, commands, story))
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_laws_hold() {
    for (focus, cases) in [(Focus::Any, 2_000), (Focus::Confirmed, 500)] {
        let cases = if is_long() { 100 * cases } else { cases };
        if let Some((.., story)) = broken(None, focus, cases) {
            panic!("{story}");
        }
    }
}

/// Guards against histories in which little happens, because laws hold easily there.
#[test]
fn much_happens() {
    let mut tally: BTreeMap<&str, u32> = BTreeMap::new();
    let config = Config { failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let histories = (setup(Focus::Any), prop::collection::vec(command(Focus::Any), 1..24));
    for _ in 0..500 {
        let (setup, commands) = histories.new_tree(&mut runner).unwrap().current();
        let mut world = World::new(setup, None, false);
        world.run(&commands).unwrap();
        world.tally.into_iter().for_each(|(what, count)| *tally.entry(what).or_default() += count);
    }
    println!("{tally:#?}");
    for what in [
        "lengthened",
        "untouched",
        "fallback",
        "guarded",
        "nothing changed",
        "confirmed",
        "served from a cache",
        "purge",
        "purge that comes again",
        "purge refused",
    ] {
        assert!(tally.get(what).is_some_and(|count| *count >= 30), "{what} is rare: {tally:#?}");
    }
}

/// Asserts that an undone correction breaks one of these laws within few histories, and that the fault is the
/// cause.
fn is_found(fault: Fault, focus: Focus, laws: &[u8]) {
    let Some((setup, commands, story)) = broken(Some(fault), focus, 6_000) else {
        panic!("{fault:?} breaks no law")
    };
    println!("{fault:?}: {story}\n");
    assert!(
        laws.iter().any(|law| story.starts_with(&format!("law {law}"))),
        "{fault:?} breaks another law: {story}"
    );
    let mended = World::new(setup, None, false).run(&commands);
    assert_eq!(mended, Ok(()), "{fault:?} is not what breaks the law: {story}");
}

/// Makes a test of each fault, so that they run in parallel and each name shows which correction is missing.
macro_rules! faults {
    ($($name:ident: $fault:ident in $focus:ident breaks $($law:literal)or+;)+) => {$(
        #[test]
        fn $name() {
            is_found(Fault::$fault, Focus::$focus, &[$($law),+]);
        }
    )+};
}

faults! {
    conditions_that_reach_the_origin: NotModifiedAsPage in Any breaks 1 or 2;
    a_304_without_the_tags_of_its_page: UnseenWithoutTags in Confirmed breaks 1;
    a_guard_of_few: GuardOfFew in Any breaks 1;
    a_guard_that_writes_nothing: GuardUnwritten in Any breaks 1;
    two_hours_in_browsers: BrowsersForTwoHours in Any breaks 2;
    forged_traces: TracesFirst in Any breaks 1 or 2;
    purges_by_tags_in_other_modes: ModesByTags in Any breaks 1;
    written_is_not_arrived: WrittenIsArrived in Any breaks 1;
    raw_spellings: RawSpellings in Any breaks 1;
    public_private: PublicPrivate in Any breaks 3;
    a_quote_without_an_end: UnendedQuote in Any breaks 3;
    a_word_in_quotes: QuotedWord in Any breaks 3;
    a_broken_age: LenientAge in Any breaks 1 or 2;
    an_age_that_connection_nominates: AgeNominated in Any breaks 1 or 2;
    a_broken_targeted_field: BrokenTargeted in Any breaks 3;
    prohibitions_that_are_not_translated: Untranslated in Any breaks 3;
    redirects_to_themselves: RedirectFactsWithheld in Any breaks 4;
    tags_that_are_dropped: TagsDropped in Any breaks 1 or 2;
    a_tag_with_a_space: SpaceInTag in Any breaks 1;
    nothing_known_of_what_is_on_its_way: NoRegister in Any breaks 1;
    no_guard: NoGuard in Any breaks 1;
}
