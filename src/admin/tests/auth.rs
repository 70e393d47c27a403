//! The rights of each token.

use super::*;

/// Returns one line per token: the status and the problem's detail.
async fn table(api: &Api, request: impl Fn(&str) -> Request<Body>) -> String {
    let mut lines = String::new();
    for token_name in ["cms", "root", "auditor", "button", "idle", "operator"] {
        let reply = api.call(request(token_name)).await;
        let detail = if reply.status.is_success() { "ok".into() } else { reply.json()["detail"].clone() };
        lines += &format!("{token_name}: {} {}\n", reply.status.as_u16(), detail.as_str().unwrap());
    }
    lines
}

#[tokio::test]
async fn scopes_and_sites() {
    let api = Api::new();
    let id = api.purge(r#"{"paths": ["/a"]}"#).await["id"].as_str().unwrap().to_owned();
    let path = r#"{"paths": ["/a"]}"#;
    let everything = r#"{"everything": true}"#;
    let purge = |site: &'static str, body: &'static str| {
        move |token: &str| post(&format!("/v1/sites/{site}/purges"), token, body)
    };
    let read = |path: String| move |token: &str| get(&path, token);
    let act = |path: &'static str| move |token: &str| post(path, token, "");
    let cancel = |token: &str| {
        let mut request = get("/v1/purges/none", token);
        *request.method_mut() = Method::DELETE;
        request
    };
    let question = r#"{"url": "https://www.example.com/"}"#;
    let explain = |token: &str| post("/v1/sites/www/explain", token, question);
    let mut text = String::new();
    for (name, table) in [
        ("purge a path of www", table(&api, purge("www", path)).await),
        ("purge everything of www", table(&api, purge("www", everything)).await),
        ("purge the site tag of www", table(&api, purge("www", r#"{"tags": ["x", "site-www"]}"#)).await),
        ("purge the prefix / of www", table(&api, purge("www", r#"{"prefixes": ["/"]}"#)).await),
        ("purge a path of shop", table(&api, purge("shop", path)).await),
        ("purge a path of no site", table(&api, purge("none", path)).await),
        ("read a purge of www", table(&api, read(format!("/v1/purges/{id}"))).await),
        ("list purges of shop", table(&api, read("/v1/purges?site=shop".to_owned())).await),
        ("list purges", table(&api, read("/v1/purges".to_owned())).await),
        ("list sites", table(&api, read("/v1/sites".to_owned())).await),
        ("read www", table(&api, read("/v1/sites/www".to_owned())).await),
        ("read shop", table(&api, read("/v1/sites/shop".to_owned())).await),
        ("read no site", table(&api, read("/v1/sites/none".to_owned())).await),
        ("explain", table(&api, explain).await),
        ("retry no purge", table(&api, act("/v1/purges/none/retry")).await),
        ("acknowledge no purge", table(&api, act("/v1/purges/none/acknowledge")).await),
        ("cancel no purge", table(&api, cancel).await),
        ("pause a CDN of www", table(&api, act("/v1/sites/www/cdns/fastly/pause")).await),
        ("resume a CDN of www", table(&api, act("/v1/sites/www/cdns/fastly/resume")).await),
        ("resume a CDN of shop", table(&api, act("/v1/sites/shop/cdns/varnish/resume")).await),
        ("pause no CDN of www", table(&api, act("/v1/sites/www/cdns/none/pause")).await),
        ("reload", table(&api, act("/v1/reload")).await),
    ] {
        text += &format!("# {name}\n{table}\n");
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn whoever_is_not_known_gets_one_answer() {
    let mut answers = Vec::new();
    for authorization in [None, Some("Bearer wrong"), Some("Basic Zm9v"), Some("Bearer "), Some("gibberish")]
    {
        let api = Api::new();
        for path in ["/v1/sites", "/v1/sites/www", "/v1/sites/none", "/v1/purges", "/v1/purges/none"] {
            let reply = api.call(unknown(path, authorization)).await;
            answers.push((reply.status.as_u16(), reply.body, format!("{:?}", reply.headers)));
        }
    }
    answers.dedup();
    let [(401, body, headers)] = &answers[..] else { panic!("{answers:#?}") };
    insta::assert_snapshot!(format!("{headers}\n{body}"));
}

fn unknown(path: &str, authorization: Option<&str>) -> Request<Body> {
    let request = Request::get(path).body(Body::empty()).unwrap();
    match authorization {
        Some(value) => with_header(request, "authorization", value),
        None => request,
    }
}

#[tokio::test]
async fn five_failures_a_minute_are_enough() {
    let api = Api::new();
    for _ in 0..5 {
        let reply = api.call(unknown("/v1/sites", Some("Bearer guess"))).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    }
    let reply = api.call(unknown("/v1/sites", Some("Bearer guess"))).await;
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(reply.json()["type"], "urn:origin-shim:problem:too-many-requests");

    // Valid tokens from the same address, and calls that need no token, are not throttled.
    assert_eq!(api.call(get("/v1/sites", "cms")).await.status, StatusCode::OK);
    assert_eq!(api.call(unknown("/readyz", None)).await.status, StatusCode::OK);
    let mut elsewhere = unknown("/v1/sites", Some("Bearer guess"));
    elsewhere.extensions_mut().insert(Peer(SocketAddr::from(([192, 0, 2, 2], 4711))));
    assert_eq!(api.call(elsewhere).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn purges_of_other_sites_do_not_exist() {
    let api = Api::new();
    let reply = api.call(post("/v1/sites/shop/purges", "root", r#"{"paths": ["/a"]}"#)).await;
    let location = reply.header("location").unwrap().to_owned();
    assert_eq!(api.call(get(&location, "root")).await.status, StatusCode::OK);

    let hidden = api.call(get(&location, "cms")).await;
    let absent = api.call(get("/v1/purges/01938f00-0000-7000-8000-000000000000", "cms")).await;
    assert_eq!((hidden.status, absent.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    let id = location.trim_start_matches("/v1/purges/");
    assert_eq!(
        hidden.body.replace(id, "ID"),
        absent.body.replace("01938f00-0000-7000-8000-000000000000", "ID")
    );

    for (token, visible) in [("cms", 0), ("root", 1)] {
        let page = api.call(get("/v1/purges", token)).await.json();
        assert_eq!(page["purges"].as_array().unwrap().len(), visible, "{token}");
    }
}

#[tokio::test]
async fn a_new_configuration_counts_for_the_next_call() {
    let api = Api::new();
    assert_eq!(api.call(get("/v1/sites", "cms")).await.status, StatusCode::OK);
    let mut next = config();
    next.admin.tokens.remove(0);
    api.state.config.store(Arc::new(next));
    assert_eq!(api.call(get("/v1/sites", "cms")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(api.call(get("/v1/sites", "root")).await.status, StatusCode::OK);
}
