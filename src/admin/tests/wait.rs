//! `Prefer: wait`, with a store that moves on when the test requests it.

use super::*;
use crate::admin::shares::Who;
use crate::purge::State as PurgeState;

fn waiting(seconds: &str) -> Request<Body> {
    let request = post("/v1/sites/www/purges", "cms", r#"{"tags": ["t"]}"#);
    with_header(request, "prefer", &format!("wait={seconds}"))
}

/// Waits for a purge that ends in this state after its first query.
async fn ends(state: PurgeState) -> Reply {
    let api = Arc::new(Api::new());
    let caller = tokio::spawn({
        let api = api.clone();
        async move { api.call(waiting("300")).await }
    });
    api.store.looked.notified().await;
    // This change concerns another purge.
    api.control.bump();
    api.store.looked.notified().await;
    api.store.end_all(state);
    api.control.bump();
    caller.await.unwrap()
}

#[tokio::test]
async fn the_end_of_a_purge_is_a_200() {
    let reply = ends(PurgeState::Done).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("preference-applied"), Some("wait=300"));
    let purge = reply.json();
    assert_eq!(purge["state"], "done");
    assert_eq!(purge["jobs"][1]["state"], "done");
    assert_eq!(reply.header("location"), Some(&*format!("/v1/purges/{}", purge["id"].as_str().unwrap())));
}

#[tokio::test]
async fn a_failure_is_an_end_too() {
    let reply = ends(PurgeState::Failed).await;
    assert_eq!((reply.status, &reply.json()["state"]), (StatusCode::OK, &"failed".into()));
}

#[tokio::test]
async fn a_paused_cdn_is_not_waited_for() {
    let reply = ends(PurgeState::Paused).await;
    assert_eq!((reply.status, &reply.json()["state"]), (StatusCode::ACCEPTED, &"paused".into()));
}

#[tokio::test]
async fn time_that_is_up_is_a_202() {
    let reply = Api::new().call(waiting("0")).await;
    assert_eq!((reply.status, &reply.json()["state"]), (StatusCode::ACCEPTED, &"pending".into()));
    assert_eq!(reply.header("preference-applied"), Some("wait=0"));
}

#[tokio::test]
async fn draining_ends_the_wait_with_a_202() {
    let api = Arc::new(Api::new());
    let caller = tokio::spawn({
        let api = api.clone();
        async move { api.call(waiting("300")).await }
    });
    api.store.looked.notified().await;
    api.state.readiness.set_draining();
    assert_eq!(caller.await.unwrap().status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_store_that_fails_after_the_commit_does_not_take_the_202_back() {
    let api = Arc::new(Api::new());
    let caller = tokio::spawn({
        let api = api.clone();
        async move { api.call(waiting("300")).await }
    });
    api.store.looked.notified().await;
    api.store.broken.store(true, std::sync::atomic::Ordering::Relaxed);
    api.control.bump();
    let reply = caller.await.unwrap();
    assert_eq!((reply.status, &reply.json()["state"]), (StatusCode::ACCEPTED, &"pending".into()));
}

#[tokio::test]
async fn one_waiter_too_many_is_answered_at_once() {
    let api = Api::new();
    let who = |token: &str| Who { token: token.to_owned(), network: [192, 0, 2, 1].into() };
    let _all: Vec<_> = std::iter::from_fn(|| api.state.limits.waiters.take(who("cms")).ok()).collect();
    let reply = api.call(waiting("300")).await;
    assert_eq!((reply.status, reply.header("preference-applied")), (StatusCode::ACCEPTED, None));
}
