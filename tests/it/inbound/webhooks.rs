//! Webhooks: their proof, their conditions, and what they purge.

use super::*;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

const HOOKS: &str = r#"listen = ["{}"]
protocol = "webhook"
site = "www"
[[inbound.hooks]]
name = "entries"
verify = "hmac-sha256"
header = "X-Signature"
secret = "literal:a-secret-of-the-webhooks"
when = { "/type" = "entry.published" }
tags = ["{{/entry/section}"]
paths = ["/{/entry/section}/{/entry/ids}"]
[[inbound.hooks]]
name = "sanity"
verify = "sanity"
secret = "literal:a-secret-of-the-webhooks"
paths = ["{/path}"]
[[inbound.hooks]]
name = "story"
event = "publish"
paths = ["/{/full_slug}"]
"#;

fn hex_hmac(parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    hex::encode(mac.finalize().into_bytes())
}

#[test]
fn a_webhook_purges_what_its_body_names() {
    let world = World::start(&[&HOOKS.replace("{{", "{")]);
    let to = world.listeners[0];
    let send = |body: &str| {
        let signature = format!("sha256={}", hex_hmac(&[body.as_bytes()]));
        call(to, "POST", "/entries", &[("x-signature", &signature)], body)
    };
    world.cache(&["/news/1", "/blog/7", "/other"]);
    let body =
        json!({ "type": "entry.published", "entry": { "section": "blog", "ids": [7, 8] } }).to_string();
    let answer = send(&body);
    assert_eq!((answer.status, &answer.json()["purged"]), (200, &json!(true)), "{}", answer.text());
    world.settle();
    assert_eq!((&*world.see("/blog/7"), &*world.see("/news/1")), ("MISS", "HIT"));
    let purge = world.shim.look_up(answer.json()["id"].as_str().unwrap());
    assert_eq!(purge["reason"], "asked for by the webhook `entries`");

    // The same body again means another publish.
    let before = world.purges();
    assert_eq!(send(&body).json()["purged"], true);
    assert_eq!(world.purges(), before + 1);

    let other = json!({ "type": "entry.saved", "entry": { "section": "blog" } }).to_string();
    assert_eq!((send(&other).status, &send(&other).json()["purged"]), (200, &json!(false)));
    assert_eq!(call(to, "POST", "/entries", &[("x-signature", "00")], &body).status, 401);
    assert_eq!(call(to, "POST", "/entries", &[], &body).status, 401);
    assert_eq!(call(to, "GET", "/entries", &[], "").status, 405);
    assert_eq!(call(to, "POST", "/absent", &[], &body).status, 404);
    assert_eq!(send("no JSON").status, 400);
    assert_eq!(world.purges(), before + 1);
}

#[test]
fn a_replay_is_dropped_and_an_event_is_one() {
    let world = World::start(&[&HOOKS.replace("{{", "{")]);
    let to = world.listeners[0];
    world.cache(&["/news/1", "/other"]);
    let body = json!({ "path": "/news/1" }).to_string();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().to_string();
    let sign = |time: &str| {
        use base64::Engine;
        let mac = hex::decode(hex_hmac(&[time.as_bytes(), b".", body.as_bytes()])).unwrap();
        format!("t={time},v1={}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(mac))
    };
    let send = |time: &str| call(to, "POST", "/sanity", &[("sanity-webhook-signature", &sign(time))], &body);
    assert_eq!(send(&now).json()["purged"], true);
    assert_eq!((send(&now).status, &send(&now).json()["purged"]), (200, &json!(false)));
    assert_eq!(send("1700000000000").status, 401);
    assert_eq!(world.purges(), 1);

    let story = json!({ "action": "published", "full_slug": "other" }).to_string();
    let answer = call(to, "POST", "/story", &[], &story);
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    world.settle();
    assert_eq!((&*world.see("/news/1"), &*world.see("/other")), ("MISS", "MISS"));
}
