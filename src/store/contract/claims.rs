//! The sends that one claim takes, those that it absorbs, and how these end.

use super::*;
use crate::purge::Room;

const RETRY: SendOutcome = SendOutcome::RetryAt(START + 5_000);

fn named(id: &str, items: &[(ItemKind, &str, bool)]) -> NewPurge {
    let item = |&(kind, value, hard): &(ItemKind, &str, bool)| Item { kind, value: value.into(), hard };
    purge(id, vec![JobPlan { items: items.iter().map(item).collect(), ..job("fastly", 0) }])
}

fn tags(id: &str, values: &[&str]) -> NewPurge {
    named(id, &values.iter().map(|value| (ItemKind::Tag, *value, true)).collect::<Vec<_>>())
}

/// A purge of the whole site.
fn everything(id: &str, hard: bool) -> NewPurge {
    let mut purge = named(id, &[(ItemKind::Tag, "site", hard)]);
    purge.jobs[0].everything = true;
    purge
}

async fn enqueue(store: &dyn Store, purges: &[NewPurge]) {
    for purge in purges {
        store.enqueue(purge.clone()).await.unwrap();
    }
}

async fn claim_call(store: &dyn Store, change: impl FnOnce(&mut Claim)) -> Claimed {
    let mut call = call("fastly", START, LEASE, 10);
    change(&mut call);
    store.claim(call).await.unwrap()
}

async fn claim_site(store: &dyn Store, hard: bool) -> Claimed {
    claim_call(store, |call| (call.site, call.hard) = (true, hard)).await
}

fn values(claimed: &Claimed) -> Vec<&str> {
    claimed.sends.iter().map(|send| send.item.value.as_str()).collect()
}

async fn groups(store: &dyn Store, most: usize) -> Vec<(Lane, ItemKind, bool, usize)> {
    let due = store.due(key("fastly"), START, most).await.unwrap();
    due.groups.iter().map(|group| (group.lane, group.kind, group.hard, group.count)).collect()
}

async fn states(store: &dyn Store, ids: &[&str]) -> Vec<State> {
    let mut states = Vec::new();
    for id in ids {
        states.push(view(store, id).await.state);
    }
    states
}

pub(super) async fn what_is_due_is_told_by_lane_kind_and_hardness(store: Shared) {
    assert_eq!(store.due(key("fastly"), START, 9).await.unwrap(), Due::default());
    let kinds = [(ItemKind::Url, "u", true), (ItemKind::Tag, "a", false), (ItemKind::Tag, "b", false)];
    enqueue(&*store, &[named("p1", &kinds), everything("p2", true)]).await;
    enqueue(&*store, &[purge("bulk", vec![job("fastly", BULK_ITEMS + 1)])]).await;
    enqueue(&*store, &[NewPurge { due_ms: START + 7, ..tags("later", &["c"]) }]).await;
    let expected = [
        (Lane::Site, ItemKind::Tag, true, 1),
        (Lane::Small, ItemKind::Url, true, 1),
        (Lane::Small, ItemKind::Tag, false, 2),
        (Lane::Bulk, ItemKind::Tag, true, 9),
    ];
    assert_eq!(groups(&*store, 9).await, expected);
    let due = store.due(key("fastly"), START, 9).await.unwrap();
    assert_eq!((due.next_ms, due.pending), (Some(START + 7), BULK_ITEMS as u64 + 6));
    assert!(due.groups.iter().all(|group| group.oldest_ms == START));
}

pub(super) async fn a_claim_counts_the_same_item_once(store: Shared) {
    let purges = [tags("p1", &["a", "b"]), tags("p2", &["b", "a"]), tags("p3", &["c", "a"])];
    enqueue(&*store, &purges).await;
    let room = |items| Room { items: [items; 4], total: items, bytes: 1_000 };
    let claimed = claim_call(&*store, |call| call.room = room(2)).await;
    assert_eq!(values(&claimed), ["a", "b", "b", "a"]);
    let claimed = claim_call(&*store, |call| call.room = room(2)).await;
    assert_eq!(values(&claimed), ["c", "a"]);
}

pub(super) async fn a_claim_keeps_to_bytes_kinds_and_hardness(store: Shared) {
    let items = [
        (ItemKind::Tag, "aaaaaaa", true),
        (ItemKind::Tag, "soft", false),
        (ItemKind::Url, "url", true),
        (ItemKind::Tag, "bbbbbbb", true),
        (ItemKind::Tag, "ccccccc", true),
    ];
    enqueue(&*store, &[named("p1", &items)]).await;
    let room = Room { items: [0, 9, 0, 0], total: 9, bytes: 20 };
    assert_eq!(values(&claim_call(&*store, |call| call.room = room.clone()).await), ["aaaaaaa", "bbbbbbb"]);
    assert_eq!(values(&claim_call(&*store, |call| call.room = room.clone()).await), ["ccccccc"]);
    assert_eq!(values(&claim_call(&*store, |call| call.hard = false).await), ["soft"]);
    assert_eq!(values(&claim_call(&*store, |_| ()).await), ["url"]);
}

pub(super) async fn a_claim_takes_what_its_items_cover(store: Shared) {
    let items = [
        (ItemKind::Tag, "a", false),
        (ItemKind::Tag, "b", false),
        (ItemKind::Url, "https://h/blog/1", true),
        (ItemKind::Url, "https://h/2", true),
        (ItemKind::Prefix, "h/blog/", true),
        (ItemKind::Tag, "a", true),
    ];
    enqueue(&*store, &[named("p1", &items)]).await;
    let only = |kind: ItemKind| {
        let mut items = [0; 4];
        items[kind as usize] = 9;
        Room { items, total: 9, bytes: 1_000 }
    };
    let claimed = claim_call(&*store, |call| call.room = only(ItemKind::Tag)).await;
    assert_eq!(values(&claimed), ["a", "a"]);
    assert_eq!(claimed.sends.iter().map(|send| send.item.hard).collect::<Vec<_>>(), [true, false]);
    let claimed = claim_call(&*store, |call| call.room = only(ItemKind::Prefix)).await;
    assert_eq!(values(&claimed), ["h/blog/", "https://h/blog/1"]);
    assert_eq!(values(&claim_call(&*store, |_| ()).await), ["https://h/2"]);
}

pub(super) async fn what_is_soft_covers_nothing_hard(store: Shared) {
    let items = [
        (ItemKind::Prefix, "h/blog/", false),
        (ItemKind::Url, "https://h/blog/soft", false),
        (ItemKind::Url, "https://h/blog/hard", true),
    ];
    enqueue(&*store, &[named("p1", &items)]).await;
    let room = Room { items: [0, 0, 9, 0], total: 9, bytes: 1_000 };
    let claimed = claim_call(&*store, |call| (call.hard, call.room) = (false, room)).await;
    assert_eq!(values(&claimed), ["h/blog/", "https://h/blog/soft"]);
    assert_eq!(values(&claim_call(&*store, |_| ()).await), ["https://h/blog/hard"]);
}

/// However many purges name one page, a claim ends, and the rest goes out with the next one.
pub(super) async fn a_crowd_for_one_item_goes_out_in_parts(store: Shared) {
    for (kind, value) in [(ItemKind::Tag, "tag"), (ItemKind::Url, "https://h/")] {
        for hard in [true, false] {
            let id = |number| format!("{kind:?}-{hard}-{number}");
            let purges: Vec<_> = (0..40).map(|number| named(&id(number), &[(kind, value, hard)])).collect();
            enqueue(&*store, &purges).await;
            let room = Room { items: [1; 4], total: 1, bytes: 1_000 };
            for expected in [16, 16, 8, 0] {
                let claimed = claim_call(&*store, |call| (call.hard, call.room) = (hard, room.clone())).await;
                assert_eq!(claimed.sends.len(), expected, "{kind:?} {hard}");
            }
        }
    }
}

pub(super) async fn the_purge_of_a_site_absorbs_what_is_due_and_no_harder(store: Shared) {
    enqueue(&*store, &[tags("hard", &["a", "b"]), named("soft", &[(ItemKind::Tag, "c", false)])]).await;
    enqueue(&*store, &[NewPurge { due_ms: START + 9, ..named("later", &[(ItemKind::Tag, "d", false)]) }])
        .await;
    enqueue(&*store, &[everything("site", false)]).await;
    let claimed = claim_site(&*store, false).await;
    assert_eq!((values(&claimed), claimed.absorbed), (vec!["site"], 1));
    // This purge came later, so it is not covered.
    enqueue(&*store, &[named("new", &[(ItemKind::Tag, "e", false)])]).await;
    let left = [(Lane::Small, ItemKind::Tag, true, 2), (Lane::Small, ItemKind::Tag, false, 1)];
    assert_eq!(groups(&*store, 9).await, left);
    let ended = settle_all(&*store, &claimed.sends, SendOutcome::Done).await;
    assert_eq!(ended.iter().map(|job| job.purge.as_str()).collect::<Vec<_>>(), ["soft", "site"]);
    let seen = view(&*store, "soft").await;
    assert_eq!((seen.state, &seen.jobs[0].attempts), (State::Done, &vec![(attempt("later"), 1)]));
    assert_eq!(status(&*store, "fastly").await.pending, 4);
}

pub(super) async fn what_was_absorbed_stands_again_unless_it_was_purged(store: Shared) {
    for outcome in [RETRY, SendOutcome::Failed, SendOutcome::Unsent] {
        let (many, site) = (format!("many-{outcome:?}"), format!("site-{outcome:?}"));
        enqueue(&*store, &[tags(&many, &["a", "b"]), everything(&site, true)]).await;
        let claimed = claim_site(&*store, true).await;
        assert_eq!(claimed.absorbed, 2, "{outcome:?}");
        assert_eq!(states(&*store, &[&many]).await, [State::Sending]);
        settle_all(&*store, &claimed.sends, outcome).await;
        let now_ms = START + 5_000;
        if outcome == RETRY {
            assert_eq!(groups(&*store, 9).await, [], "they wait with it");
        }
        let again = store.claim(call("fastly", now_ms, LEASE, 9)).await.unwrap();
        assert_eq!(values(&again), ["a", "b"], "{outcome:?}");
        let reason = if outcome == SendOutcome::Unsent { SendReason::First } else { SendReason::Retry };
        assert!(again.sends.iter().all(|send| send.reason == reason), "{outcome:?}");
        settle_all(&*store, &again.sends, SendOutcome::Done).await;
        let site = store.claim(Claim { site: true, ..call("fastly", now_ms, LEASE, 9) }).await.unwrap();
        settle_all(&*store, &site.sends, SendOutcome::Done).await;
        assert_eq!(states(&*store, &[&many]).await, [State::Done]);
        assert_eq!(status(&*store, "fastly").await.pending, 0, "{outcome:?}");
    }
}

pub(super) async fn a_late_answer_does_not_end_what_was_absorbed_since(store: Shared) {
    enqueue(&*store, &[tags("old", &["a"]), everything("site", true)]).await;
    let first = claim_site(&*store, true).await;
    // The lease runs out, and the second attempt absorbs a new purge.
    enqueue(&*store, &[tags("new", &["b"])]).await;
    let claim = Claim { site: true, ..call("fastly", LEASE, LEASE + 9, 9) };
    let second = store.claim(claim).await.unwrap();
    assert_eq!(second.absorbed, 2);
    settle_all(&*store, &first.sends, SendOutcome::Done).await;
    assert_eq!(states(&*store, &["old", "new", "site"]).await, [State::Sending; 3]);
    settle_all(&*store, &second.sends, SendOutcome::Done).await;
    assert_eq!(states(&*store, &["old", "new", "site"]).await, [State::Done; 3]);
}

pub(super) async fn what_is_absorbed_survives_its_absorber(store: Shared) {
    enqueue(&*store, &[tags("many", &["a"]), everything("site", true)]).await;
    let claimed = claim_site(&*store, true).await;
    store.cancel("site".into(), START).await.unwrap();
    settle_all(&*store, &claimed.sends, SendOutcome::Done).await;
    assert_eq!(states(&*store, &["many", "site"]).await, [State::Done, State::Cancelled]);

    enqueue(&*store, &[tags("next", &["a"]), everything("again", true)]).await;
    claim_site(&*store, true).await;
    store.cancel("again".into(), START).await.unwrap();
    assert_eq!(store.take_over(START.into(), i64::MAX).await.unwrap().leases, 1);
    assert_eq!(values(&claim_call(&*store, |_| ()).await), ["a"]);
}

pub(super) async fn the_repeat_of_the_site_is_that_of_what_it_absorbed(store: Shared) {
    let (mut many, mut site) = (tags("many", &["a", "b"]), everything("site", true));
    many.jobs[0].repeat_after_ms = 2_000;
    site.jobs[0].repeat_after_ms = 30_000;
    enqueue(&*store, &[many, site]).await;
    let claimed = claim_site(&*store, true).await;
    settle_all(&*store, &claimed.sends, SendOutcome::Done).await;
    let due = store.due(key("fastly"), START + 30_000, 9).await.unwrap();
    assert_eq!(
        due.groups.iter().map(|group| (group.lane, group.count)).collect::<Vec<_>>(),
        [(Lane::Site, 1)]
    );
}

pub(super) async fn only_the_cdns_purge_all_absorbs_another(store: Shared) {
    let mut all = named("all", &[(ItemKind::Everything, "*", true)]);
    all.jobs[0].everything = true;
    enqueue(&*store, &[all.clone(), everything("site", true)]).await;
    let only = |kind: ItemKind| {
        let mut items = [0; 4];
        items[kind as usize] = 1;
        Room { items, total: 1, bytes: 1_000 }
    };
    let site = claim_call(&*store, |call| (call.site, call.room) = (true, only(ItemKind::Tag))).await;
    assert_eq!((values(&site), site.absorbed), (vec!["site"], 0));
    settle_all(&*store, &site.sends, SendOutcome::Unsent).await;
    let all = claim_call(&*store, |call| (call.site, call.room) = (true, only(ItemKind::Everything))).await;
    assert_eq!((values(&all), all.absorbed), (vec!["*"], 1));
}

pub(super) async fn split_calls_go_out_in_their_parts(store: Shared) {
    enqueue(&*store, &[tags("p1", &["a", "b", "c", "d"])]).await;
    let claimed = claim_call(&*store, |_| ()).await;
    let number = |position: usize| claimed.sends[if position < 2 { 0 } else { 2 }].id;
    let sends = claimed.sends.iter().enumerate();
    let sends =
        sends.map(|(position, send)| (send.id, send.attempt, SendOutcome::Together(number(position))));
    let settlement =
        Settlement { sends: sends.collect(), now_ms: START, at_ms: START, ..Settlement::default() };
    store.settle(settlement).await.unwrap();
    enqueue(&*store, &[tags("p2", &["e"])]).await;
    assert_eq!(states(&*store, &["p1"]).await, [State::Retrying]);
    let parts = [["a", "b"], ["c", "d"]];
    for part in parts {
        let claimed = claim_call(&*store, |_| ()).await;
        assert_eq!(values(&claimed), part);
        settle_all(&*store, &claimed.sends, RETRY).await;
    }
    assert_eq!(values(&claim_call(&*store, |_| ()).await), ["e"]);
    for part in parts {
        assert_eq!(values(&claim_call(&*store, |call| call.now_ms += 5_000).await), part);
    }
}

pub(super) async fn kept_calls_are_made_again_as_they_were(store: Shared) {
    let keep = |call: &mut Claim| call.keep_together = true;
    enqueue(&*store, &[tags("p1", &["a", "b"]), tags("p2", &["b"])]).await;
    let first = claim_call(&*store, keep).await;
    assert_eq!(values(&first), ["a", "b", "b"]);
    settle_all(&*store, &first.sends, SendOutcome::RetryAt(START)).await;
    enqueue(&*store, &[tags("p3", &["a", "c"])]).await;
    // The call is not repeated while there is no room for all of it, but other due sends do not wait.
    let narrow = |call: &mut Claim| {
        keep(call);
        call.room.total = 1;
    };
    assert_eq!(values(&claim_call(&*store, narrow).await), ["a"]);
    let again = claim_call(&*store, keep).await;
    let ids = |claimed: &Claimed| claimed.sends.iter().map(|send| send.id).collect::<Vec<_>>();
    assert_eq!(ids(&again), ids(&first));
    // Not even a restart changes the call.
    store.take_over(START.into(), i64::MAX).await.unwrap();
    let mut rest = [claim_call(&*store, keep).await, claim_call(&*store, keep).await];
    rest.sort_by_key(|claimed| std::cmp::Reverse(claimed.sends.len()));
    assert_eq!(ids(&rest[0]), ids(&first));
}

pub(super) async fn a_kept_call_counts_a_soft_twin_as_its_hard_one(store: Shared) {
    let room = |call: &mut Claim| {
        call.keep_together = true;
        call.room = Room { items: [1; 4], total: 1, bytes: 1_000 };
    };
    enqueue(&*store, &[named("p1", &[(ItemKind::Tag, "a", true), (ItemKind::Tag, "a", false)])]).await;
    let first = claim_call(&*store, room).await;
    assert_eq!(values(&first), ["a", "a"]);
    settle_all(&*store, &first.sends, SendOutcome::RetryAt(START)).await;
    assert_eq!(values(&claim_call(&*store, room).await), ["a", "a"]);
}

pub(super) async fn a_kept_call_for_which_there_is_no_share_holds_up_nothing(store: Shared) {
    let keep = |call: &mut Claim| call.keep_together = true;
    enqueue(&*store, &[named("url", &[(ItemKind::Url, "https://h/", true)])]).await;
    let url = claim_call(&*store, keep).await;
    settle_all(&*store, &url.sends, SendOutcome::RetryAt(START)).await;
    enqueue(&*store, &[tags("tags", &["a", "b"])]).await;
    let only_tags = |call: &mut Claim| {
        keep(call);
        call.room.items = [0, 9, 0, 0];
    };
    // The call with the URL is older, but this claim is for tags.
    let first = claim_call(&*store, only_tags).await;
    assert_eq!(values(&first), ["a", "b"]);
    settle_all(&*store, &first.sends, SendOutcome::RetryAt(START)).await;
    assert_eq!(values(&claim_call(&*store, only_tags).await), ["a", "b"]);
    assert_eq!(values(&claim_call(&*store, keep).await), ["https://h/"]);
    // Neither is a call of a bulk purge repeated by a claim without a share for such purges.
    enqueue(&*store, &[purge("bulk", vec![job("fastly", BULK_ITEMS + 1)])]).await;
    let bulk = claim_call(&*store, keep).await;
    assert_eq!(bulk.sends.len(), 10);
    settle_all(&*store, &bulk.sends, SendOutcome::RetryAt(START)).await;
    let none = claim_call(&*store, |call| (call.keep_together, call.bulk) = (true, [0; 4])).await;
    assert_eq!(values(&none), [""; 0]);
    let ids = |claimed: &Claimed| claimed.sends.iter().map(|send| send.id).collect::<Vec<_>>();
    assert_eq!(ids(&claim_call(&*store, keep).await), ids(&bulk));
}

pub(super) async fn an_absorber_that_is_kept_names_what_it_absorbed(store: Shared) {
    let keep = |call: &mut Claim| (call.site, call.keep_together) = (true, true);
    enqueue(&*store, &[everything("alone", true)]).await;
    let alone = claim_call(&*store, keep).await;
    assert_eq!((values(&alone), alone.absorbed_digest), (vec!["site"], 0));
    settle_all(&*store, &alone.sends, SendOutcome::Done).await;
    enqueue(&*store, &[tags("p1", &["a"]), everything("site", true)]).await;
    let unkept = claim_site(&*store, true).await;
    assert_eq!((unkept.absorbed, unkept.absorbed_digest), (1, 0));
    settle_all(&*store, &unkept.sends, SendOutcome::RetryAt(START)).await;
    let first = claim_call(&*store, keep).await;
    // The digest has the whole width of its type, so that no two calls have the same one by chance.
    assert!(first.absorbed_digest > u64::from(u32::MAX));
    settle_all(&*store, &first.sends, SendOutcome::RetryAt(START)).await;
    let second = claim_call(&*store, keep).await;
    assert_eq!(second.absorbed_digest, first.absorbed_digest);
    settle_all(&*store, &second.sends, SendOutcome::RetryAt(START)).await;
    enqueue(&*store, &[tags("p2", &["b"])]).await;
    let third = claim_call(&*store, keep).await;
    assert!(third.absorbed == 2 && third.absorbed_digest != first.absorbed_digest);
}
