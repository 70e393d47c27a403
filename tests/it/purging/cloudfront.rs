//! CloudFront as moto implements it. moto verifies every signature and every policy.

use super::credentials::check;
use crate::harness::eventually;
use crate::harness::http::Request;
use crate::harness::moto::{Key, Moto};
use crate::harness::shim::Shim;
use crate::harness::site::Site;
use serde_json::json;

const ALL: [&str; 4] =
    ["CreateInvalidation", "GetInvalidation", "ListInvalidations", "GetDistributionConfig"];

fn site(moto: &Moto, key: &Key) -> Site {
    Site::www("127.0.0.1:9").cdn(&format!("everything = \"cdn\"\n{}", moto.settings(key)))
}

#[test]
fn every_kind_is_an_invalidation_with_a_good_signature() {
    let moto = Moto::start();
    let key = moto.key("shim", &ALL);
    moto.guard();
    let shim = Shim::start(site(&moto, &key));
    shim.wait_until_healthy();
    let check = |body, paths: &[&str]| {
        let purge = shim.purge(&body);
        assert_eq!(purge["jobs"][0]["attempts"][0]["status"], 201, "{purge}");
        paths.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let expected = [
        check(json!({"urls": ["https://www.example.test/a?x=1&y='2'"]}), &["/a?x=1&amp;y=%272%27"]),
        check(json!({"tags": ["product-42"]}), &["#product-42"]),
        check(json!({"prefixes": ["/blog/"]}), &["/blog/*"]),
        check(json!({"everything": true}), &["/*"]),
    ];
    assert_eq!(moto.invalidated(), expected);
}

#[test]
fn keys_that_may_not_are_told_apart() {
    let moto = Moto::start();
    let good = moto.key("good", &ALL);
    let narrow = moto.key("narrow", &["CreateInvalidation"]);
    let reader = moto.key("reader", &ALL[1..]);
    moto.guard();
    let expect = |key: &Key, usable: &str, words: &str| {
        let (code, said, found) = check(&[moto.settings(key)], &["--probe"]);
        assert_eq!((code, said.concat()), (Some(i32::from(usable == "no")), usable.to_owned()), "{found:?}");
        assert!(found[0].to_string().contains(words), "{words:?} is not in {}", found[0]);
    };
    expect(&good, "yes", "user/good");
    expect(&good, "yes", "takes tags from cache-tag");
    expect(&narrow, "yes", "may not list invalidations");
    expect(&reader, "no", "cloudfront:CreateInvalidation");
    let wrong = |id: &str, secret: &str| Key { id: id.to_owned(), secret: secret.to_owned() };
    expect(&wrong(&good.id, "wrong-secret"), "no", "SignatureDoesNotMatch");
    expect(&wrong("AKIAUNKNOWNUNKNOWN12", &good.secret), "no", "InvalidClientTokenId");

    // A purge that is refused in this way pauses the CDN.
    let shim = Shim::start(site(&moto, &reader));
    let id = shim.accept(&json!({"tags": ["product-42"]}));
    eventually("the CDN is paused", || {
        let site = shim.call(Request::get("/v1/sites/www")).json();
        (site["cdns"][0]["paused"] == true).then_some(())
    });
    let attempt = eventually("the attempt is settled", || {
        let purge = shim.look_up(&id);
        purge["jobs"][0]["attempts"].as_array()?.last().cloned()
    });
    assert_eq!(
        (attempt["status"].as_u64(), attempt["outcome"].as_str()),
        (Some(403), Some("bad-credentials"))
    );
    let probes = moto.invalidated();
    assert!(probes.iter().flatten().all(|path| path.starts_with("/origin-shim-check-")), "{probes:?}");
}
