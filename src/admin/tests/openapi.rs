//! The OpenAPI document and the console.

use super::*;
use crate::admin::openapi;
use crate::admin::routes::routes;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn the_document_is_the_committed_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/openapi.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, openapi::text(&routes())).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == openapi::text(&routes()),
        "the API changed: look at it with UPDATE=1 cargo test openapi; git diff config"
    );
}

#[test]
fn every_reference_has_its_target_and_every_schema_a_use() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(&openapi::text(&routes())).unwrap();
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let known: BTreeSet<_> = schemas.keys().map(|name| format!("#/components/schemas/{name}")).collect();
    assert_eq!(used, known);
}

#[tokio::test]
async fn every_route_answers_as_the_document_says() {
    let api = Api::new();
    let document: Value = serde_json::from_str(&openapi::text(&routes())).unwrap();
    let names: BTreeSet<_> = routes().iter().map(|route| route.id).collect();
    assert_eq!(names.len(), routes().len(), "names are unique");
    for route in routes() {
        let operation = &document["paths"][route.path][route.method];
        let path = route.path.replace("{site}", "www").replace("{cdn}", "fastly").replace("{id}", "none");
        let method = Method::from_bytes(route.method.to_uppercase().as_bytes()).unwrap();
        let bare = Request::builder().method(method.clone()).uri(&path).body(Body::empty()).unwrap();
        if route.scopes.is_empty() {
            assert_eq!(operation["security"], Value::Null);
            let reply = api.call(bare).await;
            assert!(operation["responses"][reply.status.as_str()].is_object(), "{path}: {}", reply.status);
        } else {
            assert!(matches!(api.call(bare).await.status.as_u16(), 401 | 429), "{path} needs a token");
            let mut request = post(&path, "idle", "");
            *request.method_mut() = method;
            let reply = api.call(request).await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{path} needs a scope");
            assert!(reply.body.contains("lacks the scope"), "{path}: {}", reply.body);
        }
    }
}

#[tokio::test]
async fn the_console_is_whole_and_runs_nothing_from_elsewhere() {
    let reply = Api::new().call(Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    for outside in ["http://", "https://", "src=", "@import", "url(", "innerHTML", "/*STYLE*/", "/*SCRIPT*/"]
    {
        assert!(!reply.body.contains(outside), "{outside}");
    }
    assert_eq!(reply.body.matches("<script>").count(), 1);
    assert_eq!(reply.body.matches("<style>").count(), 1);
}
