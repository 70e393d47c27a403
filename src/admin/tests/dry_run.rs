//! Purges and events that only show their plan.

use super::*;
use serde_json::json;

#[tokio::test]
async fn a_dry_run_shows_the_plan_and_commits_nothing() {
    let api = Api::new();
    let body = r#"{"tags": ["a", "b"], "mode": "hard", "dry_run": true}"#;
    let reply = api.call(post("/v1/sites/www/purges", "cms", body)).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    let plan = reply.json();
    let (dry_run, items) = (&plan["dry_run"], &plan["items"]);
    assert_eq!((dry_run, items), (&json!(true), &json!({ "total": 2, "tags": ["a", "b"] })));
    let expected = json!({
        "cdn": "fastly",
        "type": "fastly",
        "everything": false,
        "items": 2,
        "kinds": { "urls": 0, "tags": 2, "prefixes": 0, "everything": 0 },
        "first_items": [
            { "kind": "tag", "value": "0", "mode": "hard" },
            { "kind": "tag", "value": "1", "mode": "hard" },
        ],
        "calls": 1,
        "repeat_after_seconds": null,
        "fallback": [],
        "cost": null,
    });
    assert_eq!(plan["jobs"][0], expected);
    assert_eq!(plan["jobs"].as_array().unwrap().len(), 2);
    assert_eq!((api.store.len(), api.control.woken()), (0, Vec::new()));
    assert_eq!(reply.header("location"), None);
}

#[tokio::test]
async fn an_event_can_be_tried_too() {
    let api = Api::new();
    let body = r#"{"event": "publish", "paths": ["/a"], "dry_run": true}"#;
    let plan = api.call(post("/v1/sites/www/events", "cms", body)).await.json();
    assert_eq!((&plan["dry_run"], &plan["items"]["paths"]), (&json!(true), &json!(["/a"])));
    assert_eq!(api.store.len(), 0);
}

#[tokio::test]
async fn a_dry_run_needs_what_the_purge_would_need() {
    let api = Api::new();
    let everything = r#"{"everything": true, "dry_run": true}"#;
    let reply = api.call(post("/v1/sites/www/purges", "cms", everything)).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    let wrong = r#"{"paths": ["no-slash"], "dry_run": true}"#;
    let reply = api.call(post("/v1/sites/www/purges", "cms", wrong)).await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
}
