//! The real program against each CDN's API, which checks tokens, signatures and sizes. Purges of every kind
//! arrive. Purges that invalid credentials hold up arrive once the credentials are valid.

use crate::harness::eventually;
use crate::harness::fake_cdn::{Akamai, Cloudflare, Cloudfront, FakeCdn, Fastly, Kind, Node, Vendor};
use crate::harness::http::Request;
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use serde_json::{Value, json};
use std::fs;

/// A site whose origin nobody asks, with two CDNs at the same API: `tags`, and `all`, where everything is the CDN's
/// own.
fn site(settings: &str) -> Site {
    let cdn = |name: &str, everything: &str| {
        format!("name = \"{name}\"\neverything = \"{everything}\"\nrepeat_after = \"0s\"\n{settings}")
    };
    let site = Site::www("127.0.0.1:9").tables("[sites.tags]\nsections = 1");
    site.cdn(&cdn("tags", "site-tag")).cdn(&cdn("all", "cdn"))
}

/// What a purge by URL, by tag, by path, by prefix, of everything by tag and of everything of the CDN becomes, and
/// whether it may be soft; a name may end in `…`, where what follows is a hash.
type Expected<'a> = [(Kind, &'a str, bool); 6];

fn every_kind<V: Vendor>(vendor: V, expected: Expected<'_>) {
    let cdn = FakeCdn::start(vendor);
    let shim = Shim::start(site(&cdn.settings()));
    shim.wait_until_healthy();
    let bodies = [
        json!({"urls": ["https://www.example.test/a?x=1"], "cdns": ["tags"]}),
        json!({"tags": ["product-42"], "cdns": ["tags"]}),
        json!({"paths": ["/blog/first"], "cdns": ["tags"]}),
        json!({"prefixes": ["/blog/"], "cdns": ["tags"]}),
        json!({"everything": true, "cdns": ["tags"]}),
        json!({"everything": true, "cdns": ["all"]}),
    ];
    for (body, (kind, name, can_be_soft)) in bodies.into_iter().zip(expected) {
        for mode in ["hard", "soft"] {
            cdn.forget();
            let mut body = body.clone();
            body["mode"] = mode.into();
            shim.purge(&body);
            let purged = cdn.purged();
            let [item] = &purged[..] else { panic!("{body}: {purged:?}") };
            let named = match name.strip_suffix('…') {
                Some(start) => item.name.starts_with(start),
                None => item.name == name,
            };
            assert!(item.kind == kind && named, "{body}: {item:?}, not {kind:?} {name}");
            assert_eq!(item.hard, mode == "hard" || !can_be_soft, "{body}: {item:?}");
        }
    }
}

#[test]
fn fastly_takes_every_kind() {
    let expected = [
        (Kind::Url, "www.example.test/a?x=1", true),
        (Kind::Tag, "product-42", true),
        (Kind::Tag, "p-…", true),
        (Kind::Tag, "d-…", true),
        (Kind::Tag, "site-www", true),
        (Kind::Everything, "*", false),
    ];
    every_kind(Fastly::default(), expected);
}

#[test]
fn akamai_takes_every_kind() {
    let expected = [
        (Kind::Url, "https://www.example.test/a?x=1", true),
        (Kind::Tag, "product-42", true),
        (Kind::Tag, "p-…", true),
        (Kind::Tag, "d-…", true),
        (Kind::Tag, "site-www", true),
        (Kind::Everything, "12345", true),
    ];
    every_kind(Akamai::default(), expected);
}

#[test]
fn cloudflare_takes_every_kind() {
    let expected = [
        (Kind::Url, "https://www.example.test/a?x=1", true),
        (Kind::Tag, "product-42", true),
        (Kind::Tag, "p-…", true),
        (Kind::Prefix, "www.example.test/blog/", true),
        (Kind::Tag, "site-www", true),
        (Kind::Everything, "*", true),
    ];
    every_kind(Cloudflare::enterprise(), expected);
}

#[test]
fn cloudfront_takes_every_kind() {
    let expected = [
        (Kind::Url, "/a?x=1", false),
        (Kind::Tag, "product-42", false),
        (Kind::Tag, "p-…", false),
        (Kind::Url, "/blog/*", false),
        (Kind::Tag, "site-www", false),
        (Kind::Url, "/*", false),
    ];
    every_kind(Cloudfront::default(), expected);
}

#[test]
fn cloudfront_is_told_paths_as_it_takes_them_and_else_the_narrowest_wildcard() {
    let cdn = FakeCdn::start(Cloudfront { configured_tag_header: None, ..Cloudfront::default() });
    let shim = Shim::start(site(&cdn.settings()));
    shim.wait_until_healthy();
    let purged = |path: &str| {
        cdn.forget();
        let purge = shim.purge(&json!({"paths": [path, "/plain"], "cdns": ["tags"]}));
        let names: Vec<String> = cdn.purged().into_iter().map(|item| item.name).collect();
        (names, purge["jobs"][0]["fallback"].clone())
    };
    let (mut names, fallback) = purged("/vendors~about.js");
    names.sort();
    assert_eq!(names, ["/plain", "/plain?*", "/vendors%7Eabout.js", "/vendors%7Eabout.js?*"]);
    assert_eq!(fallback, json!([]));

    cdn.change(|vendor| vendor.refused = Some("%7E"));
    let (mut names, fallback) = purged("/vendors~about.js");
    names.sort();
    assert_eq!(names, ["/plain", "/plain?*", "/vendors*"]);
    assert_eq!(fallback, json!(["the CDN refused an item, so a purge of /vendors* takes its place"]));

    cdn.change(|vendor| vendor.refused = Some("vendors"));
    let (names, fallback) = purged("/vendors~about.js");
    assert!(names.contains(&"/*".to_owned()), "{names:?}");
    assert_eq!(fallback.as_array().map(Vec::len), Some(2), "{fallback}");
}

#[test]
fn varnish_takes_every_kind() {
    let expected = [
        (Kind::Url, "www.example.test/a?x=1", true),
        (Kind::Tag, "product-42", true),
        (Kind::Tag, "p-…", true),
        (Kind::Prefix, "www.example.test/blog/", false),
        (Kind::Tag, "site-www", true),
        (Kind::Everything, "*", false),
    ];
    every_kind(Node::default(), expected);
}

/// Starts with credentials that `spoil` made bad, and starts again after `mend`; both change the vendor and the
/// settings.
fn bad_credentials<V: Vendor>(vendor: V, spoil: impl Fn(&mut V, &mut String), mend: impl Fn(&mut V)) {
    let cdn = FakeCdn::start(vendor);
    let good = site(&cdn.settings()).to_string();
    let mut bad = good.clone();
    cdn.change(|vendor| spoil(vendor, &mut bad));
    let mut shim = Shim::start(&bad);
    let id = shim.accept(&json!({"tags": ["product-42"], "cdns": ["tags"]}));
    let paused = eventually("the CDN is paused", || {
        let site = shim.call(Request::get("/v1/sites/www")).json();
        Some(site["cdns"][0].clone()).filter(|cdn| cdn["paused"] == true)
    });
    assert_eq!(paused["healthy"], false, "{paused}");
    assert_eq!(paused["pending"], 1, "nothing is lost: {paused}");
    let ready = Request::get("/readyz").send(shim.admin);
    assert_eq!(ready.status, 200, "proxying goes on: {}", ready.text());
    let degraded = ready.json()["degraded"].to_string();
    assert!(degraded.contains("www/tags: ") && degraded.contains("credentials"), "{degraded}");
    let refused = eventually("the attempt is settled", || attempt(&shim, &id));
    assert_eq!(refused["outcome"], "bad-credentials");
    assert_eq!(cdn.purged(), []);

    shim.kill();
    cdn.change(&mend);
    let config = fs::read_to_string(&shim.config).unwrap().replace(&bad, &good);
    fs::write(&shim.config, config).unwrap();
    shim.start_again();
    eventually("the purge is done", || (shim.look_up(&id)["state"] == "done").then_some(()));
    let purged = cdn.purged();
    assert!(
        purged.iter().any(|item| (item.kind, item.name.as_str()) == (Kind::Tag, "product-42")),
        "{purged:?}"
    );
    shim.wait_until_healthy();
}

/// Returns the last attempt of a purge's only job. A refused call is returned to the queue only after its CDN
/// is paused.
fn attempt(shim: &Shim, id: &str) -> Option<Value> {
    let purge = shim.look_up(id);
    purge["jobs"][0]["attempts"].as_array()?.last().cloned()
}

/// Returns a function that replaces `from` with `to` in the settings.
fn replace(from: &'static str, to: &'static str) -> impl Fn(&mut String) {
    move |settings| {
        assert!(settings.contains(from), "{settings}");
        *settings = settings.replace(from, to);
    }
}

#[test]
fn fastly_with_a_wrong_token() {
    let spoil = replace("fake-fastly-token", "wrong-token");
    bad_credentials(Fastly::default(), |_, settings| spoil(settings), |_| {});
}

#[test]
fn akamai_with_a_wrong_secret() {
    let spoil = replace("fake-akamai-client-secret", "wrong-secret");
    bad_credentials(Akamai::default(), |_, settings| spoil(settings), |_| {});
}

#[test]
fn cloudflare_with_a_wrong_token() {
    let spoil = replace("cfut_fake-cloudflare-token", "cfut_wrong-token");
    bad_credentials(Cloudflare::enterprise(), |_, settings| spoil(settings), |_| {});
}

#[test]
fn cloudfront_with_a_wrong_secret() {
    let spoil = replace("fake-cloudfront-secret", "wrong-secret");
    bad_credentials(Cloudfront::default(), |_, settings| spoil(settings), |_| {});
}

#[test]
fn varnish_that_does_not_allow_it() {
    bad_credentials(Node::default(), |node, _| node.allowed = false, |node| node.allowed = true);
}
