//! Retry, acknowledge, cancel, pause, resume: with a real store, and the test in the role of the worker.

use super::*;
use crate::purge::State as PurgeState;
use crate::store::{CdnKey, Claim, SendOutcome, Settlement, SqliteStore};
use serde_json::{Value, json};

/// An admin API, with methods in place of its workers.
struct Desk {
    api: Api,
    store: Arc<SqliteStore>,
}

impl Desk {
    fn new() -> Self {
        let store = Arc::new(SqliteStore::in_memory().unwrap());
        Self { api: Api::on(store.clone()), store }
    }

    /// Purges two items at one CDN.
    async fn purge(&self) -> String {
        let purge = self.api.purge(r#"{"tags": ["a", "b"], "cdns": ["fastly"]}"#).await;
        purge["id"].as_str().unwrap().to_owned()
    }

    /// Settles everything that is due at the CDN with this outcome.
    async fn send(&self, outcome: SendOutcome) {
        let key = CdnKey { site: "www".to_owned(), cdn: "fastly".to_owned() };
        let sends = self.store.claim(Claim::of(key, i64::MAX, i64::MAX, 100)).await.unwrap().sends;
        let sends = sends.iter().map(|send| (send.id, send.attempt, outcome)).collect();
        self.store.settle(Settlement { sends, now_ms: 1, at_ms: 1, ..Settlement::default() }).await.unwrap();
    }

    async fn act(&self, method: Method, path: &str) -> (u16, Value) {
        let mut request = post(path, "operator", "");
        *request.method_mut() = method;
        let reply = self.api.call(request).await;
        (reply.status.as_u16(), reply.json())
    }

    /// Checks the status of the answer, the state of the purge and of its job, and whether the job is
    /// unacknowledged.
    async fn check(&self, method: Method, path: &str, expected: (u16, &str, &str, bool)) {
        let (status, purge) = self.act(method, path).await;
        let job = &purge["jobs"][0];
        assert_eq!(
            (status, &purge["state"], &job["state"]),
            (expected.0, &json!(expected.1), &json!(expected.2))
        );
        assert_eq!(job["unacknowledged"], expected.3, "{purge}");
    }

    async fn refused(&self, method: Method, path: &str, detail: &str) {
        let (status, problem) = self.act(method, path).await;
        assert_eq!((status, problem["detail"].as_str().unwrap()), (409, detail));
    }
}

#[tokio::test]
async fn a_failure_stands_until_somebody_deals_with_it() {
    let desk = Desk::new();
    let id = desk.purge().await;
    let (retry, acknowledge) = (format!("/v1/purges/{id}/retry"), format!("/v1/purges/{id}/acknowledge"));
    let none = "None of the purge's jobs has failed.";
    desk.refused(Method::POST, &retry, none).await;
    desk.refused(Method::POST, &acknowledge, none).await;

    desk.send(SendOutcome::Failed).await;
    let seen = desk.api.call(get(&format!("/v1/purges/{id}"), "cms")).await.json();
    assert_eq!((&seen["state"], &seen["jobs"][0]["unacknowledged"]), (&json!("failed"), &json!(true)));

    let woken = desk.api.control.woken().len();
    desk.check(Method::POST, &retry, (200, "retrying", "retrying", false)).await;
    assert_eq!(desk.api.control.woken().len(), woken + 1);
    desk.send(SendOutcome::Failed).await;
    desk.check(Method::POST, &acknowledge, (200, "failed", "failed", false)).await;
    desk.check(Method::POST, &acknowledge, (200, "failed", "failed", false)).await;
    desk.check(Method::POST, &retry, (200, "retrying", "retrying", false)).await;
    desk.send(SendOutcome::Done).await;
    desk.refused(Method::POST, &retry, none).await;
}

#[tokio::test]
async fn what_is_pending_can_be_cancelled() {
    let desk = Desk::new();
    let id = desk.purge().await;
    let path = format!("/v1/purges/{id}");
    desk.check(Method::DELETE, &path, (200, "cancelled", "cancelled", false)).await;
    desk.check(Method::DELETE, &path, (200, "cancelled", "cancelled", false)).await;
    assert!(desk.api.state.metrics.render().contains("purges_total{site=\"www\",state=\"cancelled\"} 1"));

    let done = format!("/v1/purges/{}", desk.purge().await);
    desk.send(SendOutcome::Done).await;
    desk.refused(Method::DELETE, &done, "The purge has ended: none of its items is pending.").await;
    let state = desk.store.get(id).await.unwrap().unwrap().state;
    assert_eq!(state, PurgeState::Cancelled);
}

#[tokio::test]
async fn a_cdn_is_paused_with_a_reason_and_resumed() {
    let desk = Desk::new();
    let status = || async { desk.store.status().await.unwrap().remove(0).paused };
    for (body, reason) in [
        (r#"{"reason": "maintenance"}"#, "maintenance"),
        ("", "by `operator`, without a reason"),
        (r#"{"reason": " "}"#, "by `operator`, without a reason"),
    ] {
        let reply = desk.api.call(post("/v1/sites/www/cdns/fastly/pause", "operator", body)).await;
        assert_eq!((reply.status, &reply.json()["paused"]), (StatusCode::OK, &json!(true)), "{}", reply.body);
        assert_eq!(status().await.unwrap().reason, reason);
    }
    let (code, cdn) = desk.act(Method::POST, "/v1/sites/www/cdns/fastly/resume").await;
    assert_eq!((code, &cdn["name"], &cdn["paused"]), (200, &json!("fastly"), &json!(false)));
    assert_eq!(status().await, None);
    assert_eq!(desk.api.control.woken(), ["www"; 4]);
    assert!(desk.api.control.hurried.lock().unwrap().is_empty());
    let resume = |body: &str| desk.api.call(post("/v1/sites/www/cdns/fastly/resume", "operator", body));
    assert_eq!(resume(r#"{"now": true}"#).await.status, StatusCode::OK);
    assert_eq!(*desk.api.control.hurried.lock().unwrap(), ["www/fastly"]);
    assert_eq!(resume(r#"{"soon": true}"#).await.status, StatusCode::UNPROCESSABLE_ENTITY);

    for body in [r#"{"why": "x"}"#.to_owned(), format!(r#"{{"reason": "{}"}}"#, "x".repeat(1_001))] {
        let reply = desk.api.call(post("/v1/sites/www/cdns/fastly/pause", "operator", &body)).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", reply.body);
    }
    assert_eq!(status().await, None);
}

#[tokio::test]
async fn nothing_is_decided_without_the_store() {
    let api = Api::without_store();
    for path in ["/v1/purges/none/retry", "/v1/sites/www/cdns/fastly/pause"] {
        assert_eq!(api.call(post(path, "operator", "")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn every_change_has_its_line_in_the_audit_log() {
    let (log, _guard) = Log::start();
    let desk = Desk::new();
    let id = desk.purge().await;
    desk.send(SendOutcome::Failed).await;
    for (method, path) in [
        (Method::POST, format!("/v1/purges/{id}/acknowledge")),
        (Method::POST, format!("/v1/purges/{id}/retry")),
        (Method::DELETE, format!("/v1/purges/{id}")),
        // A repeat changes nothing.
        (Method::DELETE, format!("/v1/purges/{id}")),
        (Method::POST, "/v1/sites/www/cdns/fastly/pause".to_owned()),
        (Method::POST, "/v1/sites/www/cdns/fastly/resume".to_owned()),
    ] {
        assert_eq!(desk.act(method, &path).await.0, 200, "{path}");
    }
    desk.api.call(post("/v1/reload", "root", "")).await;
    insta::assert_snapshot!(log.audit().replace(&id, "ID"));
}

#[tokio::test]
async fn no_token_queues_up_all_checks_of_credentials() {
    let api = Api::new();
    // One check is running, and two of the operator's are waiting for it.
    let _turn = api.state.limits.credential_checks.acquire().await.unwrap();
    let check = |token: &str| api.call(post("/v1/sites/www/credentials/check", token, ""));
    let waiting = async { tokio::join!(check("operator"), check("operator")) };
    tokio::select! {
        biased;
        _ = waiting => panic!("somebody else has the turn"),
        reply = check("operator") => {
            assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
            assert!(reply.body.contains("2 checks with token `operator`"), "{}", reply.body);
        }
    }
    tokio::select! {
        biased;
        _ = check("root") => panic!("somebody else has the turn"),
        () = tokio::task::yield_now() => {}
    }
}
