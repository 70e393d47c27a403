//! The requests of each client, as recorded from it or read in its source.

use super::*;
use proptest::prelude::*;

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(target).header("host", "www.example.com");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

fn purge(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Purge {
    match read(&request(method, target, headers, body)) {
        Ok(Asked::Purge(purge)) => purge,
        other => panic!("{method} {target}: {other:?}"),
    }
}

/// The bytes of each client, as recorded from it or read in its source.
#[test]
fn purges_of_keys() {
    let check =
        |target: &str, headers: &[(&str, &str)], body: &str, keys: &[&str], mode: Option<PurgeMode>| {
            let purge = purge("POST", target, headers, body);
            assert_eq!(purge.request.tags, keys, "{target}");
            assert_eq!((purge.request.mode, purge.service.as_deref()), (mode, Some("S1")), "{target}");
        };
    // fastly-py, npm fastly and FOSHttpCache: a list in the body.
    check(
        "/service/S1/purge",
        &[("fastly-soft-purge", "1")],
        r#"{"surrogate_keys":["a b","c"]}"#,
        &["a b", "c"],
        Some(PurgeMode::Soft),
    );
    // WordPress, Drupal, the command line: a header. Shopware says hard by 0.
    check("/service/S1/purge", &[("surrogate-key", "a  b")], "", &["a", "b"], None);
    check(
        "/service/S1/purge",
        &[("surrogate-key", "a"), ("fastly-soft-purge", "0")],
        "",
        &["a"],
        Some(PurgeMode::Hard),
    );
    // fastly-py and npm fastly: a key in the path.
    check("/service/S1/purge/a/b", &[], "", &["a/b"], None);
    check("/service/S1/purge/a%20b%2Fc", &[], "", &["a b/c"], None);
}

#[test]
fn the_answer_has_exactly_the_keys_that_were_sent() {
    let purge = purge("POST", "/service/S1/purge", &[("surrogate-key", "a b a")], "");
    let answer = accepted(&purge.about, "id-1");
    let body: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(body, json!({ "a": "id-1", "b": "id-1" }));
    assert_eq!(answer.headers()["content-type"], "application/json");
    assert_eq!(accepted(&About::One, "id-1").body(), &r#"{"id":"id-1","status":"ok"}"#);
}

#[test]
fn purges_of_urls() {
    let check = |method: &str, target: &str, urls: &[&str]| {
        let purge = purge(method, target, &[], "");
        assert_eq!(
            (purge.request.urls, purge.service),
            (urls.iter().map(|&url| url.to_owned()).collect(), None),
            "{target}"
        );
    };
    let both = ["http://www.example.com/x?y=1", "https://www.example.com/x?y=1"];
    // fastly-py.
    check("POST", "/purge/www.example.com/x?y=1", &both);
    // Drupal, with the scheme, as it is and escaped.
    check("POST", "/purge/https://www.example.com/x", &["https://www.example.com/x"]);
    check("POST", "/purge/https%3A//www.example.com/x", &["https://www.example.com/x"]);
    check("POST", "/purge/https:/www.example.com/x", &["https://www.example.com/x"]);
    // Magento, WordPress: the method PURGE at the page itself.
    check("PURGE", "/x?y=1", &both);
    check("PURGE", "http://www.example.com/x", &["http://www.example.com/x"]);
}

#[test]
fn everything_is_never_purged_softly() {
    let purge = purge("POST", "/service/S1/purge_all", &[("fastly-soft-purge", "1")], "");
    assert!(purge.request.everything && purge.request.mode == Some(PurgeMode::Hard));
}

#[test]
fn what_fastly_refuses_is_refused() {
    let check = |method: &str, target: &str, headers: &[(&str, &str)], body: &str, status: u16| {
        let error = read(&request(method, target, headers, body)).unwrap_err();
        assert_eq!(error.status, status, "{method} {target}: {error}");
        let body: Value = serde_json::from_slice(refused(&error).body()).unwrap();
        assert!(!body["msg"].as_str().unwrap().is_empty() && !body["detail"].as_str().unwrap().is_empty());
    };
    check("POST", "/service/S1/purge", &[], "", 400);
    check("POST", "/service/S1/purge", &[], r#"{"surrogate_keys":[]}"#, 400);
    check("POST", "/service/S1/purge", &[("surrogate-key", &"k ".repeat(257))], "", 400);
    check("POST", "/service/S1/purge", &[("surrogate-key", &"k".repeat(1_025))], "", 400);
    check("POST", "/service/S1/purge/%ff", &[], "", 400);
    check("GET", "/purge/www.example.com/", &[], "", 400);
    check("PUT", "/service/S1/version/1/snippet", &[], "", 501);
    check("GET", "/service/S1/version/1/backend", &[], "", 501);
}

#[test]
fn questions_get_answers() {
    let services = [Service { id: "S1", name: "www" }, Service { id: "shop", name: "shop" }];
    let token = TokenFacts { name: "cms", purge_select: true, purge_all: false };
    let ask = |target: &str| {
        let Ok(Asked::Facts(asked)) = read(&request("GET", target, &[], "")) else { panic!("{target}") };
        facts(&asked, &services, token).map(|answer| serde_json::from_slice::<Value>(answer.body()).unwrap())
    };
    assert_eq!(ask("/service/S1").unwrap()["name"], "www");
    assert_eq!(ask("/service/www").unwrap()["id"], "www");
    assert_eq!(ask("/service/S1/details").unwrap()["active_version"]["number"], 1);
    assert_eq!(ask("/service/S1/version").unwrap()[0]["active"], true);
    assert_eq!(ask("/service?page=1&per_page=100").unwrap().as_array().unwrap().len(), 2);
    assert_eq!(ask("/service/search?name=www").unwrap()["id"], "S1");
    assert_eq!(ask("/tokens/self").unwrap()["scopes"], json!(["purge_select"]));
    assert!(ask("/current_user").unwrap()["role"].is_string());
    assert!(ask("/realms/fastly/.well-known/openid-configuration").unwrap().is_object());
    assert_eq!(ask("/service/other").unwrap_err().status, 404);
    assert_eq!(ask("/service/search?name=other").unwrap_err().status, 404);
}

proptest! {
    #[test]
    fn keys_are_what_the_client_meant(keys in prop::collection::vec("[!-~&&[^,*%]]{1,8}", 1..9)) {
        let body = json!({ "surrogate_keys": keys }).to_string();
        prop_assert_eq!(&purge("POST", "/service/S1/purge", &[], &body).request.tags, &keys);
        let line = keys.join(" ");
        prop_assert_eq!(&purge("POST", "/service/S1/purge", &[("surrogate-key", &line)], "").request.tags, &keys);
    }
}
