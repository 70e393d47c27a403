//! Rules for the owners of queues, whatever the queues are called.

use super::*;

fn identity(service: &str) -> Identity {
    Identity::new(CdnType::Fastly, [service.to_owned()])
}

/// A purge of one tag that was planned for this service under this name.
fn planned(id: &str, cdn: &str, service: &str) -> NewPurge {
    purge(id, vec![JobPlan { identity: identity(service), ..job(cdn, 1) }])
}

/// Configures these CDNs.
async fn configure(store: &dyn Store, cdns: &[(&str, &str)]) -> Vec<String> {
    let names = cdns.iter().map(|(cdn, service)| (key(cdn), identity(service))).collect();
    let moved = store.name_queues(names).await.unwrap();
    let told = |moved: &Moved| {
        let orphaned = if moved.orphaned { " (orphaned)" } else { "" };
        format!("{} -> {}: {}{orphaned}", moved.from.cdn, moved.to.cdn, moved.jobs)
    };
    moved.iter().map(told).collect()
}

/// Returns the number of sends that a delivery task of this identity may claim under this name.
async fn claimed(store: &dyn Store, cdn: &str, service: &str) -> usize {
    let claim = Claim { identity: identity(service), ..Claim::of(key(cdn), START, LEASE, 9) };
    store.claim(claim).await.unwrap().sends.len()
}

pub(super) async fn what_waits_follows_its_service(store: Shared) {
    store.enqueue(planned("p1", "fastly", "S1")).await.unwrap();
    store.enqueue(planned("p2", "other", "S2")).await.unwrap();
    assert!(configure(&*store, &[("fastly", "S1"), ("other", "S2")]).await.is_empty());
    let swapped = configure(&*store, &[("fastly", "S2"), ("other", "S1")]).await;
    assert_eq!(swapped, ["other -> fastly: 1", "fastly -> other: 1"]);
    assert_eq!(view(&*store, "p1").await.jobs[0].cdn, "other");
    assert_eq!(claimed(&*store, "fastly", "S1").await, 0, "it is another service's by now");
    assert_eq!(claimed(&*store, "other", "S1").await, 1);
    assert_eq!(claimed(&*store, "fastly", "S2").await, 1);
}

pub(super) async fn what_nobody_has_is_an_orphan(store: Shared) {
    store.enqueue(planned("p1", "fastly", "S1")).await.unwrap();
    assert_eq!(configure(&*store, &[("fastly", "S2")]).await, ["fastly -> fastly:S1: 1 (orphaned)"]);
    assert!(configure(&*store, &[("fastly", "S2")]).await.is_empty(), "told once");
    // This purge was planned before the change and accepted after it. The CDN that has the name now has its own
    // queue.
    store.enqueue(planned("p2", "fastly", "S1")).await.unwrap();
    store.enqueue(planned("p3", "fastly", "S2")).await.unwrap();
    assert_eq!(claimed(&*store, "fastly", "S2").await, 1);
    assert_eq!(status(&*store, "fastly:S1").await.jobs, 2);
    assert_eq!(
        configure(&*store, &[("cdn", "S1")]).await,
        ["fastly:S1 -> cdn: 2", "fastly -> fastly:S2: 1 (orphaned)"]
    );
    assert_eq!(claimed(&*store, "cdn", "S1").await, 2);
}

pub(super) async fn queues_of_one_service_become_one(store: Shared) {
    // Both purges were planned before the store received any names.
    store.enqueue(planned("p1", "fastly", "S1")).await.unwrap();
    store.enqueue(planned("p2", "fastly", "S2")).await.unwrap();
    let nodes = |nodes: &[&str]| Identity::new(CdnType::Varnish, nodes.iter().map(|node| (*node).to_owned()));
    let of_nodes = |id: &str, identity: Identity| {
        purge(id, vec![JobPlan { identity, cdn_type: CdnType::Varnish, ..job("varnish", 1) }])
    };
    store.enqueue(of_nodes("p3", nodes(&["a"]))).await.unwrap();
    store.enqueue(of_nodes("p4", nodes(&["a", "b"]))).await.unwrap();
    let all = vec![(key("varnish"), nodes(&["a", "b", "c"])), (key("fastly"), identity("S2"))];
    store.name_queues(all).await.unwrap();
    let varnish = status(&*store, "varnish").await;
    assert_eq!((varnish.jobs, varnish.pending, varnish.identity), (2, 2, nodes(&["a", "b", "c"])));
    let claim = Claim { identity: nodes(&["a", "b", "c"]), ..Claim::of(key("varnish"), START, LEASE, 9) };
    assert_eq!(store.claim(claim).await.unwrap().sends.len(), 2);
    assert_eq!(claimed(&*store, "fastly", "S2").await, 1);
    assert_eq!(status(&*store, "fastly:S1").await.jobs, 1);
}

pub(super) async fn what_was_known_by_its_name_keeps_it(store: Shared) {
    // Older versions wrote purges like this.
    store.enqueue(purge("p1", vec![job("fastly", 1), job("gone", 1)])).await.unwrap();
    assert!(configure(&*store, &[("fastly", "S1")]).await.is_empty());
    assert_eq!(status(&*store, "fastly").await.identity, identity("S1"));
    assert_eq!(status(&*store, "gone").await.jobs, 1);
    let akamai = Identity::new(CdnType::Akamai, ["production/h".to_owned()]);
    let other_type = store.name_queues(vec![(key("gone"), akamai)]).await.unwrap();
    assert_eq!(other_type[1].to.cdn, "former:gone", "what waits is for Fastly");
}
