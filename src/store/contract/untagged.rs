//! Rules for copies without our tags.

use super::*;

fn copies(site: &str, cdn_type: CdnType, until_ms: i64, longest_ms: i64) -> UntaggedCopies {
    UntaggedCopies { site: site.into(), cdn_type, until_ms, longest_ms }
}

pub(super) async fn copies_without_tags_are_remembered(store: Shared) {
    assert_eq!(store.untagged().await.unwrap(), []);
    let fastly = copies("www", CdnType::Fastly, START + 9, 600);
    let other = copies("shop", CdnType::Fastly, START + 5, 300);
    let varnish = copies("www", CdnType::Varnish, START + 7, 120);
    store.note_untagged(vec![fastly.clone(), other.clone(), varnish.clone()]).await.unwrap();
    store.note_untagged(vec![]).await.unwrap();
    assert_eq!(store.untagged().await.unwrap(), [other.clone(), fastly.clone(), varnish]);

    // The later moment and the longer lifetime stay, whatever follows.
    let both =
        vec![copies("www", CdnType::Fastly, START + 8, 700), copies("www", CdnType::Varnish, START + 8, 60)];
    store.note_untagged(both).await.unwrap();
    let expected = [
        other,
        copies("www", CdnType::Fastly, START + 9, 700),
        copies("www", CdnType::Varnish, START + 8, 120),
    ];
    assert_eq!(store.untagged().await.unwrap(), expected);

    // An exception is a moment that was written while the clock was wrong.
    store.note_untagged(vec![copies("www", CdnType::Varnish, START + 3 * 365 * DAY, 120)]).await.unwrap();
    store.note_untagged(vec![copies("www", CdnType::Varnish, START, 120)]).await.unwrap();
    assert_eq!(store.untagged().await.unwrap()[2], copies("www", CdnType::Varnish, START, 120));

    // Another exception is copies that were purged.
    let gone =
        |until_ms| vec![copies("www", CdnType::Varnish, until_ms, 7), copies("www", CdnType::Akamai, 1, 7)];
    store.forget_untagged(gone(START + 1)).await.unwrap();
    assert_eq!(store.untagged().await.unwrap()[2], copies("www", CdnType::Varnish, START, 120));
    store.forget_untagged(gone(0)).await.unwrap();
    assert_eq!(store.untagged().await.unwrap()[2], copies("www", CdnType::Varnish, 0, 120));
    assert_eq!(store.untagged().await.unwrap().len(), 3);
}

pub(super) async fn what_reaches_copies_without_tags_is_absorbed_by_the_cdns_purge_all_alone(store: Shared) {
    let of_kind = |kind, value: &str| JobPlan {
        items: vec![Item { kind, value: value.into(), hard: true }],
        everything: true,
        ..job("fastly", 0)
    };
    let site = |id: &str, kind, value| purge(id, vec![of_kind(kind, value)]);
    store.enqueue(purge("tagged", vec![job("fastly", 1)])).await.unwrap();
    store.enqueue(purge("untagged", vec![JobPlan { untagged: true, ..job("fastly", 2) }])).await.unwrap();
    store.enqueue(site("site", ItemKind::Tag, "site-www")).await.unwrap();
    let of_site = Claim { site: true, ..call("fastly", START, LEASE, 9) };
    let claimed = store.claim(of_site.clone()).await.unwrap();
    assert_eq!((claimed.sends.len(), claimed.absorbed), (1, 1));
    settle_all(&*store, &claimed.sends, SendOutcome::Done).await;
    assert_eq!(view(&*store, "tagged").await.state, State::Done);
    assert_eq!(view(&*store, "untagged").await.state, State::Pending);

    store.enqueue(site("all", ItemKind::Everything, "*")).await.unwrap();
    let claimed = store.claim(of_site).await.unwrap();
    assert_eq!(claimed.absorbed, 2);
    settle_all(&*store, &claimed.sends, SendOutcome::Done).await;
    assert_eq!(view(&*store, "untagged").await.state, State::Done);
}
