//! Explanations of what the rewrite would do.

use super::*;
use serde_json::json;

async fn ask(question: serde_json::Value) -> Reply {
    Api::new().call(post("/v1/sites/www/explain", "auditor", &question.to_string())).await
}

#[tokio::test]
async fn a_response_is_explained() {
    let reply = ask(json!({
        "url": "https://www.example.com/a?x=1",
        "cdn": "varnish",
        "response_headers": [["Cache-Control", "max-age=60"], ["Set-Cookie", "a=b"]],
    }))
    .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    insta::assert_snapshot!(serde_json::to_string_pretty(&reply.json()).unwrap());
}

#[tokio::test]
async fn the_health_of_now_counts_unless_another_is_given() {
    let outcome = |question: serde_json::Value| async { ask(question).await.json()["outcome"].clone() };
    let url = "https://www.example.com/";
    assert_eq!(outcome(json!({"url": url, "cdn": "varnish"})).await, "lengthened");
    assert_eq!(outcome(json!({"url": url, "cdn": "fastly"})).await, "fallback");
    assert_eq!(outcome(json!({"url": url, "cdn": "fastly", "healthy": true})).await, "lengthened");
    assert_eq!(outcome(json!({"url": url, "cdn": "varnish", "healthy": false})).await, "fallback");
    assert_eq!(outcome(json!({"url": url, "cdn": "varnish", "peer": "192.0.2.1"})).await, "untouched");
    assert_eq!(outcome(json!({"url": url, "visitor": true})).await, "untouched");
}

#[tokio::test]
async fn what_cannot_be_explained_is_named() {
    let url = "https://www.example.com/";
    let mut text = String::new();
    for question in [
        json!({"url": url}),
        json!({"url": "/a"}),
        json!({"url": "https://shop.example.com/"}),
        json!({"url": "https://plain.example.com/"}),
        json!({"url": url, "method": "G T", "status": 99, "headers": [["a b", "c"]], "response_headers": [["a", "\n"]]}),
        json!({"url": url, "cdn": "bunny"}),
        json!({"url": url, "nonsense": 1}),
    ] {
        let reply = ask(question.clone()).await;
        let problem = reply.json();
        text += &format!("{question}\n{} {}\n", reply.status.as_u16(), problem["detail"].as_str().unwrap());
        for error in problem["errors"].as_array().into_iter().flatten() {
            text +=
                &format!("  {}: {}\n", error["item"].as_str().unwrap(), error["message"].as_str().unwrap());
        }
    }
    insta::assert_snapshot!(text);
}
