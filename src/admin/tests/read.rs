//! Queries of purges, sites and the state of the process.

use super::*;
use crate::purge::State as PurgeState;
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_purge_shows_every_answer() {
    let api = Api::new();
    let body =
        r#"{"paths": ["/a"], "tags": ["t"], "everything": false, "reason": "publish", "cdns": ["fastly"]}"#;
    api.purge(body).await;
    api.store.pin();
    api.store.end_all(PurgeState::Done);
    let reply = api.call(get("/v1/purges/01938f00-0000-7000-8000-000000000000", "cms")).await;
    insta::assert_snapshot!(serde_json::to_string_pretty(&reply.json()).unwrap());
}

#[tokio::test]
async fn what_a_restart_left_is_due_since_its_purge_was_made() {
    let api = Api::new();
    let purge = api.purge(r#"{"paths": ["/a"]}"#).await;
    api.store.taken_over();
    let path = format!("/v1/purges/{}", purge["id"].as_str().unwrap());
    let seen = api.call(get(&path, "cms")).await.json();
    assert_eq!(seen["jobs"][0]["next_attempt_at"], purge["created_at"]);
}

#[tokio::test]
async fn pages_hold_every_purge_once_newest_first() {
    let api = Api::new();
    for index in 0..5 {
        api.purge(&format!(r#"{{"tags": ["{index}"]}}"#)).await;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/purges?limit=2".to_owned();
    let mut sizes = Vec::new();
    loop {
        let page = api.call(get(&path, "cms")).await.json();
        let purges = page["purges"].as_array().unwrap();
        sizes.push(purges.len());
        seen.extend(purges.iter().map(|purge| purge["items"]["tags"][0].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/purges?limit=2&cursor={cursor}");
    }
    assert_eq!((seen.concat(), sizes), ("43210".to_owned(), vec![2, 2, 1]));

    let exact = api.call(get("/v1/purges?limit=5", "cms")).await.json();
    assert_eq!(exact["next_cursor"], serde_json::Value::Null);
}

#[tokio::test]
async fn lists_are_filtered_and_brief() {
    let api = Api::new();
    api.purge(r#"{"tags": ["t"]}"#).await;
    api.store.end_all(PurgeState::Failed);
    api.call(post("/v1/sites/shop/purges", "root", r#"{"tags": ["t"]}"#)).await;
    let count = |query: &'static str| {
        let reply = api.call(get(query, "root"));
        async { reply.await.json()["purges"].as_array().unwrap().len() }
    };
    assert_eq!(count("/v1/purges").await, 2);
    assert_eq!(count("/v1/purges?site=shop").await, 1);
    assert_eq!(count("/v1/purges?site=gone").await, 0);
    assert_eq!(count("/v1/purges?state=failed").await, 1);
    assert_eq!(count("/v1/purges?state=failed&site=shop").await, 0);
    let failed = api.call(get("/v1/purges?state=failed", "root")).await.json();
    let attempts = failed["purges"][0]["jobs"][0]["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["message"]), (1, &"no such service".into()));
}

#[tokio::test]
async fn a_site_shows_its_configuration_and_its_cdns() {
    let api = Api::new();
    let www = api.call(get("/v1/sites/www", "cms")).await.json();
    insta::assert_snapshot!(serde_json::to_string_pretty(&www).unwrap());

    let shop = api.call(get("/v1/sites/shop", "root")).await.json();
    assert_eq!(shop["opt_in"]["trust"], "secret");
    assert_eq!(shop["cdns"][0]["reasons"][0], "not checked yet");

    let names = |sites: serde_json::Value| -> Vec<String> {
        sites["sites"]
            .as_array()
            .unwrap()
            .iter()
            .map(|site| site["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(api.call(get("/v1/sites", "cms")).await.json()), ["www"]);
    assert_eq!(names(api.call(get("/v1/sites", "root")).await.json()), ["plain", "shop", "www"]);

    // In pages, each site appears exactly one time, and the last page has no cursor.
    let mut seen = Vec::new();
    let mut next = "/v1/sites?limit=2".to_owned();
    loop {
        let page = api.call(get(&next, "root")).await.json();
        let cursor = page["next_cursor"].as_str().map(str::to_owned);
        seen.push(names(page));
        match cursor {
            Some(cursor) => next = format!("/v1/sites?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, [vec!["plain", "shop"], vec!["www"]]);
    // A cursor is a position among the names, whether or not a site of that name still exists.
    assert_eq!(names(api.call(get("/v1/sites?cursor=reloaded", "root")).await.json()), ["shop", "www"]);
    assert_eq!(names(api.call(get("/v1/sites?cursor=a&limit=1", "cms")).await.json()), ["www"]);
    for wrong in ["limit=0", "limit=101", "limit=x", "page=2"] {
        let reply = api.call(get(&format!("/v1/sites?{wrong}"), "root")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn a_site_is_shown_without_the_store() {
    let broken = Api::new();
    broken.store.broken.store(true, Ordering::Relaxed);
    for api in [broken, Api::without_store()] {
        let reply = api.call(get("/v1/sites/www", "cms")).await;
        assert_eq!(
            (reply.status, &reply.json()["cdns"][0]["pending"]),
            (StatusCode::OK, &serde_json::Value::Null)
        );
    }
}

#[tokio::test]
async fn probes_and_metrics_need_no_token() {
    let api = Api::new();
    let bare = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(api.call(bare("/healthz")).await.body, "ok\n");
    let metrics = api.call(bare("/metrics")).await;
    assert!(metrics.body.contains("origin_shim_build_info{") && metrics.body.ends_with("# EOF\n"));
    assert_eq!(
        metrics.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
}

#[tokio::test]
async fn readiness_follows_the_life_of_the_process() {
    let mut api = Api::without_store();
    Arc::get_mut(&mut api.state).unwrap().readiness = Arc::default();
    let mut text = String::new();
    let steps: [fn(&Readiness); 5] =
        [|_| {}, Readiness::set_ready, Readiness::set_draining, Readiness::set_ready, |_| {}];
    let ask = || Request::get("/readyz").body(Body::empty()).unwrap();
    for step in steps {
        step(&api.state.readiness);
        let reply = api.call(ask()).await;
        text += &format!("{} {}\n", reply.status.as_u16(), reply.body);
    }
    insta::assert_snapshot!(text.replace(&format!("\"id\":{}", std::process::id()), "\"id\":ID"));

    let beside = "process 4711 serves the same addresses".to_owned();
    api.state.readiness.set_beside(Some(beside.clone()));
    assert_eq!(api.call(ask()).await.json()["degraded"][1], beside);
    api.state.readiness.set_beside(None);
    assert!(!api.call(ask()).await.body.contains(&beside));
}

#[tokio::test]
async fn an_origin_that_is_avoided_is_told_and_takes_no_readiness() {
    use crate::view::OriginStatus;
    let api = Api::new();
    let addresses = vec![
        (SocketAddr::from(([10, 0, 0, 1], 443)), Some("requests fail there")),
        (SocketAddr::from(([10, 0, 0, 2], 443)), None),
    ];
    let url = "https://origin.example.com".to_owned();
    api.state.origins.set(vec![OriginStatus { site: "www".to_owned(), url, addresses }]);
    let ready = api.call(Request::get("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(ready.status, StatusCode::OK);
    let complaint = "www: 1 of 2 addresses of https://origin.example.com avoided: requests fail there";
    assert!(ready.json()["degraded"].as_array().unwrap().contains(&complaint.into()), "{}", ready.body);
    // Calls without a token show no addresses.
    assert!(!ready.body.contains("10.0.0"));
    let www = api.call(get("/v1/sites/www", "cms")).await.json();
    let expected = serde_json::json!([{ "url": "https://origin.example.com", "addresses": [
        { "address": "10.0.0.1:443", "avoided": "requests fail there" },
        { "address": "10.0.0.2:443", "avoided": null },
    ]}]);
    assert_eq!(www["origins"], expected);
    let shop = api.call(get("/v1/sites/shop", "root")).await.json();
    assert_eq!(shop["origins"], serde_json::json!([]));
}
