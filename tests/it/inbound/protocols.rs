//! The purge APIs of three CDNs: what their clients send purges what it names, at the CDN that the site has.

use super::*;
use serde_json::{Value, json};

#[test]
fn fastlys_api_purges_what_is_named() {
    let world = World::start(&[FASTLY]);
    let to = world.listeners[0];
    let key = ("fastly-key", TOKEN);
    let service = call(to, "GET", "/service/www", &[key], "");
    assert_eq!((service.status, &service.json()["name"]), (200, &json!("www")));

    for (target, headers, body) in [
        ("/service/www/purge", vec![key, ("surrogate-key", "absent news")], ""),
        ("/service/www/purge", vec![key], r#"{"surrogate_keys":["news","absent"]}"#),
        ("/service/www/purge/news", vec![key, ("fastly-soft-purge", "0")], ""),
    ] {
        world.cache(&["/news/1", "/other"]);
        let answer = call(to, "POST", target, &headers, body);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        let told = answer.json();
        match target.ends_with("/purge") {
            true => assert!(told["news"].is_string() && told["absent"] == told["news"], "{told}"),
            false => assert_eq!(told["status"], "ok"),
        }
        world.settle();
        assert_eq!((&*world.see("/news/1"), &*world.see("/other")), ("MISS", "HIT"), "{target}");
    }

    world.cache(&["/news/1", "/news/2"]);
    let answer = call(to, "POST", &format!("/purge/http://{HOST}/news/1"), &[key], "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.settle();
    assert_eq!((&*world.see("/news/1"), &*world.see("/news/2")), ("MISS", "HIT"));

    world.cache(&["/news/1", "/other"]);
    assert_eq!(call(to, "POST", "/service/www/purge_all", &[key], "").json(), json!({ "status": "ok" }));
    world.settle();
    assert_eq!((&*world.see("/news/1"), &*world.see("/other")), ("MISS", "MISS"));

    // What the CDN alone has, and what is malformed.
    let refused = call(to, "PUT", "/service/www/version/1/snippet/x", &[key], "{}");
    assert_eq!(refused.status, 501);
    assert!(refused.json()["detail"].as_str().unwrap().contains("only purges"), "{}", refused.text());
    assert_eq!(call(to, "POST", "/service/www/purge", &[key], "").status, 400);
    assert_eq!(call(to, "POST", "/service/absent/purge_all", &[key], "").status, 404);
    assert_eq!(call(to, "POST", "/service/www/purge_all", &[("fastly-key", "wrong")], "").status, 401);
    assert_eq!(call(to, "POST", "/service/www/purge_all", &[], "").status, 401);
}

#[test]
fn cloudflares_api_purges_what_is_named() {
    let world = World::start(&[CLOUDFLARE]);
    let to = world.listeners[0];
    let bearer = format!("Bearer {TOKEN}");
    let token = [("authorization", &*bearer)];
    let zones = call(to, "GET", &format!("/client/v4/zones?name={HOST}"), &token, "").json();
    assert_eq!(zones["result"][0]["id"], "www", "{zones}");

    let purge = |method: &str, call_name: &str, body: &Value| {
        let target = format!("/client/v4/zones/www/{call_name}");
        let answer = call(to, method, &target, &token, &body.to_string());
        assert_eq!((answer.status, &answer.json()["success"]), (200, &json!(true)), "{}", answer.text());
        assert!(answer.json()["result"]["id"].is_string());
        world.settle();
    };
    let urls = [format!("http://{HOST}/news/1"), format!("https://{HOST}/news/1")];
    let mobile = json!({ "url": urls[1], "headers": { "CF-Device-Type": "mobile" } });
    for (method, name, body) in [
        ("POST", "purge_cache", json!({ "files": [urls[0], mobile] })),
        ("DELETE", "purge_cache", json!({ "tags": ["news"] })),
        ("POST", "invalidate_cache", json!({ "tags": ["news"] })),
        ("POST", "purge_cache", json!({ "purge_everything": true })),
    ] {
        world.cache(&["/news/1", "/other"]);
        purge(method, name, &body);
        // A soft purge leaves a stale copy, which is fetched anew in the background.
        let is_gone = || (world.see("/news/1") != "HIT").then_some(());
        if name == "purge_cache" {
            assert_eq!(is_gone(), Some(()), "{body}");
        }
        let other = if body["purge_everything"] == true { "MISS" } else { "HIT" };
        assert_eq!(world.see("/other"), other, "{body}");
    }
    let refused = call(to, "POST", "/client/v4/zones/www/purge_cache", &token, "{}");
    assert_eq!((refused.status, &refused.json()["success"]), (400, &json!(false)));
    let refused = call(to, "POST", "/client/v4/zones/www/purge_cache", &[], "{}");
    assert_eq!((refused.status, &refused.json()["errors"][0]["code"]), (401, &json!(10_000)));
}

#[test]
fn akamais_api_purges_what_is_named_and_no_request_twice() {
    let world = World::start(&[&format!("{AKAMAI}\nsite = \"www\"")]);
    let to = world.listeners[0];
    for (number, (target, body)) in [
        ("/ccu/v3/delete/tag/production", json!({ "objects": ["news"] })),
        ("/ccu/v3/delete/url", json!({ "objects": ["/news/1"], "hostname": HOST })),
        ("/ccu/v3/delete/cpcode/production", json!({ "objects": [12345] })),
    ]
    .into_iter()
    .enumerate()
    {
        world.cache(&["/news/1", "/other"]);
        let answer = akamai(to, ("test", TOKEN), &format!("n{number}"), target, &body.to_string());
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert!(answer.json()["purgeId"].is_string());
        world.settle();
        let other = if target.contains("cpcode") { "MISS" } else { "HIT" };
        assert_eq!((&*world.see("/news/1"), &*world.see("/other")), ("MISS", other), "{target}");
    }
    let before = world.purges();
    let (target, body) = ("/ccu/v3/delete/tag", r#"{"objects":["news"]}"#);
    assert_eq!(akamai(to, ("test", TOKEN), "once", target, body).status, 201);
    assert_eq!(akamai(to, ("test", TOKEN), "once", target, body).status, 401);
    assert_eq!(akamai(to, ("test", "another secret"), "other", target, body).status, 401);
    assert_eq!(akamai(to, ("nobody", TOKEN), "third", target, body).status, 401);
    assert_eq!(world.purges(), before + 1);
}

#[test]
fn a_token_of_one_site_purges_no_other() {
    let world = World::start(&[FASTLY, CLOUDFLARE, AKAMAI, &format!("{AKAMAI}\nsite = \"www\"")]);
    let [fastly, cloudflare, any, of_www] = world.listeners[..] else { panic!("four listeners") };
    world.cache(&["/news/1"]);
    let key = [("fastly-key", SHOP)];
    let bearer = format!("Bearer {SHOP}");
    let token = [("authorization", &*bearer)];
    let all = r#"{"purge_everything":true}"#;
    let url = format!(r#"{{"objects":["http://{HOST}/news/1"]}}"#);
    for answer in [
        call(fastly, "POST", "/service/www/purge_all", &key, ""),
        call(fastly, "POST", "/service/www/purge/page", &key, ""),
        call(fastly, "POST", &format!("/purge/http://{HOST}/news/1"), &key, ""),
        call(cloudflare, "POST", "/zones/www/purge_cache", &token, all),
        akamai(any, ("shop", SHOP), "1", "/ccu/v3/delete/url", &url),
        akamai(of_www, ("shop", SHOP), "2", "/ccu/v3/delete/tag", r#"{"objects":["page"]}"#),
    ] {
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    assert_eq!((world.purges(), &*world.see("/news/1")), (0, "HIT"));
    // It sees only its own site, and may purge that. Without a name, its site is meant.
    let services = call(fastly, "GET", "/service", &key, "").json();
    assert_eq!(services.as_array().unwrap().len(), 1, "{services}");
    assert_eq!(call(fastly, "GET", "/service/www", &key, "").status, 404);
    assert_eq!(call(fastly, "POST", "/service/shop/purge_all", &key, "").status, 200);
    let tag = r#"{"objects":["page"]}"#;
    assert_eq!(akamai(any, ("shop", SHOP), "3", "/ccu/v3/delete/tag", tag).status, 201);
    world.settle();
    let purges = world.shim.call(Request::get("/v1/purges")).json();
    assert!(purges["purges"].as_array().unwrap().iter().all(|purge| purge["site"] == "shop"), "{purges}");
}
