//! A model of what may be stored when, for every order of events in a small world: a response, a purge that
//! covers it, and a CDN that keeps what it receives until it is purged. The guard and the register of responses
//! in flight are the real ones.
//!
//! The last byte of a response leaves the send queue at once or when the CDN reads. The CDN may store the
//! response until the margin after that. The first call is made after the purge was accepted and the origin has
//! settled. If the purge found that a follow-up is needed, this is made when the response has arrived.

use super::outlet::testing::FakeQueue;
use super::*;
use crate::guard::JobItems;
use crate::rewrite::keys::{path_key, testing};
use crate::rewrite::{CdnType, Guard, Provenance, Purged};
use tokio::sync::mpsc;

/// The length of a step, in milliseconds.
const STEP: i64 = 1_000;
/// How long the last bytes are under way, in steps.
const MARGIN: i64 = 2;

/// One order of events, in steps.
#[derive(Clone, Copy, Debug)]
struct Order {
    /// The request to the origin began.
    began: i64,
    /// The response's head was decided.
    decided: i64,
    /// The response's last byte was written.
    ended: i64,
    /// That byte left the send queue.
    left: i64,
    /// The CDN stored the response.
    stored: i64,
    /// How long the response had been in the origin's cache, in half steps; `None` if the origin is no cache.
    age: Option<i64>,
    /// The purge was recorded in the guard.
    noted: i64,
    /// The worker was asked which responses are in flight.
    asked: i64,
    /// The number of steps after `noted` in which the origin might still serve the old version.
    settle: i64,
    /// The CDN received the first call.
    called: i64,
}

/// What remains at the CDN.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    ForAMoment,
    ForLong,
}

/// Plays one order. Returns what remains, and whether the purge called twice.
fn play(order: Order) -> (Left, bool) {
    let ms = |step: i64| 1_000_000 + step * STEP;
    let (purged, in_flight) = (Purged::default(), InFlight::default());
    let queue = Rc::new(FakeQueue::default());
    let outlet = queue.outlet(1_000 * STEP);
    let until_ms = ms(order.noted + order.settle);
    let decide = || {
        let guard = Guard { purged: &purged, began_ms: ms(order.began) };
        let age = order.age.map(|halves| u32::try_from(halves / 2).unwrap());
        let provenance =
            Provenance { keys: testing::of_path("/a").into(), generated_ms: guard.generated_ms(age) };
        let guarded = purged.covers(&provenance.keys, provenance.generated_ms);
        let (cdns, margin_ms) = ([CdnType::Fastly].into_iter().collect(), MARGIN * STEP);
        let response =
            Response { site: 1, cdns, untagged: false, margin_ms, provenance, waiting: Waiting::default() };
        let set_out = || {
            outlet.begin();
            in_flight.begin(response)
        };
        (guarded, (!guarded).then(set_out))
    };
    let (answers, mut reports) = mpsc::unbounded_channel();
    let jobs = [JobItems::new(CdnType::Fastly, [Some(path_key("/a"))].into_iter())];
    let mut question = Some(Question { site: 1, until_ms, jobs: jobs.into(), answers });

    let (mut guarded, mut number, mut found, mut arrived_ms) = (false, None, false, None);
    // The range has one more step, in which the worker's clock ticks.
    for step in order.began.min(order.noted)..=order.left.max(order.asked) + 1 {
        // Within one step the guard comes first, then the response, then the question. Other steps cover the
        // other orders.
        if step == order.noted {
            // The whole site is noted, because this needs no table for each of a hundred thousand worlds.
            purged.note_everything(until_ms);
        }
        if step == order.decided {
            (guarded, number) = decide();
        }
        if step == order.ended
            && let Some(number) = number.take()
        {
            queue.give(1);
            in_flight.end(number, Some(&outlet), ms(step));
        }
        if step >= order.left {
            queue.take_all((step - order.left) * STEP);
        }
        if step == order.asked
            && let Some(question) = question.take()
        {
            in_flight.answer(&question, ms(step));
        }
        in_flight.tick(ms(step));
        while let Ok(report) = reports.try_recv() {
            match report {
                Report::Found(items) => found = !items.is_empty(),
                Report::Ends(at_ms) => arrived_ms = Some(at_ms),
                Report::Untagged(_) => {}
            }
        }
    }
    assert!(!found || arrived_ms.is_some() && reports.is_closed(), "it is told when it ends: {order:?}");
    let follow_up = arrived_ms.filter(|_| found);
    let is_purged =
        ms(order.stored) <= ms(order.called) || follow_up.is_some_and(|at_ms| ms(order.stored) <= at_ms);
    let left = match (guarded, is_purged) {
        (true, _) => Left::ForAMoment,
        (false, true) => Left::Nothing,
        (false, false) => Left::ForLong,
    };
    (left, found)
}

/// Returns whether the origin may have generated the response before it had the new version.
fn may_be_old(order: Order) -> bool {
    2 * order.began - order.age.unwrap_or(0) <= 2 * (order.noted + order.settle)
}

fn orders() -> impl Iterator<Item = Order> {
    let ages = [None, Some(0), Some(1), Some(2), Some(5)];
    let responses = (0..4i64).flat_map(|began| {
        (began..5).flat_map(move |decided| {
            (decided..6).flat_map(move |ended| {
                [0, 1, 4].into_iter().flat_map(move |lies| {
                    let left = ended + lies;
                    (decided..=left + MARGIN).map(move |stored| (began, decided, ended, left, stored))
                })
            })
        })
    });
    responses.flat_map(move |(began, decided, ended, left, stored)| {
        ages.into_iter().flat_map(move |age| {
            (-1..7i64).flat_map(move |noted| {
                (0..2i64).flat_map(move |late| {
                    (0..3i64).flat_map(move |settle| {
                        (0..3i64).map(move |queued| Order {
                            began,
                            decided,
                            ended,
                            left,
                            stored,
                            age,
                            noted,
                            asked: noted + late,
                            settle,
                            called: noted + late.max(settle) + queued,
                        })
                    })
                })
            })
        })
    })
}

#[test]
fn nothing_old_is_left_for_long() {
    let (mut count, mut followed, mut guarded) = (0, 0, 0);
    for order in orders() {
        let (left, again) = play(order);
        count += 1;
        followed += usize::from(again);
        guarded += usize::from(left == Left::ForAMoment);
        assert!(left != Left::ForLong || !may_be_old(order), "{order:?}");
    }
    // The orders include enough of the interesting cases.
    assert!(count > 50_000 && followed > count / 20 && guarded > count / 20, "{count} {followed} {guarded}");
}

#[test]
fn what_is_not_on_its_way_causes_no_second_call() {
    for order in orders() {
        let arrived = order.left + MARGIN;
        let (left, again) = play(order);
        if again {
            assert!(
                order.decided <= order.asked && order.asked <= arrived && left != Left::ForAMoment,
                "{order:?}"
            );
            // A response that was generated late enough is new. `Age` has whole seconds only.
            assert!(may_be_old(order) || order.age.is_some(), "{order:?}");
        }
    }
}
