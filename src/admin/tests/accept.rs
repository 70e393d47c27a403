//! Accepting purges, and refusing requests that cannot be one.

use super::*;
use crate::admin::json::Purge;
use crate::admin::problem::BadItem;
use axum::body::Bytes;
use http_body::{Body as HttpBody, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

const PURGES: &str = "/v1/sites/www/purges";

#[tokio::test]
async fn a_purge_is_committed_and_sent() {
    let api = Api::new();
    let body =
        r#"{"paths": ["/a", "/b"], "tags": ["t"], "mode": "soft", "cdns": ["fastly"], "reason": "publish"}"#;
    let reply = api.call(post(PURGES, "cms", body)).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    let purge: Purge = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(reply.header("location"), Some(&*format!("/v1/purges/{}", purge.id)));
    assert_eq!(reply.header("preference-applied"), None);
    assert_eq!(api.control.woken(), ["www"]);
    let shown = reply.body.replace(&purge.id, "ID").replace(&purge.created_at, "NOW");
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn ids_are_in_the_order_of_acceptance() {
    let api = Api::new();
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(api.purge(r#"{"tags": ["t"]}"#).await["id"].as_str().unwrap().to_owned());
    }
    assert!(ids.is_sorted());
}

#[tokio::test]
async fn bulk_purges_are_shown_in_brief() {
    let api = Api::new();
    let paths: Vec<String> = (0..50_000).map(|index| format!("/{index}")).collect();
    let purge = api.purge(&serde_json::json!({ "paths": paths }).to_string()).await;
    assert_eq!(purge["items"]["total"], 50_000);
    assert_eq!(purge["items"]["paths"].as_array().unwrap().len(), 10);
    assert_eq!(purge["jobs"][0]["items"], 50_000);
    let full = api.call(get(&format!("/v1/purges/{}", purge["id"].as_str().unwrap()), "cms")).await.json();
    assert_eq!(full["items"]["paths"].as_array().unwrap().len(), 50_000);
}

/// Returns `name: status content-type` and the problem document.
async fn refuse(api: &Api, name: &str, request: Request<Body>) -> String {
    let reply = api.call(request).await;
    assert!(reply.status.is_client_error() || reply.status.is_server_error(), "{name}: {}", reply.body);
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{name}");
    assert_eq!(reply.json()["status"], reply.status.as_u16(), "{name}");
    let extra: Vec<String> = ["allow", "retry-after", "connection"]
        .into_iter()
        .filter_map(|header| Some(format!("{header}: {}\n", reply.header(header)?)))
        .collect();
    format!("# {name}\n{}{}\n\n", extra.concat(), reply.body)
}

#[tokio::test]
async fn bad_input_gets_a_problem_that_names_the_place() {
    let api = Api::new();
    let items = |count: usize| serde_json::json!({ "tags": vec!["t"; count] }).to_string();
    let reason =
        |length: usize| serde_json::json!({ "tags": ["t"], "reason": "ü".repeat(length) }).to_string();
    let two_keys = with_header(post(PURGES, "cms", r#"{"tags": ["t"]}"#), "idempotency-key", "a");
    let long_key =
        with_header(post(PURGES, "cms", r#"{"tags": ["t"]}"#), "idempotency-key", &"k".repeat(256));
    let mut text = String::new();
    for (name, request) in [
        ("no body", post(PURGES, "cms", "")),
        ("not JSON", post(PURGES, "cms", "{\n  \"paths\": [\"/a\",]\n}")),
        ("cut off", post(PURGES, "cms", r#"{"paths": ["/a""#)),
        ("more than JSON", post(PURGES, "cms", r#"{"paths": ["/a"]} {}"#)),
        ("not an object", post(PURGES, "cms", r#""/a""#)),
        ("unknown field", post(PURGES, "cms", r#"{"path": ["/a"]}"#)),
        ("field twice", post(PURGES, "cms", r#"{"paths": ["/a"], "paths": []}"#)),
        ("wrong type", post(PURGES, "cms", r#"{"paths": "/a"}"#)),
        ("wrong mode", post(PURGES, "cms", r#"{"paths": ["/a"], "mode": "cold"}"#)),
        ("nothing", post(PURGES, "cms", r#"{"paths": [], "everything": false}"#)),
        ("unknown CDNs", post(PURGES, "cms", r#"{"paths": ["/a"], "cdns": ["fastly", "akamai", "x"]}"#)),
        ("no CDN named", post(PURGES, "cms", r#"{"paths": ["/a"], "cdns": []}"#)),
        ("a site without CDNs", post("/v1/sites/plain/purges", "root", r#"{"paths": ["/a"]}"#)),
        ("too long a reason", post(PURGES, "cms", &reason(1_001))),
        ("too many items", post(PURGES, "cms", &items(50_001))),
        ("too many bytes", post(PURGES, "cms", &" ".repeat((8 << 20) + 1))),
        ("two idempotency keys", with_header(two_keys, "idempotency-key", "b")),
        ("a long idempotency key", long_key),
        ("an unknown site", post("/v1/sites/none/purges", "root", r#"{"paths": ["/a"]}"#)),
        ("an undecodable site", post("/v1/sites/%ff/purges", "root", "{}")),
        ("an unknown path", get("/v2", "root")),
        ("a path with a slash more", get("/v1/sites/", "root")),
        ("a wrong method", get(PURGES, "root")),
        ("an unknown purge", get("/v1/purges/none", "root")),
        ("an unknown query parameter", get("/v1/purges?stat=done", "root")),
        ("an unknown state", get("/v1/purges?state=lost", "root")),
        ("a limit of 0", get("/v1/purges?limit=0", "root")),
        ("a limit of 101", get("/v1/purges?limit=101", "root")),
        ("a limit that is no number", get("/v1/purges?limit=x", "root")),
        ("a wrong cursor", get("/v1/purges?cursor=x", "root")),
    ] {
        text += &refuse(&api, name, request).await;
    }
    assert_eq!((api.store.len(), api.control.woken().len()), (0, 0));
    // The largest requests that are accepted.
    api.purge(&items(50_000)).await;
    api.purge(&reason(1_000)).await;
    api.purge(&format!("{}{}", r#"{"tags": ["t"]}"#, " ".repeat((8 << 20) - 15))).await;
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn each_item_that_cannot_be_planned_is_named() {
    let mut api = Api::new();
    let state = Arc::get_mut(&mut api.state).unwrap();
    state.planner = Box::new(|_, _, request| {
        let bad =
            |item: &String| BadItem { item: item.clone(), message: "the host is not the site's".to_owned() };
        Err(request.urls.iter().map(bad).collect())
    });
    let request = post(PURGES, "cms", r#"{"urls": ["https://a.example/", "https://b.example/"]}"#);
    insta::assert_snapshot!(refuse(&api, "other hosts", request).await);
    assert_eq!(api.store.len(), 0);
}

#[tokio::test]
async fn a_plan_without_jobs_is_no_success() {
    let mut api = Api::new();
    Arc::get_mut(&mut api.state).unwrap().planner = Box::new(|_, _, _| Ok(Vec::new()));
    let reply = api.call(post(PURGES, "cms", r#"{"tags": ["t"]}"#)).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(api.store.len(), 0);
}

#[tokio::test]
async fn without_a_commit_there_is_no_202() {
    let broken = Api::new();
    broken.store.broken.store(true, Ordering::Relaxed);
    let absent = Api::without_store();
    let purge = || post(PURGES, "cms", r#"{"tags": ["t"]}"#);
    let mut text = String::new();
    for (name, api, request) in [
        ("purge, the store fails", &broken, purge()),
        ("purge, no store", &absent, purge()),
        ("read, the store fails", &broken, get("/v1/purges/x", "cms")),
        ("list, the store fails", &broken, get("/v1/purges", "cms")),
        ("list, no store", &absent, get("/v1/purges", "cms")),
    ] {
        text += &refuse(api, name, request).await;
    }
    assert_eq!((broken.control.woken().len(), absent.control.woken().len()), (0, 0));
    insta::assert_snapshot!(text);
}

/// A body that neither states its length nor ends.
struct Endless;

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 64 << 10])))))
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let request = post(PURGES, "cms", "").map(|_| Body::new(Endless));
    assert_eq!(Api::new().call(request).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn who_may_not_purge_is_refused_before_the_body_is_read() {
    let request = |token| post(PURGES, token, "").map(|_| Body::new(Endless));
    assert_eq!(Api::new().call(request("unknown")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(Api::new().call(request("auditor")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(Api::without_store().call(request("cms")).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn an_idempotency_key_stands_for_the_first_purge() {
    let api = Api::new();
    let keyed = |site: &str, token: &str, key: &str, body: &str| {
        with_header(post(&format!("/v1/sites/{site}/purges"), token, body), "idempotency-key", key)
    };
    let first = api.call(keyed("www", "cms", "k1", r#"{"paths": ["/a"], "mode": "soft"}"#)).await;
    let id = first.json()["id"].clone();

    // The same request, written differently, is a repeat.
    let again =
        api.call(keyed("www", "cms", "k1", r#"{ "mode": "soft", "paths": ["/a"], "tags": [] }"#)).await;
    assert_eq!((again.status, &again.json()["id"]), (StatusCode::ACCEPTED, &id));
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!((api.store.len(), api.control.woken().len()), (1, 1));

    let other = api.call(keyed("www", "cms", "k1", r#"{"paths": ["/b"], "mode": "soft"}"#)).await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    insta::assert_snapshot!(other.body);

    // A key belongs to its token and its site.
    for (site, token, key) in [("www", "cms", "k2"), ("www", "root", "k1"), ("shop", "root", "k1")] {
        let reply = api.call(keyed(site, token, key, r#"{"paths": ["/a"], "mode": "soft"}"#)).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED);
        assert_ne!(reply.json()["id"], id);
    }
    assert_eq!(api.store.len(), 4);
}

#[tokio::test]
async fn a_caller_who_hangs_up_leaves_no_purge_asleep() {
    let api = Arc::new(Api::new());
    let gate = api.store.commits.acquire_many(FakeStore::COMMITS).await.unwrap();
    let caller = tokio::spawn({
        let api = api.clone();
        async move { api.call(post(PURGES, "cms", r#"{"tags": ["t"]}"#)).await.status }
    });
    api.store.asked.notified().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    drop(gate);
    api.control.wakes.notified().await;
    assert_eq!(api.store.len(), 1);
}

#[tokio::test]
async fn the_audit_log_tells_who_purged_what() {
    let (log, _guard) = Log::start();
    let api = Api::new();
    let purge = api.purge(r#"{"paths": ["/a", "/b"], "urls": ["https://www.example.com/"]}"#).await;
    insta::assert_snapshot!(log.audit().replace(purge["id"].as_str().unwrap(), "ID"));
}
