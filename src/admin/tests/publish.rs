//! Publish events on their way to a purge.

use super::*;

const EVENTS: &str = "/v1/sites/www/events";

/// Returns an API whose site `www` purges everything on `deploy`.
fn api() -> Api {
    let mut config = config();
    let mut www = Site::clone(&config.sites[0]);
    www.events.rules = vec![crate::config::EventRule {
        on: vec!["deploy".to_owned()],
        path: None,
        parents: 0,
        paths: vec![],
        tags: vec![],
        prefixes: vec![],
        everything: true,
    }];
    config.sites[0] = Arc::new(www);
    let api = Api::new();
    api.state.config.store(Arc::new(config));
    api
}

#[tokio::test]
async fn an_event_becomes_a_purge() {
    let api = api();
    let reply = api.call(post(EVENTS, "cms", r#"{"event": "publish", "paths": ["/a", "/b"]}"#)).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.body);
    let purge = reply.json();
    assert_eq!(reply.header("location"), Some(&*format!("/v1/purges/{}", purge["id"].as_str().unwrap())));
    assert_eq!(purge["reason"], "publish");
    assert_eq!(purge["items"]["paths"], serde_json::json!(["/a", "/b"]));
    assert_eq!(purge["mode"], serde_json::Value::Null);
    assert_eq!(purge["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(api.control.woken(), ["www"]);

    let body =
        r#"{"event": "unpublish", "paths": ["/a"], "mode": "soft", "cdns": ["fastly"], "reason": "law"}"#;
    let purge = api.call(post(EVENTS, "cms", body)).await.json();
    assert_eq!((&purge["mode"], &purge["reason"]), (&"hard".into(), &"law".into()));
    assert_eq!(purge["jobs"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn the_scope_is_that_of_what_is_purged() {
    let api = api();
    let (publish, deploy) = (r#"{"event": "publish", "paths": ["/a"]}"#, r#"{"event": "deploy"}"#);
    for (path, token, body, expected) in [
        (EVENTS, "cms", publish, 202),
        (EVENTS, "cms", deploy, 403),
        (EVENTS, "button", deploy, 202),
        (EVENTS, "root", deploy, 202),
        (EVENTS, "button", publish, 403),
        (EVENTS, "auditor", publish, 403),
        ("/v1/sites/shop/events", "cms", publish, 403),
    ] {
        let reply = api.call(post(path, token, body)).await;
        assert_eq!(reply.status.as_u16(), expected, "{token} {body}: {}", reply.body);
    }
    assert_eq!(api.store.len(), 3);
}

#[tokio::test]
async fn a_repeat_gets_the_first_purge() {
    let api = api();
    let call = |key: &'static str, body: &'static str| {
        let request = with_header(post(EVENTS, "cms", body), "idempotency-key", key);
        api.call(request)
    };
    let first = call("k", r#"{"event": "publish", "paths": ["/a"]}"#).await;
    let again = call("k", r#"{"paths": ["/a"], "event": "publish"}"#).await;
    assert_eq!((first.status, again.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(call("k", r#"{"event": "publish", "paths": ["/b"]}"#).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_wrong_event_gets_a_problem_that_names_the_place() {
    let api = api();
    let many = serde_json::json!({ "event": "publish", "paths": vec!["/a"; 50_001] }).to_string();
    let mut text = String::new();
    for (name, body) in [
        ("not JSON", "{"),
        ("no event", r#"{"paths": ["/a"]}"#),
        ("an unknown field", r#"{"event": "publish", "path": "/a"}"#),
        ("an unknown event", r#"{"event": "pubish", "paths": ["/a"]}"#),
        ("wrong paths", r#"{"event": "publish", "paths": ["/a", "b", "/c/*"]}"#),
        ("nothing", r#"{"event": "publish"}"#),
        ("an unknown CDN", r#"{"event": "publish", "paths": ["/a"], "cdns": ["x"]}"#),
        ("too many", &many),
    ] {
        let reply = api.call(post(EVENTS, "cms", body)).await;
        assert!(reply.status.is_client_error(), "{name}: {}", reply.body);
        text += &format!("# {name}\n{}\n\n", reply.body);
    }
    assert_eq!(api.store.len(), 0);
    insta::assert_snapshot!(text);
}
